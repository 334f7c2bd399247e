//! What a host is told on the command line: the arguments of `run` and `check`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError};
use crate::logging::Format;
use crate::node::beside_the_program;

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
    pub(crate) log_format: Option<Format>,
}

/// What stands between paths in a variable.
const PATH_SEPARATOR: char = if cfg!(windows) { ';' } else { ':' };

/// Where a configuration is looked for when none is named.
const SYSTEM: &str = "/etc/busway/busway.toml";

impl HostArguments {
    /// The configuration that these arguments, their variables and the file make.
    ///
    /// Without a file named, `$XDG_CONFIG_HOME/busway/busway.toml` or `/etc/busway/busway.toml` is read if it is there;
    /// without a plugin directory named, the program's own folder is one.
    pub(crate) fn configuration(&self) -> Result<Config, ConfigError> {
        let mut config = match self.config.clone().or_else(usual) {
            Some(path) => Config::read(&path)?,
            None => Config::default(),
        };
        if !self.plugins.is_empty() {
            config.plugins.directories.clone_from(&self.plugins);
        }
        if config.plugins.directories.is_empty() {
            config.plugins.directories.extend(beside_the_program());
        }
        config.listen.tcp = self.listen.or(config.listen.tcp);
        config.listen.socket = self.socket.clone().or(config.listen.socket);
        config.state_dir = self.state_dir.clone().or(config.state_dir);
        config.log.filter = self.log.clone().unwrap_or(config.log.filter);
        config.log.format = self.log_format.unwrap_or(config.log.format);
        config.check()?;
        Ok(config)
    }
}

/// The socket that the configuration names, for a client that looks for its host.
pub(crate) fn configured_socket() -> Result<Option<PathBuf>, ConfigError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(socket) = variable("BUSWAY_SOCKET") {
        return Ok(Some(socket));
    }
    match variable("BUSWAY_CONFIG") {
        Some(path) => Ok(Config::read(&path)?.listen.socket),
        // Nobody named it: one that is wrong, or not for everybody's eyes, is its host's trouble.
        None => Ok(usual().and_then(|path| Config::read(&path).ok()?.listen.socket)),
    }
}

fn usual() -> Option<PathBuf> {
    let own = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let own = own.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let own = own.map(|folder| folder.join("busway/busway.toml"));
    own.into_iter().chain([PathBuf::from(SYSTEM)]).find(|path| path.is_file())
}

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
