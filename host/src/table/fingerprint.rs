//! Rows as fingerprints of 96 bits under a secret of this process: equal rows have equal ones.
//!
//! The hash is XXH3-128 with 192 random bytes in place of its published secret. What is promised: two different rows
//! have the same print by chance in one of 2^96 cases. With 5 M rows held and as many new ones a false match has a chance
//! of 3e-16 a poll. What is not: XXH3 is well tested, but no cryptographic hash. Someone who may choose rows and doesn't
//! know the secret has no known way to make two that collide, short of trying, but nothing proves that there is none; who
//! could read the process's memory, or learn prints, can. Prints never leave the process. If a match is forged, that
//! table shows an old row for a new one until the next change of it: nothing else comes of it. SipHash-1-3-128, whose
//! promise is stronger, takes 26 ns for a row of 55 bytes where XXH3 takes 7: a third more for a whole poll of a large table.
//!
//! Of keyed tables the key has 96 bits, the rest of the row 64. That is enough: a row's rest is only compared with the one
//! old row of its key, so a change is missed once in 2^64 changes, however large the table.

use super::encode::Encoder;
use super::shape::{Refused, Shape};
use arrow_array::RecordBatch;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::OnceLock;
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// What identifies a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Print(pub(super) [u32; 3]);

impl Print {
    /// Half of a random number is random: for tables by hash.
    pub(crate) fn hash(self) -> u64 {
        u64::from(self.0[0]) << 32 | u64::from(self.0[1])
    }
}

impl Hash for Print {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(Self::hash(*self));
    }
}

const SECRET: usize = 192;

fn secret() -> &'static [u8; SECRET] {
    static BYTES: OnceLock<[u8; SECRET]> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut bytes = [0; SECRET];
        // The standard library's own source of per-process randomness, drawn on afresh for every 16 bytes.
        for part in bytes.chunks_mut(16) {
            let state = RandomState::new();
            part[..8].copy_from_slice(&state.hash_one(0).to_le_bytes());
            part[8..].copy_from_slice(&state.hash_one(1).to_le_bytes());
        }
        bytes
    })
}

/// The hash of a row's bytes.
#[inline]
fn hash(secret: &[u8; SECRET], bytes: &[u8]) -> u128 {
    xxh3_128_with_secret(bytes, secret)
}

/// The fingerprints of some rows, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prints {
    /// Of the keys; of a set's rows as wholes.
    pub(crate) ids: Vec<Print>,
    /// Of keyed tables: of the columns beside the key. Of sets empty.
    pub(crate) rest: Vec<u64>,
}

impl Prints {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// What tells the row from all others.
    pub(crate) fn id(&self, row: usize) -> Print {
        self.ids[row]
    }

    /// What may change while the row stays the same one.
    pub(crate) fn rest(&self, row: usize) -> u64 {
        self.rest.get(row).copied().unwrap_or(0)
    }

    /// Those of some rows.
    pub(crate) fn pick(&self, rows: &[u32]) -> Self {
        Self {
            ids: rows.iter().map(|row| self.ids[*row as usize]).collect(),
            rest: match self.rest.is_empty() {
                true => Vec::new(),
                false => rows.iter().map(|row| self.rest[*row as usize]).collect(),
            },
        }
    }

    pub(crate) fn extend(&mut self, more: Self) {
        // Not twice as much, as vectors grow: this is most of what a table keeps beside its rows.
        if self.ids.capacity() < self.ids.len() + more.len() {
            let room = more.len().max(self.ids.len() / 8);
            self.ids.reserve_exact(room);
            self.rest.reserve_exact(if more.rest.is_empty() { 0 } else { room });
        }
        self.ids.extend(more.ids);
        self.rest.extend(more.rest);
    }

    /// In memory.
    pub(crate) fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<Print>() + self.rest.capacity() * size_of::<u64>()
    }
}

/// Makes the fingerprints of one table's rows.
#[derive(Debug)]
pub(crate) struct Printer {
    ids: Encoder,
    rest: Option<Encoder>,
    /// Of batches that hold nothing but what identifies a row.
    bare: Encoder,
}

impl Printer {
    pub(crate) fn new(shape: &Shape) -> Result<Self, Refused> {
        let key = shape.key_columns();
        let all = 0..shape.schema.fields().len();
        if key.is_empty() {
            let whole = || Encoder::new(&shape.schema, all.clone().collect());
            return Ok(Self { ids: whole()?, rest: None, bare: whole()? });
        }
        let bare = Encoder::new(&shape.schema.project(&key)?, (0..key.len()).collect())?;
        let rest = Encoder::new(&shape.schema, all.filter(|column| !key.contains(column)).collect())?;
        Ok(Self { ids: Encoder::new(&shape.schema, key)?, rest: Some(rest), bare })
    }

    /// Of whole rows in these batches.
    pub(crate) fn prints<'a>(
        &self,
        batches: impl ExactSizeIterator<Item = &'a RecordBatch> + Clone,
        threads: usize,
    ) -> Result<Prints, Refused> {
        let rows = batches.clone().map(RecordBatch::num_rows).sum();
        let keyed = self.rest.is_some();
        let mut prints = Prints { ids: vec![Print::default(); rows], rest: vec![0; if keyed { rows } else { 0 }] };
        let (mut ids, mut rest) = (prints.ids.as_mut_slice(), prints.rest.as_mut_slice());
        let mut work = Vec::with_capacity(batches.len());
        for batch in batches {
            let (these, others) = ids.split_at_mut(batch.num_rows());
            let (these_rest, others_rest) = rest.split_at_mut(if keyed { batch.num_rows() } else { 0 });
            work.push((batch, these, these_rest));
            (ids, rest) = (others, others_rest);
        }
        super::threads::each(work, threads, |(batch, ids, rest)| {
            write(&self.ids, batch, ids)?;
            self.rest.as_ref().map_or(Ok(()), |encoder| {
                let secret = secret();
                #[allow(clippy::cast_possible_truncation, reason = "a part of a random number is random")]
                encoder.each(batch, |row, bytes| rest[row] = hash(secret, bytes) as u64)
            })
        })?;
        Ok(prints)
    }

    /// Of rows that hold the key's columns alone; of a set's whole rows.
    pub(crate) fn bare(&self, batch: &RecordBatch) -> Result<Vec<Print>, Refused> {
        let mut prints = vec![Print::default(); batch.num_rows()];
        write(&self.bare, batch, &mut prints)?;
        Ok(prints)
    }
}

fn write(encoder: &Encoder, batch: &RecordBatch, prints: &mut [Print]) -> Result<(), Refused> {
    let secret = secret();
    #[allow(clippy::cast_possible_truncation, reason = "96 bits of 128 are wanted")]
    encoder.each(batch, |row, bytes| {
        let hash = hash(secret, bytes);
        prints[row] = Print([hash as u32, (hash >> 32) as u32, (hash >> 64) as u32]);
    })
}
