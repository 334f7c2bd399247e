//! Where data goes: stdout, in one of three formats. Diagnostics go to stderr. Nothing else in the program prints.

use std::env;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;

/// The version of the shapes that `--output json` and `jsonl` print. Fields may join a shape; none leaves it within a version.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// What the data looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// When there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR says no or CLICOLOR_FORCE says yes.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Whether there is colour on that stream.
    fn decide(self, is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if set("NO_COLOR").is_some() => false,
            Self::Auto if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") => true,
            Self::Auto => is_terminal && set("TERM").is_none_or(|term| term != "dumb"),
        }
    }
}

/// Puts colour on text, or leaves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Paint that colours only if `on`.
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether there is any colour.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    /// `text` in `style`.
    pub(crate) fn put(self, style: Style, text: &str) -> String {
        if self.on && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Names of things.
pub(crate) const BOLD: Style = Style::new().bold();
/// What is only there to be found when looked for.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What came, what is well.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
/// What went, what failed.
pub(crate) const RED: Style = AnsiColor::Red.on_default();
/// What changed, what needs a look.
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();

/// The two streams and how they are written to.
pub(crate) struct Output {
    data: Box<dyn Write + Send>,
    diagnostics: Box<dyn Write + Send>,
    format: Format,
    paint: Paint,
    diagnostics_paint: Paint,
    width: Option<usize>,
}

impl Output {
    /// The process's own stdout and stderr.
    pub(crate) fn of_process(format: Format, color: ColorChoice) -> Self {
        let variable = |name: &str| env::var(name).ok();
        let is_terminal = io::stdout().is_terminal();
        let width = || {
            let size = crossterm::terminal::size().ok().map(|(width, _)| usize::from(width));
            size.filter(|width| *width > 0).unwrap_or(80)
        };
        Self {
            data: Box::new(BufWriter::new(io::stdout())),
            diagnostics: Box::new(io::stderr()),
            format,
            paint: Paint::new(color.decide(is_terminal, variable)),
            diagnostics_paint: Paint::new(color.decide(io::stderr().is_terminal(), variable)),
            // Where there is no terminal, to ask for its size is to run two programs.
            width: is_terminal.then(width),
        }
    }

    /// What the data is to look like.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// The colours of data.
    pub(crate) fn paint(&self) -> Paint {
        self.paint
    }

    /// How many columns a line of data may have; none if nobody looks.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// Whether someone looks at the data as it comes.
    pub(crate) fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Writes a line of data.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.data, "{line}")?)
    }

    /// Writes data as it is.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.data.write_all(bytes)?)
    }

    /// Writes an object on a line of its own.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.data, value).map_err(io::Error::from)?;
        self.line("")
    }

    /// Writes a JSON document: its version, then the fields of `value`.
    pub(crate) fn json_document(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut document = serde_json::Map::from_iter([("schema_version".to_owned(), SCHEMA_VERSION.into())]);
        if let Value::Object(fields) = serde_json::to_value(value).map_err(io::Error::from)? {
            document.extend(fields);
        }
        serde_json::to_writer_pretty(&mut self.data, &document).map_err(io::Error::from)?;
        self.line("")
    }

    /// Sees to it that everything written so far is out.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.data.flush()?)
    }

    /// Says something beside the data, on stderr. That it can't be said is no failure.
    pub(crate) fn note(&mut self, text: &str) {
        // What was said before it comes before it.
        let _ = self.data.flush();
        let text = self.diagnostics_paint.put(DIM, text);
        let _ = writeln!(self.diagnostics, "{text}");
    }

    /// Says something beside the data, on stderr, with a word before it that ends at that column.
    pub(crate) fn aside(&mut self, style: Style, word: &str, end: usize, text: &str) {
        let _ = self.data.flush();
        let word = self.diagnostics_paint.put(style, &format!("{word:>end$}"));
        let _ = writeln!(self.diagnostics, "{word} {text}");
    }

    /// Asks something, on stderr; the answer comes on the same line.
    pub(crate) fn question(&mut self, text: &str) {
        let _ = write!(self.diagnostics, "{text} ");
        let _ = self.diagnostics.flush();
    }

    /// Says why the program ends as it does, on stderr.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        let Some(report) = failure.report() else { return };
        let report = match report.strip_prefix("error:") {
            Some(rest) => format!("{}{rest}", self.diagnostics_paint.put(RED.bold(), "error:")),
            None => report,
        };
        let _ = writeln!(self.diagnostics, "{report}");
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A stream that remembers.
    #[derive(Clone, Default)]
    pub(crate) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        /// What was written so far.
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output whose data and diagnostics can be read.
    pub(crate) fn pages(format: Format, width: Option<usize>) -> (Output, Page, Page) {
        let (data, diagnostics) = (Page::default(), Page::default());
        let output = Output {
            data: Box::new(data.clone()),
            diagnostics: Box::new(diagnostics.clone()),
            format,
            paint: Paint::default(),
            diagnostics_paint: Paint::default(),
            width,
        };
        (output, data, diagnostics)
    }

    #[test]
    fn colour_follows_the_user_then_the_environment_then_the_terminal() {
        let variable = |set: &'static [(&'static str, &'static str)]| {
            move |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let auto = ColorChoice::Auto;
        assert!(auto.decide(true, variable(&[])));
        assert!(!auto.decide(false, variable(&[])));
        assert!(!auto.decide(true, variable(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")])));
        assert!(auto.decide(true, variable(&[("NO_COLOR", "")])));
        assert!(auto.decide(false, variable(&[("CLICOLOR_FORCE", "1")])));
        assert!(!auto.decide(false, variable(&[("CLICOLOR_FORCE", "0")])));
        assert!(!auto.decide(true, variable(&[("TERM", "dumb")])));
        assert!(ColorChoice::Always.decide(false, variable(&[("NO_COLOR", "1")])));
        assert!(!ColorChoice::Never.decide(true, variable(&[("CLICOLOR_FORCE", "1")])));
    }

    #[test]
    fn a_document_begins_with_its_version() {
        let (mut output, data, _) = pages(Format::Json, None);
        output.json_document(&serde_json::json!({"a": 1})).unwrap();
        assert_eq!(data.text(), "{\n  \"schema_version\": 1,\n  \"a\": 1\n}\n");
    }

    #[test]
    fn a_failure_is_told_on_stderr() {
        let (mut output, data, diagnostics) = pages(Format::Table, None);
        output.failure(&Failure::Lost("it closed the stream".to_owned()));
        assert_eq!(diagnostics.text(), "error: the host went away: it closed the stream\n  try: see that host's log\n");
        assert_eq!(data.text(), "");
    }
}
