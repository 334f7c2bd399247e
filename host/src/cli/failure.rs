//! What can go wrong on the client's side, and the words for it.

use std::io;
use std::path::PathBuf;

use serde_json::Value;
use thiserror::Error;

use crate::bus::BadSelector;
use crate::config::ConfigError;
use crate::datasource::store::RestoreError;
use crate::node::NodeError;
use crate::plugin::TrustError;

use super::address::Attempt;
use super::dev::ProjectError;
use super::exit;
use super::table_name::TableName;

/// So many names are listed at most.
const SOME: usize = 12;

/// Why a command ended early.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// No address led to a host.
    #[error("no host answers")]
    NotReachable(Vec<Attempt>),
    /// An address that is none.
    #[error("{text:?} is not a host's address: {why}")]
    BadAddress {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not all plugins are as their files want it.
    #[error("{text}")]
    Reload {
        /// What the program ends with.
        code: u8,
        /// What came of it, in general; the particulars were printed.
        text: &'static str,
    },
    /// The connection broke in the middle of an answer.
    #[error("the host went away: {0}")]
    Lost(String),
    /// An answer that was a refusal.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The host's own words.
        message: String,
        /// What it adds for programs.
        data: Value,
    },
    /// An answer that could not be read.
    #[error("the host's answer could not be read: {0}")]
    Unreadable(String),
    /// No table of that name.
    #[error("no table {asked}")]
    NoTable {
        /// What was asked for.
        asked: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// No service of that name.
    #[error("no service {service}")]
    NoService {
        /// What was asked for.
        service: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// No method of that name.
    #[error("{service} has no method {method}")]
    NoMethod {
        /// The service.
        service: String,
        /// What was asked for.
        method: String,
        /// Those it has.
        known: Vec<String>,
    },
    /// Nothing of that name, among things that the host lists.
    #[error("no {what} {name}")]
    Unknown {
        /// What it would be: `datasource`, `driver`.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Arguments that make no sense, which clap can't tell.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to write instead.
        remedy: String,
    },
    /// What must be confirmed, and nobody is there to ask.
    #[error("{0} needs a yes, and stdin is no terminal to ask on")]
    NeedsYes(String),
    /// The user said no.
    #[error("nothing was changed")]
    Declined,
    /// A file that is not to be lost is in the way.
    #[error("{} is there already", .0.display())]
    InTheWay(PathBuf),
    /// A file can't be read or written.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A backup that is none, or can't be put in place.
    #[error("{0}")]
    Restore(#[from] RestoreError),
    /// A poll that was asked for failed.
    #[error("{name} was polled, and that failed: {why}")]
    Poll {
        /// The datasource.
        name: String,
        /// Why.
        why: String,
    },
    /// Something that was waited for did not come.
    #[error("{0}")]
    Waited(String),
    /// Arguments of a call that are none.
    #[error("the arguments are no JSON: {0}")]
    BadJson(String),
    /// A pattern that is none.
    #[error("{0}")]
    BadPattern(#[from] BadSelector),
    /// A table's name alone, and several services have it.
    #[error("{} services have a table {table}", services.len())]
    Ambiguous {
        /// The table's name.
        table: String,
        /// Those who have it.
        services: Vec<String>,
    },
    /// No column of that name.
    #[error("{table} has no column {column}")]
    NoColumn {
        /// The table.
        table: TableName,
        /// What was asked for.
        column: String,
        /// The columns it has.
        known: Vec<String>,
    },
    /// Output could not be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// The host could not start.
    #[error("{0}")]
    Start(#[from] NodeError),
    /// Some plugins or datasources would not run (`check`), or a driver failed checks (`plugin test`); each was named on
    /// stdout.
    #[error("{0}")]
    Check(String),
    /// A file that is no plugin (`plugin inspect`).
    #[error("{}: {why}", path.display())]
    NoPlugin {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Plans that come out otherwise than they were written down (`plugin replay`).
    #[error("{} of {plans} plans come out otherwise: this version plans by other rules than the one that wrote them", plans - same)]
    Replay {
        /// How many there are.
        plans: usize,
        /// How many come out the same.
        same: usize,
    },
    /// The list of trusted plugins can't be read or written.
    #[error("{0}")]
    Trust(#[from] TrustError),
    /// A crate that can't be built (`dev`).
    #[error("{0}")]
    Project(#[from] ProjectError),
    /// A driver that the demonstration needs is not there.
    #[error("the driver {name} is not in {}", plugins.display())]
    NoDriver {
        /// Its name.
        name: &'static str,
        /// Where it was looked for.
        plugins: PathBuf,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl Failure {
    /// The code that the program ends with.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::BadAddress { .. } | Self::BadJson(_) | Self::BadPattern(_) => exit::USAGE,
            Self::NotReachable(_) | Self::Lost(_) => exit::NOT_REACHABLE,
            Self::NoTable { .. } | Self::Ambiguous { .. } | Self::NoColumn { .. } => exit::NOT_FOUND,
            Self::NoService { .. } | Self::NoMethod { .. } | Self::Unknown { .. } => exit::NOT_FOUND,
            Self::Usage { .. } | Self::NeedsYes(_) => exit::USAGE,
            Self::Declined | Self::InTheWay(_) | Self::File { .. } | Self::Project(_) => exit::FAILED,
            Self::Replay { .. } | Self::Trust(_) | Self::Restore(_) | Self::Poll { .. } | Self::Waited(_) => {
                exit::FAILED
            }
            Self::Refused { status: 404, .. } => exit::NOT_FOUND,
            Self::Refused { .. } | Self::Unreadable(_) | Self::NoDriver { .. } => exit::FAILED,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => exit::OK,
            Self::Output(_) => exit::FAILED,
            Self::Start(NodeError::Config(_) | NodeError::BadConfig { .. }) => exit::CONFIGURATION,
            Self::Start(_) => exit::FAILED,
            Self::Check(_) | Self::NoPlugin { .. } => exit::REFUSED,
            Self::Reload { code, .. } => *code,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }

    /// What is said of it on stderr: `error: …`, then why, then what to do. Nothing for an end that the user made.
    pub(crate) fn report(&self) -> Option<String> {
        match self {
            Self::Interrupted => return None,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return None,
            _ => {}
        }
        let mut lines = vec![format!("error: {}", self.head())];
        lines.extend(self.why().into_iter().map(|why| format!("  why: {why}")));
        lines.extend(self.remedy().map(|remedy| format!("  try: {remedy}")));
        Some(lines.join("\n"))
    }

    /// What is said first. Problems that stand below, each on its own line, are not said twice.
    fn head(&self) -> String {
        let text = self.to_string();
        let problems = self.problems().join("; ");
        let without = text.strip_suffix(&problems).filter(|_| !problems.is_empty());
        without.map_or(text.clone(), |head| head.trim_end_matches([':', ' ']).to_owned())
    }

    /// What is wrong, one by one, where the host says so.
    fn problems(&self) -> Vec<&str> {
        let Self::Refused { data, .. } = self else { return Vec::new() };
        let problems = data.get("problems").and_then(Value::as_array);
        problems.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn why(&self) -> Vec<String> {
        match self {
            Self::NotReachable(attempts) => attempts.iter().map(Attempt::to_string).collect(),
            // The service's own words: what it adds is its own, too.
            Self::Refused { status: 422, data, .. } if data.get("kind").is_some_and(Value::is_string) => {
                let kind = data.get("kind").and_then(Value::as_str).unwrap_or_default();
                match data.get("data").filter(|data| !data.is_null()) {
                    Some(data) => vec![format!("the service calls it {kind}, and adds {data}")],
                    None => vec![format!("the service calls it {kind}")],
                }
            }
            Self::Refused { .. } if !self.problems().is_empty() => {
                self.problems().into_iter().map(str::to_owned).collect()
            }
            Self::Refused { status, data, .. } => match data.get("kind").and_then(Value::as_str) {
                Some(kind) => vec![format!("the host answered with HTTP status {status}, {kind}")],
                None => vec![format!("the host answered with HTTP status {status}")],
            },
            Self::Unknown { what, known, .. } if known.is_empty() => vec![format!("there is no {what}")],
            Self::Unknown { what, known, .. } => {
                let some: Vec<&str> = known.iter().take(SOME).map(String::as_str).collect();
                let more = known.len() - some.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                vec![format!("the {what}s are {}{more}", some.join(", "))]
            }
            Self::Ambiguous { services, .. } => vec![format!("they are {}", services.join(", "))],
            Self::NoService { known, .. } if !known.is_empty() => {
                vec![format!("the services are {}", known.join(", "))]
            }
            Self::NoMethod { known, .. } => vec![format!("its methods are {}", known.join(", "))],
            Self::Project(error) => error.why(),
            Self::NoColumn { known, .. } => vec![format!("its columns are {}", known.join(", "))],
            _ => Vec::new(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::NotReachable(attempts) if attempts.iter().any(Attempt::was_asked_for) => {
                Some("check the address, or start a host with `busway run`".to_owned())
            }
            Self::NotReachable(_) => {
                Some("start a host with `busway run`, or name one: --host URL|PATH, or BUSWAY_HOST".to_owned())
            }
            Self::BadAddress { .. } => {
                Some("a socket's path (/run/busway/busway.sock) or an URL (http://127.0.0.1:1789)".to_owned())
            }
            Self::Lost(_) => Some("see that host's log".to_owned()),
            Self::Unreadable(_) => Some("check that the address is a Busway host's, and of this version".to_owned()),
            Self::NoTable { nearest: Some(nearest), .. } => Some(format!("{nearest}, which is a near name")),
            Self::NoTable { nearest: None, .. } => Some("`busway tables --all` lists what there is".to_owned()),
            Self::Ambiguous { table, services } => services.first().map(|service| format!("{service}/{table}")),
            Self::Project(error) => error.remedy(),
            Self::NoDriver { .. } => Some("`cargo build --release`, or name their directory: --plugins DIR".to_owned()),
            Self::Usage { remedy, .. } => Some(remedy.clone()),
            Self::NeedsYes(_) => Some("say it with --yes".to_owned()),
            Self::InTheWay(_) => Some("another name, or --force to replace it".to_owned()),
            Self::BadJson(_) => Some("an object of named arguments: '{\"name\": \"value\"}'".to_owned()),
            Self::NoColumn { column: name, known, .. }
            | Self::NoService { service: name, known }
            | Self::Unknown { name, known, .. }
            | Self::NoMethod { method: name, known, .. } => {
                let known = known.iter().map(String::as_str);
                busway_plugin_api::options::nearest(name, known).map(|near| format!("{near}, which is a near name"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_refused() {
        let failure = Failure::Refused { status: 503, message: "the node is stopping".to_owned(), data: Value::Null };
        assert_eq!(
            failure.report().unwrap(),
            "error: the node is stopping\n  why: the host answered with HTTP status 503"
        );
        assert_eq!(failure.code(), exit::FAILED);
    }

    #[test]
    fn an_unknown_table_names_the_nearest() {
        let failure = Failure::NoTable { asked: "sytem/load".to_owned(), nearest: Some("system/load".to_owned()) };
        assert_eq!(failure.report().unwrap(), "error: no table sytem/load\n  try: system/load, which is a near name");
        assert_eq!(failure.code(), exit::NOT_FOUND);
        let failure = Failure::NoTable { asked: "x/y".to_owned(), nearest: None };
        assert_eq!(failure.report().unwrap(), "error: no table x/y\n  try: `busway tables --all` lists what there is");
    }

    #[test]
    fn a_bare_name_that_two_services_have_is_explained() {
        let services = vec!["east".to_owned(), "west".to_owned()];
        let failure = Failure::Ambiguous { table: "orders".to_owned(), services };
        assert_eq!(
            failure.report().unwrap(),
            "error: 2 services have a table orders\n  why: they are east, west\n  try: east/orders"
        );
    }

    #[test]
    fn an_unknown_column_lists_those_there_are() {
        let failure = Failure::NoColumn {
            table: TableName::new("system", "load"),
            column: "load1".to_owned(),
            known: vec!["load_1".to_owned(), "cpus".to_owned()],
        };
        assert_eq!(
            failure.report().unwrap(),
            "error: system/load has no column load1\n  why: its columns are load_1, cpus\n  try: load_1, which is a near name"
        );
    }

    #[test]
    fn several_problems_stand_on_lines_of_their_own() {
        let problems =
            ["unknown option \"pathh\": did you mean \"path\"?", "missing option \"path\" (string): The folder"];
        let failure = Failure::Refused {
            status: 400,
            message: format!("Invalid driver options: {}", problems.join("; ")),
            data: serde_json::json!({"kind": "InvalidDriverOption", "problems": problems}),
        };
        assert_eq!(
            failure.report().unwrap(),
            "error: Invalid driver options\n  why: unknown option \"pathh\": did you mean \"path\"?\n  \
             why: missing option \"path\" (string): The folder"
        );
        let failure = Failure::Refused {
            status: 409,
            message: "Datasource already in use with name web".to_owned(),
            data: serde_json::json!({"kind": "DatasourceNameInUse"}),
        };
        assert_eq!(
            failure.report().unwrap(),
            "error: Datasource already in use with name web\n  \
             why: the host answered with HTTP status 409, DatasourceNameInUse"
        );
    }

    #[test]
    fn of_many_names_some_are_listed() {
        let unknown = |known: Vec<String>| Failure::Unknown { what: "datasource", name: "wbe".to_owned(), known };
        assert_eq!(
            unknown((1..=20).map(|n| format!("web{n}")).collect()).report().unwrap(),
            "error: no datasource wbe\n  why: the datasources are web1, web2, web3, web4, web5, web6, web7, web8, web9, \
             web10, web11, web12 and 8 more\n  try: web1, which is a near name"
        );
        assert_eq!(
            unknown(vec!["db".to_owned(), "web".to_owned()]).report().unwrap(),
            "error: no datasource wbe\n  why: the datasources are db, web\n  try: web, which is a near name"
        );
        assert_eq!(unknown(Vec::new()).report().unwrap(), "error: no datasource wbe\n  why: there is no datasource");
        assert_eq!(unknown(Vec::new()).code(), exit::NOT_FOUND);
    }

    #[test]
    fn what_needs_a_yes_says_how_to_say_it() {
        let failure = Failure::NeedsYes("removing web".to_owned());
        assert_eq!(
            failure.report().unwrap(),
            "error: removing web needs a yes, and stdin is no terminal to ask on\n  try: say it with --yes"
        );
        assert_eq!((failure.code(), Failure::Declined.code()), (exit::USAGE, exit::FAILED));
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let failure = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.report(), failure.code()), (None, exit::OK));
        assert_eq!((Failure::Interrupted.report(), Failure::Interrupted.code()), (None, 130));
    }
}
