//! What operators see of each file.

use super::super::catalog::{FileState, FileView};
use super::super::generation::Generation;
use super::super::plan::{Claim, Plan};
use super::super::scan::{Found, ScanError};
use super::judge::Verdict;
use super::{Executor, Tenants};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn view(path: &Path, state: FileState, reason: String, size: u64) -> FileView {
    FileView { path: path.to_owned(), driver: None, version: None, state, reason, generation: None, sha256: None, size }
}

impl<T: Tenants> Executor<T> {
    pub(super) fn views(
        &self,
        planned: &Plan,
        files: &BTreeMap<PathBuf, Result<Found, ScanError>>,
        unreadable: &[PathBuf],
    ) -> Vec<FileView> {
        let mut views = Vec::new();
        for (path, look) in files {
            match look {
                Err(error) => views.push(self.instead(path, error.to_string(), 0, FileState::Refused)),
                Ok(found) => views.extend(self.view_of(path, found, planned)),
            }
        }
        for (id, serving) in &self.serving {
            let lost = unreadable.iter().any(|d| serving.path.parent() == Some(d.as_path()));
            let (state, reason) = match (files.get(&serving.path), self.judge.claim(&serving.path)) {
                (None, _) if lost => (FileState::Missing, "its directory can't be read".to_owned()),
                (None, _) => (FileState::Missing, "the file is gone".to_owned()),
                (Some(_), Some(now)) if now.id != *id => {
                    (FileState::Serving, format!("the file holds driver {:?} now", now.id))
                }
                (Some(_), _) => continue,
            };
            let generation = self.workshop.catalog.serving(id);
            views.push(FileView {
                driver: Some(id.clone()),
                version: generation.as_ref().map(|g| g.info.version.clone()),
                generation: generation.map(|g| g.number),
                sha256: Some(serving.sha256.clone()),
                ..view(&serving.path, state, format!("{reason}; what was loaded of it serves on"), 0)
            });
        }
        // What a file holds now stands before what it held.
        views.sort_by(|a, b| a.path.cmp(&b.path));
        views
    }

    fn view_of(&self, path: &Path, found: &Found, planned: &Plan) -> Option<FileView> {
        let seen = self.judge.seen.get(path)?;
        match &seen.verdict {
            Some(Verdict::Claims(claim)) => Some(self.claimed(path, claim, found.size, planned)),
            Some(Verdict::Incomplete(reason)) => {
                Some(self.instead(path, reason.clone(), found.size, FileState::Incomplete))
            }
            Some(Verdict::Refused(reason, _)) => {
                Some(self.instead(path, reason.clone(), found.size, FileState::Refused))
            }
            // It is changing: until it has settled, what was loaded of it serves.
            None => {
                let generation = self.of(path)?;
                Some(FileView {
                    driver: Some(generation.info.id.clone()),
                    version: Some(generation.info.version.clone()),
                    generation: Some(generation.number),
                    sha256: Some(generation.sha256.clone()),
                    ..view(path, FileState::Serving, String::new(), found.size)
                })
            }
        }
    }

    /// The same; files that are changing still are shown so, whatever serves.
    pub(super) fn with_unsettled(&self, views: &[FileView]) -> Vec<FileView> {
        let mut views = views.to_vec();
        for (path, claimed) in self.judge.unsettled() {
            let Some(seen) = self.judge.seen.get(path).filter(|seen| seen.verdict.is_none()) else { continue };
            let text = "it is still being written".to_owned();
            let mut changing = self.instead(path, text, seen.found.size, FileState::Incomplete);
            changing.driver = changing.driver.or_else(|| claimed.cloned());
            views.retain(|view| view.path != *path);
            views.push(changing);
        }
        views.sort_by(|a, b| a.path.cmp(&b.path));
        views
    }

    /// The generation that serves from a file, whatever that holds now.
    fn of(&self, path: &Path) -> Option<Arc<Generation>> {
        let (id, _) = self.serving.iter().find(|(_, serving)| serving.path == path)?;
        self.workshop.catalog.serving(id)
    }

    /// A file that is no plugin now; what was loaded of it may serve, or a kept copy.
    fn instead(&self, path: &Path, reason: String, size: u64, state: FileState) -> FileView {
        let Some(generation) = self.of(path) else { return view(path, state, reason, size) };
        FileView {
            driver: Some(generation.info.id.clone()),
            generation: Some(generation.number),
            ..view(path, state, format!("{reason}; the bytes before serve on"), size)
        }
    }

    fn claimed(&self, path: &Path, claim: &Claim, size: u64, planned: &Plan) -> FileView {
        let serves = self.serving.get(&claim.id).filter(|serving| serving.path == path);
        let current = serves.is_some_and(|serving| serving.sha256 == claim.sha256);
        let barred = self.inputs.barred.get(&claim.sha256);
        let (state, reason) = match (planned.conflicts.get(path), barred) {
            (Some(others), _) => {
                let others: Vec<String> = others.iter().map(|p| p.display().to_string()).collect();
                let text = format!("driver id {:?} is claimed by {} too: remove one", claim.id, others.join(", "));
                (FileState::Conflict, text)
            }
            (None, Some(why)) if serves.is_some() && !current => {
                (FileState::HeldBack, format!("{why}; the bytes before serve on"))
            }
            (None, Some(why)) if !current => (FileState::Refused, why.clone()),
            (None, None) if !current && self.busy.contains_key(&claim.id) => (FileState::Loading, String::new()),
            _ => (FileState::Serving, String::new()),
        };
        let generation = self.workshop.catalog.serving(&claim.id).filter(|_| serves.is_some());
        FileView {
            driver: Some(claim.id.clone()),
            version: Some(claim.version.clone()),
            generation: generation.map(|g| g.number),
            sha256: Some(claim.sha256.clone()),
            ..view(path, state, reason, size)
        }
    }
}
