//! From how a child ended to a verdict: what, why, what now.

use super::super::bytes::Note;
use super::child::UNABLE;
use super::guest::{Ended, Trial};
use super::last_words::LastWords;
use super::traces::signal_name;
use super::verdict::{Bad, Good, Kind, Verdict};
use super::wire::{Answer, Stage, Tried};
use crate::config;
use std::time::Duration;

/// Signals that say which limit was met, and the one that says least.
const CPU: i32 = 24;
const FILE_SIZE: i32 = 25;
const KILL: i32 = 9;

/// The verdict on a plugin whose note says this.
pub(super) fn judge(trial: Trial, note: &Note, options: &config::Vet) -> Verdict {
    let Trial { ended, stage, step, last_words } = trial;
    let Some(stage) = stage else {
        return Verdict::Bad(Bad::new(Kind::Host, no_child(&ended, &last_words, options)));
    };
    let bad = |kind, reason: String| Verdict::Bad(Bad::new(kind, reason));
    let when = step.as_deref().unwrap_or(when(stage));
    match ended {
        Ended::Answered(answer) => answered(answer, note, &last_words),
        Ended::Garbled(what) => {
            bad(Kind::Host, format!("it can't be tried: the child's answer makes no sense: {what}"))
        }
        Ended::Overdue => {
            let (limit, words) = (time(options.timeout), with(&last_words));
            let now = "if it only needs longer, raise plugins.vet.timeout";
            bad(
                Kind::Overdue,
                format!("tried in a child process, it was not done within {limit}: it stopped {when}{words}; {now}"),
            )
        }
        Ended::Mute | Ended::Left(Some(UNABLE)) => {
            let words = with(&last_words);
            bad(
                Kind::Process,
                format!(
                    "tried in a child process, it left that unable to answer {when}: it may have closed descriptors that are \
                     not its own{words}"
                ),
            )
        }
        Ended::Left(code) => {
            let code = code.map_or_else(|| "an unknown code".to_owned(), |code| format!("code {code}"));
            let words = with(&last_words);
            bad(
                Kind::Exit,
                format!("tried in a child process, it ended the process with {code} {when}, without an answer{words}"),
            )
        }
        Ended::Killed(signal) => killed(signal, when, &last_words, options),
    }
}

/// The stage as the end of a sentence.
fn when(stage: Stage) -> &'static str {
    match stage {
        Stage::Map => "while it was mapped, which runs its constructors",
        Stage::Describe => "while it described itself",
        Stage::SelfTest => {
            "when it was asked to panic, which its panic guard must catch (built with panic = \"abort\"?)"
        }
        Stage::Leave => "when the thread that had called it ended",
        Stage::Check => "while it was checked",
    }
}

fn with(last_words: &LastWords) -> String {
    last_words.quoted().map_or_else(String::new, |words| format!("; its last words: {words}"))
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn no_child(ended: &Ended, last_words: &LastWords, options: &config::Vet) -> String {
    let program = options.program.as_ref().map_or_else(|| "this program".to_owned(), |path| path.display().to_string());
    let how = match ended {
        Ended::Killed(signal) => format!("was killed by {}", signal_name(*signal)),
        Ended::Left(Some(code)) => format!("ended with code {code}"),
        Ended::Overdue => format!("was not ready within {}", time(options.timeout)),
        Ended::Garbled(what) => format!("does not speak as a child of this host's build does ({what})"),
        _ => "does not answer".to_owned(),
    };
    let words = with(last_words);
    format!("it can't be tried: {program}, started as a child process, {how} before it came to the plugin{words}")
}

/// What a process says last when it runs out of something, and the option that gives it more.
const OUT_OF: [(&str, &str, &str); 5] = [
    ("memory allocation of ", "memory", "plugins.vet.memory"),
    ("bad_alloc", "memory", "plugins.vet.memory"),
    ("annot allocate memory", "memory", "plugins.vet.memory"),
    ("Too many open files", "open files", "plugins.vet.files"),
    ("Resource temporarily unavailable", "threads and processes", "plugins.vet.processes"),
];

fn out_of(text: &str) -> Option<(&'static str, &'static str)> {
    OUT_OF.iter().find(|(said, ..)| text.contains(said)).map(|(_, what, option)| (*what, *option))
}

fn killed(signal: i32, when: &str, last_words: &LastWords, options: &config::Vet) -> Verdict {
    let (name, words) = (signal_name(signal), with(last_words));
    let limit = |what: &str, option: &str| {
        let reason = format!("tried in a child process, it {what} {when}{words}; if it needs more, raise {option}");
        Verdict::Bad(Bad::new(Kind::Limit, reason))
    };
    match signal {
        CPU => return limit(&format!("used up {} of processor time", time(options.cpu)), "plugins.vet.cpu"),
        FILE_SIZE => {
            let bytes = options.file_size;
            return limit(&format!("wrote a file of more than {bytes} bytes"), "plugins.vet.file_size");
        }
        _ => {}
    }
    if let Some((what, option)) = out_of(&last_words.text()) {
        return limit(&format!("ran out of {what} and was killed by {name}"), option);
    }
    let reason = match signal {
        KILL => format!(
            "tried in a child process, it was killed by {name} {when}{words}: the system's memory may be short, or it catches \
             the signal that ends its time (plugins.vet.cpu)"
        ),
        _ => format!(
            "tried in a child process, it was killed by {name} {when}, and would have taken the host with it{words}"
        ),
    };
    Verdict::Bad(Bad::new(Kind::Signal, reason))
}

fn answered(answer: Answer, note: &Note, last_words: &LastWords) -> Verdict {
    let bad = |kind, reason: String| Verdict::Bad(Bad::new(kind, reason));
    let Tried { info, guard, processes, left } = match answer {
        Answer::Loader(text) => return bad(Kind::Loader, format!("the system's loader refused it: {text}")),
        Answer::Contract { reason, explanation, detail } => {
            return Verdict::Bad(Bad { explanation, detail, ..Bad::new(Kind::Contract, reason) });
        }
        Answer::Description(error) => {
            let (kind, more) = match out_of(&error) {
                Some((_, option)) => (Kind::Limit, format!("; if it needs more, raise {option}")),
                None => (Kind::Description, String::new()),
            };
            return bad(kind, format!("its description failed: {error}{more}"));
        }
        Answer::Tried(tried) => *tried,
        Answer::Checked(_) => return bad(Kind::Host, "it can't be tried: the child answers something else".to_owned()),
    };
    if let Err(reason) = agree(note, &info) {
        return bad(Kind::Rules, reason);
    }
    if let Some(instead) = guard {
        let reason = format!(
            "its panic guard does not work, so a panic in it would end the host: asked to panic, {instead}; \
             build it with busway-plugin-api's export_driver!"
        );
        return bad(Kind::Guard, reason);
    }
    if processes {
        let reason = "it starts a process when it is loaded, and in the host that would be a copy of the host: start it when a \
                      source is opened, with a program of its own";
        return bad(Kind::Processes, reason.to_owned());
    }
    if !left.refused.is_empty() {
        let what = left.refused.join("; it ");
        let reason = format!("when it is loaded it {what}: a driver shares the host's process and leaves it as it is");
        return bad(Kind::Process, reason);
    }
    let mut warnings: Vec<String> = left.warnings.iter().map(|what| format!("it {what}")).collect();
    if let Some(words) = last_words.quoted() {
        warnings.push(format!("it writes to standard output or error when it is loaded: {words}"));
    }
    Verdict::Good(Box::new(Good { info, warnings }))
}

/// Whether a description keeps the rules, and says what the note says.
///
/// # Errors
///
/// What is wrong with it.
pub(in super::super) fn agree(note: &Note, info: &busway_plugin_api::info::DriverInfo) -> Result<(), String> {
    let problems = info.problems();
    if !problems.is_empty() {
        return Err(format!("its description breaks the rules: {}", problems.join("; ")));
    }
    if (&note.id, &note.version) != (&info.id, &info.version) {
        let says = |id: &str, version: &str| format!("{id} {version}");
        let (noted, described) = (says(&note.id, &note.version), says(&info.id, &info.version));
        return Err(format!("its note says {noted}, its description {described}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::traces::Left;
    use super::*;
    use busway_plugin_api::info::DriverInfo;
    use serde_json::json;

    fn note() -> Note {
        serde_json::from_value(json!({"id": "one", "version": "1.0.0", "contract": "1.0.0", "abi_stable": "0.11.3"}))
            .unwrap()
    }

    fn info(change: impl FnOnce(&mut DriverInfo)) -> DriverInfo {
        let mut info = serde_json::from_value(json!({"id": "one", "version": "1.0.0", "contract": "1.0.0"})).unwrap();
        change(&mut info);
        info
    }

    fn trial(ended: Ended, stage: Option<Stage>, words: &str) -> Verdict {
        let mut last_words = LastWords::default();
        last_words.hear(words.as_bytes());
        judge(Trial { ended, stage, step: None, last_words }, &note(), &config::Vet::default())
    }

    fn said(ended: Ended, stage: Option<Stage>, words: &str) -> (Kind, String) {
        match trial(ended, stage, words) {
            Verdict::Bad(bad) => (bad.kind, bad.reason),
            Verdict::Good(good) => panic!("{good:?}"),
        }
    }

    fn tried(change: impl FnOnce(&mut Tried)) -> Ended {
        let mut tried = Tried { info: info(|_| ()), guard: None, processes: false, left: Left::default() };
        change(&mut tried);
        Ended::Answered(Answer::Tried(Box::new(tried)))
    }

    #[test]
    fn a_driver_without_fault_is_good() {
        let Verdict::Good(good) = trial(tried(|_| ()), Some(Stage::Leave), "") else { panic!("it is good") };
        assert_eq!(*good, Good { info: info(|_| ()), warnings: Vec::new() });
        let left = Left { warnings: vec!["keeps /tmp/log open".to_owned()], refused: Vec::new() };
        let Verdict::Good(good) = trial(tried(|t| t.left = left), Some(Stage::Leave), "hello\n") else {
            panic!("it is good")
        };
        let warnings = ["it keeps /tmp/log open", "it writes to standard output or error when it is loaded: \"hello\""];
        assert_eq!(good.warnings, warnings);
    }

    #[test]
    fn what_a_driver_does_wrong_is_said_in_one_sentence() {
        let left = |what: &str| Left { refused: vec![what.to_owned(), "waits".to_owned()], warnings: Vec::new() };
        for (ended, kind, text) in [
            (
                tried(|t| t.guard = Some("it answered that all is well".to_owned())),
                Kind::Guard,
                "its panic guard does not work, so a panic in it would end the host: asked to panic, it answered that \
                 all is well; build it with busway-plugin-api's export_driver!",
            ),
            (
                tried(|t| t.info.version = "2.0.0".to_owned()),
                Kind::Rules,
                "its note says one 1.0.0, its description one 2.0.0",
            ),
            (tried(|t| t.info.version.clear()), Kind::Rules, "its description breaks the rules: version is empty"),
            (
                tried(|t| t.left = left("sings")),
                Kind::Process,
                "when it is loaded it sings; it waits: a driver shares the host's process and leaves it as it is",
            ),
            (
                Ended::Answered(Answer::Description("open: Too many open files".to_owned())),
                Kind::Limit,
                "its description failed: open: Too many open files; if it needs more, raise plugins.vet.files",
            ),
            (
                Ended::Mute,
                Kind::Process,
                "tried in a child process, it left that unable to answer while it described itself: it may have closed \
                 descriptors that are not its own",
            ),
            (
                Ended::Killed(KILL),
                Kind::Signal,
                "tried in a child process, it was killed by SIGKILL while it described itself: the system's memory may \
                 be short, or it catches the signal that ends its time (plugins.vet.cpu)",
            ),
            (
                Ended::Killed(CPU),
                Kind::Limit,
                "tried in a child process, it used up 5s of processor time while it described itself; if it needs more, \
                 raise plugins.vet.cpu",
            ),
        ] {
            assert_eq!(said(ended, Some(Stage::Describe), ""), (kind, text.to_owned()));
        }
        assert_eq!(
            said(Ended::Killed(6), Some(Stage::SelfTest), "memory allocation of 99 bytes failed\n"),
            (
                Kind::Limit,
                "tried in a child process, it ran out of memory and was killed by SIGABRT when it was asked to panic, which \
                 its panic guard must catch (built with panic = \"abort\"?); its last words: \"memory allocation of 99 bytes \
                 failed\"; if it needs more, raise plugins.vet.memory"
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_child_that_never_came_to_the_plugin_is_the_host_s_trouble() {
        let text = "it can't be tried: this program, started as a child process, ";
        for (ended, how) in [
            (Ended::Left(Some(127)), "ended with code 127 before it came to the plugin"),
            (Ended::Killed(11), "was killed by SIGSEGV before it came to the plugin"),
            (Ended::Overdue, "was not ready within 10s before it came to the plugin"),
            (
                Ended::Garbled("it speaks protocol 2, this host 1".to_owned()),
                "does not speak as a child of this host's build does (it speaks protocol 2, this host 1) before it came to \
                 the plugin",
            ),
        ] {
            assert_eq!(said(ended, None, ""), (Kind::Host, format!("{text}{how}")));
        }
    }
}
