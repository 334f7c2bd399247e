//! Looks at directories: file events wake a scan, and a periodic beat makes sure of it. Events are hints: mounts and
//! network file systems give none.

use super::reload::Errands;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Rings when something may have changed.
#[derive(Debug)]
pub struct Watch {
    bell: Arc<Notify>,
    watcher: Option<Arc<Mutex<Watcher>>>,
    /// Watching a directory on a mount that gives no answer may never end.
    following: Errands<()>,
    /// The directories, as they are named; events may name them by longer paths.
    followed: Arc<Mutex<Vec<PathBuf>>>,
    period: Duration,
}

/// Directories get so long to be watched.
const ANSWER: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Watcher {
    system: RecommendedWatcher,
    watched: Vec<PathBuf>,
}

impl Watcher {
    fn watch(&mut self, directories: &[PathBuf]) {
        let parents = directories.iter().filter_map(|d| d.parent()).map(Path::to_path_buf);
        for path in directories.iter().cloned().chain(parents) {
            // Watching again what is watched is free, and needed when the directory was replaced.
            match self.system.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) if !self.watched.contains(&path) => self.watched.push(path),
                Ok(()) => {}
                Err(error) if self.watched.contains(&path) => {
                    self.watched.retain(|p| p != &path);
                    tracing::debug!(path = %path.display(), %error, "no longer watched");
                }
                Err(_) => {}
            }
        }
    }
}

fn is_a_look(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

impl Watch {
    /// Watches nothing yet; rings every `period`.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        let bell = Arc::new(Notify::new());
        let rung = Arc::clone(&bell);
        let followed = Arc::new(Mutex::new(Vec::<PathBuf>::new()));
        let of = Arc::clone(&followed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at a directory is an event too: rung for that, the scan would go round for ever. And of a parent
            // only what happens to the directories themselves counts.
            let foreign = |event: &notify::Event| {
                let followed = of.lock().unwrap_or_else(PoisonError::into_inner);
                !event.paths.is_empty()
                    && event.paths.iter().all(|path| {
                        !followed.iter().any(|d| path.ends_with(d) || path.parent().is_some_and(|p| p.ends_with(d)))
                    })
            };
            if !event.is_ok_and(|event| is_a_look(&event.kind) || foreign(&event)) {
                rung.notify_one();
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "no file events to be had: directories are looked at every {period:?} (on Linux, \
                raise fs.inotify.max_user_instances)");
        }
        let watcher = watcher.ok().map(|system| Arc::new(Mutex::new(Watcher { system, watched: Vec::new() })));
        Self { bell, watcher, following: Errands::default(), followed, period }
    }

    /// Watches these directories, and their parents so that one that comes back is seen. Call it after each scan. One that
    /// gives no answer is not waited for: then the beat is all there is, until it does.
    pub async fn follow(&self, directories: &[PathBuf]) {
        let Some(watcher) = self.watcher.clone() else { return };
        let named = directories.iter().map(|d| d.strip_prefix(".").unwrap_or(d).to_path_buf());
        *self.followed.lock().unwrap_or_else(PoisonError::into_inner) = named.collect();
        let directories = directories.to_vec();
        let watch = move || watcher.lock().unwrap_or_else(PoisonError::into_inner).watch(&directories);
        let _ = self.following.ask_anew(Path::new(""), ANSWER, watch).await;
    }

    /// Waits for a ring or the beat.
    pub async fn ring(&self) {
        // The beat is all there is when no events come.
        let _ = tokio::time::timeout(self.period, self.bell.notified()).await;
    }

    /// A bell that others may ring.
    #[must_use]
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it rings within a while that is long for an event and short for the beat.
    async fn rings(watch: &Watch) -> bool {
        tokio::time::timeout(Duration::from_millis(500), watch.ring()).await.is_ok()
    }

    #[tokio::test]
    async fn changes_ring_and_looks_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("plugins");
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("a.so"), "a").unwrap();
        let watch = Watch::new(Duration::from_secs(3600));
        watch.follow(std::slice::from_ref(&directory)).await;
        for _ in 0..3 {
            std::fs::read_dir(&directory).unwrap().for_each(drop);
            std::fs::read(directory.join("a.so")).unwrap();
        }
        assert!(!rings(&watch).await, "a look is no change");
        std::fs::write(directory.join("a.so"), "b").unwrap();
        assert!(rings(&watch).await, "written");
        while rings(&watch).await {}
        // What happens beside it is nobody's business here.
        std::fs::write(folder.path().join("busway.log"), "x").unwrap();
        assert!(!rings(&watch).await, "a neighbour");
        // A directory that goes and comes back is seen by its parent.
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(rings(&watch).await, "gone");
        while rings(&watch).await {}
        std::fs::create_dir(&directory).unwrap();
        assert!(rings(&watch).await, "back");
    }
}
