//! Values as bytes that compare as the values do, and their keyed hashes.

use arrow_array::{Array, ArrayRef, StringArray};
use arrow_row::{RowConverter, SortField};
use arrow_schema::ArrowError;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::{Arc, OnceLock};

/// So many rows are encoded at a time: they stay in the processor's cache.
const CHUNK: usize = 2048;

/// What stands for a row: rows are equal if their prints are, for all that anybody could find.
pub(super) type Print = u128;

/// How often a row is there, by its print.
pub(super) type Counts = HashMap<Print, u64, BuildHasherDefault<AsItIs>>;

/// Prints are random already: maps of them need no hash of their own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, print: Print) {
        #[allow(clippy::cast_possible_truncation, reason = "half of a random number is random")]
        let half = print as u64;
        self.0 = half;
    }
}

/// Calls with the bytes of each row of these columns, in order. Of one type they compare as the rows do; null comes first.
pub(super) fn encode(columns: &[ArrayRef], rows: usize, mut each: impl FnMut(&[u8])) -> Result<(), ArrowError> {
    let converter = RowConverter::new(columns.iter().map(|c| SortField::new(c.data_type().clone())).collect())?;
    let mut encoded = converter.empty_rows(CHUNK.min(rows), 0);
    for at in (0..rows).step_by(CHUNK) {
        let length = CHUNK.min(rows - at);
        let chunk: Vec<ArrayRef> = columns.iter().map(|column| column.slice(at, length)).collect();
        encoded.clear();
        converter.append(&mut encoded, &chunk)?;
        encoded.iter().for_each(|row| each(row.as_ref()));
    }
    Ok(())
}

/// The bytes of the only value of an array.
pub(super) fn bytes(value: &ArrayRef) -> Result<Box<[u8]>, ArrowError> {
    let mut bytes = Box::default();
    encode(std::slice::from_ref(value), 1, |row| bytes = row.into())?;
    Ok(bytes)
}

/// The prints of rows of these columns, in order. Of whole rows and single values alike: nobody compares the two.
pub(super) fn prints(columns: &[ArrayRef], rows: usize) -> Result<Vec<Print>, ArrowError> {
    // From the standard library's own source of per-process randomness.
    static SECRET: OnceLock<SipHasher13> = OnceLock::new();
    let part = || RandomState::new().hash_one(0);
    let secret = SECRET.get_or_init(|| SipHasher13::new_with_keys(part(), part()));
    let mut prints = Vec::with_capacity(rows);
    encode(columns, rows, |row| {
        let mut hasher = *secret;
        hasher.write(row);
        prints.push(hasher.finish128().as_u128());
    })?;
    Ok(prints)
}

/// A column's values as texts that only tell which are equal. Null stays null.
pub(super) fn hashed(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let nulls = column.logical_nulls();
    let there = |i: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i));
    let prints = prints(std::slice::from_ref(column), column.len())?;
    let text = |(i, print)| there(i).then(|| format!("{print:032x}"));
    Ok(Arc::new(prints.into_iter().enumerate().map(text).collect::<StringArray>()))
}
