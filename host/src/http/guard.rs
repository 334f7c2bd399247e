//! Who may ask what. A unix socket is its owner's; over TCP, web pages and other machines' names are kept out, and
//! nothing is changed without the token, unless the configuration opens writes to this whole machine. Web pages are kept
//! out then as well: a browser says where a page is from, and a form can't send JSON.

use super::error::Error;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The rules of a TCP door.
#[derive(Clone, Default)]
pub(super) struct Rules {
    /// Names by which it may be asked, besides loopback.
    pub(super) hosts: Vec<String>,
    /// What allows writes.
    pub(super) token: Option<String>,
    /// Whether reads need no token: the door is this machine's own.
    pub(super) reads: bool,
    /// Whether writes by loopback need none either.
    pub(super) writes: bool,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Rules");
        shown
            .field("hosts", &self.hosts)
            .field("reads", &self.reads)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

pub(super) async fn tcp(State(rules): State<Arc<Rules>>, request: Request, next: Next) -> Response {
    let uri = request.uri();
    match check(&rules, request.method(), uri.path(), request.headers(), uri.host()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Changes nothing, but gives away what else only who may change it sees.
const AS_WRITES: [&str; 1] = [super::backup::PATH];

fn check(
    rules: &Rules,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    authority: Option<&str>,
) -> Result<(), Error> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    // A page that made a browser resolve its own name to this address says so here.
    let host = authority.or_else(|| text(header::HOST)).unwrap_or_default();
    if !is_ours(rules, host) {
        let why = format!(
            "the host name {host:?} is not one of this host's: use a loopback address, or list it under listen.hosts"
        );
        return Err(Error::new(StatusCode::FORBIDDEN, why));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let named = origin.split_once("://").map_or(origin, |(_, name)| name);
        if !is_ours(rules, named) {
            return Err(Error::new(StatusCode::FORBIDDEN, format!("requests from pages of {origin} are refused")));
        }
    }
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !AS_WRITES.contains(&path);
    if rules.reads && reads {
        return Ok(());
    }
    if rules.writes {
        return open_write(method, headers, host);
    }
    let bearer = text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer "));
    // The predecessor's clients send it in a header of OpenStack's.
    let given = bearer.or_else(|| headers.get("x-auth-token").and_then(|v| v.to_str().ok()));
    match (&rules.token, given) {
        (Some(token), Some(given)) if same(token.as_bytes(), given.as_bytes()) => Ok(()),
        (Some(_), _) => {
            let text = "this needs the token, as \"Authorization: Bearer …\" or \"X-Auth-Token: …\"";
            Err(Error::new(StatusCode::UNAUTHORIZED, text))
        }
        (None, _) => Err(Error::new(
            StatusCode::FORBIDDEN,
            "over TCP this host answers reads only: use its unix socket, or set listen.token_file or listen.open_writes",
        )),
    }
}

/// A write without token: from a program of this machine, not from a page in its browser.
fn open_write(method: &Method, headers: &HeaderMap, host: &str) -> Result<(), Error> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // Who has another name than loopback comes through something that lets others in.
    if !is_ours(&Rules::default(), host) {
        let why = format!("listen.open_writes is for this machine: {host:?} is no loopback address");
        return Err(Error::new(StatusCode::FORBIDDEN, why));
    }
    // A page of another port of this machine may read, but it is another's page.
    let origin = text("origin").filter(|origin| origin.split_once("://").is_none_or(|(_, from)| from != host));
    let site = text("sec-fetch-site").filter(|site| !["same-origin", "none"].contains(site));
    if let Some(from) = origin.or(site) {
        return Err(Error::new(StatusCode::FORBIDDEN, format!("writes from pages of {from} are refused")));
    }
    // What a browser sends unasked, from a page that says nothing of itself, is of other types, and has no headers of ours.
    let kind = text("content-type").map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let is_json = |kind: &&str| JSON.iter().any(|known| kind.eq_ignore_ascii_case(known));
    let is_cloudevent = headers.contains_key("ce-specversion");
    match kind.filter(|kind| *method == Method::POST && !is_json(kind) && !is_cloudevent) {
        Some(_) => Err(Error::bad_request("Unsupported Content-Type; must be 'application/json'")),
        None => Ok(()),
    }
}

/// The types of what may be posted without a token.
const JSON: [&str; 3] = ["application/json", "application/cloudevents+json", "application/cloudevents-batch+json"];

fn is_ours(rules: &Rules, host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    };
    let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback || name.eq_ignore_ascii_case("localhost") || rules.hosts.iter().any(|h| h.eq_ignore_ascii_case(name))
}

/// Takes as long for a wrong first character as for a wrong last one.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rules: &Rules, method: Method, headers: &[(&'static str, &str)]) -> Option<u16> {
        said_of("/v1/data-sources", rules, method, headers)
    }

    fn said_of(path: &str, rules: &Rules, method: Method, headers: &[(&'static str, &str)]) -> Option<u16> {
        let headers = headers.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        check(rules, &method, path, &headers, None).err().map(|e| e.into_response().status().as_u16())
    }

    #[test]
    fn only_loopback_and_listed_names() {
        let rules = Rules { hosts: vec!["bus.example".to_owned()], reads: true, ..Rules::default() };
        for good in ["127.0.0.1:1789", "localhost", "LOCALHOST:1", "[::1]:1789", "bus.example:80", "127.9.9.9"] {
            assert_eq!(said(&rules, Method::GET, &[("host", good)]), None, "{good}");
        }
        for bad in ["evil.example", "10.0.0.1", "", "localhost.evil.example", "[fe80::1]:1"] {
            assert_eq!(said(&rules, Method::GET, &[("host", bad)]), Some(403), "{bad}");
        }
    }

    #[test]
    fn pages_of_others_are_refused() {
        let rules = Rules { reads: true, ..Rules::default() };
        let from = |origin| said(&rules, Method::GET, &[("host", "localhost"), ("origin", origin)]);
        assert_eq!(from("http://localhost:3000"), None);
        assert_eq!(from("https://evil.example"), Some(403));
        assert_eq!(from("null"), Some(403));
    }

    #[test]
    fn writes_need_the_token() {
        let with = |token: Option<&str>, headers: &[(&'static str, &str)]| {
            let rules = Rules { token: token.map(str::to_owned), reads: true, ..Rules::default() };
            said(&rules, Method::POST, &[&[("host", "localhost")], headers].concat())
        };
        assert_eq!(with(None, &[]), Some(403));
        assert_eq!(with(Some("s"), &[]), Some(401));
        assert_eq!(with(Some("s"), &[("authorization", "Bearer x")]), Some(401));
        assert_eq!(with(Some("s"), &[("authorization", "Bearer s")]), None);
        assert_eq!(with(Some("s"), &[("x-auth-token", "s")]), None);
        // A door that is open to other machines wants it for reads as well.
        let open = Rules { token: Some("s".to_owned()), ..Rules::default() };
        assert_eq!(said(&open, Method::GET, &[("host", "localhost")]), Some(401));
    }

    #[test]
    fn a_backup_is_for_those_who_may_write() {
        let with = |token: Option<&str>, method, headers: &[(&'static str, &str)]| {
            let rules = Rules { token: token.map(str::to_owned), reads: true, ..Rules::default() };
            said_of("/v1/backup", &rules, method, &[&[("host", "localhost")], headers].concat())
        };
        assert_eq!(with(None, Method::GET, &[]), Some(403));
        assert_eq!(with(Some("s"), Method::GET, &[]), Some(401));
        assert_eq!(with(Some("s"), Method::HEAD, &[]), Some(401));
        assert_eq!(with(Some("s"), Method::GET, &[("authorization", "Bearer s")]), None);
    }

    #[test]
    fn open_writes_are_for_programs_of_this_machine() {
        let rules = Rules { hosts: vec!["bus.example".to_owned()], reads: true, writes: true, ..Rules::default() };
        let with = |method, host, header: Option<(&'static str, &str)>| {
            let headers: Vec<_> = [("host", host)].into_iter().chain(header).collect();
            said(&rules, method, &headers)
        };
        let post = |header| with(Method::POST, "127.0.0.1:1789", Some(header));
        assert_eq!(with(Method::POST, "localhost:1789", None), None);
        assert_eq!(with(Method::DELETE, "[::1]:1789", None), None);
        assert_eq!(with(Method::PUT, "localhost", Some(("content-type", "application/x-parquet"))), None);
        // A proxy's name: who comes by it may be anybody.
        assert_eq!(with(Method::GET, "bus.example", None), None);
        assert_eq!(with(Method::POST, "bus.example", None), Some(403));
        assert_eq!(with(Method::POST, "evil.example", None), Some(403));
        assert_eq!(post(("content-type", "application/json")), None);
        assert_eq!(post(("content-type", "Application/JSON; charset=UTF-8")), None);
        assert_eq!(post(("content-type", "application/cloudevents+json")), None);
        assert_eq!(post(("content-type", "application/cloudevents-batch+json; charset=utf-8")), None);
        let binary = [("host", "localhost"), ("content-type", "text/plain"), ("ce-specversion", "1.0")];
        assert_eq!(said(&rules, Method::POST, &binary), None);
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
            assert_eq!(post(("content-type", kind)), Some(400), "{kind:?}");
        }
        assert_eq!(post(("origin", "http://127.0.0.1:1789")), None);
        for from in ["http://localhost:1789", "http://127.0.0.1:3000", "null", "https://evil.example"] {
            assert_eq!(post(("origin", from)), Some(403), "{from}");
        }
        assert_eq!(post(("sec-fetch-site", "same-origin")), None);
        assert_eq!(post(("sec-fetch-site", "none")), None);
        assert_eq!(post(("sec-fetch-site", "cross-site")), Some(403));
        assert_eq!(post(("sec-fetch-site", "same-site")), Some(403));
    }
}
