//! Rows that clients write into a datasource's tables, and webhooks: what others tell of news.

use super::State;
use super::error::{Body, Error, parsed};
use super::extract::Path;
use super::json::{Unique, unique};
use super::publication::{Given, batches, bytes, keys, work};
use crate::datasource::Written;
use arrow_schema::SchemaRef;
use axum::Json;
use axum::extract::State as Extract;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(default, deserialize_with = "unique")]
    added: Vec<Value>,
    #[serde(default, deserialize_with = "unique")]
    removed: Vec<Value>,
}

/// Replaces all rows: a list of rows, each an object or a list of values in the order of the columns.
pub(super) async fn replace(
    Extract(state): Extract<State>,
    Path(names): Path<(String, String)>,
    body: Given,
) -> Result<Json<Value>, Error> {
    write(&state, names, body, |body, written| {
        let rows: Vec<Unique> = parsed(body, "the body is a list of rows")?;
        let schema = &written.shape.schema;
        let rows = rows.into_iter().map(|Unique(row)| row).collect();
        Ok(written.replace(batches(schema, &named(schema, rows, "")?, "")?)?)
    })
    .await
}

/// Adds and removes rows, all or nothing.
pub(super) async fn change(
    Extract(state): Extract<State>,
    Path(names): Path<(String, String)>,
    body: Given,
) -> Result<Json<Value>, Error> {
    write(&state, names, body, |body, written| {
        let changes: Changes = parsed(body, "the body is {\"added\": [rows], \"removed\": [rows or keys]}")?;
        let schema = &written.shape.schema;
        let added = batches(schema, &named(schema, changes.added, " of added")?, " of added")?;
        let (schema, removed) = keys(&written.shape, named(schema, changes.removed, " of removed")?);
        Ok(written.change(added, batches(&schema, &removed, " of removed")?)?)
    })
    .await
}

/// Does with a body what is to be done to a table, where nobody waits for the thread.
async fn write(
    state: &State,
    (ds, table): (String, String),
    body: Given,
    what: fn(&[u8], &Written) -> Result<(), Error>,
) -> Result<Json<Value>, Error> {
    let (body, written) = (bytes(body)?, state.datasources.written(&ds, &table).await?);
    work(move || what(&body, &written).map(|()| json!({}))).await
}

/// Rows that are lists, as objects. `of`: where in the body.
fn named(schema: &SchemaRef, rows: Vec<Value>, of: &str) -> Result<Vec<Value>, Error> {
    let one = |(at, row): (usize, Value)| match row {
        Value::Array(values) if values.len() == schema.fields().len() => {
            let names = schema.fields().iter().map(|field| field.name().clone());
            Ok(Value::Object(names.zip(values).collect::<Map<_, _>>()))
        }
        Value::Array(values) => {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let (row, has, columns) = (at + 1, values.len(), names.len());
            let text = format!("row {row}{of} has {has} values for {columns} columns: {}", names.join(", "));
            Err(Error::bad_request(text).with(json!({"row": row})))
        }
        row => Ok(row),
    };
    rows.into_iter().enumerate().map(one).collect()
}

/// Hands what was sent on to the datasource's driver, which answers the tables that it updated.
pub(super) async fn webhook(
    Extract(state): Extract<State>,
    Path(ds): Path<String>,
    Body(payload): Body,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({"tables": state.datasources.webhook(&ds, None, payload).await?})))
}

/// The same, about one table.
pub(super) async fn webhook_of_table(
    Extract(state): Extract<State>,
    Path((ds, table)): Path<(String, String)>,
    Body(payload): Body,
) -> Result<Json<Value>, Error> {
    Ok(Json(json!({"tables": state.datasources.webhook(&ds, Some(table), payload).await?})))
}
