//! Looks at directories: file events wake a scan, and a periodic beat makes sure of it. Events are hints: mounts and
//! network file systems give none.

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Rings when something may have changed.
#[derive(Debug)]
pub struct Watch {
    bell: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    watched: Vec<PathBuf>,
    period: Duration,
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
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at a directory is an event too: rung for that, the scan would go round for ever.
            if !event.is_ok_and(|event| is_a_look(&event.kind)) {
                rung.notify_one();
            }
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "no file events to be had: directories are looked at every {period:?} (on Linux, \
                raise fs.inotify.max_user_instances)");
        }
        Self { bell, watcher: watcher.ok(), watched: Vec::new(), period }
    }

    /// Watches these directories, and their parents so that one that comes back is seen. Call it after each scan.
    pub fn follow(&mut self, directories: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let parents = directories.iter().filter_map(|d| d.parent()).map(Path::to_path_buf);
        for path in directories.iter().cloned().chain(parents) {
            // Watching again what is watched is free, and needed when the directory was replaced.
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
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
        let mut watch = Watch::new(Duration::from_secs(3600));
        watch.follow(std::slice::from_ref(&directory));
        for _ in 0..3 {
            std::fs::read_dir(&directory).unwrap().for_each(drop);
            std::fs::read(directory.join("a.so")).unwrap();
        }
        assert!(!rings(&watch).await, "a look is no change");
        std::fs::write(directory.join("a.so"), "b").unwrap();
        assert!(rings(&watch).await, "written");
        while rings(&watch).await {}
        // A directory that goes and comes back is seen by its parent.
        std::fs::remove_dir_all(&directory).unwrap();
        assert!(rings(&watch).await, "gone");
        while rings(&watch).await {}
        std::fs::create_dir(&directory).unwrap();
        assert!(rings(&watch).await, "back");
    }
}
