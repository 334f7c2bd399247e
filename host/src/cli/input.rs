//! What people type in, and what is piped in.

use std::io::{self, BufRead, IsTerminal as _, Read as _};

use super::failure::Failure;
use super::output::Output;

/// Where answers come from.
pub(crate) struct Input {
    lines: Box<dyn BufRead + Send>,
    is_terminal: bool,
}

impl Input {
    /// The process's own stdin.
    pub(crate) fn of_process() -> Self {
        Self { lines: Box::new(io::BufReader::new(io::stdin())), is_terminal: io::stdin().is_terminal() }
    }

    /// Whether somebody can be asked.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Asks whether something is to be done. `what`: it, as a gerund. Nobody to ask is an error, and so is a no.
    pub(crate) fn confirm(&mut self, question: &str, what: &str, output: &mut Output) -> Result<(), Failure> {
        if !self.is_terminal {
            return Err(Failure::NeedsYes(what.to_owned()));
        }
        // What it is about comes before it.
        output.flush()?;
        output.question(&format!("{question} [y/N]"));
        let mut answer = String::new();
        self.lines.read_line(&mut answer)?;
        if !answer.ends_with('\n') {
            // Nobody ended the line.
            output.note("");
        }
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::Declined),
        }
    }

    /// A secret: typed in unseen on a terminal, else all that is piped in, without the end of its last line.
    pub(crate) fn secret(&mut self, name: &str) -> Result<String, Failure> {
        if self.is_terminal {
            return Ok(rpassword::prompt_password(format!("{name}: "))?);
        }
        let mut text = String::new();
        self.lines.read_to_string(&mut text)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::output::Format;
    use super::super::output::tests::pages;
    use super::*;

    /// What somebody answers, or pipes in.
    pub(crate) fn given(text: &str, is_terminal: bool) -> Input {
        Input { lines: Box::new(io::Cursor::new(text.to_owned())), is_terminal }
    }

    #[test]
    fn only_a_yes_is_one() {
        for (answer, is_yes) in [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("yep\n", false)] {
            let (mut output, _, asked) = pages(Format::Table, None);
            let said = given(answer, true).confirm("Remove it?", "removing it", &mut output);
            assert_eq!(said.is_ok(), is_yes, "{answer:?}");
            let end = if answer.is_empty() { "\n" } else { "" };
            assert_eq!(asked.text(), format!("Remove it? [y/N] {end}"));
        }
        let (mut output, _, asked) = pages(Format::Table, None);
        let failure = given("y\n", false).confirm("Remove it?", "removing it", &mut output).unwrap_err();
        assert_eq!(failure.to_string(), "removing it needs a yes, and stdin is no terminal to ask on");
        assert_eq!(asked.text(), "");
    }

    #[test]
    fn a_secret_is_all_that_is_piped_in_but_the_last_lines_end() {
        for (text, secret) in
            [("hunter2\n", "hunter2"), ("a\nb\n\n", "a\nb\n"), ("x\r\n", "x"), ("", ""), (" y ", " y ")]
        {
            assert_eq!(given(text, false).secret("password").unwrap(), secret);
        }
    }
}
