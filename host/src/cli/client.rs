//! Speaking HTTP to a host.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, IF_MATCH, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::{Attempt, Candidate, HostAddress};
use super::event_stream::{Decoder, StreamEvent};
use super::failure::Failure;
use super::snapshot::Snapshot;
use super::table_name::TableName;

/// How long a host may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// How long it may take to begin an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);
/// How long a stream may be silent. The host says something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

const IN_A_PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A host that answered once.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: HostAddress,
}

impl Client {
    /// The client of a host whose address is known.
    pub(crate) fn new(address: HostAddress) -> Self {
        Self { address }
    }

    /// The first of `candidates` where something listens.
    pub(crate) async fn find(candidates: Vec<Candidate>) -> Result<Self, Failure> {
        let mut attempts = Vec::new();
        for candidate in candidates {
            match connect(&candidate.address).await {
                Ok(_) => return Ok(Self::new(candidate.address)),
                Err(why) => attempts.push(Attempt { candidate, why }),
            }
        }
        Err(Failure::NotReachable(attempts))
    }

    /// Where the host is.
    pub(crate) fn address(&self) -> &HostAddress {
        &self.address
    }

    /// The rows of a table as they are now.
    pub(crate) async fn rows(&self, name: &TableName) -> Result<Snapshot, Failure> {
        self.some_rows(name, &[]).await
    }

    /// Those rows of a table that a query asks for.
    pub(crate) async fn some_rows(&self, name: &TableName, query: &[(String, String)]) -> Result<Snapshot, Failure> {
        let body = self.rows_as("application/json", name, query).await?;
        serde_json::from_slice(&body).map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// The same, as the host writes them in some format.
    pub(crate) async fn rows_as(
        &self,
        format: &str,
        name: &TableName,
        query: &[(String, String)],
    ) -> Result<Bytes, Failure> {
        let query = serde_urlencoded::to_string(query).map_err(|error| Failure::Unreadable(error.to_string()))?;
        let path = path_of(name, "rows");
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        whole(self.get(&path, format).await?).await
    }

    /// The rows of a table and whatever happens to them. `from`: the epoch and number of the state that is held already.
    pub(crate) async fn stream(&self, name: &TableName, from: Option<(u64, u64)>) -> Result<EventStream, Failure> {
        let request = Request::get(path_of(name, "stream")).header(ACCEPT, "text/event-stream");
        let request = match from {
            Some((epoch, to)) => request.header("last-event-id", format!("{epoch}:{to}")),
            None => request,
        };
        let response = self.send(request, Bytes::new(), ANSWER).await?;
        Ok(EventStream { body: response.into_body(), decoder: Decoder::default() })
    }

    /// The rows of all tables that a pattern meets, and whatever happens to them.
    pub(crate) async fn stream_of(&self, pattern: &str) -> Result<EventStream, Failure> {
        self.events(&format!("/v1/stream?tables={}", part(pattern))).await
    }

    /// The events of a stream at that path.
    pub(crate) async fn events(&self, path: &str) -> Result<EventStream, Failure> {
        let response = self.get(path, "text/event-stream").await?;
        Ok(EventStream { body: response.into_body(), decoder: Decoder::default() })
    }

    /// What the host answers there.
    pub(crate) async fn read(&self, path: &str) -> Result<Value, Failure> {
        let body = whole(self.get(path, "application/json").await?).await?;
        serde_json::from_slice(&body).map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// Sends a body there; what the host answers, within that time.
    pub(crate) async fn post(&self, path: &str, body: &Value, answer: Duration) -> Result<Value, Failure> {
        let request = Request::builder().method(Method::POST).uri(path);
        let request = request.header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        let body = whole(self.send(request, body.to_string().into(), answer).await?).await?;
        serde_json::from_slice(&body).map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// Changes or removes what is there. With `revision`, as an answer's ETag has it, only if it is at that one.
    pub(crate) async fn change(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        revision: Option<&str>,
    ) -> Result<Value, Failure> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        let request = match revision {
            Some(revision) => request.header(IF_MATCH, format!("\"{revision}\"")),
            None => request,
        };
        let body = whole(self.send(request, body.to_string().into(), ANSWER).await?).await?;
        serde_json::from_slice(&body).map_err(|error| Failure::Unreadable(error.to_string()))
    }

    /// The bytes that the host answers there.
    pub(crate) async fn download(&self, path: &str) -> Result<Bytes, Failure> {
        whole(self.get(path, "*/*").await?).await
    }

    async fn get(&self, path: &str, accept: &str) -> Result<Response<Incoming>, Failure> {
        self.send(Request::get(path).header(ACCEPT, accept), Bytes::new(), ANSWER).await
    }

    async fn send(&self, request: Builder, body: Bytes, answer: Duration) -> Result<Response<Incoming>, Failure> {
        let connection = connect(&self.address).await.map_err(Failure::Lost)?;
        let lost = |error: hyper::Error| Failure::Lost(chain(&error));
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(lost)?;
        // Ends by itself with the answer's last byte, or when the answer is dropped.
        tokio::spawn(driver);
        let authority = match &self.address {
            HostAddress::Socket(_) => "localhost",
            HostAddress::Tcp(authority) => authority,
        };
        let request = request.header(HOST, authority).header(USER_AGENT, concat!("busway/", env!("CARGO_PKG_VERSION")));
        // What allows writes over TCP.
        let request = match std::env::var("BUSWAY_TOKEN") {
            Ok(token) if matches!(self.address, HostAddress::Tcp(_)) => {
                request.header(AUTHORIZATION, format!("Bearer {}", token.trim()))
            }
            _ => request,
        };
        let request = request.body(Full::new(body)).map_err(|error| Failure::Unreadable(error.to_string()))?;
        let response = timeout(answer, sender.send_request(request))
            .await
            .map_err(|_| Failure::Lost(format!("no answer within {} s", answer.as_secs())))?
            .map_err(lost)?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }
}

/// The events of a stream, as they come.
#[derive(Debug)]
pub(crate) struct EventStream {
    body: Incoming,
    decoder: Decoder,
}

impl EventStream {
    /// The next event. Nothing is lost if this is dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<StreamEvent, Failure> {
        loop {
            if let Some(event) = self.decoder.next_event() {
                return Ok(event);
            }
            match timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.decoder.push(&bytes);
                    }
                }
                Ok(Some(Err(error))) => return Err(Failure::Lost(chain(&error))),
                Ok(None) => return Err(Failure::Lost("it closed the stream".to_owned())),
                Err(_) => return Err(Failure::Lost(format!("nothing heard for {} s", SILENCE.as_secs()))),
            }
        }
    }
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

async fn connect(address: &HostAddress) -> Result<Box<dyn Connection>, String> {
    let connecting = async {
        match address {
            HostAddress::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await.map_err(|error| reason(&error))?;
                Ok(Box::new(stream) as Box<dyn Connection>)
            }
            HostAddress::Socket(path) => connect_socket(path).await,
        }
    };
    timeout(CONNECT, connecting).await.map_err(|_| format!("no connection within {} s", CONNECT.as_secs()))?
}

#[cfg(unix)]
async fn connect_socket(path: &std::path::Path) -> Result<Box<dyn Connection>, String> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such socket".to_owned(),
            std::io::ErrorKind::ConnectionRefused => "nothing listens there; a host left its socket behind".to_owned(),
            std::io::ErrorKind::PermissionDenied => "you may not open that socket".to_owned(),
            _ => reason(&error),
        }),
    }
}

#[cfg(not(unix))]
async fn connect_socket(_: &std::path::Path) -> Result<Box<dyn Connection>, String> {
    Err("this system has no unix sockets; name an URL".to_owned())
}

/// The system's words, without its number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A text as one part of a path, or a value in a query.
pub(crate) fn part(text: &str) -> String {
    utf8_percent_encode(text, &IN_A_PATH).to_string()
}

fn path_of(name: &TableName, what: &str) -> String {
    format!("/v1/services/{}/tables/{}/{what}", part(&name.service), part(&name.table))
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = response.into_body().collect().await.map_err(|error| Failure::Lost(chain(&error)))?;
    Ok(body.to_bytes())
}

async fn refusal(response: Response<Incoming>) -> Failure {
    let status = response.status();
    let body = match whole(response).await {
        Ok(body) => body,
        Err(failure) => return failure,
    };
    let body = serde_json::from_slice::<Value>(&body).ok();
    let said = body.as_ref().and_then(|said| said.pointer("/error/message")).and_then(Value::as_str);
    let message = said.map_or_else(|| format!("no reason given ({status})"), str::to_owned);
    let data = body.and_then(|body| body.pointer("/error/error_data").cloned()).unwrap_or_default();
    Failure::Refused { status: status.as_u16(), message, data }
}

#[cfg(test)]
mod tests {
    use super::super::address::Origin;
    use super::super::mock::MockHost;
    use super::*;

    #[tokio::test]
    async fn rows_come_over_a_socket_and_over_tcp() {
        let host = MockHost::start().await;
        let name = TableName::new("files", "orders");
        for address in [host.socket(), host.tcp().await] {
            let rows = Client::new(address).rows(&name).await.unwrap();
            assert_eq!((rows.epoch, rows.to, rows.rows.len()), (1, 7, 3));
        }
    }

    #[tokio::test]
    async fn a_refusal_carries_the_hosts_words() {
        let host = MockHost::start().await;
        let client = Client::new(host.socket());
        let failure = client.rows(&TableName::new("no", "such thing")).await.unwrap_err();
        assert_eq!(failure.to_string(), "no table no/such thing");
        assert!(matches!(failure, Failure::Refused { status: 404, .. }));
    }

    #[tokio::test]
    async fn every_place_that_was_tried_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let (left, none) = (folder.path().join("left.sock"), folder.path().join("none.sock"));
        drop(tokio::net::UnixListener::bind(&left).unwrap());
        let candidate =
            |path: &std::path::Path, origin| Candidate { address: HostAddress::Socket(path.into()), origin };
        let failure = Client::find(vec![candidate(&left, Origin::Configuration), candidate(&none, Origin::Default)])
            .await
            .unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            format!(
                "error: no host answers\n  \
                 why: {} (the configuration): nothing listens there; a host left its socket behind\n  \
                 why: {}: there is no such socket\n  \
                 try: start a host with `busway run`, or name one: --host URL|PATH, or BUSWAY_HOST",
                left.display(),
                none.display()
            )
        );
        let failure = Client::find(vec![candidate(&none, Origin::Argument)]).await.unwrap_err();
        assert_eq!(
            failure.report().unwrap(),
            format!(
                "error: no host answers\n  why: {} (--host): there is no such socket\n  \
                 try: check the address, or start a host with `busway run`",
                none.display()
            )
        );
    }

    #[test]
    fn names_are_quoted_in_paths() {
        assert_eq!(path_of(&TableName::new("a.b", "c d/e"), "rows"), "/v1/services/a.b/tables/c%20d%2Fe/rows");
    }
}
