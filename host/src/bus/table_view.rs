//! A table at one moment, and who published it.

use super::address::Address;
use super::view::View;
use crate::table::{Epoch, Rows, Shape};
use arrow_select::concat::concat_batches;
use jiff::Timestamp;
use std::sync::Arc;
use uuid::Uuid;

/// Who publishes a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Publisher {
    /// The node it runs on.
    pub node: Arc<str>,
    /// The service's registration: another after each restart.
    pub instance: Uuid,
}

/// A table at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TableView {
    /// Its name.
    pub address: Arc<Address>,
    /// Who published it.
    pub publisher: Publisher,
    /// Its columns and key.
    pub shape: Arc<Shape>,
    /// Its rows.
    pub rows: Rows,
    /// Its life's number.
    pub epoch: Epoch,
    /// The state's number in it.
    pub to: u64,
    /// The publisher's poll that the state comes from; 0: none.
    pub poll: u64,
    /// Why the last attempt to read it failed; the rows are those of the last good one.
    pub error: Option<String>,
    /// When its rows were last known to be true.
    pub as_of: Option<Timestamp>,
}

impl TableView {
    /// The table as a view shows it.
    pub(super) fn through(self: &Arc<Self>, view: &View) -> Result<Arc<Self>, String> {
        if view.is_everything() {
            return Ok(Arc::clone(self));
        }
        let below = match &view.through {
            Some(imposed) => self.through(imposed)?,
            None => Arc::clone(self),
        };
        let mut bound = view.bind(&below.shape).map_err(|e| e.to_string())?;
        let batches = bound.begin(below.rows.batches()).map_err(|e| e.to_string())?;
        let shape = Arc::new(bound.shape().clone());
        let rows = concat_batches(&shape.schema, &batches).map_err(|e| e.to_string())?;
        Ok(Arc::new(Self { shape, rows: Rows::from(rows), ..(*below).clone() }))
    }
}
