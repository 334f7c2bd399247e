//! `busway completions`: what a shell needs to complete command lines.

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::Failure;
use super::output::Output;

/// Print a shell's completions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway completions bash > ~/.local/share/bash-completion/completions/busway
  busway completions zsh > ~/.zfunc/_busway
  busway completions fish > ~/.config/fish/completions/busway.fish")]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints them.
pub(crate) fn run(arguments: &CompletionsArguments, mut program: Command, output: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, "busway", &mut script);
    output.line(String::from_utf8_lossy(&script).trim_end())
}
