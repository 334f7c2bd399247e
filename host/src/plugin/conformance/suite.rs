//! The host's side of the suite: from a file to a report.

use super::report::{Done, Finding, Outcome, Report};
use super::{Assignment, CHECKS};
use crate::config;
use crate::datasource::as_opened;
use crate::plugin::bytes::{BytesError, Examined, Libraries, Refusal, inspect};
use crate::plugin::vet::{Bad, Examiner, Good, Kind, Stage as At, Verdict, Vetted, VetterError, copy};
use busway_plugin_api::info::DriverInfo;
use serde_json::{Map, Value};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// The checks that a host makes as well, before it loads a file.
const FIRST: [&str; 7] = ["bytes", "note", "load", "contract", "describe", "panic_guard", "process"];

/// All checks, in order.
pub(crate) const NAMES: [&str; FIRST.len() + CHECKS.len()] = {
    let mut names = [""; FIRST.len() + CHECKS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = if at < FIRST.len() { FIRST[at] } else { CHECKS[at - FIRST.len()].name };
        at += 1;
    }
    names
};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuiteError {
    /// There is no file, or it can't be read.
    #[error("{0}")]
    File(Refusal),
    /// The options that were given are not the driver's.
    #[error("the options do not fit the driver: {0}")]
    Options(String),
    /// There is no program to try plugins with.
    #[error(transparent)]
    Program(#[from] VetterError),
    /// No child can be had.
    #[error("no child process can be had: {0}")]
    Child(#[from] io::Error),
}

/// Tells which checks are asked for, and keeps what was found.
struct Book<'a> {
    only: &'a [String],
    checks: Vec<Done>,
}

impl Book<'_> {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn put(&mut self, name: &'static str, finding: Finding, took: Duration) {
        // What fails before is told though nobody asked for it: it is why the others are skipped.
        if self.wants(name) || finding.outcome == Outcome::Failed {
            self.checks.push(Done { name, finding, took });
        }
    }

    /// The first checks, of which at most one failed: those before it passed, those behind it can't be done.
    fn first(&mut self, names: &[&'static str], failed: Option<(&str, String)>, took: Duration) {
        let mut behind = None;
        for name in names {
            let finding = match (&failed, behind) {
                (_, Some(culprit)) => Finding::skipped(format!("{culprit} failed")),
                (Some((culprit, why)), None) if culprit == name => {
                    behind = Some(*name);
                    Finding::failed(why.clone())
                }
                _ => Finding::passed(),
            };
            // The time is of all of them, which one child does.
            self.put(name, finding, if *name == names[0] { took } else { Duration::ZERO });
        }
    }

    fn skip_rest(&mut self, why: &str) {
        for check in &CHECKS {
            self.put(check.name, Finding::skipped(why), Duration::ZERO);
        }
    }
}

/// Puts a file through the suite, or through those checks of it that are named. `given`: what a datasource would set;
/// texts are read as the driver declares them, and references to secrets followed.
///
/// # Errors
///
/// When there is nothing to check, or nothing to check it with. What is wrong with the driver is in the report.
pub(crate) fn run(
    file: &Path,
    given: &Map<String, Value>,
    only: &[String],
    limits: &config::Vet,
) -> Result<Report, SuiteError> {
    let mut book = Book { only, checks: Vec::new() };
    let begun = Instant::now();
    let Examined { bytes, facts, .. } = match inspect(file, &Libraries::of_system()) {
        Ok(examined) => examined,
        Err(refusal @ (Refusal::NoFile(_) | Refusal::Read(_))) => return Err(SuiteError::File(refusal)),
        Err(refusal) => {
            book.first(&FIRST, Some((of_bytes(&refusal), refusal.to_string())), begun.elapsed());
            book.skip_rest("it can't be loaded");
            return Ok(Report { driver: None, version: None, checks: book.checks });
        }
    };
    book.first(&FIRST[..2], None, begun.elapsed());
    let staged = copy(&bytes.bytes)?;
    let examiner = Examiner::new(limits, staged.to_path_buf(), &facts.note)?;
    let begun = Instant::now();
    let Vetted { verdict, stage } = examiner.vet()?;
    let info = match verdict {
        Verdict::Good(good) => {
            let Good { info, warnings } = *good;
            book.first(&FIRST[2..], None, begun.elapsed());
            if let Some(process) = book.checks.iter_mut().find(|done| done.name == "process") {
                process.finding.reason = Some(warnings.join("; ")).filter(|warnings| !warnings.is_empty());
            }
            info
        }
        Verdict::Bad(bad) => {
            let explanation = Some(bad.explanation.clone()).filter(|explanation| !explanation.is_empty());
            book.first(&FIRST[2..], Some((of_verdict(&bad, stage), bad.reason)), begun.elapsed());
            for done in book.checks.iter_mut().filter(|done| done.finding.outcome == Outcome::Failed) {
                done.finding.explanation.clone_from(&explanation);
            }
            book.skip_rest("it can't be loaded");
            let note = facts.note;
            return Ok(Report { driver: Some(note.id), version: Some(note.version), checks: book.checks });
        }
    };
    let (options, mut lacks) = options(&info, given)?;
    for check in CHECKS {
        let wanted = book.wants(check.name);
        if let (true, true, Some(why)) = (wanted, check.opens, &lacks) {
            book.put(check.name, Finding::skipped(why.clone()), Duration::ZERO);
        } else if wanted {
            let begun = Instant::now();
            let assignment = Assignment { check: check.name.to_owned(), options: options.clone() };
            let finding = examiner.check(assignment)?;
            if check.name == "open_close" && finding.outcome == Outcome::Failed {
                lacks = Some("open_close failed".to_owned());
            }
            book.put(check.name, finding, begun.elapsed());
        }
    }
    Ok(Report { driver: Some(info.id), version: Some(info.version), checks: book.checks })
}

/// The options as the driver declares them; why no source can be opened, if some are missing.
fn options(info: &DriverInfo, given: &Map<String, Value>) -> Result<(Map<String, Value>, Option<String>), SuiteError> {
    let missing = info.options.iter().filter(|option| option.required && !given.contains_key(&option.name));
    let missing: Vec<String> = missing.map(|option| format!("--option {}=VALUE", option.name)).collect();
    if missing.is_empty() {
        return Ok((as_opened(&info.options, given).map_err(SuiteError::Options)?, None));
    }
    // Those that are there may be wrong all the same, but none can be opened with.
    let lacks = format!("a source needs options: give {}", missing.join(" "));
    Ok((given.clone(), Some(lacks)))
}

/// The check that fails for what a file's bytes are.
fn of_bytes(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Bytes(BytesError::NoNote | BytesError::BadNote(_) | BytesError::Note(_)) => "note",
        Refusal::Bytes(BytesError::Contract { .. } | BytesError::AbiStable { .. }) => "contract",
        Refusal::Bytes(BytesError::Panics(_)) => "panic_guard",
        Refusal::Bytes(BytesError::Needs { .. } | BytesError::TooOld { .. }) => "load",
        _ => "bytes",
    }
}

/// The check that fails for what a file did as it was tried.
fn of_verdict(bad: &Bad, stage: Option<At>) -> &'static str {
    match (bad.kind, stage) {
        (Kind::Contract, _) => "contract",
        (Kind::Description | Kind::Rules, _) => "describe",
        (Kind::Guard, _) => "panic_guard",
        (Kind::Processes | Kind::Process, _) => "process",
        (_, Some(At::Describe)) => "describe",
        (_, Some(At::SelfTest)) => "panic_guard",
        (_, Some(At::Leave)) => "process",
        _ => "load",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_and_unique() {
        let names: std::collections::BTreeSet<&str> = NAMES.into_iter().collect();
        assert_eq!(names.len(), NAMES.len());
        assert!(NAMES.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !name.is_empty()));
    }

    #[test]
    fn what_failed_is_between_what_passed_and_what_was_not_done() {
        let mut book = Book { only: &[], checks: Vec::new() };
        book.first(&["a", "b", "c"], Some(("b", "why".to_owned())), Duration::from_secs(1));
        let said: Vec<_> = book.checks.iter().map(|done| (done.name, done.finding.clone())).collect();
        assert_eq!(
            said,
            [("a", Finding::passed()), ("b", Finding::failed("why")), ("c", Finding::skipped("b failed"))]
        );
        let only = ["c".to_owned()];
        let mut book = Book { only: &only, checks: Vec::new() };
        book.first(&["a", "b", "c"], Some(("b", "why".to_owned())), Duration::ZERO);
        let names: Vec<&str> = book.checks.iter().map(|done| done.name).collect();
        assert_eq!(names, ["b", "c"], "what failed is told though nobody asked");
    }
}
