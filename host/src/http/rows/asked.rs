//! What a query asks for: read in one place, then fitted to a table's columns.

use super::cursor::Cursor;
use super::fault::Fault;
use super::format::Format;
use crate::bus::{Constant, TableView};
use crate::table::{Epoch, Only, Order, Shape, Wanted};
use arrow_schema::Field;
use serde::Serialize;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::time::Duration;
use uuid::Uuid;

/// So many rows at most are on one page.
pub(super) const MOST_ROWS: usize = 100_000;
/// Nobody waits longer for news.
pub(super) const LONGEST: Duration = Duration::from_secs(60);
/// Everything else is a column.
pub(super) const PARAMETERS: [&str; 7] = ["limit", "cursor", "order", "columns", "format", "after", "wait"];
/// What makes a column's name of a parameter's.
const ESCAPE: &str = "where.";
/// Asks for rows without a value in a column, or for those with any: no value of a column looks like it.
const NULL: &str = "null.";

/// What a query asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Asked {
    pub(super) limit: Option<usize>,
    #[serde(skip)]
    pub(super) cursor: Option<Cursor>,
    order: Vec<By>,
    columns: Option<Vec<String>>,
    /// Which values a column may have.
    filters: BTreeMap<String, Vec<String>>,
    /// Which must have none, or any.
    nulls: BTreeMap<String, bool>,
    #[serde(skip)]
    pub(super) format: Option<Format>,
    #[serde(skip)]
    pub(super) after: Option<After>,
    #[serde(skip)]
    pub(super) wait: Duration,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct By {
    column: String,
    descending: bool,
}

/// The state that a client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After {
    /// None: of the present epoch.
    pub(super) epoch: Option<Epoch>,
    pub(super) seq: u64,
}

impl After {
    /// Whether a table is not at that state any more.
    pub(super) fn is_past(&self, table: &TableView) -> bool {
        self.epoch.is_some_and(|epoch| epoch != table.epoch) || table.to > self.seq
    }
}

/// What is asked of a table, by the numbers of its columns.
#[derive(Debug, Clone)]
pub(super) struct Fitted {
    pub(super) columns: Vec<usize>,
    pub(super) order: Vec<Order>,
    pub(super) only: Vec<Only>,
}

impl Asked {
    /// Reads a query.
    pub(super) fn read(query: &str) -> Result<Self, Fault> {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(query).map_err(|e| Fault::Query(e.to_string()))?;
        let (mut asked, mut wait, mut seen) = (Self::default(), None, Vec::new());
        for (name, value) in pairs {
            let Some(parameter) = PARAMETERS.into_iter().find(|known| *known == name) else {
                if let Some(column) = name.strip_prefix(NULL) {
                    let null = value.parse().map_err(|_| Fault::Null { column: column.to_owned(), value })?;
                    if asked.nulls.insert(column.to_owned(), null).is_some() {
                        return Err(Fault::NullTwice(column.to_owned()));
                    }
                    continue;
                }
                let column = name.strip_prefix(ESCAPE).map(str::to_owned).unwrap_or(name);
                asked.filters.entry(column).or_default().push(value);
                continue;
            };
            if seen.contains(&parameter) {
                return Err(Fault::Twice(parameter));
            }
            seen.push(parameter);
            match parameter {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST_ROWS).contains(limit));
                    asked.limit = Some(limit.ok_or(Fault::Limit(value))?);
                }
                "cursor" => asked.cursor = Some(value.parse()?),
                "order" => {
                    let by = |name: String| match name.strip_prefix('-') {
                        Some(column) => By { column: column.to_owned(), descending: true },
                        None => By { column: name, descending: false },
                    };
                    asked.order = listed("order", &value)?.into_iter().map(by).collect();
                }
                "columns" => asked.columns = Some(listed("columns", &value)?),
                "format" => asked.format = Some(Format::named(&value)?),
                "after" => asked.after = Some(after(&value).ok_or(Fault::After(value))?),
                _ => {
                    let seconds = value.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
                    wait = Some(seconds.filter(|wait| *wait <= LONGEST).ok_or(Fault::Wait(value))?);
                }
            }
        }
        asked.filters.values_mut().for_each(|values| {
            values.sort();
            values.dedup();
        });
        match (&asked.cursor, asked.after, wait) {
            (Some(_), Some(_), _) => Err(Fault::CursorAndAfter),
            (_, None, Some(_)) => Err(Fault::WaitForWhat),
            _ => Ok(Self { wait: wait.unwrap_or_default(), ..asked }),
        }
    }

    /// What tells orders and choices of rows apart. `view`: what the publisher shows.
    pub(super) fn mark(&self, view: u64) -> u64 {
        hash(&(&self.order, &self.filters, &self.nulls, view))
    }

    /// What tells answers apart that are of one state. `of`: the service's registration, and what it shows. Epochs alone are
    /// times: of another node, or after a clock went back, one may come again.
    pub(super) fn shape(&self, of: (Uuid, u64), face: &str, format: Format) -> u64 {
        hash(&(self, self.cursor.map_or(0, |cursor| cursor.at), of, face, format))
    }

    /// By the numbers of a table's columns.
    pub(super) fn fit(&self, shape: &Shape) -> Result<Fitted, Fault> {
        let fields = shape.schema.fields();
        let names = || fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let column = |parameter, name: &String| {
            let missing = || Fault::NoColumn { parameter, column: name.clone(), columns: names() };
            shape.schema.index_of(name).map_err(|_| missing())
        };
        let mut columns: Vec<usize> = (0..fields.len()).collect();
        if let Some(chosen) = &self.columns {
            columns = chosen.iter().map(|name| column("columns", name)).collect::<Result<_, _>>()?;
            once("columns", chosen)?;
        }
        let mut order: Vec<Order> = Vec::new();
        for By { column: name, descending } in &self.order {
            order.push(Order { column: column("order", name)?, descending: *descending });
        }
        once("order", &self.order.iter().map(|by| by.column.clone()).collect::<Vec<_>>())?;
        if !order.is_empty() {
            // Rows that are equal so far are told apart by the key.
            for key in shape.key_columns() {
                if order.iter().all(|by| by.column != key) {
                    order.push(Order { column: key, descending: false });
                }
            }
        }
        let filtered = |name: &String| {
            let missing = || Fault::NoFilter { name: name.clone(), columns: names() };
            shape.schema.index_of(name).map_err(|_| missing())
        };
        let mut only = Vec::new();
        for (name, values) in &self.filters {
            let column = filtered(name)?;
            let field: &Field = &fields[column];
            let values = values.iter().map(|text| {
                let wrong = |example| Fault::Value {
                    column: name.clone(),
                    kind: field.data_type().to_string(),
                    value: text.clone(),
                    example,
                };
                Constant::value_of(text, field.data_type()).map_err(wrong)
            });
            let (values, null) = (values.collect::<Result<_, _>>()?, self.nulls.get(name) == Some(&true));
            only.push(Only { column, wanted: Wanted::AnyOf { values, null } });
        }
        for (name, null) in &self.nulls {
            let column = filtered(name)?;
            if !null {
                only.push(Only { column, wanted: Wanted::Value });
            } else if !self.filters.contains_key(name) {
                only.push(Only { column, wanted: Wanted::AnyOf { values: Vec::new(), null: true } });
            }
        }
        Ok(Fitted { columns, order, only })
    }
}

fn hash(of: &impl Serialize) -> u64 {
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(&serde_json::to_vec(of).unwrap_or_default());
    hasher.finish()
}

fn listed(parameter: &'static str, text: &str) -> Result<Vec<String>, Fault> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect();
    if names.is_empty() { Err(Fault::NoColumns(parameter)) } else { Ok(names) }
}

fn once(parameter: &'static str, names: &[String]) -> Result<(), Fault> {
    let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
    twice.map_or(Ok(()), |(_, column)| Err(Fault::ColumnTwice { parameter, column: column.clone() }))
}

/// `SEQ` or `EPOCH:SEQ`.
fn after(text: &str) -> Option<After> {
    let (epoch, seq) = match text.split_once(':') {
        Some((epoch, seq)) => (Some(Epoch(epoch.parse().ok()?)), seq),
        None => (None, text),
    };
    Some(After { epoch, seq: seq.parse().ok()? })
}
