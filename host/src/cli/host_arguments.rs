//! What a host is told on the command line: the arguments of `run` and `check`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of text a message.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The configuration's file, and what overrides it. An argument wins over its variable, that over the file.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct HostArguments {
    /// The configuration's file
    #[arg(long, value_name = "FILE", env = "BUSWAY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// A directory of plugins; may be given several times (the variable: separated by colons)
    #[arg(long = "plugins", value_name = "DIR", env = "BUSWAY_PLUGINS", value_delimiter = PATH_SEPARATOR)]
    pub(crate) plugins: Vec<PathBuf>,
    /// Also listen on this TCP address, such as 127.0.0.1:1789
    #[arg(long, value_name = "ADDRESS", env = "BUSWAY_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Listen on this unix socket
    #[arg(long, value_name = "PATH", env = "BUSWAY_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// Where the host keeps what must outlast it
    #[arg(long, value_name = "DIR", env = "BUSWAY_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// What to log: a level, or a filter such as `info,busway::plugin=debug`
    #[arg(long = "log", value_name = "FILTER", env = "BUSWAY_LOG")]
    pub(crate) log: Option<String>,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", env = "BUSWAY_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// What stands between paths in a variable.
const PATH_SEPARATOR: char = if cfg!(windows) { ';' } else { ':' };

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        host: HostArguments,
    }

    #[test]
    fn directories_may_be_several() {
        let program = Program::parse_from(["busway", "--plugins", "a:b", "--plugins", "c", "--listen", "[::1]:1789"]);
        assert_eq!(program.host.plugins, ["a", "b", "c"].map(PathBuf::from));
        assert_eq!(program.host.listen.unwrap().port(), 1789);
        assert!(Program::try_parse_from(["busway", "--listen", "everywhere"]).is_err());
    }
}
