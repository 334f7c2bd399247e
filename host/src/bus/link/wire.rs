//! What nodes say to each other: a JSON header, and rows as an Arrow stream behind it.

use super::super::call::{CallError, Caller};
use super::super::policy::Policy;
use super::super::view::View;
use crate::table::{Refused, Shape, Step};
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use uuid::Uuid;

/// Messages of another format are not understood: they are dropped, and counted.
const FORMAT: u8 = 1;

/// Around each message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The process that sent it.
    pub(crate) from: Uuid,
    /// The process that it is for; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Uuid>,
    pub(crate) word: Word,
}

/// Where a followed table stands: epoch and number; number 0: it is no more, and that was its last epoch.
pub(crate) type Position = (u64, u64, u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub(crate) enum Word {
    /// I live. Which catalogue I have; where each table stands that you follow: feed, epoch, number.
    Beat { revision: u64, positions: Vec<Position> },
    /// Tell me what you have.
    AskCatalogue,
    /// What I have, in so many pages.
    Catalogue { revision: u64, page: usize, pages: usize, services: Vec<Announced> },
    /// My catalogue of that number is the one of number `from`, but for these.
    Changed { from: u64, revision: u64, services: Vec<Announced>, gone: BTreeSet<String> },
    /// I go.
    Bye,
    /// I follow a table of yours, for these services of mine. Said again and again; who stops saying it follows no more.
    Follow { feed: u64, instance: Uuid, service: String, table: String, view: View, services: BTreeSet<String> },
    /// I follow it no more.
    Unfollow { feed: u64 },
    /// A step of it. Rows: removed, then added.
    Step { feed: u64, epoch: u64, from: u64, to: u64, poll: u64, updated: usize },
    /// It stands there; number 0: it is no more. Ask if you want more.
    Moved { feed: u64, epoch: u64, to: u64 },
    /// Give me part of its whole state.
    Pull { feed: u64, transfer: u64, part: usize },
    /// Here it is, of that epoch, number and poll; of no parts: I know nothing of that transfer, or there is no table.
    Part { feed: u64, transfer: u64, part: usize, parts: usize, at: (u64, u64, u64), shape: Option<WireShape> },
    /// The whole state can't be sent.
    Refused { feed: u64, transfer: u64, why: String },
    /// Do this, once.
    /// `open`: the first of mine that I still wait for.
    Call { id: u64, open: u64, service: Option<String>, method: String, args: Value, caller: Caller, deadline_ms: u64 },
    /// I have it.
    Accepted { id: u64 },
    /// This came of it.
    Answer { id: u64, result: Result<Value, CallError> },
    /// Nobody waits for it any more.
    Cancel { id: u64 },
}

/// A service, as its node announces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Announced {
    pub(crate) name: String,
    pub(crate) instance: Uuid,
    pub(crate) claim: u64,
    pub(crate) addresses: BTreeSet<String>,
    pub(crate) tables: BTreeSet<String>,
    pub(crate) methods: BTreeSet<String>,
    /// What receivers see of its tables, where not everyone sees everything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) policies: BTreeMap<String, Policy>,
}

/// What a table's columns alone don't tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireShape {
    key: Vec<String>,
    topic: Option<String>,
    description: String,
}

impl From<&Shape> for WireShape {
    fn from(shape: &Shape) -> Self {
        Self { key: shape.key.clone(), topic: shape.topic.clone(), description: shape.description.clone() }
    }
}

impl WireShape {
    /// With the columns that came along; looked into, for both came from elsewhere.
    pub(crate) fn with(self, schema: SchemaRef) -> Result<Shape, Refused> {
        let shape = Shape::new(schema, self.key)?;
        Ok(Shape { topic: self.topic, description: self.description, ..shape })
    }
}

impl Envelope {
    pub(crate) fn encode(&self, rows: &[u8]) -> Vec<u8> {
        let header = serde_json::to_vec(self).unwrap_or_default();
        let mut message = Vec::with_capacity(5 + header.len() + rows.len());
        message.push(FORMAT);
        #[allow(clippy::cast_possible_truncation, reason = "a header of 4 GiB is over every limit of a pipe")]
        message.extend((header.len() as u32).to_le_bytes());
        message.extend(header);
        message.extend(rows);
        message
    }

    /// `None`: not a message of ours.
    pub(crate) fn decode(message: &[u8]) -> Option<(Self, &[u8])> {
        let (format, rest) = message.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if *format != FORMAT || rest.len() < length {
            return None;
        }
        let (header, rows) = rest.split_at(length);
        Some((serde_json::from_slice(header).ok()?, rows))
    }
}

pub(crate) fn write_step(step: &Step) -> Result<Vec<u8>, ArrowError> {
    write(&step.added.schema(), &[&step.removed, &step.added])
}

/// Batches of one schema.
pub(crate) fn write(schema: &SchemaRef, batches: &[&RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.into_inner()
}

/// What [`write`] wrote, looked into: it came from elsewhere.
pub(crate) fn read(rows: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let damaged = |what: &str| ArrowError::IpcError(format!("damaged rows: {what}"));
    if !is_framed(rows) {
        return Err(damaged("a length does not fit"));
    }
    // Arrow's reader checks what lengths and types say, but not all that it indexes by.
    let read = std::panic::catch_unwind(|| read_framed(rows));
    read.unwrap_or_else(|_| Err(damaged("the reader gave up")))
}

/// Whether the messages of a stream are as long as they say, all of it: nothing is set aside for what is not there.
fn is_framed(mut rows: &[u8]) -> bool {
    loop {
        let Some((mark, rest)) = rows.split_first_chunk::<4>() else { return rows.is_empty() };
        let Some((length, rest)) = rest.split_first_chunk::<4>() else { return false };
        let Ok(length) = usize::try_from(i32::from_le_bytes(*length)) else { return false };
        if *mark != [0xff; 4] || length > rest.len() {
            return false;
        }
        if length == 0 {
            return true;
        }
        let (head, rest) = rest.split_at(length);
        let body = std::panic::catch_unwind(|| arrow_ipc::root_as_message(head).map(|message| message.bodyLength()));
        let Ok(Ok(Ok(body))) = body.map(|read| read.map(usize::try_from)) else { return false };
        if body > rest.len() {
            return false;
        }
        rows = &rest[body..];
    }
}

fn read_framed(rows: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let reader = StreamReader::try_new(Cursor::new(rows), None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let word = Word::Follow {
            feed: 3,
            instance: Uuid::nil(),
            service: "a".to_owned(),
            table: "b c".to_owned(),
            view: View::default(),
            services: BTreeSet::from(["x".to_owned()]),
        };
        let message = Envelope { from: Uuid::nil(), to: None, word: word.clone() }.encode(b"rows");
        let (envelope, rows) = Envelope::decode(&message).unwrap();
        assert_eq!((envelope.word, rows), (word, &b"rows"[..]));
    }

    /// A peer of another build, or a pipe with a fault: whatever comes is read or refused.
    #[test]
    fn damaged_rows_are_refused_without_a_panic() {
        use arrow_array::{ArrayRef, Int64Array, StringArray};
        use std::sync::Arc;
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from_iter_values(0..20))),
            ("text", Arc::new(StringArray::from_iter((0..20).map(|n| (n % 3 > 0).then(|| format!("value {n}")))))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let good = write(&batch.schema(), &[&batch, &batch]).unwrap();
        let mut panics = Vec::new();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                // Lengths whose memory would be too much for a test are left out.
                if std::panic::catch_unwind(|| read(&bad).map(drop)).is_err() {
                    panics.push((at, value));
                }
            }
        }
        std::panic::set_hook(hook);
        assert!(panics.is_empty(), "{} of {} changes of one byte panic: {panics:?}", panics.len(), good.len() * 5);
    }

    proptest! {
        #[test]
        fn noise_is_no_message(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Envelope::decode(&noise).is_none());
            prop_assert!(read(&noise).is_err());
        }
    }
}
