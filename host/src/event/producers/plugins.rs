//! Plugins and their generations: what became of which bytes.

use super::super::Publisher;
use super::super::catalogue::{PluginLifecycle, PluginLifecycleEvent, PluginState};
use super::{next, own_up, tell};
use crate::happenings::Receiver;
use crate::plugin::{Claim, Entry, Event, Generation, News, Outcome, Report};
use std::path::Path;

/// Tells of all that becomes of plugins.
pub(super) async fn run(publisher: Publisher, mut news: Receiver<News>) {
    let mut lost = 0;
    while let Some(news) = next(&mut news, &mut lost).await {
        own_up(&mut lost, "plugins");
        if let Some(data) = said(&news) {
            let file = data.file.as_deref().and_then(|file| Path::new(file).file_name());
            let file = file.map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
            let origin = data.driver.clone().unwrap_or(file);
            tell::<PluginLifecycleEvent>(&publisher, &origin, &data, &[]);
        }
    }
}

/// What is told of it, if anything is: other news says the rest.
fn said(news: &News) -> Option<PluginLifecycle> {
    Some(match news {
        News::Staged(claim) => of_claim(PluginState::STAGED, claim),
        News::Vetted(claim) => of_claim(PluginState::VETTED, claim),
        News::Loaded(generation) => of_generation(PluginState::LOADED, generation),
        News::Switched(generation) => of_generation(PluginState::SWITCHED, generation),
        News::Retired(generation) => of_generation(PluginState::RETIRED, generation),
        News::HeldBack { path, driver, version, sha256, reason } => PluginLifecycle {
            state: Some(PluginState::HELD_BACK),
            driver: some(driver),
            version: version.clone(),
            file: Some(path.display().to_string()),
            sha256: sha256.clone(),
            reason: some(reason),
            generation: None,
        },
        News::Written(entry) => return of_entry(entry),
    })
}

fn of_entry(entry: &Entry) -> Option<PluginLifecycle> {
    Some(match &entry.event {
        Event::Refused { path, sha256, driver, reason } => PluginLifecycle {
            state: Some(PluginState::REFUSED),
            driver: driver.clone(),
            file: Some(path.display().to_string()),
            sha256: sha256.clone(),
            reason: some(reason),
            ..PluginLifecycle::default()
        },
        Event::Transaction(report) => of_report(report)?,
        Event::Quarantined { sha256, driver, reason, .. } => PluginLifecycle {
            state: Some(PluginState::QUARANTINED),
            driver: some(driver),
            sha256: some(sha256),
            reason: some(reason),
            ..PluginLifecycle::default()
        },
        Event::Released { sha256, driver } => PluginLifecycle {
            state: Some(PluginState::RELEASED),
            driver: some(driver),
            sha256: some(sha256),
            ..PluginLifecycle::default()
        },
        _ => return None,
    })
}

/// Of a load or a reload that is over only what went wrong is news: the rest was told when it happened.
fn of_report(report: &Report) -> Option<PluginLifecycle> {
    let state = match report.outcome {
        Outcome::RolledBack => PluginState::ROLLED_BACK,
        Outcome::Refused => PluginState::REFUSED,
        // While others serve it is held back, which is told with the file.
        Outcome::Inconclusive if report.from.is_none() => PluginState::REFUSED,
        Outcome::Loaded | Outcome::Committed | Outcome::Inconclusive => return None,
    };
    Some(PluginLifecycle {
        state: Some(state),
        driver: some(&report.driver),
        version: some(&report.version),
        file: Some(report.path.display().to_string()),
        sha256: some(&report.sha256),
        generation: report.to.and_then(|number| i64::try_from(number).ok()),
        reason: report.reason.clone(),
    })
}

fn of_claim(state: PluginState, claim: &Claim) -> PluginLifecycle {
    PluginLifecycle {
        state: Some(state),
        driver: some(&claim.id),
        version: some(&claim.version),
        file: Some(claim.path.display().to_string()),
        sha256: some(&claim.sha256),
        ..PluginLifecycle::default()
    }
}

fn of_generation(state: PluginState, generation: &Generation) -> PluginLifecycle {
    PluginLifecycle {
        state: Some(state),
        driver: some(&generation.info.id),
        version: some(&generation.info.version),
        file: Some(generation.path.display().to_string()),
        sha256: some(&generation.sha256),
        generation: i64::try_from(generation.number).ok(),
        reason: None,
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
