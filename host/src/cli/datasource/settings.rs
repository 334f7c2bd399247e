//! What may be said of a datasource when it is added and when it is changed.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::failure::Failure;
use super::super::input::Input;
use super::super::top;
use super::values::{limit, options, time};

/// What is not said is as it was, or the host's to decide.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Options as a JSON object, or @ and a file with it; those given one by one are put over it
    #[arg(long, value_name = "JSON|@FILE")]
    config_json: Option<String>,
    /// One line for people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A further address it listens on, which others may share; given several times, all of them
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// How often it is polled, a new one every 10s unless said: seconds, or with a unit; 0: on request only
    #[arg(long, value_name = "TIME", value_parser = top::time)]
    poll: Option<Duration>,
    /// How long a poll may take, of a new one 30s unless said
    #[arg(long, value_name = "TIME", value_parser = top::time)]
    deadline: Option<Duration>,
    /// How many rows each of its tables may have; or `default`
    #[arg(long, value_name = "N", value_parser = limit)]
    max_rows: Option<Value>,
    /// How many bytes of data each of its tables may have; or `default`
    #[arg(long, value_name = "N", value_parser = limit)]
    max_bytes: Option<Value>,
}

impl Settings {
    /// What the driver is told: the options of the object, and over them those given one by one.
    pub(super) fn options(&self, pairs: &[(String, String)], input: &mut Input) -> Result<Map<String, Value>, Failure> {
        options(self.config_json.as_deref(), pairs, input)
    }

    /// Puts all else into a request's body.
    pub(super) fn put(&self, body: &mut Map<String, Value>) {
        let said = [
            ("description", self.description.clone().map(Value::from)),
            ("addresses", (!self.addresses.is_empty()).then(|| json!(self.addresses))),
            ("poll", self.poll.map(time)),
            ("deadline", self.deadline.map(time)),
            ("max_rows", self.max_rows.clone()),
            ("max_bytes", self.max_bytes.clone()),
        ];
        body.extend(said.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
}
