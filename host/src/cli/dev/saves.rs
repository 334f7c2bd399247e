//! Which files an author saved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Config, EventKind, PollWatcher, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout_at;

use super::project::Project;

/// An editor that saves writes more than once, and saves more than one file: so long nothing happens, then it is over.
const QUIET: Duration = Duration::from_millis(80);
/// Whatever still happens then is the next save's.
const LONGEST: Duration = Duration::from_secs(1);
/// Where no events are to be had, files are looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// What happens to the sources.
pub(super) struct Saves {
    watcher: Option<Box<dyn Watcher + Send + Sync>>,
    watched: BTreeSet<PathBuf>,
    project: Arc<Mutex<Project>>,
    saved: UnboundedReceiver<PathBuf>,
}

impl Saves {
    /// Of that project, from now on.
    pub(super) fn of(project: &Project) -> Self {
        let (sender, saved) = unbounded_channel();
        let shared = Arc::new(Mutex::new(project.clone()));
        let watcher = watcher(&shared, &sender);
        let mut saves = Self { watcher, watched: BTreeSet::new(), project: shared, saved };
        saves.follow(project);
        saves
    }

    /// What of the project counts may have changed.
    pub(super) fn follow(&mut self, project: &Project) {
        *self.project.lock().unwrap_or_else(PoisonError::into_inner) = project.clone();
        let Some(watcher) = &mut self.watcher else { return };
        // Editors replace files: it is their folders that are watched.
        let folders = project.files.iter().filter_map(|file| file.parent().map(Path::to_path_buf));
        let below = |folder: &PathBuf| !project.files.iter().any(|file| file.parent() == Some(folder));
        let all = folders.map(|folder| (folder, false));
        // Sources that lie beside a manifest: the target folder may lie there, too.
        let all = all.chain(project.sources.iter().map(|folder| (folder.clone(), below(folder))));
        for (folder, recursive) in all {
            let mode = if recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            if !self.watched.contains(&folder) && watcher.watch(&folder, mode).is_ok() {
                self.watched.insert(folder);
            }
        }
    }

    /// Waits until something was saved, and no more of it comes. Nothing is lost if this is dropped while it waits for the
    /// first file.
    pub(super) async fn next(&mut self) -> BTreeSet<PathBuf> {
        let Some(first) = self.saved.recv().await else { return std::future::pending().await };
        let mut burst = Burst::of(first, Instant::now());
        while let Ok(Some(path)) = timeout_at(burst.over().into(), self.saved.recv()).await {
            burst.and(path, Instant::now());
        }
        burst.left(Path::exists)
    }
}

fn watcher(project: &Arc<Mutex<Project>>, sender: &UnboundedSender<PathBuf>) -> Option<Box<dyn Watcher + Send + Sync>> {
    let handler = || {
        let (project, sender) = (Arc::clone(project), sender.clone());
        move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            if is_a_look(&event.kind) {
                return;
            }
            let project = project.lock().unwrap_or_else(PoisonError::into_inner);
            for path in event.paths.into_iter().filter(|path| counts(&project, path)) {
                // Nobody waits for it once the program ends.
                let _ = sender.send(path);
            }
        }
    };
    match RecommendedWatcher::new(handler(), Config::default()) {
        Ok(watcher) => Some(Box::new(watcher)),
        Err(_) => {
            let watcher = PollWatcher::new(handler(), Config::default().with_poll_interval(LOOK)).ok()?;
            Some(Box::new(watcher))
        }
    }
}

/// The compiler reads, and so do editors.
fn is_a_look(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

/// Whether what happened to a path may change what is built.
fn counts(project: &Project, path: &Path) -> bool {
    if project.files.contains(path) {
        return true;
    }
    let mut within = project.sources.iter().filter_map(|folder| path.strip_prefix(folder).ok());
    let is_source = within.any(|rest| {
        let mut parts = rest.iter().map(|part| part.to_string_lossy());
        rest.iter().next().is_some() && parts.all(|part| !is_foreign(&part))
    });
    is_source && !path.starts_with(&project.target)
}

/// Files that editors keep beside those that are edited, and folders that are no sources.
fn is_foreign(name: &str) -> bool {
    name.starts_with(['.', '#'])
        || name.ends_with('~')
        || [".swp", ".swx", ".tmp", ".orig", ".rej"].iter().any(|end| name.ends_with(end))
        // vim tries whether it may write into a folder.
        || name.bytes().all(|b| b.is_ascii_digit())
        || name == "target"
}

/// Files that were saved together.
#[derive(Debug)]
struct Burst {
    first: Instant,
    last: Instant,
    files: BTreeSet<PathBuf>,
}

impl Burst {
    fn of(file: PathBuf, now: Instant) -> Self {
        Self { first: now, last: now, files: BTreeSet::from([file]) }
    }

    fn and(&mut self, file: PathBuf, now: Instant) {
        self.last = now;
        self.files.insert(file);
    }

    /// What was saved: not what was only there for that, unless it is all there was, so that something was removed.
    fn left(mut self, exists: impl Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
        if self.files.iter().any(|file| exists(file)) {
            self.files.retain(|file| exists(file));
        }
        self.files
    }

    /// When it is over, if nothing more comes.
    fn over(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(root: &str) -> Project {
        let root = Path::new(root);
        Project {
            sources: BTreeSet::from([root.join("src"), root.join("flat")]),
            files: BTreeSet::from([root.join("Cargo.toml"), root.join("build.rs")]),
            target: root.join("flat/out"),
            ..Project::default()
        }
    }

    #[test]
    fn sources_manifests_and_build_scripts_count() {
        for (path, does) in [
            ("/c/src/lib.rs", true),
            ("/c/src/deep/query.sql", true),
            ("/c/Cargo.toml", true),
            ("/c/build.rs", true),
            ("/c/flat/lib.rs", true),
            ("/c/src", false),
            ("/c/README.md", false),
            ("/c/Cargo.lock", false),
            ("/c/target/debug/x.rs", false),
            ("/c/flat/target/debug/x.rs", false),
            ("/c/flat/out/x.rs", false),
            ("/c/src/.git/index", false),
            ("/c/src/.lib.rs.swp", false),
            ("/c/src/lib.rs~", false),
            ("/c/src/#lib.rs#", false),
            ("/c/src/4913", false),
            ("/d/src/lib.rs", false),
        ] {
            assert_eq!(counts(&project("/c"), Path::new(path)), does, "{path}");
        }
    }

    #[test]
    fn a_burst_is_over_when_it_is_quiet_or_goes_on_for_too_long() {
        let begun = Instant::now();
        let mut burst = Burst::of("a".into(), begun);
        assert_eq!(burst.over(), begun + QUIET);
        for step in 1..100 {
            burst.and("b".into(), begun + QUIET / 2 * step);
        }
        assert_eq!(burst.over(), begun + LONGEST);
        let names = |files: BTreeSet<PathBuf>| files.into_iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        let burst = |file: &str| {
            let mut burst = Burst::of(file.into(), begun);
            burst.and("b".into(), begun);
            burst
        };
        assert_eq!(names(burst("a").left(|path| path == Path::new("b"))), ["b"], "the other was an editor's");
        assert_eq!(names(burst("a").left(|_| false)), ["a", "b"], "removed");
    }

    #[tokio::test]
    async fn what_is_saved_is_told_once_and_what_is_read_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        std::fs::write(root.join("src/lib.rs"), "one").unwrap();
        let mut saves = Saves::of(&project(root.to_str().unwrap()));
        std::fs::read(root.join("src/lib.rs")).unwrap();
        std::fs::write(root.join("notes.txt"), "nothing").unwrap();
        // As editors do: another file, renamed.
        std::fs::write(root.join("src/deep/.new.tmp"), "two").unwrap();
        std::fs::rename(root.join("src/deep/.new.tmp"), root.join("src/deep/new.rs")).unwrap();
        std::fs::write(root.join("Cargo.toml"), "two").unwrap();
        let saved = tokio::time::timeout(Duration::from_secs(20), saves.next()).await.unwrap();
        assert_eq!(saved, BTreeSet::from([root.join("Cargo.toml"), root.join("src/deep/new.rs")]));
        assert!(saves.saved.try_recv().is_err());
    }
}
