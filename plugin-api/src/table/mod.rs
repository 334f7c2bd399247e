//! Tables: what a driver declares, the rows it gives, and what happened to them.

use crate::Error;
use crate::abi::TableUpdate;
use crate::abi::abi_stable::std_types::RVec;
use crate::info::{ColumnInfo, TableInfo};
use crate::message::{ErrorBody, UpdateHeader, decode, encode};
use arrow_array::RecordBatch;
use arrow_array::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use cross::{export, import};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_arrow::schema::{SchemaLike, TracingOptions};
use std::sync::Arc;

pub use cross::MAX_BATCH_BYTES;
pub use kind::{BadKind, kind_of_name, kinds, name_of_kind};

mod check;
mod cross;
mod kind;

/// The key of a column's description in its field's metadata.
const DESCRIPTION: &str = "description";

/// A table as its driver declares it: name, columns, key.
///
/// ```
/// # use busway_plugin_api::TableSpec;
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Mount { path: String, used_bytes: u64, label: Option<String> }
///
/// let mounts = TableSpec::of::<Mount>("mounts").key(["path"]).describe("Mounted file systems");
/// assert_eq!(mounts.schema.fields().len(), 3);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct TableSpec {
    /// Unique within the source.
    pub name: String,
    /// One line for consumers.
    pub description: String,
    /// The columns that make a row's identity; none: the table is a set of rows.
    pub key: Vec<String>,
    /// The column by which subscribers may choose rows.
    pub topic: Option<String>,
    /// The columns.
    pub schema: SchemaRef,
    /// Whether it is polled only while somebody subscribes to it.
    pub lazy: bool,
    /// Whether clients may write its rows through the host.
    pub pushed: bool,
}

impl TableSpec {
    /// A table whose rows are `T`s: an `Option` field is a nullable column, a struct or `Vec` field a nested one.
    ///
    /// # Panics
    ///
    /// When the type's columns can't be known without data (untagged enums, flattened maps): give
    /// [`with_schema`](Self::with_schema) a schema instead. A driver's own test finds that out.
    #[must_use]
    #[allow(clippy::panic, reason = "a mistake in the driver's source, not in its input")]
    pub fn of<T: DeserializeOwned>(name: impl Into<String>) -> Self {
        let options = TracingOptions::default()
            .strings_as_large_utf8(false)
            .sequence_as_large_list(false)
            .allow_null_fields(true)
            .enums_without_data_as_strings(true);
        match Vec::<Arc<Field>>::from_type::<T>(options) {
            Ok(fields) => Self::with_schema(name, Arc::new(Schema::new(fields))),
            Err(error) => panic!("the columns of {} can't be known: {error}", std::any::type_name::<T>()),
        }
    }

    /// A table with these columns.
    #[must_use]
    pub fn with_schema(name: impl Into<String>, schema: SchemaRef) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            key: Vec::new(),
            topic: None,
            schema,
            lazy: false,
            pushed: false,
        }
    }

    /// With the columns that make a row's identity.
    #[must_use]
    pub fn key<I: IntoIterator<Item: Into<String>>>(mut self, columns: I) -> Self {
        self.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// With the column by which subscribers may choose rows.
    #[must_use]
    pub fn topic(mut self, column: impl Into<String>) -> Self {
        self.topic = Some(column.into());
        self
    }

    /// As one that costs much to read: the host polls it only while somebody subscribes to it.
    #[must_use]
    pub fn lazy(mut self) -> Self {
        self.lazy = true;
        self
    }

    /// As one whose rows clients may write through the host, which holds them to these columns. Polls answer
    /// [`Change::Published`] for it.
    #[must_use]
    pub fn pushed(mut self) -> Self {
        self.pushed = true;
        self
    }

    /// With one line for consumers.
    #[must_use]
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// With one line about a column. A column that isn't there is left alone.
    #[must_use]
    pub fn column(mut self, name: &str, text: impl Into<String>) -> Self {
        let text = text.into();
        let fields: Vec<Arc<Field>> = (self.schema.fields().iter())
            .map(|field| {
                if field.name() != name {
                    return Arc::clone(field);
                }
                let mut metadata = field.metadata().clone();
                metadata.insert(DESCRIPTION.to_owned(), text.clone());
                Arc::new(field.as_ref().clone().with_metadata(metadata))
            })
            .collect();
        self.schema = Arc::new(Schema::new(fields));
        self
    }

    /// As `describe` and `tables` say it.
    #[must_use]
    pub fn info(&self) -> TableInfo {
        TableInfo {
            name: self.name.clone(),
            description: self.description.clone(),
            key: self.key.clone(),
            topic: self.topic.clone(),
            columns: columns(&self.schema),
            lazy: self.lazy,
            pushed: self.pushed,
        }
    }

    /// With another type of a column, where serde's is too plain: an `i64` field of milliseconds as a timestamp, say. A
    /// column that isn't there is left alone.
    #[must_use]
    pub fn column_type(mut self, name: &str, kind: &DataType) -> Self {
        let retyped = |field: &Arc<Field>| {
            if field.name() == name {
                Arc::new(field.as_ref().clone().with_data_type(kind.clone()))
            } else {
                Arc::clone(field)
            }
        };
        let fields: Vec<Arc<Field>> = self.schema.fields().iter().map(retyped).collect();
        self.schema = Arc::new(Schema::new(fields));
        self
    }

    /// These rows as batches of this table's columns.
    ///
    /// # Errors
    ///
    /// When a row does not fit a column.
    pub fn rows<T: Serialize>(&self, rows: &[T]) -> Result<Batches, Error> {
        if rows.is_empty() {
            return Ok(Batches::empty(Arc::clone(&self.schema)));
        }
        let batch = serde_arrow::to_record_batch(self.schema.fields(), &rows)
            .map_err(|e| Error::new(format!("rows of table {:?} do not fit its columns: {e}", self.name)))?;
        // serde_arrow makes a schema of its own; ours carries the descriptions.
        Ok(Batches { schema: Arc::clone(&self.schema), batches: vec![batch.with_schema(Arc::clone(&self.schema))?] })
    }

    /// A snapshot of this table.
    #[must_use]
    pub fn snapshot(&self, rows: Batches) -> Update {
        self.update(Change::Snapshot(rows))
    }

    /// An update of this table.
    #[must_use]
    pub fn update(&self, change: Change) -> Update {
        Update {
            table: self.name.clone(),
            key: self.key.clone(),
            topic: self.topic.clone(),
            description: self.description.clone(),
            change,
        }
    }
}

/// A schema's columns as `describe` and `tables` say them.
#[must_use]
pub fn columns(schema: &Schema) -> Vec<ColumnInfo> {
    schema.fields().iter().map(|field| column(field)).collect()
}

fn column(field: &Field) -> ColumnInfo {
    // The dictionary's encoding is no part of the type that consumers see.
    let kind = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        other => other,
    };
    let children: Vec<ColumnInfo> = match kind {
        DataType::Struct(fields) => fields.iter().map(|f| column(f)).collect(),
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            vec![column(f)]
        }
        _ => Vec::new(),
    };
    ColumnInfo {
        name: field.name().clone(),
        // A type without a C form can't cross; that is said when it tries.
        kind: FFI_ArrowSchema::try_from(kind).map(|c| c.format().to_owned()).unwrap_or_default(),
        nullable: field.is_nullable(),
        description: field.metadata().get(DESCRIPTION).cloned().unwrap_or_default(),
        children,
    }
}

/// Rows of one schema, in batches.
#[derive(Debug, Clone, PartialEq)]
pub struct Batches {
    /// The columns of each batch.
    pub schema: SchemaRef,
    /// The rows, in order.
    pub batches: Vec<RecordBatch>,
}

impl Batches {
    /// No rows.
    #[must_use]
    pub fn empty(schema: SchemaRef) -> Self {
        Self { schema, batches: Vec::new() }
    }

    /// How many rows.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// All rows as `T`s.
    ///
    /// # Errors
    ///
    /// When a column's type does not fit the field.
    pub fn to_vec<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let mut all = Vec::with_capacity(self.num_rows());
        for batch in &self.batches {
            all.extend(serde_arrow::from_record_batch::<Vec<T>>(batch)?);
        }
        Ok(all)
    }

    /// Checks every buffer of every batch: lengths, offsets, UTF-8. Costs a pass over the data.
    ///
    /// # Errors
    ///
    /// What contradicts itself.
    pub fn validate(&self) -> Result<(), ArrowError> {
        self.batches.iter().flat_map(RecordBatch::columns).try_for_each(|column| column.to_data().validate_full())
    }
}

impl From<RecordBatch> for Batches {
    fn from(batch: RecordBatch) -> Self {
        Self { schema: batch.schema(), batches: vec![batch] }
    }
}

/// What happened to one table: what a poll answers for it, and what a source publishes.
#[derive(Debug, Clone)]
pub struct Update {
    /// The table's name.
    pub table: String,
    /// Its key; none: a set of rows.
    pub key: Vec<String>,
    /// The column by which subscribers may choose rows.
    pub topic: Option<String>,
    /// One line for consumers.
    pub description: String,
    /// What happened.
    pub change: Change,
}

/// See [`Update`].
#[derive(Debug, Clone)]
pub enum Change {
    /// These are all its rows now.
    Snapshot(Batches),
    /// As at the last poll.
    Unchanged,
    /// The table is no more.
    Gone,
    /// Of a poll: its rows went, or will go, through [`Context::publish`](crate::Context::publish). A table that its
    /// source publishes is never answered with rows.
    Published,
    /// It could not be read; the others were. It stays as it was.
    Failed(ErrorBody),
    /// Keyed tables: rows to insert or replace, and keys to remove. Others: rows added, rows removed.
    Delta {
        /// Inserted, replaced or added.
        added: Batches,
        /// Removed rows; of a keyed table only the key columns.
        removed: Batches,
    },
}

/// The [code](ErrorBody::code) of an update that breaks the contract's rules: whoever made it is at fault, not its data.
pub const CONTRADICTION: &str = "contradiction";

fn contradiction(message: String) -> ErrorBody {
    ErrorBody { code: Some(CONTRADICTION.to_owned()), ..ErrorBody::new(message) }
}

impl Update {
    /// A result that carries no rows.
    pub fn bare(table: impl Into<String>, change: Change) -> Self {
        Self { table: table.into(), key: Vec::new(), topic: None, description: String::new(), change }
    }

    /// As it crosses. The rows are shared, not copied: they live until the other side lets go of them.
    ///
    /// # Errors
    ///
    /// When a column's type or name has no Arrow C form, a batch has other columns than its schema says, or a single row
    /// is larger than [`MAX_BATCH_BYTES`].
    pub fn export(self) -> Result<TableUpdate, ArrowError> {
        let mut header = UpdateHeader {
            table: self.table,
            key: self.key,
            topic: self.topic,
            description: self.description,
            ..UpdateHeader::default()
        };
        let (kind, parts) = match self.change {
            Change::Snapshot(rows) => ("snapshot", vec![export(rows)?]),
            Change::Unchanged => ("unchanged", Vec::new()),
            Change::Gone => ("gone", Vec::new()),
            Change::Published => ("published", Vec::new()),
            Change::Failed(error) => {
                header.error = Some(error);
                ("error", Vec::new())
            }
            Change::Delta { added, removed } => ("delta", vec![export(added)?, export(removed)?]),
        };
        kind.clone_into(&mut header.kind);
        Ok(TableUpdate { header: encode(&header).into(), parts: RVec::from(parts) })
    }

    /// As it came across. The rows are the other side's memory; `import` has compared counts and types, but looked into
    /// hardly any buffer: [`Batches::validate`] does.
    ///
    /// # Errors
    ///
    /// When header and parts contradict each other or the schema, or the kind is unknown.
    pub fn import(update: TableUpdate) -> Result<Self, ErrorBody> {
        let header: UpdateHeader = decode(&update.header)?;
        let kind = header.kind.as_str();
        let expected = match kind {
            "snapshot" => 1,
            "delta" => 2,
            "unchanged" | "gone" | "published" | "error" => 0,
            _ => return Err(ErrorBody::new(format!("table {:?}: unknown kind of update {kind:?}", header.table))),
        };
        if update.parts.len() != expected {
            let found = update.parts.len();
            let message = format!("table {:?}: a {kind} has {expected} parts, not {found}", header.table);
            return Err(contradiction(message));
        }
        let refused = |e: ArrowError| contradiction(format!("table {:?}: {e}", header.table));
        let parts: Vec<Batches> = update.parts.into_iter().map(import).collect::<Result<_, _>>().map_err(refused)?;
        let mut parts = parts.into_iter();
        let change = match (kind, parts.next(), parts.next()) {
            ("snapshot", Some(rows), None) => Change::Snapshot(rows),
            ("delta", Some(added), Some(removed)) => Change::Delta { added, removed },
            ("unchanged", ..) => Change::Unchanged,
            ("gone", ..) => Change::Gone,
            ("published", ..) => Change::Published,
            _ => Change::Failed(header.error.unwrap_or_else(|| ErrorBody::new("no reason given"))),
        };
        let update =
            Self { table: header.table, key: header.key, topic: header.topic, description: header.description, change };
        match update.problems() {
            problems if problems.is_empty() => Ok(update),
            problems => {
                let message = format!("table {:?}: its header contradicts its columns", update.table);
                Err(ErrorBody { problems, ..contradiction(message) })
            }
        }
    }

    /// Where key, topic and columns contradict each other.
    fn problems(&self) -> Vec<String> {
        let (rows, removed) = match &self.change {
            Change::Snapshot(rows) => (rows, None),
            Change::Delta { added, removed } => (added, Some(removed)),
            _ => return Vec::new(),
        };
        let info = TableInfo {
            name: self.table.clone(),
            description: String::new(),
            key: self.key.clone(),
            topic: self.topic.clone(),
            columns: columns(&rows.schema),
            ..TableInfo::default()
        };
        let mut found = info.problems();
        if let Some(removed) = removed
            && found.is_empty()
        {
            let kind = |name: &str| rows.schema.field_with_name(name).ok().map(Field::data_type);
            let all = || rows.schema.fields().iter().map(|f| f.name().as_str()).collect();
            let names: Vec<&str> =
                if self.key.is_empty() { all() } else { self.key.iter().map(String::as_str).collect() };
            let same = removed.schema.fields().len() == names.len()
                && (removed.schema.fields().iter().zip(&names))
                    .all(|(field, name)| field.name() == name && kind(name) == Some(field.data_type()));
            if !same {
                found.push(format!("the removed rows' columns are not {}, in this order", names.join(", ")));
            }
        }
        found
    }
}

/// A schema of these columns: name, type, nullable.
#[must_use]
pub fn schema<'a, I: IntoIterator<Item = (&'a str, DataType, bool)>>(columns: I) -> SchemaRef {
    let fields: Fields = columns.into_iter().map(|(name, kind, null)| Field::new(name, kind, null)).collect();
    Arc::new(Schema::new(fields))
}
