//! Queues that several take from: each event is given to one of them, and to another if it did not go well there.

use super::Events;
use super::queue::Queue;
use super::subscription::{Listeners, Listening, Subscription};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A shared queue that nobody takes from any more is kept so long: who consumes may be back.
const LINGER: Duration = Duration::from_secs(60);

/// So many shared queues there may be, those with them that nobody takes from any more and that are kept for a while.
pub const MAX_SHARED: usize = 100;

/// So many bytes may wait in all of them together.
pub const MAX_SHARED_BYTES: usize = 1 << 30;

/// Why there can't be such a shared queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SharedError {
    /// There are too many.
    #[error(
        "there are {MAX_SHARED} shared queues of events, and no room for another, {name:?}: take from one that is there, or \
         try again when one is gone, {} after the last who took from it",
        humantime::format_duration(LINGER)
    )]
    Queues {
        /// Its whole name.
        name: String,
    },
    /// They would hold too much.
    #[error(
        "the shared queues of events may hold {} MiB together, and {name:?}, of {} MiB, would be too many beside the {} MiB \
         of those that are there: give it less, or try again when one is gone, {} after the last who took from it",
        MAX_SHARED_BYTES >> 20, bytes.div_ceil(1 << 20), held.div_ceil(1 << 20), humantime::format_duration(LINGER)
    )]
    Bytes {
        /// Its whole name.
        name: String,
        /// How many it might hold.
        bytes: usize,
        /// How many the others might.
        held: usize,
    },
}

/// A shared queue.
#[derive(Debug)]
pub(super) struct Shared {
    number: u64,
    consumers: usize,
    /// Since when nobody takes from it.
    left: Option<Instant>,
}

impl Shared {
    /// The queue's.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Listeners {
    fn share(&mut self, name: &str, listening: &Listening) -> Result<(u64, Arc<Queue>), SharedError> {
        self.forget_left();
        let there = self.shared.get_mut(name).and_then(|shared| {
            let queue = Arc::clone(self.queues.get(&shared.number)?);
            shared.consumers += 1;
            Some((shared.number, queue, shared.left.take().is_some()))
        });
        let (number, queue) = match there {
            Some((number, queue, was_left)) => {
                if was_left {
                    // Those who left it meant what is in it, not what comes.
                    self.drop_interests(number);
                }
                (number, queue)
            }
            None => {
                self.check_room(name, listening.bounds.bytes)?;
                let (number, queue) = self.add_queue(listening);
                self.shared.insert(name.to_owned(), Shared { number, consumers: 1, left: None });
                (number, queue)
            }
        };
        Ok((self.bind(listening, number), queue))
    }

    fn check_room(&self, name: &str, bytes: usize) -> Result<(), SharedError> {
        if self.shared.len() >= MAX_SHARED {
            return Err(SharedError::Queues { name: name.to_owned() });
        }
        let queues = self.shared.values().filter_map(|shared| self.queues.get(&shared.number));
        let held = queues.map(|queue| queue.most_bytes()).fold(0, usize::saturating_add);
        if held.saturating_add(bytes) > MAX_SHARED_BYTES {
            return Err(SharedError::Bytes { name: name.to_owned(), bytes, held });
        }
        Ok(())
    }

    /// One who takes from it ends.
    pub(super) fn leave(&mut self, interest: u64, name: &str) {
        if let Some(shared) = self.shared.get_mut(name) {
            shared.consumers -= 1;
            // What it binds stays while somebody may come back.
            if shared.consumers > 0 {
                self.drop_interest(interest);
            } else {
                let now = Instant::now();
                shared.left = Some(now);
                self.left.get_or_insert(now);
            }
        }
        self.forget_left();
    }

    pub(super) fn forget_left(&mut self) {
        // Most of the time there is none, and no clock is asked.
        if self.left.is_some() {
            self.forget_left_at(Instant::now());
        }
    }

    fn forget_left_at(&mut self, now: Instant) {
        let is_over = |left: Instant| now.saturating_duration_since(left) > LINGER;
        if !self.left.is_some_and(is_over) {
            return;
        }
        let over = |shared: &Shared| shared.left.is_some_and(is_over);
        let gone: Vec<u64> = self.shared.values().filter(|shared| over(shared)).map(|shared| shared.number).collect();
        self.shared.retain(|_, shared| !over(shared));
        for number in gone {
            self.drop_interests(number);
            self.drop_queue(number);
        }
        self.left = self.shared.values().filter_map(|shared| shared.left).min();
    }
}

impl Events {
    /// Gets events from now on, from the queue that all have who name it: each event is given to one of them. The bounds are
    /// those of who named it first. It belongs to this system: its name is put behind the bus id, unless it begins with that
    /// and a dot. It has no place of its own to come back to; but it is kept for a minute when its last consumer is gone.
    ///
    /// # Errors
    ///
    /// There are too many shared queues, or they might hold too much; nobody listens then.
    pub fn share(&self, name: &str, listening: &Listening) -> Result<Subscription, SharedError> {
        let prefix = format!("{}.", self.inner.settings.bus_id);
        let whole = match name.starts_with(&prefix) {
            true => name.to_owned(),
            false => format!("{prefix}{name}"),
        };
        let (number, queue) = self.state().listeners.share(&whole, listening)?;
        Ok(self.subscription(number, queue, Some(whole)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bounds;
    use super::super::suite::quiet;
    use super::super::{How, PublishError};
    use super::*;

    #[test]
    fn a_shared_queue_that_nobody_comes_back_to_is_no_listener() {
        let events = quiet();
        drop(events.share("q", &Listening::default()).unwrap());
        let publisher = events.publisher("p").with_origin("o");
        let publish = || {
            let how = How { mandatory: true, ..How::default() };
            publisher.create_and_publish("ScheduleEvent", serde_json::Map::new(), how)
        };
        assert_eq!(publish().unwrap().listeners, 1, "who consumes may be back");
        let long_ago = Instant::now().checked_sub(2 * LINGER);
        {
            let mut state = events.state();
            state.listeners.left = long_ago;
            state.listeners.shared.values_mut().for_each(|shared| shared.left = long_ago);
        }
        assert!(matches!(publish(), Err(PublishError::NobodyListens { .. })));
        assert!(events.subscriptions().is_empty());
        assert_eq!(events.state().listeners.left, None);
    }

    #[test]
    fn there_are_so_many_shared_queues_and_no_more() {
        let events = quiet();
        let little = Listening { bounds: Bounds { events: 10, bytes: 1 << 20 }, ..Listening::default() };
        let mut held: Vec<_> = (0..MAX_SHARED).map(|n| events.share(&format!("q{n}"), &little).unwrap()).collect();
        let full = events.share("more", &little).unwrap_err();
        assert_eq!(
            full.to_string(),
            "there are 100 shared queues of events, and no room for another, \"busway.more\": take from one that is there, \
             or try again when one is gone, 1m after the last who took from it"
        );
        held.push(events.share("q7", &little).unwrap());
        // One that is left is kept for who may be back, and then there is room.
        held.truncate(MAX_SHARED - 1);
        assert_eq!(events.share("more", &little).unwrap_err(), full);
        let long_ago = Instant::now().checked_sub(2 * LINGER);
        {
            let mut state = events.state();
            state.listeners.left = long_ago;
            state.listeners.shared.values_mut().filter(|s| s.left.is_some()).for_each(|shared| shared.left = long_ago);
        }
        held.push(events.share("more", &little).unwrap());
        drop(held);
        // Their bytes are counted before anything waits.
        let events = quiet();
        let large = Listening { bounds: Bounds { events: 10, bytes: MAX_SHARED_BYTES / 2 }, ..Listening::default() };
        let _held = [events.share("a", &large).unwrap(), events.share("b", &large).unwrap()];
        assert_eq!(
            events.share("c", &little).unwrap_err().to_string(),
            "the shared queues of events may hold 1024 MiB together, and \"busway.c\", of 1 MiB, would be too many beside \
             the 1024 MiB of those that are there: give it less, or try again when one is gone, 1m after the last who \
             took from it"
        );
        let huge = Listening { bounds: Bounds { events: 10, bytes: usize::MAX }, ..Listening::default() };
        assert!(quiet().share("d", &huge).is_err());
        let _held = [events.share("a", &huge).unwrap()];
    }
}
