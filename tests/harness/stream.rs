//! A client that follows a table, checks every step against what it holds, and keeps every state it saw.

use crate::DEADLINE;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A followed table.
#[derive(Debug)]
pub struct Stream {
    url: String,
    events: Receiver<Event>,
    rows: Option<Vec<Value>>,
    /// The parts of a snapshot of which more is to come.
    parts: Vec<Vec<Value>>,
    epoch: u64,
    to: u64,
    snapshots: usize,
    last_parts: usize,
    resumed: usize,
    resets: Vec<String>,
}

/// One event, as it came.
#[derive(Debug)]
pub struct Event {
    /// What it is.
    pub event: String,
    /// Where it leads.
    pub id: Option<String>,
    /// What it says.
    pub data: Value,
}

/// The events of a stream, as they come.
///
/// # Panics
///
/// When the host refuses.
#[must_use]
pub fn events(url: &str, last_id: Option<&str>) -> Receiver<Event> {
    let request = ureq::get(url);
    let request = match last_id {
        Some(id) => request.header("last-event-id", id),
        None => request,
    };
    read(request.call().expect("the stream is there"))
}

/// The events of an answer, read from now on.
#[must_use]
pub fn read(answer: ureq::http::Response<ureq::Body>) -> Receiver<Event> {
    lines(answer.into_body().into_reader())
}

/// The events of a stream that comes from anywhere.
#[must_use]
pub fn lines(stream: impl Read + Send + 'static) -> Receiver<Event> {
    let (sender, events) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stream).lines();
        let (mut event, mut id, mut data) = (String::new(), None, String::new());
        while let Some(Ok(line)) = lines.next() {
            if let Some(rest) = line.strip_prefix("event: ") {
                event = rest.to_owned();
            } else if let Some(rest) = line.strip_prefix("id: ") {
                id = Some(rest.to_owned());
            } else if let Some(rest) = line.strip_prefix("data: ") {
                data.push_str(rest);
            } else if line.is_empty() && !data.is_empty() {
                let body = serde_json::from_str(&data).expect("an event's data is JSON");
                if sender.send(Event { event: event.clone(), id: id.take(), data: body }).is_err() {
                    return;
                }
                data.clear();
            }
        }
    });
    events
}

impl Stream {
    pub(crate) fn open(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            events: events(url, None),
            rows: None,
            parts: Vec::new(),
            epoch: 0,
            to: 0,
            snapshots: 0,
            last_parts: 0,
            resumed: 0,
            resets: Vec::new(),
        }
    }

    /// Lets the connection go, and asks on another for what came since.
    pub fn reconnect(&mut self) {
        self.parts.clear();
        self.events = events(&self.url, Some(&format!("{}:{}", self.epoch, self.to)));
    }

    /// How often the host went on from what was held.
    #[must_use]
    pub fn resumed(&self) -> usize {
        self.resumed
    }

    /// Why it could not, each time.
    #[must_use]
    pub fn resets(&self) -> &[String] {
        &self.resets
    }

    /// Of how many parts the last snapshot was.
    #[must_use]
    pub fn last_parts(&self) -> usize {
        self.last_parts
    }

    /// The rows as they are held now; none before the first snapshot and after the table went.
    #[must_use]
    pub fn rows(&self) -> Option<&[Value]> {
        self.rows.as_deref()
    }

    /// Epoch and number of the state that is held.
    #[must_use]
    pub fn position(&self) -> (u64, u64) {
        (self.epoch, self.to)
    }

    /// How many snapshots came.
    #[must_use]
    pub fn snapshots(&self) -> usize {
        self.snapshots
    }

    /// Applies events until `done` is satisfied by the rows; `each` sees every state on the way.
    ///
    /// # Panics
    ///
    /// When an event does not fit what is held, or none comes in time.
    pub fn follow(
        &mut self,
        what: &str,
        mut each: impl FnMut(Option<&[Value]>),
        done: impl Fn(Option<&[Value]>) -> bool,
    ) {
        let end = Instant::now() + DEADLINE;
        while !done(self.rows()) {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => self.apply(&event),
                Err(RecvTimeoutError::Timeout) => panic!("waited for {what}; instead: {:?}", self.rows),
                Err(RecvTimeoutError::Disconnected) => panic!("the stream ended before {what}; held: {:?}", self.rows),
            }
            each(self.rows());
        }
    }

    /// Applies the next event, if one comes within that time; answers whether one did.
    ///
    /// # Panics
    ///
    /// When it does not fit what is held, or the stream ended.
    pub fn take(&mut self, within: Duration) -> bool {
        match self.events.recv_timeout(within) {
            Ok(event) => self.apply(&event),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => panic!("the stream ended; held: {:?}", self.rows),
        }
        true
    }

    fn apply(&mut self, Event { event, id, data: body }: &Event) {
        match event.as_str() {
            "snapshot" => {
                let part = body["rows"].as_array().cloned().expect("rows");
                let first = self.parts.is_empty();
                assert_eq!(first, body.get("columns").is_some(), "the first part says what the columns are");
                if first {
                    (self.epoch, self.to) = (number(body, "epoch"), number(body, "to"));
                    self.snapshots += 1;
                }
                self.parts.push(part);
                let place = (number(body, "epoch"), number(body, "to"));
                assert_eq!(place, (self.epoch, self.to), "the parts are of one state");
                let more = body["more"].as_bool().expect("whether there is more");
                let last = format!("{}:{}", self.epoch, self.to);
                assert_eq!(id.as_ref(), (!more).then_some(&last), "one can come back to the whole, not to a part");
                if !more {
                    self.last_parts = self.parts.len();
                    self.rows = Some(std::mem::take(&mut self.parts).concat());
                }
            }
            "resumed" => {
                assert_eq!((number(body, "epoch"), number(body, "to")), (self.epoch, self.to));
                self.resumed += 1;
            }
            "reset" => {
                self.rows = None;
                self.resets.push(body["reason"].as_str().expect("a reason").to_owned());
            }
            "step" => {
                assert_eq!((number(body, "epoch"), number(body, "from")), (self.epoch, self.to), "no step is missed");
                self.to = number(body, "to");
                assert_eq!(id.as_deref(), Some(format!("{}:{}", self.epoch, self.to).as_str()));
                let rows = self.rows.as_mut().expect("a step comes after a snapshot");
                let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
                let updated = list("updated");
                let both = |side: &str| updated.iter().map(|u| u[side].clone()).collect::<Vec<_>>();
                let gone = [list("removed"), both("old")].concat();
                let texts: HashSet<String> = gone.iter().map(Value::to_string).collect();
                let held = rows.len();
                rows.retain(|row| !texts.contains(&row.to_string()));
                assert_eq!((texts.len(), held - rows.len()), (gone.len(), gone.len()), "{gone:?} were held");
                let held: HashSet<String> = rows.iter().map(Value::to_string).collect();
                for row in [list("added"), both("new")].concat() {
                    assert!(!held.contains(&row.to_string()), "{row} is new: {rows:?}");
                    rows.push(row);
                }
            }
            "gone" => self.rows = None,
            other => panic!("an event {other:?}: {body}"),
        }
    }
}

fn number(body: &Value, name: &str) -> u64 {
    body[name].as_u64().unwrap_or_else(|| panic!("{name} is a number: {:?}", body.as_object().map(Map::len)))
}
