//! The command line: one file a subcommand, no logic of the host.

use std::process::ExitCode;

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
