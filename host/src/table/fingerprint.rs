//! Rows as 128-bit fingerprints under a secret of this process: equal rows have equal ones, and nobody outside can make
//! two different rows that do. With 5 M rows held and as many new ones a false match has a chance of 7e-26 a poll.

use super::Refused;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_row::{RowConverter, SortField};
use arrow_schema::Schema;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// So many rows are encoded at a time: they stay in the processor's cache.
const CHUNK: usize = 2048;

fn secret() -> SipHasher13 {
    static SECRET: OnceLock<SipHasher13> = OnceLock::new();
    // The standard library's own source of per-process randomness.
    let part = || RandomState::new().hash_one(0);
    *SECRET.get_or_init(|| SipHasher13::new_with_keys(part(), part()))
}

/// Whether rows of these columns can be told apart; a column's type that can't is named.
pub(crate) fn check(schema: &Schema) -> Result<(), Refused> {
    for field in schema.fields() {
        if !RowConverter::supports_fields(&[SortField::new(field.data_type().clone())]) {
            return Err(Refused::Type { column: field.name().clone(), kind: field.data_type().to_string() });
        }
    }
    Ok(())
}

/// The fingerprints of a batch's rows, by these columns, in order.
pub(crate) fn of(batch: &RecordBatch, columns: &[usize]) -> Result<Vec<u128>, Refused> {
    let columns: Vec<ArrayRef> = columns.iter().map(|i| batch.column(*i).clone()).collect();
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let mut all = Vec::with_capacity(batch.num_rows());
    let mut rows = converter.empty_rows(CHUNK.min(batch.num_rows()), 0);
    let mut at = 0;
    while at < batch.num_rows() {
        let length = CHUNK.min(batch.num_rows() - at);
        let chunk: Vec<ArrayRef> = columns.iter().map(|c| c.slice(at, length)).collect();
        rows.clear();
        converter.append(&mut rows, &chunk)?;
        all.extend(rows.iter().map(|row| {
            let mut hasher = secret();
            hasher.write(row.as_ref());
            hasher.finish128().as_u128()
        }));
        at += length;
    }
    Ok(all)
}

/// Fingerprints are random already: maps of them need no hash of their own.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, value: u128) {
        #[allow(clippy::cast_possible_truncation, reason = "half of a random number is random")]
        let low = value as u64;
        self.0 = low;
    }
}

/// By fingerprint.
pub(crate) type Map<V> = std::collections::HashMap<u128, V, std::hash::BuildHasherDefault<Identity>>;
