//! Several steps as one.

use super::fingerprint::Printer;
use super::index::{ByPrint, refuse};
use super::shape::{Refused, Shape};
use super::step::Step;
use super::store::gather;
use arrow_array::RecordBatch;
use std::sync::Arc;

/// A row's place: which of the batches, which of its rows.
type Place = (usize, usize);

/// What became of one row of a set, or of one key.
struct Fate {
    /// The row before the first step, and the print of what may change of it.
    before: Option<(Place, u64)>,
    /// After the last.
    after: Option<(Place, u64)>,
}

impl Step {
    /// The net step of consecutive ones: what came and went is in neither; of keyed tables the first old and the last new
    /// row are one update; what changed back is no change. May be empty. Costs a pass over the rows of the steps.
    ///
    /// # Errors
    ///
    /// When there are none, they are not consecutive or contradict each other, or their rows are not of this shape.
    pub fn coalesce(shape: &Shape, steps: &[Arc<Self>]) -> Result<Self, Refused> {
        let (Some(first), Some(last)) = (steps.first(), steps.last()) else {
            return refuse("there are no steps");
        };
        if steps.windows(2).any(|pair| (pair[0].epoch, pair[0].to) != (pair[1].epoch, pair[1].from)) {
            return refuse("the steps do not follow one another");
        }
        // The batches in the order in which they happen: removals first.
        let batches: Vec<&RecordBatch> = steps.iter().flat_map(|step| [&step.removed, &step.added]).collect();
        let fates = fates(shape, &batches)?;
        let (mut pairs, mut removed, mut added) = ((Vec::new(), Vec::new()), Vec::new(), Vec::new());
        for fate in fates {
            match (fate.before, fate.after) {
                (Some((old, was)), Some((new, is))) if was != is => {
                    pairs.0.push(old);
                    pairs.1.push(new);
                }
                (Some((old, _)), None) => removed.push(old),
                (None, Some((new, _))) => added.push(new),
                _ => {}
            }
        }
        let updated = pairs.0.len();
        let pick = |mut pairs: Vec<Place>, rest: Vec<Place>| {
            pairs.extend(rest);
            gather(&shape.schema, &batches, &pairs)
        };
        let (removed, added) = (pick(pairs.0, removed)?, pick(pairs.1, added)?);
        Ok(Self { epoch: first.epoch, from: first.from, to: last.to, poll: last.poll, removed, added, updated })
    }
}

/// In the order of their first appearance.
fn fates(shape: &Shape, batches: &[&RecordBatch]) -> Result<Vec<Fate>, Refused> {
    let mut fates: Vec<Fate> = Vec::new();
    let mut places: ByPrint<usize> = ByPrint::default();
    let printer = Printer::new(shape)?;
    for (i, batch) in batches.iter().enumerate() {
        let prints = printer.prints(std::iter::once(*batch), 1)?;
        let removal = i % 2 == 0;
        for row in 0..batch.num_rows() {
            let (place, print) = ((i, row), prints.rest(row));
            let fate = *places.entry(prints.id(row)).or_insert(fates.len());
            match (fates.get_mut(fate), removal) {
                (None, true) => fates.push(Fate { before: Some((place, print)), after: None }),
                (None, false) => fates.push(Fate { before: None, after: Some((place, print)) }),
                (Some(fate), true) if fate.after.is_some_and(|(_, was)| was == print) => fate.after = None,
                (Some(fate), false) if fate.after.is_none() => fate.after = Some((place, print)),
                _ => return refuse("the steps contradict each other"),
            }
        }
    }
    Ok(fates)
}
