//! A service from outside: what a program in any language does to be one.

use crate::DEADLINE;
use crate::host::Host;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};

/// A registered service. Dropping it cuts its connection.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub name: String,
    /// The registration's identity.
    pub instance: String,
    connection: UnixStream,
    events: Receiver<(String, Value)>,
}

impl Session {
    /// Registers a service.
    ///
    /// # Errors
    ///
    /// What the host answered instead: status and text.
    pub fn open(host: &Host, name: &str, body: &Value) -> Result<Self, (u16, String)> {
        let mut connection = UnixStream::connect(host.path("bus.sock")).expect("the socket is there");
        let (path, body) = (format!("/v1/services/{name}/session"), body.to_string());
        // The older protocol has no chunks: what comes is what was said.
        let head = format!("POST {path} HTTP/1.0\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        connection.write_all((head + &body).as_bytes()).expect("the host listens");
        let mut lines = BufReader::new(connection.try_clone().expect("a second handle"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("an answer");
        let status: u16 = line.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        while line.trim_end() != "" {
            line.clear();
            lines.read_line(&mut line).expect("headers");
        }
        if status != 200 {
            let mut text = String::new();
            lines.read_to_string(&mut text).expect("a body");
            let body: Value = serde_json::from_str(&text).expect("an error");
            return Err((status, body["error"]["message"].as_str().expect("a message").to_owned()));
        }
        let (sender, events) = channel();
        std::thread::spawn(move || {
            let (mut event, mut data) = (String::new(), Value::Null);
            for line in lines.lines().map_while(Result::ok) {
                if let Some(rest) = line.strip_prefix("event: ") {
                    event = rest.to_owned();
                } else if let Some(rest) = line.strip_prefix("data: ") {
                    data = serde_json::from_str(rest).expect("an event's data is JSON");
                } else if line.is_empty() && sender.send((event.clone(), data.take())).is_err() {
                    return;
                }
            }
        });
        let mut session = Self { name: name.to_owned(), instance: String::new(), connection, events };
        let registered = session.expect("registered");
        assert_eq!(registered["service"], name);
        session.instance = registered["instance"].as_str().expect("an instance").to_owned();
        Ok(session)
    }

    /// The next event.
    ///
    /// # Panics
    ///
    /// When none comes in time.
    pub fn event(&mut self) -> (String, Value) {
        self.events.recv_timeout(DEADLINE).expect("an event in time")
    }

    /// The next event, which is of that kind.
    ///
    /// # Panics
    ///
    /// When another comes.
    pub fn expect(&mut self, kind: &str) -> Value {
        let (event, data) = self.event();
        assert_eq!(event, kind, "{data}");
        data
    }

    /// Sends something in the session's name.
    #[must_use]
    pub fn send(&self, host: &Host, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let path = format!("/v1/services/{}/{path}", self.name);
        host.send(method, &path, &[("x-busway-instance", &self.instance)], body)
    }

    /// As [`send`](Self::send), of what must work.
    ///
    /// # Panics
    ///
    /// When the host refuses.
    pub fn done(&self, host: &Host, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.send(host, method, path, body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.connection.shutdown(Shutdown::Both);
    }
}
