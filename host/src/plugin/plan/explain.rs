//! Why a file serves a driver id, and why the others do not.

use super::{Decision, Inputs, Step, Unclear, plan};

/// So many characters of a hash tell bytes apart.
const BRIEF: usize = 12;

fn brief(sha256: &str) -> &str {
    sha256.get(..BRIEF).unwrap_or(sha256)
}

/// One sentence about who serves, and one about each file that matters. The same inputs give the same sentences.
#[must_use]
pub fn explain(inputs: &Inputs, id: &str) -> Vec<String> {
    let plan = plan(inputs);
    let mut said = Vec::new();
    let decision = plan.decisions.get(id);
    match inputs.serving.get(id) {
        Some(serving) => {
            let own = inputs.claims.iter().find(|claim| claim.id == id && claim.path == serving.path);
            let bytes = match own {
                Some(own) if own.sha256 == serving.sha256 => "the bytes that it holds",
                _ => "bytes that it held before",
            };
            said.push(format!(
                "{id} is served from {}, by {bytes} ({})",
                serving.path.display(),
                brief(&serving.sha256)
            ));
        }
        None => said.push(format!("nothing serves {id}")),
    }
    let next = match decision {
        None => Some("no file claims it, and none ever served it here".to_owned()),
        Some(Decision::Do(Step::Load { claim })) => {
            Some(format!("next: {} is loaded ({})", claim.path.display(), brief(&claim.sha256)))
        }
        Some(Decision::Do(Step::Reload { claim })) => {
            Some(format!("next: {} takes over ({})", claim.path.display(), brief(&claim.sha256)))
        }
        Some(Decision::Do(Step::Adopt { claim })) => {
            Some(format!("next: the bytes that serve lie in {} now", claim.path.display()))
        }
        Some(Decision::Do(Step::Restore { claim })) => Some(format!(
            "next: the kept copy {} of {} serves, version {}",
            brief(&claim.sha256),
            claim.path.display(),
            claim.version
        )),
        Some(Decision::Do(Step::Stop { .. })) => {
            Some("next: it ends, since its file is gone and plugins.on_remove is \"stop\"".to_owned())
        }
        Some(Decision::Wait) if inputs.busy.contains(id) => Some("it is being loaded, or on probation".to_owned()),
        Some(Decision::Wait) => Some("its file is being written, or can't be read just now".to_owned()),
        Some(Decision::Missing) => Some("its file is gone; what was loaded of it serves on".to_owned()),
        Some(Decision::Conflict) => Some(
            "several files claim it and none of them ever served it: remove all but one, or name one in plugins.files"
                .to_owned(),
        ),
        Some(Decision::Keep | Decision::HeldBack(_)) => None,
    };
    said.extend(next);
    for claim in inputs.claims.iter().filter(|claim| claim.id == id) {
        let path = claim.path.display();
        let what = format!("{path} holds version {} ({})", claim.version, brief(&claim.sha256));
        if let Some(why) = inputs.barred.get(&claim.sha256) {
            said.push(format!("{what}, which is held back: {why}"));
        } else if let Some(others) = plan.conflicts.get(&claim.path) {
            let others: Vec<String> = others.iter().map(|path| path.display().to_string()).collect();
            said.push(format!("{what}, and does not serve: {} claims {id} too", others.join(", ")));
        }
    }
    if let Some(served) = inputs.served.get(id) {
        if let Some(unclear) = inputs.unclear.get(&served.path) {
            let what = match unclear {
                Unclear::Changing => "was changed just now, or can't be looked at",
                Unclear::Incomplete => "is not whole: it is being copied, it seems",
                Unclear::Refused => "is no plugin for this host",
            };
            said.push(format!("{}, from which it was served last, {what}", served.path.display()));
        }
        let kept: Vec<String> =
            served.good.iter().map(|good| format!("{} ({})", good.version, brief(&good.sha256))).collect();
        if !kept.is_empty() {
            said.push(format!("copies that served well are kept of {}", kept.join(" and ")));
        }
    }
    if let Some(path) = inputs.named.get(id) {
        said.push(format!("the configuration names {} for it", path.display()));
    }
    said
}
