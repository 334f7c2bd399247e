//! One form for each value, whatever its encoding and its bits: two polls of one value are no news.

use super::shape::Refused;
use arrow_array::types::{ArrowPrimitiveType, Float16Type, Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, ListArray, MapArray, PrimitiveArray, StructArray, cast::AsArray,
};
use arrow_cast::{CastOptions, can_cast_types, cast_with_options};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};
use std::sync::Arc;

/// These columns in the types in which tables are held. A column's type that can't be is named.
pub(crate) fn schema(schema: &SchemaRef) -> Result<SchemaRef, Refused> {
    let mut fields = Vec::with_capacity(schema.fields().len());
    for column in schema.fields() {
        let held = field(column).filter(|held| {
            RowConverter::supports_fields(&[SortField::new(held.data_type().clone())])
                && (held.data_type() == column.data_type() || can_cast_types(column.data_type(), held.data_type()))
        });
        let kind = || column.data_type().to_string();
        fields.push(held.ok_or_else(|| Refused::Type { column: column.name().clone(), kind: kind() })?);
    }
    Ok(match fields.iter().zip(schema.fields()).all(|(held, given)| Arc::ptr_eq(held, given)) {
        true => Arc::clone(schema),
        false => Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())),
    })
}

/// The very same if it is canonical.
fn field(of: &FieldRef) -> Option<FieldRef> {
    let held = kind(of.data_type())?;
    Some(if held == *of.data_type() { Arc::clone(of) } else { Arc::new(of.as_ref().clone().with_data_type(held)) })
}

/// The type in which values of a type are held, if there is one.
pub(crate) fn kind(of: &DataType) -> Option<DataType> {
    Some(match of {
        DataType::Dictionary(_, values) => kind(values)?,
        DataType::RunEndEncoded(_, values) => kind(values.data_type())?,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::List(items)
        | DataType::LargeList(items)
        | DataType::ListView(items)
        | DataType::LargeListView(items) => DataType::List(field(items)?),
        DataType::FixedSizeList(items, size) => DataType::FixedSizeList(field(items)?, *size),
        DataType::Map(entries, sorted) => DataType::Map(field(entries)?, *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect::<Option<_>>()?),
        DataType::Union(..) => return None,
        flat => flat.clone(),
    })
}

/// A column as this type: its values, not their encoding.
pub(crate) fn cast(column: ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(column);
    }
    // Not safe: what does not fit would become null.
    cast_with_options(&column, to, &CastOptions { safe: false, ..CastOptions::default() })
}

fn has_floats(kind: &DataType) -> bool {
    match kind {
        DataType::List(items) | DataType::FixedSizeList(items, _) | DataType::Map(items, _) => {
            has_floats(items.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field: &Arc<Field>| has_floats(field.data_type())),
        flat => flat.is_floating(),
    }
}

/// NaN is NaN and -0 is 0, whatever their bits, also within lists and structs.
pub(crate) fn floats(column: ArrayRef) -> Result<ArrayRef, ArrowError> {
    fn each<T: ArrowPrimitiveType>(column: ArrayRef, canonical: impl Fn(T::Native) -> T::Native) -> ArrayRef {
        let own: PrimitiveArray<T> = column.as_primitive::<T>().clone();
        drop(column);
        // In place where nobody else holds it.
        Arc::new(own.unary_mut(&canonical).unwrap_or_else(|shared| shared.unary(canonical)))
    }
    if !has_floats(column.data_type()) {
        return Ok(column);
    }
    Ok(match column.data_type() {
        DataType::Float64 => each::<Float64Type>(column, |v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
        DataType::Float32 => each::<Float32Type>(column, |v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
        DataType::Float16 => each::<Float16Type>(column, |v| {
            type Half = <Float16Type as ArrowPrimitiveType>::Native;
            match v {
                nan if nan.is_nan() => Half::NAN,
                zero if zero == Half::ZERO => Half::ZERO,
                other => other,
            }
        }),
        DataType::List(items) => {
            let lists = column.as_list::<i32>();
            let values = floats(Arc::clone(lists.values()))?;
            Arc::new(ListArray::try_new(Arc::clone(items), lists.offsets().clone(), values, lists.nulls().cloned())?)
        }
        DataType::FixedSizeList(items, size) if *size > 0 => {
            let lists = column.as_fixed_size_list();
            let values = floats(Arc::clone(lists.values()))?;
            Arc::new(FixedSizeListArray::try_new(Arc::clone(items), *size, values, lists.nulls().cloned())?)
        }
        DataType::Map(entries, sorted) => {
            let maps = column.as_map();
            let pairs = floats(Arc::new(maps.entries().clone()))?.as_struct().clone();
            let (offsets, nulls) = (maps.offsets().clone(), maps.nulls().cloned());
            Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?)
        }
        DataType::Struct(fields) => {
            let structs = column.as_struct();
            let columns = structs.columns().iter().cloned().map(floats).collect::<Result<Vec<_>, _>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, structs.nulls().cloned())?)
        }
        _ => column,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Applied, Limits, Shape, TableState};
    use arrow_array::builder::{ListBuilder, StringDictionaryBuilder};
    use arrow_array::types::{Float32Type, Int8Type, Int32Type};
    use arrow_array::*;
    use arrow_buffer::OffsetBuffer;
    use busway_plugin_api::table::Batches;

    fn given(columns: Vec<ArrayRef>) -> Batches {
        let field = |(i, column): (usize, &ArrayRef)| Field::new(format!("c{i}"), column.data_type().clone(), true);
        let schema = Schema::new(columns.iter().enumerate().map(field).collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(schema), columns).unwrap().into()
    }

    fn dictionary(texts: &[Option<&str>]) -> ArrayRef {
        let mut builder = StringDictionaryBuilder::<Int8Type>::new();
        // A value that nobody uses, so that the dictionary is not the column's own.
        builder.append_value("unused");
        texts.iter().for_each(|text| builder.append_option(*text));
        let all = builder.finish();
        Arc::new(all.slice(1, texts.len()))
    }

    fn lists<O: OffsetSizeTrait>(items: ArrayRef) -> ArrayRef {
        let field = Arc::new(Field::new("item", items.data_type().clone(), true));
        let offsets = OffsetBuffer::<O>::from_lengths([1, 0, 2]);
        Arc::new(GenericListArray::<O>::new(field, offsets, items, None))
    }

    fn structs(items: ArrayRef) -> ArrayRef {
        let field = Arc::new(Field::new("inner", items.data_type().clone(), true));
        Arc::new(StructArray::new(vec![field].into(), vec![items], None))
    }

    #[test]
    fn equal_values_are_equal_whatever_their_encoding() {
        let texts = [Some("a"), None, Some("a longer text than twelve bytes")];
        let bytes = texts.map(|text| text.map(str::as_bytes));
        let runs = {
            let ends = Int32Array::from(vec![1, 2, 3]);
            RunArray::<Int32Type>::try_new(&ends, &StringArray::from(texts.to_vec())).unwrap()
        };
        let plain: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let (view, large): (ArrayRef, ArrayRef) =
            (Arc::new(StringViewArray::from(texts.to_vec())), Arc::new(LargeStringArray::from(texts.to_vec())));
        let first = given(vec![
            Arc::clone(&plain),
            Arc::clone(&plain),
            Arc::clone(&plain),
            Arc::clone(&plain),
            Arc::new(BinaryArray::from(bytes.to_vec())),
            Arc::new(BinaryArray::from(bytes.to_vec())),
            structs(Arc::clone(&plain)),
            lists::<i32>(Arc::clone(&plain)),
        ]);
        let second = given(vec![
            Arc::clone(&view),
            Arc::clone(&large),
            dictionary(&texts),
            Arc::new(runs),
            Arc::new(BinaryViewArray::from(bytes.to_vec())),
            Arc::new(LargeBinaryArray::from(bytes.to_vec())),
            structs(dictionary(&texts)),
            lists::<i64>(view),
        ]);
        let shape = |rows: &Batches| Shape::new(Arc::clone(&rows.schema), Vec::new()).unwrap();
        assert_eq!(shape(&first).schema, shape(&second).schema);
        for (one, other) in [(&first, &second), (&second, &first)] {
            let mut state = TableState::begin(shape(one), one, Limits::default()).unwrap();
            assert!(matches!(state.snapshot(shape(other), other, 0).unwrap(), Applied::Unchanged));
            assert_eq!(state.rows().to_batch().unwrap().columns(), first.batches[0].columns());
            // A delta in any encoding; of a set: the removed rows are rows.
            let none = Batches::empty(Arc::clone(&one.schema));
            let Applied::Stepped(step) = state.delta(&none, other, 0).unwrap() else { panic!() };
            assert_eq!(step.removed.columns(), first.batches[0].columns());
            assert!(state.rows().is_empty());
        }
    }

    #[test]
    fn floats_are_one_whatever_their_bits_and_wherever_they_are() {
        let odd = f32::from_bits(0x7fc0_0001);
        let columns = |nan: f32, zero: f32| {
            let flat = Float32Array::from(vec![Some(nan), Some(zero), None]);
            let mut nested = ListBuilder::new(ListBuilder::new(arrow_array::builder::Float32Builder::new()));
            nested.values().append_value([Some(nan), None]);
            nested.values().append_value([Some(zero)]);
            nested.append(true);
            nested.append(false);
            nested.append(true);
            let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                [Some([Some(nan), Some(zero)]), None, Some([None, Some(zero)])],
                2,
            );
            let half = flat.unary::<_, Float16Type>(|v| {
                let bits = if v.is_nan() { (v.to_bits() & 1) as u16 | 0x7e00 } else { (v.to_bits() >> 16) as u16 };
                <Float16Type as ArrowPrimitiveType>::Native::from_bits(bits)
            });
            let mut maps = arrow_array::builder::MapBuilder::new(
                None,
                arrow_array::builder::StringBuilder::new(),
                arrow_array::builder::Float32Builder::new(),
            );
            for value in [nan, zero, 1.0] {
                maps.keys().append_value("k");
                maps.values().append_value(value);
                maps.append(true).unwrap();
            }
            let flat: ArrayRef = Arc::new(flat);
            let (half, nested, fixed): (ArrayRef, ArrayRef, ArrayRef) =
                (Arc::new(half), Arc::new(nested.finish()), Arc::new(fixed));
            vec![
                structs(Arc::clone(&flat)),
                lists::<i32>(Arc::clone(&flat)),
                flat,
                nested,
                fixed,
                half,
                Arc::new(maps.finish()),
            ]
        };
        for column in 0..7 {
            let rows = |nan, zero| given(vec![Arc::clone(&columns(nan, zero)[column])]);
            let (one, other) = (rows(f32::NAN, 0.0), rows(odd, -0.0));
            let shape = || Shape::new(Arc::clone(&one.schema), Vec::new()).unwrap();
            let mut state = TableState::begin(shape(), &one, Limits::default()).unwrap();
            assert!(matches!(state.snapshot(shape(), &other, 0).unwrap(), Applied::Unchanged), "column {column}");
            let changed = rows(2.0, 0.0);
            assert!(matches!(state.snapshot(shape(), &changed, 0).unwrap(), Applied::Stepped(_)), "column {column}");
        }
    }

    #[test]
    fn what_cannot_be_held_is_refused_at_declaration() {
        let union = DataType::Union(
            arrow_schema::UnionFields::try_new([0], [Field::new("a", DataType::Int8, true)]).unwrap(),
            arrow_schema::UnionMode::Sparse,
        );
        let nested = DataType::List(Arc::new(Field::new("item", union, true)));
        let schema = Arc::new(Schema::new(vec![Field::new("odd", nested.clone(), true)]));
        let refused = Shape::new(schema, Vec::new()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("column \"odd\" has type {nested}, which can't be compared: give it as text, say")
        );
        let half = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Float64));
        let schema = Arc::new(Schema::new(vec![Field::new("id", half, false)]));
        let refused = Shape::new(schema, vec!["id".to_owned()]).unwrap_err();
        assert_eq!(refused.to_string(), "key column \"id\" is a float, so it identifies nothing");
    }
}
