//! What happens in a room, for whoever follows it: bounded, and telling costs nothing while nobody does.
//!
//! The rooms below the events' tell here what they can't know the meaning of for others. Who follows too slowly loses the
//! oldest, and is told how many.

use std::fmt;
use std::sync::OnceLock;
use tokio::sync::broadcast;

pub(crate) use tokio::sync::broadcast::Receiver;
pub(crate) use tokio::sync::broadcast::error::RecvError;

/// What happens in a room.
pub(crate) struct Happenings<T> {
    most: usize,
    sender: OnceLock<broadcast::Sender<T>>,
}

impl<T: Clone> Happenings<T> {
    /// So many may wait for each who follows.
    pub(crate) const fn new(most: usize) -> Self {
        Self { most, sender: OnceLock::new() }
    }

    /// All that happens from now on.
    pub(crate) fn follow(&self) -> Receiver<T> {
        self.sender.get_or_init(|| broadcast::Sender::new(self.most)).subscribe()
    }

    /// Whether anybody follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.sender.get().is_some_and(|sender| sender.receiver_count() > 0)
    }

    /// Tells of something, made only if somebody follows. Never waits.
    pub(crate) fn tell(&self, what: impl FnOnce() -> T) {
        if let Some(sender) = self.sender.get().filter(|sender| sender.receiver_count() > 0) {
            // Nobody any more: nobody is to be told.
            let _ = sender.send(what());
        }
    }
}

impl<T> fmt::Debug for Happenings<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Happenings").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_follows_hears_what_comes_and_how_much_it_lost() {
        let happenings = Happenings::new(2);
        happenings.tell(|| panic!("nobody follows"));
        let mut followed = happenings.follow();
        assert!(happenings.is_followed());
        (0..5).for_each(|n| happenings.tell(|| n));
        assert_eq!(followed.recv().await, Err(RecvError::Lagged(3)));
        assert_eq!((followed.recv().await, followed.recv().await), (Ok(3), Ok(4)));
        drop(followed);
        happenings.tell(|| panic!("nobody follows any more"));
    }
}
