//! What a source says of its tables, without its secrets.
//!
//! Descriptions are cleaned. Names can't be: rows are found by them. So a table is refused when its name, or one of a
//! column's, holds a secret; names that the driver declares before it knows any secret are what they look like.

use super::secret::Redactor;
use crate::hiding::Finder;
use crate::plugin::CallError;
use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema, SchemaRef};
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::info::{ColumnInfo, TableInfo};
use busway_plugin_api::message::ErrorBody;
use busway_plugin_api::table::{Batches, Change, Update, columns};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Where a secret was found that can't be hidden there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "the table's name holds the value of a secret option or of a reference in the options, so the table is not served: \
         have the source name it otherwise, or change the value"
    )]
    Name,
    #[error(
        "the name or type of one of the table's columns holds the value of a secret option or of a reference in the options, \
         so the table is not served: have the source name it otherwise, or change the value"
    )]
    Column,
}

impl From<Refused> for CallError {
    fn from(refused: Refused) -> Self {
        Self::new(Code::INVALID, refused.to_string())
    }
}

/// The tables that a source has, and what is to be refused of them.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) tables: Vec<TableInfo>,
    /// By name: it is not for showing.
    refused: Vec<(String, Refused)>,
}

impl Declared {
    pub(super) fn new(mut tables: Vec<TableInfo>, secrets: &Redactor, known: &[TableInfo]) -> Self {
        let mut refused = Vec::new();
        tables.retain_mut(|info| match clean_info(info, &Names::new(secrets, known, &info.name.clone())) {
            Ok(()) => true,
            Err(why) => {
                refused.push((info.name.clone(), why));
                false
            }
        });
        Self { tables, refused }
    }

    /// Why tables were refused: of many for one reason, once.
    pub(super) fn troubles(&self) -> BTreeSet<Refused> {
        self.refused.iter().map(|(_, why)| *why).collect()
    }

    /// Why a table was refused.
    pub(super) fn refused(&self, table: &str) -> Option<Refused> {
        self.refused.iter().find(|(name, _)| name == table).map(|(_, why)| *why)
    }
}

/// Takes the secrets out of what is shown of an update.
pub(super) fn clean(update: &mut Update, secrets: &Redactor, known: &[TableInfo]) -> Result<(), Refused> {
    if !secrets.hides() {
        return Ok(());
    }
    let names = Names::new(secrets, known, &update.table);
    names.table(&update.table)?;
    update.key.iter().chain(&update.topic).try_for_each(|column| names.column(column))?;
    secrets.hide_in(&mut update.description);
    match &mut update.change {
        Change::Snapshot(rows) => names.rows(rows),
        Change::Delta { added, removed } => names.rows(added).and_then(|()| names.rows(removed)),
        Change::Failed(error) => {
            secrets.hide_in_error(error);
            Ok(())
        }
        Change::Unchanged | Change::Gone | Change::Published => Ok(()),
    }
}

/// The same for all that a poll answered: what is refused becomes its table's error, under a name that may be shown.
pub(super) fn clean_all(updates: &mut Vec<Update>, secrets: &Redactor, known: &[TableInfo], declared: &Declared) {
    let mut shown = BTreeSet::new();
    updates.retain_mut(|update| {
        let cleaned = declared.refused(&update.table).map_or(Ok(()), Err);
        let Err(why) = cleaned.and_then(|()| clean(update, secrets, known)) else { return true };
        let table = match why {
            Refused::Name => secrets.hide(&update.table).into_owned(),
            Refused::Column => update.table.clone(),
        };
        let change = match &update.change {
            Change::Gone => Change::Gone,
            _ => Change::Failed(ErrorBody::new(why.to_string())),
        };
        *update = Update::bare(table, change);
        shown.insert(update.table.clone())
    });
}

fn clean_info(info: &mut TableInfo, names: &Names<'_>) -> Result<(), Refused> {
    names.table(&info.name)?;
    info.key.iter().chain(&info.topic).try_for_each(|column| names.column(column))?;
    names.secrets.hide_in(&mut info.description);
    info.columns.iter_mut().try_for_each(|column| names.column_info(column))
}

/// What may be named how.
struct Names<'a> {
    secrets: &'a Redactor,
    /// The table as it is declared without any secret.
    known: Option<&'a TableInfo>,
}

impl<'a> Names<'a> {
    fn new(secrets: &'a Redactor, known: &'a [TableInfo], table: &str) -> Self {
        Self { secrets, known: known.iter().find(|info| info.name == table) }
    }

    fn holds(&self, name: &str) -> bool {
        self.secrets.hide(name) != name
    }

    fn table(&self, name: &str) -> Result<(), Refused> {
        if self.known.is_none() && self.holds(name) { Err(Refused::Name) } else { Ok(()) }
    }

    fn column(&self, name: &str) -> Result<(), Refused> {
        let known = || self.known.is_some_and(|info| info.columns.iter().any(|column| is_named(column, name)));
        if self.holds(name) && !known() { Err(Refused::Column) } else { Ok(()) }
    }

    fn column_info(&self, column: &mut ColumnInfo) -> Result<(), Refused> {
        self.column(&column.name)?;
        if self.holds(&column.kind) {
            return Err(Refused::Column);
        }
        self.secrets.hide_in(&mut column.description);
        column.children.iter_mut().try_for_each(|child| self.column_info(child))
    }

    fn rows(&self, rows: &mut Batches) -> Result<(), Refused> {
        rows.schema.fields().iter().try_for_each(|field| self.field(field))?;
        let said = |field: &Arc<Field>| field.metadata().iter().any(|(key, text)| self.holds(key) || self.holds(text));
        if rows.schema.fields().iter().any(said) {
            // What the columns hold is as it was.
            *rows = self.described_anew(rows).map_err(|_| Refused::Column)?;
        }
        Ok(())
    }

    fn described_anew(&self, rows: &Batches) -> Result<Batches, ArrowError> {
        let fields = rows.schema.fields().iter().map(|field| {
            let hide = |text: &String| self.secrets.hide(text).into_owned();
            let metadata: HashMap<_, _> = field.metadata().iter().map(|(key, text)| (hide(key), hide(text))).collect();
            Arc::new(field.as_ref().clone().with_metadata(metadata))
        });
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let batch = |batch: &RecordBatch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec());
        let batches = rows.batches.iter().map(batch).collect::<Result<_, _>>()?;
        Ok(Batches { schema, batches })
    }

    fn field(&self, field: &Field) -> Result<(), Refused> {
        self.column(field.name())?;
        self.kind(field.data_type())
    }

    /// A part's description can't be taken out of a type: it is a reason to refuse the table.
    fn part(&self, field: &Field) -> Result<(), Refused> {
        let said = field.metadata().iter().any(|(key, text)| self.holds(key) || self.holds(text));
        if said { Err(Refused::Column) } else { self.field(field) }
    }

    fn kind(&self, kind: &DataType) -> Result<(), Refused> {
        match kind {
            DataType::Struct(fields) => fields.iter().try_for_each(|field| self.part(field)),
            DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
                self.part(f)
            }
            DataType::Dictionary(_, values) => self.kind(values),
            DataType::Timestamp(_, Some(zone)) if self.holds(zone) => Err(Refused::Column),
            _ => Ok(()),
        }
    }
}

/// In what a table's columns are others than it is declared with; one that is declared without columns may have any.
pub(super) fn difference(info: &TableInfo, fields: &Fields) -> Option<String> {
    let type_of = |column: &ColumnInfo| (column.name.clone(), kind_of(column));
    let declared: Vec<(String, String)> = info.columns.iter().map(type_of).collect();
    let given: Vec<(String, String)> = columns(&Schema::new(fields.clone())).iter().map(type_of).collect();
    if declared.is_empty() || declared == given {
        return None;
    }
    let list = |columns: &[(String, String)]| {
        let shown: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
        shown.join(", ")
    };
    Some(format!("declared: {}; given: {}", list(&declared), list(&given)))
}

/// A column's type, with its parts'.
fn kind_of(column: &ColumnInfo) -> String {
    if column.children.is_empty() {
        return column.kind.clone();
    }
    // What the values of a list are called is nobody's business.
    let named = column.kind == "+s";
    let part = |child: &ColumnInfo| if named { format!("{} {}", child.name, kind_of(child)) } else { kind_of(child) };
    format!("{} {}", column.kind, column.children.iter().map(part).collect::<Vec<_>>().join(", "))
}

fn is_named(column: &ColumnInfo, name: &str) -> bool {
    column.name == name || column.children.iter().any(|child| is_named(child, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use busway_plugin_api::TableSpec;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    #[derive(Serialize, Deserialize)]
    struct Row {
        id: u64,
        name: String,
    }

    const NAME: &str = "the table's name holds the value of a secret option or of a reference in the options, so the table \
                        is not served: have the source name it otherwise, or change the value";
    const COLUMN: &str = "the name or type of one of the table's columns holds the value of a secret option or of a reference \
                          in the options, so the table is not served: have the source name it otherwise, or change the value";

    fn spec(name: &str) -> TableSpec {
        TableSpec::of::<Row>(name).key(["id"]).describe(format!("{name}: by s3cret")).column("name", "as s3cret says")
    }

    fn nested(name: &str) -> TableSpec {
        let parts = DataType::Struct(vec![Field::new(name, DataType::Int64, false)].into());
        TableSpec::with_schema("nested", Arc::new(Schema::new(vec![Field::new("x", parts, false)])))
    }

    #[test]
    fn what_is_declared_is_cleaned_and_what_cannot_be_is_refused() {
        let secrets = Redactor::new([&json!(["s3cret", "numbers", "name"])]);
        let known = [spec("numbers").info()];
        let declared = [
            spec("numbers").info(),
            TableSpec { schema: Arc::new(Schema::empty()), ..spec("plain") }.info(),
            spec("by_s3cret").info(),
            nested("of_s3cret").info(),
            nested("fine").info(),
            spec("other").info(),
        ];
        let declared = Declared::new(declared.into(), &secrets, &known);
        let shown: Vec<(&str, &str)> =
            declared.tables.iter().map(|info| (info.name.as_str(), info.description.as_str())).collect();
        assert_eq!(shown, [("numbers", "<hidden>: by <hidden>"), ("plain", "plain: by <hidden>"), ("nested", "")]);
        assert_eq!(declared.tables[0].columns[1].description, "as <hidden> says");
        let refused = |table: &str| declared.refused(table).map(|why| why.to_string());
        assert_eq!(refused("by_s3cret").as_deref(), Some(NAME));
        // Its column is called as a secret is, and nobody said so before.
        assert_eq!(refused("other").as_deref(), Some(COLUMN));
        assert_eq!(declared.troubles().len(), 2);
    }

    #[test]
    fn what_a_poll_answers_is_cleaned_and_what_cannot_be_is_its_tables_error() {
        let secrets = Redactor::new([&json!("s3cret")]);
        let rows = |spec: TableSpec| {
            let rows = spec.rows(&[Row { id: 1, name: "s3cret".to_owned() }]).unwrap();
            spec.snapshot(rows)
        };
        let renamed = |name: &str| {
            let spec = nested(name);
            spec.snapshot(Batches::empty(Arc::clone(&spec.schema)))
        };
        let failed = Change::Failed(ErrorBody::new("no way in with s3cret"));
        let mut updates = vec![
            rows(spec("people")),
            rows(spec("s3cret")),
            Update::bare("s3crets3cret", Change::Gone),
            Update::bare("down", failed),
            renamed("s3cret"),
        ];
        clean_all(&mut updates, &secrets, &[], &Declared::default());
        let shown: Vec<(&str, &str)> = updates.iter().map(|u| (u.table.as_str(), u.description.as_str())).collect();
        let expected = [
            ("people", "people: by <hidden>"),
            ("<hidden>", ""),
            ("<hidden><hidden>", ""),
            ("down", ""),
            ("nested", ""),
        ];
        assert_eq!(shown, expected);
        let Change::Snapshot(people) = &updates[0].change else { panic!("{:?}", updates[0]) };
        assert_eq!(people.schema.field(1).metadata()["description"], "as <hidden> says");
        assert_eq!(people.to_vec::<Row>().unwrap()[0].name, "s3cret", "rows are data");
        let error = |at: usize| match &updates[at].change {
            Change::Failed(error) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!([error(1), error(3), error(4)], [NAME, "no way in with <hidden>", COLUMN]);
        assert!(matches!(updates[2].change, Change::Gone));
    }

    #[test]
    fn columns_that_are_others_than_declared_are_told_apart() {
        let info = spec("numbers").info();
        let given = |fields: Vec<Field>| difference(&info, &fields.into());
        let (id, name) = (Field::new("id", DataType::UInt64, false), Field::new("name", DataType::Utf8, true));
        assert_eq!(given(vec![id.clone(), name.clone()]), None);
        let text = given(vec![id.clone(), Field::new("name", DataType::Int64, false)]);
        assert_eq!(text.as_deref(), Some("declared: id (L), name (u); given: id (L), name (l)"));
        assert!(given(vec![id.clone()]).is_some() && given(vec![name, id]).is_some());
        // Who declares none may give any.
        assert_eq!(difference(&TableInfo::default(), &Fields::empty()), None);
        let parts = nested("a").info();
        let other = nested("b");
        let text = difference(&parts, other.schema.fields()).unwrap();
        assert_eq!(text, "declared: x (+s a l); given: x (+s b l)");
        assert_eq!(difference(&other.info(), other.schema.fields()), None);
    }

    #[test]
    fn a_table_that_is_refused_as_declared_is_refused_when_polled() {
        let secrets = Redactor::new([&json!("s3cret")]);
        let declared = Declared::new(vec![nested("s3cret").info()], &secrets, &[]);
        let mut updates = vec![Update::bare("nested", Change::Published)];
        clean_all(&mut updates, &secrets, &[], &declared);
        assert!(matches!(&updates[0].change, Change::Failed(error) if error.message == COLUMN));
    }
}
