//! `busway top`: a running host, live.

use std::time::Duration;

use clap::Args;

use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::view::{Show, show};

/// Show a host as it lives: its tables, their changes, the machine
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway top
  busway top --for 1m > changes.log        where there is no terminal: a line a change

Keys: q quit, tab next table, shift-tab the one before, arrows and page keys scroll, p pause")]
pub(crate) struct TopArguments {
    /// End after this time: seconds, or with a unit (90, 5m)
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
}

/// Shows the host until a key, a signal or the time ends it.
pub(crate) async fn run(client: Client, arguments: &TopArguments, output: &mut Output) -> Result<(), Failure> {
    show(client, &Show { title: "top", duration: arguments.duration }, output).await
}

/// Reads `90`, `1.5`, `5m`, `1h 30m`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string());
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_unless_they_say_otherwise() {
        assert_eq!(time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(time("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(time("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["", "-1", "soon", "nan", "1e400"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
