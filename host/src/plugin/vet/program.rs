//! Which program is started to try plugins, and how one that is started for that knows it.

use super::child;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The first argument of a child process that is to try a plugin.
pub(super) const MARKER: &str = "__busway_tries_a_plugin";

/// The running program, even if its file was replaced or removed meanwhile.
const ITSELF: &str = "/proc/self/exe";

/// Whether this program's `main` looks for [`MARKER`].
static LOOKS: AtomicBool = AtomicBool::new(false);

/// Makes this program one that a host within it can try plugins with: call it first in `main`, before there is a thread, a
/// runtime or a logger.
///
/// A host tries each new plugin in a child process before it maps it, and that child is this program once more. In the
/// child this function does what it is there for and never returns; else it returns at once.
///
/// A program that can't do this names another one that does, such as `busway` itself, with
/// [`Builder::vet_program`](crate::node::Builder::vet_program).
///
/// ```
/// // The first line of `main`:
/// busway::child_main_if_asked();
/// // … a logger, a runtime, a node
/// ```
pub fn child_main_if_asked() {
    LOOKS.store(true, Ordering::Relaxed);
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(MARKER)) {
        child::main();
    }
}

/// Why there is no program to try plugins with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// Nobody named one, and this one is none.
    #[error(
        "no plugin can be tried before it is loaded: call busway::child_main_if_asked() first in main, or name the program \
         busway with Builder::vet_program or plugins.vet.program"
    )]
    None,
    /// The one that was named is no file.
    #[error("plugins.vet.program {} is no file: name a program that calls busway::child_main_if_asked(), such as busway", .0.display())]
    NoFile(PathBuf),
}

/// A program that tries plugins when it is told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program(PathBuf);

impl Program {
    /// The one that was named, else this one.
    pub(super) fn find(named: Option<&Path>) -> Result<Self, ProgramError> {
        match named {
            Some(path) if path.is_file() => {
                // The child is started in another folder.
                Ok(Self(std::path::absolute(path).unwrap_or_else(|_| path.to_owned())))
            }
            Some(path) => Err(ProgramError::NoFile(path.to_owned())),
            None if LOOKS.load(Ordering::Relaxed) => Ok(Self(ITSELF.into())),
            None => Err(ProgramError::None),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_program_or_a_word_about_it() {
        // Nothing in this test program calls `child_main_if_asked`.
        let none = Program::find(None).unwrap_err().to_string();
        assert_eq!(
            none,
            "no plugin can be tried before it is loaded: call busway::child_main_if_asked() first in main, or name the \
             program busway with Builder::vet_program or plugins.vet.program"
        );
        let gone = Program::find(Some(Path::new("/no/such"))).unwrap_err().to_string();
        assert_eq!(
            gone,
            "plugins.vet.program /no/such is no file: name a program that calls busway::child_main_if_asked(), such as \
             busway"
        );
        let named = std::env::current_exe().unwrap();
        assert_eq!(Program::find(Some(&named)).unwrap().path(), named);
    }
}
