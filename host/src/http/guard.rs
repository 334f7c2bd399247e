//! Who may ask what. A unix socket is its owner's; over TCP, web pages and other machines' names are kept out, and
//! nothing is changed without the token.

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
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rules").field("hosts", &self.hosts).field("reads", &self.reads).finish_non_exhaustive()
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
    let bearer = text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer "));
    let given = bearer.or_else(|| headers.get("x-auth-token").and_then(|v| v.to_str().ok()));
    match (&rules.token, given) {
        (Some(token), Some(given)) if same(token.as_bytes(), given.as_bytes()) => Ok(()),
        (Some(_), _) => {
            Err(Error::new(StatusCode::UNAUTHORIZED, "this needs the token, as \"Authorization: Bearer …\""))
        }
        (None, _) => Err(Error::new(
            StatusCode::FORBIDDEN,
            "over TCP this host answers reads only: use its unix socket, or set listen.token_file",
        )),
    }
}

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
        let rules = Rules { hosts: vec!["bus.example".to_owned()], token: None, reads: true };
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
            let rules = Rules { hosts: Vec::new(), token: token.map(str::to_owned), reads: true };
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
            let rules = Rules { hosts: Vec::new(), token: token.map(str::to_owned), reads: true };
            said_of("/v1/backup", &rules, method, &[&[("host", "localhost")], headers].concat())
        };
        assert_eq!(with(None, Method::GET, &[]), Some(403));
        assert_eq!(with(Some("s"), Method::GET, &[]), Some(401));
        assert_eq!(with(Some("s"), Method::HEAD, &[]), Some(401));
        assert_eq!(with(Some("s"), Method::GET, &[("authorization", "Bearer s")]), None);
    }
}
