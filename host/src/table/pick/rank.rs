//! The rows at certain ranks of an order, found by selection: all rows are looked at, once for the first page and twice for
//! others, and only those asked for are sorted.

use super::Place;
use super::values::{Binaries, Booleans, Encoded, Numbers, Texts, Values};
use crate::table::rows::{Chunk, Rows};
use arrow_array::downcast_primitive;
use arrow_schema::{ArrowError, DataType};
use std::cmp::Ordering;
use std::ops::Range;

/// A column to order by. Nulls are last, either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// Which column.
    pub(crate) column: usize,
    /// The greatest first.
    pub(crate) descending: bool,
}

/// So many values are kept at least before they are cut down to the best.
const LEAST: usize = if cfg!(test) { 4 } else { 4096 };

impl Rows {
    /// Those of these rows that are at these ranks of an order, in that order. Rows that are equal in it stay in the order
    /// in which they are given, which is the table's.
    ///
    /// # Errors
    ///
    /// When the values of a column can't be compared.
    pub(crate) fn ranked(
        &self,
        places: Vec<Place>,
        order: &[Order],
        ranks: Range<usize>,
    ) -> Result<Vec<Place>, ArrowError> {
        ranked(self.chunks(), places, order, ranks)
    }
}

fn ranked(
    chunks: &[Chunk],
    places: Vec<Place>,
    order: &[Order],
    ranks: Range<usize>,
) -> Result<Vec<Place>, ArrowError> {
    let end = ranks.end.min(places.len());
    let ranks = ranks.start.min(end)..end;
    let Some((first, next)) = order.split_first().filter(|_| places.len() > 1 && !ranks.is_empty()) else {
        return Ok(places.get(ranks).unwrap_or_default().to_vec());
    };
    let by = By { chunks, descending: first.descending, next };
    let column = first.column;
    let Some(kind) = chunks.first().map(|chunk| chunk.batch().column(column).data_type().clone()) else {
        return Ok(Vec::new());
    };
    macro_rules! numbers {
        ($t:ty) => {
            by.pick(&Numbers::<$t>::of(chunks, column)?, places, ranks)
        };
    }
    downcast_primitive! {
        kind => (numbers),
        DataType::Boolean => by.pick(&Booleans::of(chunks, column)?, places, ranks),
        DataType::Utf8 => by.pick(&Texts::of(chunks, column)?, places, ranks),
        DataType::Binary => by.pick(&Binaries::of(chunks, column)?, places, ranks),
        _ => by.pick(&&Encoded::of(chunks, column)?, places, ranks)
    }
}

/// One column of an order, and those after it.
struct By<'a> {
    chunks: &'a [Chunk],
    descending: bool,
    next: &'a [Order],
}

impl By<'_> {
    fn pick<V: Values>(&self, values: &V, places: Vec<Place>, ranks: Range<usize>) -> Result<Vec<Place>, ArrowError> {
        match self.descending {
            false => self.by(values, places, ranks, V::compare),
            true => self.by(values, places, ranks, |a, b| V::compare(b, a)),
        }
    }

    /// `ranks` are within the places.
    fn by<V: Values>(
        &self,
        values: &V,
        mut places: Vec<Place>,
        ranks: Range<usize>,
        compare: impl Fn(V::Value, V::Value) -> Ordering + Copy,
    ) -> Result<Vec<Place>, ArrowError> {
        let mut nulls = Vec::new();
        if values.may_be_null() {
            (places, nulls) = places.into_iter().partition(|place| values.at(*place).is_some());
        }
        let there = places.len();
        let (start, end) = (ranks.start, ranks.end.min(there));
        let mut picked = Vec::with_capacity(ranks.len());
        if start < end {
            let (mut below, mut first, mut last, mut between) = (0, Vec::new(), Vec::new(), Vec::new());
            let valued = || places.iter().filter_map(|place| values.at(*place).map(|value| (value, *place)));
            if start == 0 && end == there {
                between.extend(valued());
            } else if start == 0 {
                (between, last) = best(valued(), end, compare);
            } else {
                let Some((low, high)) = bounds(valued().map(|(value, _)| value), start, end, compare) else {
                    return Ok(picked);
                };
                for (value, place) in valued() {
                    match (compare(value, high), if start == 0 { Ordering::Greater } else { compare(value, low) }) {
                        (Ordering::Greater, _) => {}
                        (Ordering::Equal, _) => last.push(place),
                        (_, Ordering::Greater) => between.push((value, place)),
                        (_, Ordering::Equal) => first.push(place),
                        (_, Ordering::Less) => below += 1,
                    }
                }
            }
            // Those before the first value that is wanted are passed over; of the rest of it, some may be.
            let passed = start - below;
            let (of_first, of_last) = match first.is_empty() && between.is_empty() {
                true => (0..0, passed..passed + (end - start)),
                false => {
                    let from_first = first.len().saturating_sub(passed).min(end - start);
                    (passed..passed + from_first, 0..end - start - from_first - between.len())
                }
            };
            picked.extend(self.then(first, of_first)?);
            between.sort_unstable_by(|a, b| compare(a.0, b.0).then(a.1.cmp(&b.1)));
            for run in between.chunk_by(|a, b| compare(a.0, b.0).is_eq()) {
                match run {
                    [(_, only)] => picked.push(*only),
                    _ => picked.extend(self.then(run.iter().map(|(_, place)| *place).collect(), 0..run.len())?),
                }
            }
            picked.extend(self.then(last, of_last)?);
        }
        picked.extend(self.then(nulls, ranks.start.saturating_sub(there)..ranks.end.saturating_sub(there))?);
        Ok(picked)
    }

    /// Rows that this column does not tell apart.
    fn then(&self, places: Vec<Place>, ranks: Range<usize>) -> Result<Vec<Place>, ArrowError> {
        ranked(self.chunks, places, self.next, ranks)
    }
}

/// The first so many, of which there are more: those before the last value among them, and all that have that value, these in
/// the table's order.
fn best<T: Copy>(
    values: impl Iterator<Item = (T, Place)>,
    end: usize,
    compare: impl Fn(T, T) -> Ordering,
) -> (Vec<(T, Place)>, Vec<Place>) {
    let most = LEAST.max(4 * end);
    let (mut better, mut last) = (Vec::new(), Vec::new());
    let mut worst: Option<T> = None;
    // Of these, enough are better than what was the worst so far.
    let cut = |better: &mut Vec<(T, Place)>, last: &mut Vec<Place>| {
        let value = better.select_nth_unstable_by(end - 1, |a, b| compare(a.0, b.0)).1.0;
        last.clear();
        last.extend(better.iter().filter(|one| compare(one.0, value).is_eq()).map(|one| one.1));
        last.sort_unstable();
        better.retain(|one| compare(one.0, value).is_lt());
        value
    };
    for (value, place) in values {
        match worst.map(|worst| compare(value, worst)) {
            Some(Ordering::Greater) => {}
            Some(Ordering::Equal) => last.push(place),
            Some(Ordering::Less) | None => {
                better.push((value, place));
                if better.len() == most {
                    worst = Some(cut(&mut better, &mut last));
                }
            }
        }
    }
    if better.len() >= end {
        cut(&mut better, &mut last);
    }
    (better, last)
}

/// The values at the first and the last of some ranks.
fn bounds<T: Copy>(
    values: impl Iterator<Item = T>,
    start: usize,
    end: usize,
    compare: impl Fn(T, T) -> Ordering,
) -> Option<(T, T)> {
    let most = LEAST.max(4 * end);
    let mut kept: Vec<T> = Vec::new();
    let mut worst: Option<T> = None;
    for value in values {
        if worst.is_some_and(|worst| compare(value, worst).is_ge()) {
            continue;
        }
        kept.push(value);
        if kept.len() == most {
            let (_, last, _) = kept.select_nth_unstable_by(end - 1, |a, b| compare(*a, *b));
            worst = Some(*last);
            kept.truncate(end);
        }
    }
    if end == 0 || kept.len() < end {
        return None;
    }
    let high = *kept.select_nth_unstable_by(end - 1, |a, b| compare(*a, *b)).1;
    let low = *kept[..end].select_nth_unstable_by(start, |a, b| compare(*a, *b)).1;
    Some((low, high))
}
