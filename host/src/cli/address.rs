//! Where the host may be, in the order in which it is looked for.

use std::env;
use std::fmt;
use std::path::PathBuf;

use super::failure::Failure;

/// Where a host listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostAddress {
    /// A unix socket.
    Socket(PathBuf),
    /// `host:port`, spoken to in plain HTTP.
    Tcp(String),
}

impl HostAddress {
    /// Reads `http://127.0.0.1:1789`, `127.0.0.1:1789`, `unix:PATH` or a path.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let bad = |why| Failure::BadAddress { text: text.to_owned(), why };
        if let Some(rest) = text.strip_prefix("http://") {
            let authority = rest.strip_suffix('/').unwrap_or(rest);
            if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
                return Err(bad("an URL is http://HOST:PORT and no more"));
            }
            let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            return Ok(Self::Tcp(if has_port { authority.to_owned() } else { format!("{authority}:80") }));
        }
        if text.starts_with("https://") {
            return Err(bad("a host speaks plain HTTP; put a proxy or an ssh tunnel before it"));
        }
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            return if path.is_empty() { Err(bad("no path follows unix:")) } else { Ok(Self::Socket(path.into())) };
        }
        if text.contains("://") {
            return Err(bad("its scheme is not http"));
        }
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        let looks_like_tcp = !text.contains('/')
            && text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        Ok(if looks_like_tcp { Self::Tcp(text.to_owned()) } else { Self::Socket(text.into()) })
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// Who says that a host may be at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--host`.
    Argument,
    /// `BUSWAY_HOST`.
    Environment,
    /// The configuration's socket.
    Configuration,
    /// A place where hosts are by default.
    Default,
}

/// An address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Where.
    pub(crate) address: HostAddress,
    /// Who says so.
    pub(crate) origin: Origin,
}

/// An address that was tried in vain.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// What was tried.
    pub(crate) candidate: Candidate,
    /// Why it failed.
    pub(crate) why: String,
}

impl Attempt {
    /// Whether the user named this address, so that no other was tried.
    pub(crate) fn was_asked_for(&self) -> bool {
        matches!(self.candidate.origin, Origin::Argument | Origin::Environment)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.candidate.origin {
            Origin::Argument => " (--host)",
            Origin::Environment => " (BUSWAY_HOST)",
            Origin::Configuration => " (the configuration)",
            Origin::Default => "",
        };
        write!(f, "{}{origin}: {}", self.candidate.address, self.why)
    }
}

/// The addresses to try, first to last. One that the user named is the only one: another host would be the wrong one.
pub(crate) fn candidates(
    named: Option<(&str, Origin)>,
    configured: Option<PathBuf>,
) -> Result<Vec<Candidate>, Failure> {
    if let Some((text, origin)) = named {
        return Ok(vec![Candidate { address: HostAddress::parse(text)?, origin }]);
    }
    let runtime = env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    Ok(default_candidates(configured, runtime))
}

fn default_candidates(configured: Option<PathBuf>, runtime: Option<PathBuf>) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let places = [
        (configured, Origin::Configuration),
        (runtime.map(|folder| folder.join("busway.sock")), Origin::Default),
        (Some(PathBuf::from("/run/busway/busway.sock")), Origin::Default),
    ];
    for (path, origin) in places {
        let Some(path) = path else { continue };
        let address = HostAddress::Socket(path);
        if found.iter().all(|candidate| candidate.address != address) {
            found.push(Candidate { address, origin });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_spelling() {
        let socket = |path: &str| HostAddress::Socket(path.into());
        let tcp = |authority: &str| HostAddress::Tcp(authority.to_owned());
        for (text, expected) in [
            ("http://127.0.0.1:1789", tcp("127.0.0.1:1789")),
            ("http://127.0.0.1:1789/", tcp("127.0.0.1:1789")),
            ("http://[::1]:1789", tcp("[::1]:1789")),
            ("http://gateway", tcp("gateway:80")),
            ("localhost:1789", tcp("localhost:1789")),
            ("/run/b.sock", socket("/run/b.sock")),
            ("unix:/run/b.sock", socket("/run/b.sock")),
            ("unix:///run/b.sock", socket("/run/b.sock")),
            ("./odd:1", socket("./odd:1")),
            ("b.sock", socket("b.sock")),
        ] {
            assert_eq!(HostAddress::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        assert_eq!(
            HostAddress::parse("https://a:1").unwrap_err().report().unwrap(),
            "error: \"https://a:1\" is not a host's address: a host speaks plain HTTP; put a proxy or an ssh tunnel before it
  try: a socket's path (/run/busway/busway.sock) or an URL (http://127.0.0.1:1789)"
        );
        for text in ["", "unix:", "ftp://a", "http://", "http://a/b"] {
            assert!(HostAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_configuration_comes_before_the_usual_places() {
        let found = default_candidates(Some("/srv/b.sock".into()), Some("/run/user/7".into()));
        let shown: Vec<String> = found.iter().map(|candidate| candidate.address.to_string()).collect();
        assert_eq!(shown, ["/srv/b.sock", "/run/user/7/busway.sock", "/run/busway/busway.sock"]);
        assert_eq!(default_candidates(Some("/run/busway/busway.sock".into()), None).len(), 1);
    }

    #[test]
    fn a_named_host_is_the_only_one_tried() {
        let found = candidates(Some(("localhost:1", Origin::Argument)), Some("/srv/b.sock".into())).unwrap();
        assert_eq!(found.len(), 1);
    }
}
