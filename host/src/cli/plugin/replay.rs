//! `busway plugin replay`: the plans of a history, made again.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::cell::printable;
use super::super::failure::Failure;
use super::super::output::{Format, Output};
use crate::plugin::{Journal, Step, replay as plan_again};

/// Plan again what a history's plans followed from, and compare: no host is needed, and nothing is loaded
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  busway plugin replay /var/lib/busway/history.jsonl

The file before it, history.1.jsonl, is read first if it lies beside it. Ends with 1 if a plan comes out otherwise.

JSON: {\"schema_version\":1,\"file\",\"plans\",\"same\",\"difference\":null|{\"at\",\"recorded\":[{\"step\",…}],\"planned\":[{\"step\",…}]}}")]
pub(crate) struct ReplayArguments {
    /// A host's history.jsonl, in its state directory
    file: PathBuf,
}

/// Plans again.
pub(crate) fn replay(arguments: &ReplayArguments, output: &mut Output) -> Result<(), Failure> {
    let file = &arguments.file;
    // A history that can't be read is none of no plans.
    std::fs::File::open(file).map_err(|error| Failure::File { path: file.clone(), why: error.to_string() })?;
    let came = plan_again(&Journal::closed(file).read());
    let whole = json!({"file": file, "plans": came.plans, "same": came.same, "difference": came.difference});
    match output.format() {
        Format::Json => output.json_document(&whole)?,
        Format::Jsonl => output.json_line(&whole)?,
        Format::Table => {
            output.line(&format!("{} plans, {} of them the same", came.plans, came.same))?;
            if let Some(first) = &came.difference {
                output.line(&format!("the first that is not is of {}", first.at))?;
                for (what, steps) in [("recorded", &first.recorded), ("planned", &first.planned)] {
                    output.line(&printable(&format!("  {what}: {}", sentence(steps))))?;
                }
            }
        }
    }
    match came.difference {
        None => Ok(()),
        Some(_) => Err(Failure::Replay { plans: came.plans, same: came.same }),
    }
}

/// Steps as a line.
fn sentence(steps: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Load { claim } => format!("load {} from {} ({:.12})", claim.id, claim.path.display(), claim.sha256),
        Step::Reload { claim } => format!("reload {} from {} ({:.12})", claim.id, claim.path.display(), claim.sha256),
        Step::Adopt { claim } => format!("adopt {} in {} ({:.12})", claim.id, claim.path.display(), claim.sha256),
        Step::Restore { claim } => format!("restore {} from its copy ({:.12})", claim.id, claim.sha256),
        Step::Stop { id } => format!("stop {id}"),
    };
    if steps.is_empty() { "nothing".to_owned() } else { steps.iter().map(step).collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::super::exit;
    use super::super::super::output::tests::pages;
    use super::*;
    use crate::plugin::{Claim, Event, Inputs};

    fn replayed(steps: Vec<Step>, format: Format) -> (Result<(), Failure>, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        let inputs = Box::new(Inputs { claims: vec![claim()], ..Inputs::default() });
        Journal::open(&file).write(Event::Planned { inputs, steps });
        let (mut output, data, _) = pages(format, None);
        (replay(&ReplayArguments { file }, &mut output), data.text())
    }

    fn claim() -> Claim {
        let sha256 = "0123456789abcdef".to_owned();
        Claim { path: "/p/x.so".into(), id: "x".to_owned(), version: "1.0.0".to_owned(), sha256 }
    }

    #[test]
    fn the_same_plan_is_the_same() {
        let (ended, text) = replayed(vec![Step::Load { claim: claim() }], Format::Table);
        assert!(ended.is_ok());
        assert_eq!(text, "1 plans, 1 of them the same\n");
    }

    #[test]
    fn another_is_told_and_is_a_failure() {
        let (ended, text) = replayed(vec![Step::Stop { id: "x".to_owned() }], Format::Table);
        let failure = ended.unwrap_err();
        assert_eq!(failure.code(), exit::FAILED);
        assert_eq!(
            failure.to_string(),
            "1 of 1 plans come out otherwise: this version plans by other rules than the one that wrote them"
        );
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!(first, "1 plans, 0 of them the same");
        let (at, rest) = rest.split_once('\n').unwrap();
        assert!(at.starts_with("the first that is not is of 20"), "{at}");
        assert_eq!(rest, "  recorded: stop x\n  planned: load x from /p/x.so (0123456789ab)\n");
        let (_, text) = replayed(Vec::new(), Format::Jsonl);
        assert!(text.contains("\"recorded\":[]") && text.contains("\"planned\":[{\"step\":\"load\""), "{text}");
    }

    #[test]
    fn a_history_that_is_not_there_is_said() {
        let (mut output, ..) = pages(Format::Table, None);
        let failure = replay(&ReplayArguments { file: "/nowhere/history.jsonl".into() }, &mut output).unwrap_err();
        assert_eq!(failure.to_string(), "/nowhere/history.jsonl: No such file or directory (os error 2)");
    }
}
