//! The recent steps of a table.

use super::step::{Epoch, Step};
use std::collections::VecDeque;
use std::sync::Arc;

/// Recent steps of a table, one after the other, for those who come back and say where they stood. Knows where the table
/// stands even while it holds no step.
#[derive(Debug, Clone)]
pub struct Ring {
    steps: VecDeque<Arc<Step>>,
    /// Where the last step led, or the table began.
    position: Option<(Epoch, u64)>,
    bytes: usize,
    most_steps: usize,
    most_bytes: usize,
}

impl Default for Ring {
    /// Of 256 steps and 8 MiB.
    fn default() -> Self {
        Self::new(256, 8 << 20)
    }
}

impl Ring {
    /// Holds at most so many steps, and so many bytes of their rows.
    #[must_use]
    pub fn new(steps: usize, bytes: usize) -> Self {
        Self { steps: VecDeque::new(), position: None, bytes: 0, most_steps: steps, most_bytes: bytes }
    }

    /// The table begins anew, there.
    pub fn begin(&mut self, epoch: Epoch, to: u64) {
        self.clear();
        self.position = Some((epoch, to));
    }

    /// The table took this step. The oldest go first; a step of another epoch, or from elsewhere than where the table
    /// stood, clears the ring before.
    pub fn push(&mut self, step: Arc<Step>) {
        if self.position != Some((step.epoch, step.from)) {
            self.clear();
        }
        self.position = Some((step.epoch, step.to));
        self.bytes += step.bytes();
        self.steps.push_back(step);
        while self.steps.len() > self.most_steps || self.bytes > self.most_bytes {
            let Some(oldest) = self.steps.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    /// The steps since a position; none when the table stands there. `None`: they are not all held, or the position is in
    /// the middle of one.
    #[must_use]
    pub fn since(&self, epoch: Epoch, to: u64) -> Option<Vec<Arc<Step>>> {
        let (now, at) = self.position?;
        if now != epoch {
            return None;
        }
        if at == to {
            return Some(Vec::new());
        }
        let first = self.steps.binary_search_by_key(&to, |step| step.from).ok()?;
        Some(self.steps.range(first..).cloned().collect())
    }

    /// Forgets the steps and the position.
    pub fn clear(&mut self) {
        self.steps.clear();
        self.bytes = 0;
        self.position = None;
    }

    /// How many steps it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The bytes of the rows of its steps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use proptest::prelude::*;

    fn step(epoch: u64, from: u64, to: u64, rows: usize) -> Arc<Step> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let column = Int64Array::from_iter_values(0..rows as i64);
        let added = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap();
        let removed = RecordBatch::new_empty(schema);
        Arc::new(Step { epoch: Epoch(epoch), from, to, poll: 0, removed, added, updated: 0 })
    }

    #[test]
    fn a_fresh_table_stands_where_it_began() {
        let mut ring = Ring::default();
        assert!(ring.since(Epoch(1), 1).is_none());
        ring.begin(Epoch(1), 1);
        assert!(ring.since(Epoch(1), 1).unwrap().is_empty());
        assert!(ring.since(Epoch(1), 2).is_none() && ring.since(Epoch(2), 1).is_none());
    }

    proptest! {
        #[test]
        fn holds_the_last_steps_that_fit(
            moves in prop::collection::vec((0u64..12, 1u64..4, 0usize..30), 0..40),
            most in 1usize..6,
            bytes in 0usize..800,
        ) {
            let mut ring = Ring::new(most, bytes);
            let (mut epoch, mut at) = (1, 1);
            ring.begin(Epoch(epoch), at);
            // The model: all steps of the present run, the last of which a ring may hold.
            let mut run: Vec<Arc<Step>> = Vec::new();
            for (kind, width, rows) in moves {
                match kind {
                    0 => { epoch += 1; run.clear(); }
                    1 => { at += 1; run.clear(); }
                    _ => {}
                }
                run.push(step(epoch, at, at + width, rows));
                at += width;
                ring.push(Arc::clone(&run[run.len() - 1]));
            }
            let fits = |held: &&[Arc<Step>]| held.len() <= most && held.iter().map(|s| s.bytes()).sum::<usize>() <= bytes;
            let held = (0..=run.len()).map(|first| &run[first..]).find(fits).unwrap();
            prop_assert_eq!(ring.len(), held.len());
            prop_assert_eq!(ring.bytes(), held.iter().map(|s| s.bytes()).sum::<usize>());
            for to in 0..at + 3 {
                let expected = match held.iter().position(|s| s.from == to) {
                    Some(first) => Some(&held[first..]),
                    None if to == at => Some(&held[..0]),
                    None => None,
                };
                let froms = |steps: &[Arc<Step>]| steps.iter().map(|s| (s.from, s.to)).collect::<Vec<_>>();
                prop_assert_eq!(ring.since(Epoch(epoch), to).map(|s| froms(&s)), expected.map(froms));
                prop_assert!(ring.since(Epoch(epoch + 1), to).is_none());
            }
        }
    }
}
