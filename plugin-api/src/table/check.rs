//! What is asked of a table that comes across, before arrow reads it.
#![allow(unsafe_code, reason = "tables cross the contract here")]

use super::cross::MAX_BATCH_BYTES;
use crate::abi::{RawArray, RawSchema};
use arrow_data::BufferSpec;
use arrow_schema::{ArrowError, DataType};
use std::ffi::{CStr, c_char};
use std::ops::Range;

/// How deep columns may be nested: the walks below recurse, and so do arrow's.
const MAX_DEPTH: usize = 64;

pub(crate) fn invalid(what: impl std::fmt::Display) -> ArrowError {
    ArrowError::CDataInterface(format!("the batch has {what}"))
}

/// Refuses what arrow's reading of a schema would panic at, or take at its word: texts that are not there or not UTF-8,
/// negative counts, missing children.
///
/// # Safety
///
/// Texts end with a zero; where a count says that pointers are there, they are.
pub(crate) unsafe fn check_schema(schema: &RawSchema, depth: usize) -> Result<(), ArrowError> {
    let refuse = |what: &str| Err(ArrowError::SchemaError(format!("the columns have {what}")));
    if depth > MAX_DEPTH {
        return refuse("types nested too deeply");
    }
    if schema.release.is_none() {
        return refuse("already been released");
    }
    let text = |text: *const c_char| {
        // SAFETY: not null, and by the caller's promise it ends with a zero and lives as long as the schema.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str())
    };
    let Some(Ok(format)) = text(schema.format) else {
        return refuse("a type that is missing or not UTF-8");
    };
    if let Some(Err(_)) = text(schema.name) {
        return refuse("a name that is not UTF-8");
    }
    let children = match format {
        "+l" | "+L" | "+m" => Some(1),
        // Struct, and what does not cross: `crosses` refuses it later, by its name.
        other if other.starts_with("+w:") || other.starts_with("+v") => Some(1),
        "+r" => Some(2),
        other if other.starts_with('+') => None,
        _ => Some(0),
    };
    if schema.n_children < 0
        || children.is_some_and(|n| n != schema.n_children)
        || (schema.n_children > 0 && schema.children.is_null())
    {
        return refuse(&format!("{} children in a type {format:?}", schema.n_children));
    }
    for i in 0..schema.n_children as usize {
        // SAFETY: `children` is not null and holds `n_children` pointers, of which `i` is one.
        let Some(child) = (unsafe { (*schema.children.add(i)).as_ref() }) else {
            return refuse("a child that is not there");
        };
        // SAFETY: the caller's promise holds for the children too.
        unsafe { check_schema(child, depth + 1)? };
    }
    // SAFETY: null or live, by the caller's promise, which holds for the dictionary too.
    unsafe { schema.dictionary.as_ref().map_or(Ok(()), |values| check_schema(values, depth + 1)) }
}

/// Refuses types that do not cross, and those that arrow would panic at.
pub(crate) fn crosses(kind: &DataType) -> Result<(), ArrowError> {
    let nonsense = || Err(ArrowError::SchemaError(format!("no column can be of type {kind}")));
    let decimal = |precision: u8, scale: i8, longest: u8| {
        if precision == 0 || precision > longest || scale > precision as i8 { nonsense() } else { Ok(()) }
    };
    match kind {
        DataType::Union(..) | DataType::RunEndEncoded(..) | DataType::ListView(_) | DataType::LargeListView(_) => {
            Err(ArrowError::NotYetImplemented(format!("columns of type {kind} do not cross")))
        }
        DataType::FixedSizeBinary(size) if *size < 0 => nonsense(),
        DataType::FixedSizeList(_, size) if *size < 0 => nonsense(),
        DataType::Decimal32(precision, scale) => decimal(*precision, *scale, 9),
        DataType::Decimal64(precision, scale) => decimal(*precision, *scale, 18),
        DataType::Decimal128(precision, scale) => decimal(*precision, *scale, 38),
        DataType::Decimal256(precision, scale) => decimal(*precision, *scale, 76),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => crosses(entries.data_type()),
            _ => nonsense(),
        },
        DataType::Dictionary(keys, values) if keys.is_dictionary_key_type() => crosses(values),
        DataType::Dictionary(..) => nonsense(),
        DataType::Struct(fields) => fields.iter().try_for_each(|field| crosses(field.data_type())),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) => crosses(f.data_type()),
        _ => Ok(()),
    }
}

/// Refuses what arrow's import would take at its word or panic at: negative counts, lengths whose bytes can't be counted,
/// counts that don't fit the type, missing pointers, children shorter than their parent, texts that end before they
/// begin. `rows` are those in use, where they can be known without a look at offsets. Answers the length.
///
/// # Safety
///
/// Where a count says that pointers are there, they are, and offsets are as many as the rows ask for.
pub(crate) unsafe fn check(array: &RawArray, kind: &DataType, rows: Option<Range<i64>>) -> Result<usize, ArrowError> {
    let end = array.length.checked_add(array.offset).filter(|_| array.length >= 0 && array.offset >= 0);
    let end = end.ok_or_else(|| invalid("a negative or overflowing length or offset"))?;
    let rows = rows.map(|rows| rows.start + array.offset..rows.end + array.offset);
    if array.release.is_none() {
        return Err(invalid("already been released"));
    }
    // SAFETY: the caller's promise.
    unsafe { check_buffers(array, kind, end, rows.clone())? };
    let children: Vec<&DataType> = match kind {
        DataType::Struct(fields) => fields.iter().map(|f| f.data_type()).collect(),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            vec![f.data_type()]
        }
        _ => Vec::new(),
    };
    if array.n_children != children.len() as i64 || (!children.is_empty() && array.children.is_null()) {
        return Err(invalid(format_args!("{} children where {kind} has {}", array.n_children, children.len())));
    }
    for (i, child_kind) in children.into_iter().enumerate() {
        // SAFETY: `children` is not null and holds `n_children` pointers, of which `i` is one.
        let child = unsafe { (*array.children.add(i)).as_ref() }.ok_or_else(|| invalid("a child that is not there"))?;
        let (needed, rows) = match kind {
            DataType::Struct(_) => (Some(end), rows.clone()),
            DataType::FixedSizeList(_, n) => {
                let n = i64::from(*n);
                let needed = end.checked_mul(n);
                // Where the end does not overflow, what comes before it does not.
                (needed, needed.and(rows.clone()).map(|rows| rows.start * n..rows.end * n))
            }
            // SAFETY: `check_buffers` found the offsets there.
            DataType::LargeList(_) => (unsafe { offsets::<i64>(array, end)? }, None),
            // SAFETY: as above.
            _ => (unsafe { offsets::<i32>(array, end)? }, None),
        };
        if needed.is_none_or(|needed| child.length < needed) {
            let what = if matches!(kind, DataType::Struct(_)) { "the table" } else { "its lists say" };
            return Err(invalid(format_args!("a column shorter than {what}")));
        }
        // SAFETY: the caller's promise holds for the children too.
        unsafe { check(child, child_kind, rows)? };
    }
    match (kind, array.dictionary.is_null()) {
        (DataType::Dictionary(_, values), false) => {
            // SAFETY: not null, and the caller's promise holds for the dictionary too.
            unsafe { check(&*array.dictionary, values, None)? };
        }
        (DataType::Dictionary(..), true) => return Err(invalid("no dictionary")),
        (_, false) => return Err(invalid("a dictionary that its type does not have")),
        (_, true) => {}
    }
    usize::try_from(array.length).map_err(|_| invalid("a negative length"))
}

/// # Safety
///
/// As of [`check`].
unsafe fn check_buffers(
    array: &RawArray,
    kind: &DataType,
    end: i64,
    rows: Option<Range<i64>>,
) -> Result<(), ArrowError> {
    let layout = arrow_data::layout(kind);
    let validity = usize::from(layout.can_contain_null_mask);
    let buffers = validity + layout.buffers.len();
    // Views carry any number of data buffers, 2^31 at most, and their lengths behind the fixed ones.
    let data = array.n_buffers.checked_sub(buffers as i64 + i64::from(layout.variadic));
    let enough = data.is_some_and(|n| if layout.variadic { (0..=i64::from(i32::MAX)).contains(&n) } else { n == 0 });
    if !enough {
        return Err(invalid(format_args!("{} buffers where {kind} has {buffers}", array.n_buffers)));
    }
    if array.n_buffers > 0 && array.buffers.is_null() {
        return Err(invalid("no buffers"));
    }
    // SAFETY: `buffers` is not null and holds `n_buffers` pointers; `i` is below that wherever it is called.
    let buffer = |i: usize| unsafe { *array.buffers.add(i) };
    if array.null_count < -1 || array.null_count > array.length {
        return Err(invalid("an impossible null count"));
    }
    if validity == 1 && array.null_count > 0 && buffer(0).is_null() {
        return Err(invalid("nulls, and no buffer that says where"));
    }
    let text = matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary);
    for (i, spec) in (validity..).zip(&layout.buffers) {
        // The characters of a text column may be absent when all texts are empty.
        if buffer(i).is_null() && end > 0 && (!text || i == validity) {
            return Err(invalid(format_args!("no buffer {i} in a column of type {kind}")));
        }
        if let BufferSpec::FixedWidth { byte_width, .. } = spec {
            let width = *byte_width as i64;
            // Arrow counts in bits, and one more for offsets.
            let bits = end.checked_add(1).and_then(|n| n.checked_mul(width)?.checked_mul(8));
            let used = rows.as_ref().map_or(Some(0), |rows| (rows.end - rows.start).checked_mul(width));
            if bits.is_none() || used.is_none_or(|used| used > MAX_BATCH_BYTES as i64) {
                return Err(invalid(format_args!("{} rows: too long for {kind}", array.length)));
            }
        }
    }
    match kind {
        // SAFETY: the offsets were found there.
        DataType::Utf8 | DataType::Binary => unsafe { check_text::<i32>(array, end, rows) },
        // SAFETY: as above.
        DataType::LargeUtf8 | DataType::LargeBinary => unsafe { check_text::<i64>(array, end, rows) },
        DataType::Utf8View | DataType::BinaryView => {
            let count = data.unwrap_or(0) as usize;
            let lengths = buffer(buffers + count).cast::<i64>();
            if count > 0 && (lengths.is_null() || !lengths.is_aligned()) {
                return Err(invalid("no lengths of its data buffers, or misaligned ones"));
            }
            for i in 0..count {
                // SAFETY: not null, aligned, and one for each data buffer.
                let length = unsafe { *lengths.add(i) };
                if length < 0 || (length > 0 && buffer(buffers + i).is_null()) {
                    return Err(invalid("a data buffer that is not there, or of negative length"));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The end of what an array's offsets name, from the row at its offset to its last; none when they fall.
///
/// # Safety
///
/// The second buffer is there when `end` is not 0, and holds `end + 1` offsets.
unsafe fn offsets<T: Copy + Into<i64>>(array: &RawArray, end: i64) -> Result<Option<i64>, ArrowError> {
    if end == 0 {
        return Ok(Some(0));
    }
    // SAFETY: a type with offsets has a validity buffer, then these.
    let offsets = unsafe { (*array.buffers.add(1)).cast::<T>() };
    if !offsets.is_aligned() {
        return Err(invalid("misaligned offsets"));
    }
    // SAFETY: aligned, and `end + 1` offsets are there.
    let (first, last) = unsafe { ((*offsets.add(array.offset as usize)).into(), (*offsets.add(end as usize)).into()) };
    Ok((0 <= first && first <= last).then_some(last))
}

/// Arrow takes the last offset for the length of the characters, whatever it is.
///
/// # Safety
///
/// As of [`offsets`].
unsafe fn check_text<T: Copy + Into<i64>>(
    array: &RawArray,
    end: i64,
    rows: Option<Range<i64>>,
) -> Result<(), ArrowError> {
    // SAFETY: the caller's promise.
    let last = unsafe { offsets::<T>(array, end)? }.ok_or_else(|| invalid("negative or falling offsets"))?;
    // SAFETY: types with text have three buffers.
    if last > 0 && unsafe { (*array.buffers.add(2)).is_null() } {
        return Err(invalid("texts, and no buffer that holds them"));
    }
    let Some(rows) = rows.filter(|_| end > 0) else { return Ok(()) };
    // SAFETY: as in `offsets`; the rows in use are within the array.
    let at = |row: i64| unsafe { (*(*array.buffers.add(1)).cast::<T>().add(row as usize)).into() };
    let (first, end): (i64, i64) = (at(rows.start), at(rows.end));
    if first < 0 || first > end || end > last {
        return Err(invalid("negative or falling offsets"));
    }
    if end - first > MAX_BATCH_BYTES as i64 {
        return Err(invalid(format_args!("{} bytes of text", end - first)));
    }
    Ok(())
}
