//! Children for the conformance suite: one tries a plugin as a host would, each of the others does one check.

use super::super::bytes::Note;
use super::super::conformance::{Assignment, Finding};
use super::guest::{Ended, Trial, try_in_child};
use super::judge::judge;
use super::program::Program;
use super::verdict::{Bad, Verdict};
use super::vetter::VetterError;
use super::wire::{Answer, Confines, Stage, Task};
use crate::config;
use std::io::{self, Write as _};
use std::path::PathBuf;
use tempfile::TempPath;

/// Starts children, each with a folder of its own.
pub(crate) struct Examiner<'a> {
    program: Program,
    options: &'a config::Vet,
    staged: PathBuf,
    note: &'a Note,
}

/// A copy of bytes that are to be tried once. It is closed: a file that is open for writing is not what a host maps.
pub(crate) fn copy(bytes: &[u8]) -> io::Result<TempPath> {
    let mut staged = tempfile::Builder::new().prefix("busway-").suffix(".so").tempfile()?;
    staged.write_all(bytes)?;
    Ok(staged.into_temp_path())
}

/// What came of trying a plugin as a host would.
pub(crate) struct Vetted {
    /// What a host would say.
    pub(crate) verdict: Verdict,
    /// What the child was at last.
    pub(crate) stage: Option<Stage>,
}

impl<'a> Examiner<'a> {
    /// For one private copy.
    ///
    /// # Errors
    ///
    /// When there is no program to start.
    pub(crate) fn new(options: &'a config::Vet, staged: PathBuf, note: &'a Note) -> Result<Self, VetterError> {
        Ok(Self { program: Program::find(options.program.as_deref())?, options, staged, note })
    }

    fn start(&self, check: Option<Assignment>) -> io::Result<Trial> {
        let scratch = tempfile::Builder::new().prefix("busway-home-").tempdir()?;
        let staged = std::path::absolute(&self.staged)?;
        let task = Task { staged, confines: Confines::from(self.options), check };
        try_in_child(&self.program, &task, self.options.timeout, scratch.path())
    }

    /// What a host would say, but for what gives it more time: here that is no configuration.
    fn judge(&self, trial: Trial) -> Verdict {
        match judge(trial, self.note, self.options) {
            Verdict::Bad(bad) => {
                let reason =
                    bad.reason.replace("plugins.vet.timeout", "--timeout").replace("plugins.vet.cpu", "--timeout");
                Verdict::Bad(Bad { reason, ..bad })
            }
            good => good,
        }
    }

    /// Tries it as a host would before it loads it, and says so in the host's words: limits have the configuration's names.
    ///
    /// # Errors
    ///
    /// When no child can be had.
    pub(crate) fn try_as_host(&self) -> io::Result<Verdict> {
        Ok(judge(self.start(None)?, self.note, self.options))
    }

    /// Tries it as a host would before it loads it.
    ///
    /// # Errors
    ///
    /// When no child can be had.
    pub(crate) fn vet(&self) -> io::Result<Vetted> {
        let trial = self.start(None)?;
        let stage = trial.stage;
        Ok(Vetted { verdict: self.judge(trial), stage })
    }

    /// Has one check done.
    ///
    /// # Errors
    ///
    /// When no child can be had.
    pub(crate) fn check(&self, assignment: Assignment) -> io::Result<Finding> {
        let mut trial = self.start(Some(assignment))?;
        if let Ended::Answered(Answer::Checked(finding)) = trial.ended {
            return Ok(finding);
        }
        // What it was at is said by the steps of the check; a child that never came to it is no fault of the plugin's.
        if trial.step.is_none() && trial.stage == Some(Stage::Check) {
            trial.stage = None;
        }
        Ok(match self.judge(trial) {
            Verdict::Bad(bad) => Finding::failed(bad.reason),
            Verdict::Good(_) => Finding::failed("the child did something else than this check"),
        })
    }
}
