//! A host within another program.

use super::{Node, NodeError};
use crate::config::{Config, Datasource};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A host that is about to be started within another program. It listens nowhere unless told to.
///
/// ```
/// // First of all in `main`: plugins are tried in a child process, which is this program once more.
/// busway::child_main_if_asked();
/// # let folder = tempfile::tempdir()?;
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use busway::node::Node;
///
/// let node = Node::builder().name("alpha").state_dir(folder.path()).start().await?;
/// assert_eq!(node.bus().node(), "alpha");
/// assert_eq!((node.tcp(), node.socket()), (None, None));
/// node.stop().await;
/// # Ok::<(), busway::node::NodeError>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a node runs when it is started"]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// All of a configuration, as a file has it, instead of what was said so far.
    pub fn config(self, config: Config) -> Self {
        Self { config }
    }

    /// The node's name on the bus; else the machine's.
    pub fn name(mut self, name: &str) -> Self {
        self.config.node = Some(name.to_owned());
        self
    }

    /// Where it keeps what it must remember: one host at a time. Else where the program does.
    pub fn state_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.state_dir = Some(folder.into());
        self
    }

    /// One more directory of drivers.
    pub fn plugins(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.plugins.directories.push(folder.into());
        self
    }

    /// The program whose child process tries plugins before they are loaded: one that calls
    /// [`child_main_if_asked`](crate::child_main_if_asked), such as `busway` of the same build. Else this one, which must
    /// call it then.
    pub fn vet_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.config.plugins.vet.program = Some(program.into());
        self
    }

    /// A datasource, under the name of its service.
    pub fn datasource(mut self, name: &str, datasource: Datasource) -> Self {
        self.config.datasource.insert(name.to_owned(), datasource);
        self
    }

    /// Answers HTTP at this address; port 0 takes a free one.
    pub fn tcp(mut self, address: SocketAddr) -> Self {
        self.config.listen.tcp = Some(address);
        self
    }

    /// Answers HTTP on a unix socket, which is its owner's alone.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.listen.socket = Some(path.into());
        self
    }

    /// Starts it. Must be called within a tokio runtime of several threads.
    ///
    /// # Errors
    ///
    /// As [`Node::start`].
    pub async fn start(self) -> Result<Node, NodeError> {
        Node::start_with(&self.config, self.config.listen.socket.clone()).await
    }
}
