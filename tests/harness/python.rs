//! Python packages that the host is tested with, each in a folder of its own.

use crate::workspace::{root, target};
use std::path::PathBuf;
use std::process::Command;

/// Where the packages are that `tests/FOLDER/requirements.txt` lists; installed if need be.
///
/// # Panics
///
/// When they can't be: with why, and what to do.
#[must_use]
pub fn installed(folder: &str, what: &str) -> PathBuf {
    let (place, requirements) = (target().join(folder), root().join("tests").join(folder).join("requirements.txt"));
    let mut command = Command::new(root().join("tests/install"));
    let output = command.arg(&place).arg(requirements).arg(what).output().expect("tests/install can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    place
}
