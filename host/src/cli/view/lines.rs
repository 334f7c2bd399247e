//! The view where there is no terminal: a line for each change.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::feed::{FeedEvent, feed};
use super::news::{self, Line};
use super::tables::{Happening, Kind, Tables, file_name, is_measurement, number, text};
use super::{Ending, Show, clock};
use crate::cli::cell::printable;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{BOLD, Format, GREEN, Output, RED, YELLOW};
use crate::cli::plugin::predicate;
use crate::cli::table_name::TableName;

/// How many lines a second are printed; the others are counted.
const LINES_A_SECOND: u32 = 20;
/// How often measurements are told of, each table's for itself.
const MEASURED: Duration = Duration::from_secs(10);

/// Prints what happens until the time is over or a signal ends it.
pub(super) async fn run(client: Client, show: &Show, output: &mut Output, mut ending: Ending) -> Result<(), Failure> {
    if output.format() == Format::Table {
        output.line(&format!("busway {} · {}", show.title, client.address()))?;
        output.flush()?;
    }
    let (mut events, work) = feed(client);
    let feeding = tokio::spawn(work);
    let mut printer = Printer::default();
    let done = loop {
        tokio::select! {
            biased;
            ended = ending.wait() => break ended,
            event = events.recv() => match event {
                Some(event) => printer.take(event, Instant::now(), &clock(), output)?,
                None => break Err(Failure::Lost("nothing follows its tables any more".to_owned())),
            },
        }
        // One write for all that came at once.
        if events.is_empty() {
            output.flush()?;
        }
    };
    feeding.abort();
    output.flush()?;
    done
}

#[derive(Default)]
struct Printer {
    tables: Tables,
    /// When this second began, and how many lines it had.
    second: Option<(Instant, u32)>,
    left_out: u32,
    /// Each table's measurements since they were last told of, and when that was.
    measured: BTreeMap<TableName, (usize, Instant)>,
    away: bool,
}

impl Printer {
    fn take(&mut self, event: FeedEvent, now: Instant, clock: &str, output: &mut Output) -> Result<(), Failure> {
        if let FeedEvent::Away(why) = &event
            && !self.away
        {
            self.away = true;
            output.note(&format!("{why}; waiting for it"));
        }
        if matches!(event, FeedEvent::Connected) && self.away {
            self.away = false;
            output.note("the host is back");
        }
        let Some(happening) = self.tables.apply(event) else { return Ok(()) };
        if happening.name == TableName::of_host("plugins") && matches!(happening.kind, Kind::Came(_)) {
            self.plugins(clock, output)?;
        }
        let replica = self.tables.get(&happening.name);
        let key = replica.map(|replica| replica.key().to_vec()).unwrap_or_default();
        let mut lines = news::lines(&happening, &key);
        lines.extend(self.measurements(&happening, now));
        for line in lines {
            self.print(&line, now, clock, output)?;
        }
        Ok(())
    }

    /// The plugins, once: each change of theirs is news.
    fn plugins(&self, clock: &str, output: &mut Output) -> Result<(), Failure> {
        let Some(plugins) = self.tables.of_host("plugins") else { return Ok(()) };
        if output.format() != Format::Table {
            return Ok(());
        }
        for row in plugins.rows() {
            let (file, state) = (file_name(text(row, "file")), printable(text(row, "state")));
            output.line(&match state.as_str() {
                "serving" => format!(
                    "{clock} = plugin {file}: {} {} serves as generation {:.0}",
                    printable(text(row, "driver")),
                    printable(text(row, "version")),
                    number(row, "generation")
                ),
                _ => format!("{clock} = plugin {file} is {}: {}", predicate(&state), printable(text(row, "reason"))),
            })?;
        }
        Ok(())
    }

    fn measurements(&mut self, happening: &Happening, now: Instant) -> Option<Line> {
        let name = &happening.name;
        let count = happening.changes.iter().filter(|change| is_measurement(name, change)).count();
        if count == 0 || name.is_hidden() {
            return None;
        }
        let (sum, since) = self.measured.entry(name.clone()).or_insert((0, now));
        *sum += count;
        if now.saturating_duration_since(*since) < MEASURED {
            return None;
        }
        let text = format!("{sum} measurements in {} s", now.saturating_duration_since(*since).as_secs());
        (*sum, *since) = (0, now);
        Some(Line { sign: '~', name: name.clone(), text })
    }

    fn print(&mut self, line: &Line, now: Instant, clock: &str, output: &mut Output) -> Result<(), Failure> {
        let (began, count) = self.second.get_or_insert((now, 0));
        if now.saturating_duration_since(*began) >= Duration::from_secs(1) {
            (*began, *count) = (now, 0);
            let left_out = std::mem::take(&mut self.left_out);
            if left_out > 0 {
                output.note(&format!("{clock} … {left_out} lines left out"));
            }
        }
        if *count >= LINES_A_SECOND {
            self.left_out += 1;
            return Ok(());
        }
        *count += 1;
        if output.format() != Format::Table {
            let Line { sign, name, text } = line;
            let (service, table) = (&name.service, &name.table);
            return output.json_line(&json!({
                "time": clock, "sign": sign, "service": service, "table": table, "text": text,
            }));
        }
        let style = match line.sign {
            '+' => GREEN,
            '-' => RED,
            _ => YELLOW,
        };
        let paint = output.paint();
        let sign = paint.put(style, &line.sign.to_string());
        let text = if line.name.is_hidden() { paint.put(BOLD, &line.text) } else { line.text.clone() };
        output.line(&format!("{clock} {sign} {} {text}", printable(&line.name.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::tests::{snapshot, step};
    use super::*;
    use crate::cli::output::tests::pages;

    #[test]
    fn lines_tell_what_happens() {
        let (mut output, data, _) = pages(Format::Table, None);
        let mut printer = Printer::default();
        let now = Instant::now();
        let mut take = |event, after: u64| {
            printer.take(event, now + Duration::from_secs(after), "12:00:00", &mut output).unwrap();
        };
        take(
            snapshot(
                "_host",
                "plugins",
                &["file"],
                json!([
            {"file":"system.so","driver":"system","version":"0.1.0","state":"serving","generation":1,"reason":null},
            {"file":"notes.so","state":"refused","reason":"not an object file"}]),
            ),
            0,
        );
        take(
            snapshot("system", "processes", &["pid"], json!([{"pid":1,"cpu_percent":1.0},{"pid":2,"cpu_percent":1.0}])),
            0,
        );
        take(
            step(
                "system",
                "processes",
                1,
                json!({"added":[{"pid":3,"name":"x"}],
            "updated":[{"old":{"pid":1,"cpu_percent":1.0},"new":{"pid":1,"cpu_percent":2.0}}]}),
            ),
            1,
        );
        take(
            step(
                "system",
                "processes",
                2,
                json!({"removed":[{"pid":3,"name":"x"}],
            "updated":[{"old":{"pid":1,"cpu_percent":2.0},"new":{"pid":1,"cpu_percent":3.0}}]}),
            ),
            12,
        );
        take(FeedEvent::Gone(TableName::new("system", "processes")), 12);
        assert_eq!(
            data.text(),
            "12:00:00 = plugin notes.so is refused: not an object file\n\
             12:00:00 = plugin system.so: system 0.1.0 serves as generation 1\n\
             12:00:00 = system/processes 2 rows\n\
             12:00:00 + system/processes pid=3 name=x\n\
             12:00:00 - system/processes pid=3 name=x\n\
             12:00:00 ~ system/processes 2 measurements in 11 s\n\
             12:00:00 - system/processes the table is gone\n"
        );
    }

    #[test]
    fn a_flood_is_counted() {
        let (mut output, data, diagnostics) = pages(Format::Table, None);
        let mut printer = Printer::default();
        let now = Instant::now();
        printer.take(snapshot("a", "b", &["id"], json!([])), now, "12:00:00", &mut output).unwrap();
        for id in 1..100 {
            let event = step("a", "b", id, json!({"added": [{"id": id}]}));
            printer.take(event, now, "12:00:00", &mut output).unwrap();
        }
        assert_eq!(data.text().lines().count(), LINES_A_SECOND as usize);
        let later = step("a", "b", 100, json!({"added": [{"id": 100}]}));
        printer.take(later, now + Duration::from_secs(1), "12:00:01", &mut output).unwrap();
        assert_eq!(diagnostics.text(), "12:00:01 … 80 lines left out\n");
    }
}
