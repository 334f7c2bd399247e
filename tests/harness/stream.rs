//! A client that follows a table, checks every step against what it holds, and keeps every state it saw.

use crate::DEADLINE;
use serde_json::{Map, Value};
use std::io::{BufRead, BufReader};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

/// A followed table.
#[derive(Debug)]
pub struct Stream {
    events: Receiver<(String, Value)>,
    rows: Option<Vec<Value>>,
    epoch: u64,
    to: u64,
    snapshots: usize,
}

impl Stream {
    pub(crate) fn open(url: &str) -> Self {
        let answer = ureq::get(url).call().expect("the stream is there");
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(answer.into_body().into_reader()).lines();
            let (mut event, mut data) = (String::new(), String::new());
            while let Some(Ok(line)) = lines.next() {
                if let Some(rest) = line.strip_prefix("event: ") {
                    event = rest.to_owned();
                } else if let Some(rest) = line.strip_prefix("data: ") {
                    data.push_str(rest);
                } else if line.is_empty() && !data.is_empty() {
                    let body = serde_json::from_str(&data).expect("an event's data is JSON");
                    if sender.send((event.clone(), body)).is_err() {
                        return;
                    }
                    data.clear();
                }
            }
        });
        Self { events, rows: None, epoch: 0, to: 0, snapshots: 0 }
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
                Ok((event, body)) => self.apply(&event, &body),
                Err(RecvTimeoutError::Timeout) => panic!("waited for {what}; instead: {:?}", self.rows),
                Err(RecvTimeoutError::Disconnected) => panic!("the stream ended before {what}; held: {:?}", self.rows),
            }
            each(self.rows());
        }
    }

    fn apply(&mut self, event: &str, body: &Value) {
        match event {
            "snapshot" => {
                self.snapshots += 1;
                (self.epoch, self.to) = (number(body, "epoch"), number(body, "to"));
                self.rows = Some(body["rows"].as_array().cloned().expect("rows"));
            }
            "step" => {
                assert_eq!((number(body, "epoch"), number(body, "from")), (self.epoch, self.to), "no step is missed");
                self.to = number(body, "to");
                let rows = self.rows.as_mut().expect("a step comes after a snapshot");
                let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
                let updated = list("updated");
                let gone = list("removed").into_iter().chain(updated.iter().map(|u| u["old"].clone()));
                for row in gone {
                    let at = rows.iter().position(|r| *r == row).unwrap_or_else(|| panic!("{row} was held: {rows:?}"));
                    rows.remove(at);
                }
                for row in list("added").into_iter().chain(updated.iter().map(|u| u["new"].clone())) {
                    assert!(!rows.contains(&row), "{row} is new: {rows:?}");
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
