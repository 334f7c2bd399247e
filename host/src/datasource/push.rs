//! Tables that clients write: the source declares them, the host holds what is written to that.

use super::action::ActionError;
use super::error::fault;
use super::keep::Place;
use super::open::{Open, SourceError};
use super::runner::{Shared, Status};
use super::set::Datasources;
use crate::bus::{Fault, TableView};
use crate::plugin::CallError;
use crate::table::Shape;
use arrow_array::RecordBatch;
use arrow_row::{RowConverter, SortField};
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::{ColumnInfo, TableInfo};
use busway_plugin_api::message::WebhookRequest;
use busway_plugin_api::table::{Batches, Change, Update};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant;

/// What a field's metadata calls its description, as in the contract's columns.
const DESCRIPTION: &str = "description";

/// A table that clients write, and the way to it.
#[derive(Debug)]
pub struct Written {
    open: Arc<Open>,
    shared: Arc<Shared>,
    table: String,
    /// Where it is kept, if it is to be then.
    place: Option<Arc<Place>>,
    /// Its columns and key, as the source declares them.
    pub shape: Shape,
}

impl Written {
    /// Replaces all rows.
    ///
    /// # Errors
    ///
    /// When two are of one key, or they are too many, or the datasource is just moving; nothing was changed then.
    pub fn replace(&self, rows: Batches) -> Result<(), ActionError> {
        // A source's snapshot may have a row twice; of two rows that a client wrote, nobody can say which is meant.
        if let Some((one, two)) = twice(&self.shape, &rows).map_err(|e| ActionError::Failed(Fault::new("broken", e)))? {
            let text = format!("rows {} and {} have the same key: {}", one + 1, two + 1, self.shape.key.join(", "));
            return Err(ActionError::Failed(Fault::new("inconsistent", text)));
        }
        self.write(Change::Snapshot(rows))
    }

    /// Adds and removes rows, all or nothing. Of a table with a key, rows that are there are replaced, and keys are enough
    /// to remove them.
    ///
    /// # Errors
    ///
    /// As [`replace`](Self::replace); and when a row that is to be added is there already, or one to be removed is not.
    pub fn change(&self, added: Batches, removed: Batches) -> Result<(), ActionError> {
        self.write(Change::Delta { added, removed })
    }

    fn write(&self, change: Change) -> Result<(), ActionError> {
        let Shape { key, topic, description, .. } = self.shape.clone();
        let update = Update { table: self.table.clone(), key, topic, description, change };
        self.open.ingest.write(update).map_err(failed)?;
        self.shared.change(Status::written);
        // What a client was told is written is there after any end.
        if let Some(place) = &self.place {
            place.save(|| self.open.ingest.view(&self.table)).map_err(|error| {
                let text = format!("the rows are in the table, but they could not be kept on the disk: {error}");
                ActionError::Failed(Fault::new("not_kept", text))
            })?;
        }
        Ok(())
    }
}

impl Datasources {
    /// A table of a datasource that clients may write.
    ///
    /// # Errors
    ///
    /// When the datasource is not there or not open, and when the table is not one that clients write.
    pub async fn written(&self, name_or_id: &str, table: &str) -> Result<Written, ActionError> {
        let (open, shared) = self.settled(name_or_id).await?;
        let place = self.find(name_or_id).map(|entry| entry.place());
        let declared = open.tables().into_iter().find(|t| t.name == table);
        let refuse = |text: String| Err(ActionError::Failed(Fault::new("not_pushed", text)));
        let Some(info) = declared.filter(|info| info.pushed) else {
            let names: Vec<String> = open.tables().into_iter().filter(|t| t.pushed).map(|t| t.name).collect();
            let driver = &open.generation.info.id;
            return refuse(match names.is_empty() {
                true => format!(
                    "Method replace_entire_table_data not supported for datasource {name_or_id}: clients write no table of driver {driver}"
                ),
                false => format!(
                    "table {table:?} of datasource {name_or_id} is not written by clients: {} may be",
                    names.join(", ")
                ),
            });
        };
        let shape = shape(&info).map_err(|e| ActionError::Failed(Fault::new("broken", e)))?;
        Ok(Written { open, shared, table: info.name, place, shape })
    }

    /// Hands on what somebody sent about news; the tables that were updated.
    ///
    /// # Errors
    ///
    /// When the datasource is not there or not open, and what its source answers: that it takes no webhooks, say.
    pub async fn webhook(
        &self,
        name_or_id: &str,
        table: Option<String>,
        payload: Value,
    ) -> Result<Vec<String>, ActionError> {
        let (open, shared) = self.settled(name_or_id).await?;
        let done = open.webhook(WebhookRequest { table, payload }).await;
        if done.as_ref().is_ok_and(|tables| !tables.is_empty()) {
            shared.change(Status::written);
        }
        done.map_err(|error| match error.status() {
            Some(Code::NOT_IMPLEMENTED) => ActionError::Failed(Fault::new(
                "not_implemented",
                format!("Method process_webhook_notification not supported for datasource {name_or_id}"),
            )),
            _ => ActionError::Failed(fault(&error)),
        })
    }

    /// Whether a table of the datasource is one that nobody subscribes to, and that is polled only then.
    #[must_use]
    pub fn is_idle(&self, name_or_id: &str, table: &str) -> bool {
        let open = self.find(name_or_id).and_then(|entry| entry.shared().open());
        open.is_some_and(|open| open.tables().iter().any(|t| t.lazy && t.name == table) && !open.ingest.has(table))
    }

    /// The tables that its source says it has, whether they have been read or not.
    ///
    /// # Errors
    ///
    /// When it is not there or not open.
    pub fn tables(&self, name_or_id: &str) -> Result<Vec<TableInfo>, ActionError> {
        let entry = self.find(name_or_id).ok_or_else(|| ActionError::NotFound(name_or_id.to_owned()))?;
        let shared = entry.shared();
        let open = shared.open().ok_or_else(|| ActionError::not_open(&entry.record().name, &shared))?;
        Ok(open.tables())
    }

    /// Its active source; one that is about to become active is waited for.
    async fn settled(&self, name_or_id: &str) -> Result<(Arc<Open>, Arc<Shared>), ActionError> {
        let entry = self.find(name_or_id).ok_or_else(|| ActionError::NotFound(name_or_id.to_owned()))?;
        let (name, shared) = (entry.record().name.clone(), entry.shared());
        let until = Instant::now() + super::action::ACTION;
        let open = tokio::time::timeout_at(until, shared.settled()).await.ok().flatten();
        let open = open.ok_or_else(|| ActionError::not_open(&name, &shared))?;
        Ok((open, shared))
    }
}

/// Begins the tables that clients write, without rows; those that are there go on, unless their rows don't fit the columns
/// and the key as they are declared now.
pub(super) fn begin(open: &Open) {
    for info in open.tables().iter().filter(|info| info.pushed) {
        let begun = shape(info).map_err(|e| e.to_string()).and_then(|shape| {
            let there = open.ingest.view(&info.name);
            if there.as_ref().is_some_and(|view| *view.shape == shape) {
                open.ingest.adopt(&info.name);
                return Ok(());
            }
            let rows = there.and_then(|view| fitting(&view, &shape));
            let Shape { schema, key, topic, description } = shape;
            let change = Change::Snapshot(rows.unwrap_or_else(|| Batches::empty(schema)));
            let update = Update { table: info.name.clone(), key, topic, description, change };
            open.ingest.write(update).map_err(|e| e.to_string())
        });
        if let Err(error) = begun {
            tracing::warn!(driver = open.generation.info.id, table = info.name, error, "a table for clients can't be");
        }
    }
}

/// The rows of a table that was declared otherwise, if it had the same columns and key.
fn fitting(view: &TableView, shape: &Shape) -> Option<Batches> {
    let alike = |(a, b): (&Arc<Field>, &Arc<Field>)| {
        (a.name(), a.data_type(), a.is_nullable()) == (b.name(), b.data_type(), b.is_nullable())
    };
    let (old, new) = (view.shape.schema.fields(), shape.schema.fields());
    if view.shape.key != shape.key || old.len() != new.len() || !old.iter().zip(new).all(alike) {
        return None;
    }
    let one = |batch: RecordBatch| RecordBatch::try_new(Arc::clone(&shape.schema), batch.columns().to_vec());
    let batches = view.rows.batches().map(one).collect::<Result<_, _>>().ok()?;
    Some(Batches { schema: Arc::clone(&shape.schema), batches })
}

fn failed(error: CallError) -> ActionError {
    ActionError::Failed(fault(&SourceError::Call(error)))
}

/// Two rows of one key.
fn twice(shape: &Shape, rows: &Batches) -> Result<Option<(usize, usize)>, ArrowError> {
    let key = shape.key.iter().map(|name| rows.schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
    if key.is_empty() {
        return Ok(None);
    }
    let fields = key.iter().map(|at| SortField::new(rows.schema.field(*at).data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let mut seen: HashMap<Box<[u8]>, usize> = HashMap::new();
    for batch in &rows.batches {
        let columns: Vec<_> = key.iter().map(|at| Arc::clone(batch.column(*at))).collect();
        for row in &converter.convert_columns(&columns)? {
            let at = seen.len();
            if let Some(before) = seen.insert(row.as_ref().into(), at) {
                return Ok(Some((before, at)));
            }
        }
    }
    Ok(None)
}

/// A declared table as the host holds it.
fn shape(info: &TableInfo) -> Result<Shape, String> {
    let fields: Vec<Field> = info.columns.iter().map(field).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let shape = Shape::new(Arc::new(Schema::new(fields)), info.key.clone()).map_err(|e| e.to_string())?;
    Ok(Shape { topic: info.topic.clone(), description: info.description.clone(), ..shape })
}

fn field(column: &ColumnInfo) -> Result<Field, ArrowError> {
    let kind = DataType::try_from(&c_schema(column)?)?;
    let field = Field::new(&column.name, kind, column.nullable);
    Ok(match column.description.is_empty() {
        true => field,
        false => field.with_metadata(HashMap::from([(DESCRIPTION.to_owned(), column.description.clone())])),
    })
}

fn c_schema(column: &ColumnInfo) -> Result<FFI_ArrowSchema, ArrowError> {
    let children = column.children.iter().map(c_schema).collect::<Result<Vec<_>, _>>()?;
    let flags = if column.nullable { arrow_schema::ffi::Flags::NULLABLE } else { arrow_schema::ffi::Flags::empty() };
    FFI_ArrowSchema::try_new(&column.kind, children, None)?.with_name(&column.name)?.with_flags(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use busway_plugin_api::table::columns;

    #[test]
    fn columns_are_what_they_were_declared_from() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("price", DataType::Decimal128(12, 2), true),
            Field::new("ports", list, true),
        ]);
        let info = TableInfo {
            key: vec!["id".to_owned()],
            columns: columns(&schema),
            ..serde_json::from_value(serde_json::json!({"name": "t"})).unwrap()
        };
        let shape = shape(&info).unwrap();
        assert_eq!((&*shape.schema, &shape.key[..]), (&schema, &["id".to_owned()][..]));
    }
}
