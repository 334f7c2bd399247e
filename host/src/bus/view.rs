//! stub
use crate::table::{Refused, Shape};
use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
/// stub
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct View {}
/// stub
#[derive(Debug)]
pub struct Bound {
    shape: Shape,
}
/// stub
#[derive(Debug, thiserror::Error)]
#[error("stub")]
pub struct ViewError;
impl View {
    /// stub
    pub fn is_all(&self) -> bool {
        true
    }
    /// stub
    pub fn bind(&self, shape: &Shape) -> Result<Bound, ViewError> {
        Ok(Bound { shape: shape.clone() })
    }
}
impl Bound {
    /// stub
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
    /// stub
    pub fn step(
        &mut self,
        removed: &RecordBatch,
        added: &RecordBatch,
        updated: usize,
    ) -> Result<(RecordBatch, RecordBatch, usize), Refused> {
        Ok((removed.clone(), added.clone(), updated))
    }
    /// stub
    pub fn begin(&mut self, batches: impl Iterator<Item = RecordBatch>) -> Result<Vec<RecordBatch>, Refused> {
        Ok(batches.collect())
    }
}
