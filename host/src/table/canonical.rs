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
