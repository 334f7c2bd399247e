//! Which rows are given, and in what parts.

use super::asked::Fitted;
use crate::table::{Place, Rows, Walk};
use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

/// Some rows on their way to a client.
#[derive(Debug)]
pub(super) struct Page {
    rows: Rows,
    left: Left,
    /// How many rows there are on all pages.
    pub(super) total: usize,
    /// Where the next page begins; none: this is the last.
    pub(super) next: Option<usize>,
}

#[derive(Debug)]
enum Left {
    /// Rows as they stand.
    Walk(Walk),
    /// Certain rows, from a place in the list on.
    Picked { places: Vec<Place>, from: usize, columns: Vec<usize> },
}

impl Page {
    /// So many rows at most from a row on. Takes as long as the table is large, if rows are chosen or ordered: no work for a
    /// thread that others wait for.
    pub(super) fn of(rows: Rows, fitted: Fitted, from: usize, limit: Option<usize>) -> Result<Self, ArrowError> {
        let Fitted { columns, order, only } = fitted;
        let most = limit.unwrap_or(usize::MAX);
        let to = from.saturating_add(most);
        let (left, total) = if only.is_empty() && order.is_empty() {
            (Left::Walk(Walk::new(rows.clone(), columns, from, most)), rows.num_rows())
        } else {
            let places = rows.places(&only)?;
            let total = places.len();
            // Without an order: as they stand.
            let places = rows.ranked(places, &order, from..to)?;
            (Left::Picked { places, from: 0, columns }, total)
        };
        Ok(Self { rows, left, total, next: (to < total).then_some(to) })
    }

    /// How many rows are still to come.
    pub(super) fn left(&self) -> usize {
        match &self.left {
            Left::Walk(walk) => walk.left(),
            Left::Picked { places, from, .. } => places.len() - from,
        }
    }

    /// The next rows, so many at most; `None`: that was all.
    pub(super) fn take(&mut self, most: usize) -> Result<Option<RecordBatch>, ArrowError> {
        match &mut self.left {
            Left::Walk(walk) => walk.take(most),
            Left::Picked { places, from, columns } => {
                let some = &places[*from..places.len().min(from.saturating_add(most))];
                if some.is_empty() {
                    return Ok(None);
                }
                *from += some.len();
                self.rows.gather(some, columns).map(Some)
            }
        }
    }
}
