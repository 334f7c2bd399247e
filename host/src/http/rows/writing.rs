//! Rows being written, part by part: nothing holds the text of a large table.

use super::arrow::Stream;
use super::format::Format;
use super::page::Page;
use super::{Face, csv, lists};
use crate::bus::TableView;
use crate::http::body::{FIRST_ROWS, Head, PART_BYTES, PART_ROWS, head};
use crate::table::rows_json;
use arrow_array::RecordBatch;
use arrow_schema::{ArrowError, SchemaRef};
use busway_plugin_api::message::encode;
use serde::Serialize;
use std::sync::Arc;

/// What a page's text is made of.
pub(super) struct Writing {
    page: Page,
    form: Form,
    begun: bool,
    /// So many rows come next.
    rows: usize,
}

enum Form {
    /// An object: what is said before the rows, and whether a row was written.
    Json {
        head: String,
        face: Face,
        rows: bool,
    },
    Csv {
        schema: SchemaRef,
    },
    Arrow(Box<Stream>),
}

/// What is said of a table and its page before the rows.
#[derive(Serialize)]
struct Said<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    stale: bool,
    /// Of all pages.
    total_rows: usize,
    /// The cursor of the next page.
    next: Option<String>,
}

/// The same for the predecessor's clients, who have no use for columns here.
#[derive(Serialize)]
struct Briefly {
    epoch: u64,
    to: u64,
    as_of: Option<String>,
    stale: bool,
    total_rows: usize,
    next: Option<String>,
}

impl Writing {
    /// Nothing is written yet. `columns`: those that are shown; `next`: the cursor of the next page.
    pub(super) fn of(
        view: &TableView,
        stale: bool,
        columns: &[usize],
        page: Page,
        next: Option<String>,
        (face, format): (Face, Format),
    ) -> Result<Self, ArrowError> {
        let schema = || view.shape.schema.project(columns).map(Arc::new);
        let total_rows = page.total;
        let form = match (format, face) {
            (Format::Json, Face::Service) => {
                let said = Said { head: head(view, columns), stale, total_rows, next };
                Form::Json { head: encode(&said), face, rows: false }
            }
            (Format::Json, Face::Predecessor) => {
                let (epoch, to, as_of) = (view.epoch.0, view.to, view.as_of.map(|t| t.to_string()));
                let said = Briefly { epoch, to, as_of, stale, total_rows, next };
                Form::Json { head: encode(&said), face, rows: false }
            }
            (Format::Csv, _) => Form::Csv { schema: schema()? },
            (Format::Arrow, _) => Form::Arrow(Box::new(Stream::of(&*schema()?)?)),
        };
        Ok(Self { page, form, begun: false, rows: FIRST_ROWS })
    }

    /// Whether all is written.
    pub(super) fn is_done(&self) -> bool {
        self.begun && self.page.left() == 0
    }

    /// The next part. No work for a thread that others wait for.
    pub(super) fn part(&mut self) -> Result<Vec<u8>, ArrowError> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.form.begin(&mut out)?;
        }
        if let Some(rows) = self.page.take(self.rows)? {
            let before = out.len();
            self.form.rows(&rows, &mut out)?;
            let width = (out.len() - before).div_ceil(rows.num_rows().max(1));
            self.rows = (PART_BYTES / width.max(1)).clamp(1, PART_ROWS);
        }
        if self.page.left() == 0 {
            self.form.end(&mut out)?;
        }
        Ok(out)
    }
}

impl Form {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self {
            Self::Json { head, face, .. } => {
                // One object of both, without reading what was just written.
                out.extend_from_slice(head.strip_suffix('}').unwrap_or(head).as_bytes());
                out.extend_from_slice(match face {
                    Face::Service => b",\"rows\":[",
                    Face::Predecessor => b",\"results\":[",
                });
                Ok(())
            }
            Self::Csv { schema } => csv::header(schema, out),
            Self::Arrow(stream) => stream.begin(out),
        }
    }

    fn rows(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self {
            Self::Json { face, rows, .. } => {
                if std::mem::replace(rows, true) {
                    out.push(b',');
                }
                match face {
                    Face::Service => {
                        let text = rows_json([batch])?;
                        let text = text.get().trim();
                        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
                        out.extend_from_slice(bare.unwrap_or(text).as_bytes());
                        Ok(())
                    }
                    Face::Predecessor => lists::rows(batch, out),
                }
            }
            Self::Csv { .. } => csv::rows(batch, out),
            Self::Arrow(stream) => stream.rows(batch, out),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        match self {
            Self::Json { .. } => out.extend_from_slice(b"]}"),
            Self::Csv { .. } => {}
            Self::Arrow(stream) => stream.end(out)?,
        }
        Ok(())
    }
}
