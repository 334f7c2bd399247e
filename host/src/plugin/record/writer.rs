//! Writing to a disk that may never answer: a thread does it, in order, and who has something written waits for it only so long.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a disk takes longer than is not waited for; nor is what comes behind it, until it has caught up.
const ANSWER: Duration = Duration::from_secs(1);
/// So many may wait to be written.
const MOST: usize = 1024;

/// What is to be written, and how far that is.
#[derive(Debug)]
struct Desk<T> {
    waiting: VecDeque<T>,
    /// So many were handed in, and so many are done with.
    handed: u64,
    done: u64,
    /// Nobody waits any more until all is done.
    late: bool,
    /// How many found no room.
    lost: u64,
    closed: bool,
}

impl<T> Desk<T> {
    /// The disk has answered; if nothing waits any more, the next one is waited for again.
    fn catch_up(&mut self, what: &str) {
        if !self.waiting.is_empty() || !std::mem::take(&mut self.late) {
            return;
        }
        match std::mem::take(&mut self.lost) {
            0 => tracing::warn!("the disk answers again: {what} is written down"),
            lost => tracing::warn!(lost, "the disk answers again: {what} is written down, but for what found no room"),
        }
    }
}

#[derive(Debug)]
struct Shared<T> {
    desk: Mutex<Desk<T>>,
    changed: Condvar,
}

impl<T> Shared<T> {
    fn desk(&self) -> MutexGuard<'_, Desk<T>> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to have something written. What waits is written though this is dropped.
#[derive(Debug)]
pub(super) struct Writer<T> {
    shared: Arc<Shared<T>>,
    what: &'static str,
    answer: Duration,
    /// Whether what is newer stands for all that waits.
    replaces: bool,
}

impl<T: Send + 'static> Writer<T> {
    /// Writes each by `write`, in order. With `replaces` what waits is dropped when something newer comes. `what` is written, for
    /// the log.
    pub(super) fn new(what: &'static str, replaces: bool, mut write: impl FnMut(T) + Send + 'static) -> Self {
        let desk = Desk { waiting: VecDeque::new(), handed: 0, done: 0, late: false, lost: 0, closed: false };
        let shared = Arc::new(Shared { desk: Mutex::new(desk), changed: Condvar::new() });
        let with = Arc::clone(&shared);
        let work = move || {
            let mut desk = with.desk();
            loop {
                if let Some(next) = desk.waiting.pop_front() {
                    let number = desk.handed - desk.waiting.len() as u64;
                    drop(desk);
                    write(next);
                    desk = with.desk();
                    desk.done = number;
                    desk.catch_up(what);
                    with.changed.notify_all();
                } else if desk.closed {
                    return;
                } else {
                    desk = with.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("writer".to_owned()).spawn(work) {
            tracing::warn!(%error, "no thread to write {what}: it is lost");
            shared.desk().closed = true;
        }
        Self { shared, what, answer: ANSWER, replaces }
    }

    /// Has something written, and waits until it is; but not for a disk that gives no answer.
    pub(super) fn put(&self, next: T) {
        let what = self.what;
        let mut desk = self.shared.desk();
        if desk.closed {
            return;
        }
        if desk.waiting.len() >= MOST && !self.replaces {
            desk.lost += 1;
            if desk.lost == 1 {
                tracing::warn!(
                    "the disk gives no answer, and {MOST} entries wait: {what} is not written down until it does"
                );
            }
            return;
        }
        if self.replaces {
            desk.waiting.clear();
        }
        desk.waiting.push_back(next);
        desk.handed += 1;
        let (number, until) = (desk.handed, Instant::now() + self.answer);
        self.shared.changed.notify_all();
        while desk.done < number && !desk.late {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                desk.late = true;
                tracing::warn!("the disk gives no answer: {what} waits to be written down, and the host goes on");
                break;
            }
            desk = self.shared.changed.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.shared.desk().closed = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// What hands on each that it writes, as soon as it is let. It is at the first, 0, by now.
    fn gated(replaces: bool) -> (Writer<usize>, mpsc::Sender<()>, mpsc::Receiver<usize>) {
        let (release, gate) = mpsc::channel::<()>();
        let (written, out) = mpsc::channel();
        let (begins, begun) = mpsc::channel();
        let mut writer = Writer::new("it", replaces, move |next| {
            let _ = begins.send(());
            let _ = gate.recv();
            let _ = written.send(next);
        });
        writer.answer = Duration::from_millis(1);
        writer.put(0);
        begun.recv().unwrap();
        (writer, release, out)
    }

    #[test]
    fn what_was_put_is_written_when_that_returns() {
        let (written, out) = mpsc::channel();
        let writer = Writer::new("it", false, move |next| written.send(next).unwrap());
        for next in 0..100 {
            writer.put(next);
            assert_eq!(out.try_recv(), Ok(next));
        }
    }

    #[test]
    fn a_disk_that_gives_no_answer_holds_up_nobody_and_loses_only_what_finds_no_room() {
        let (mut writer, release, out) = gated(false);
        // It is waited for once: from now on this would take a minute each.
        writer.answer = Duration::from_secs(60);
        let begun = Instant::now();
        (1..MOST + 11).for_each(|next| writer.put(next));
        assert!(begun.elapsed() < Duration::from_secs(30));
        let kept = MOST + 1;
        (0..kept).for_each(|_| release.send(()).unwrap());
        let next = || out.recv_timeout(Duration::from_secs(20)).unwrap();
        let came: Vec<usize> = (0..kept).map(|_| next()).collect();
        assert_eq!(came, (0..kept).collect::<Vec<_>>());
        // It has caught up: it is waited for again, and what is put is written though nobody stays for it.
        while writer.shared.desk().late {
            std::thread::yield_now();
        }
        release.send(()).unwrap();
        writer.put(9999);
        assert_eq!(out.try_recv(), Ok(9999));
        writer.answer = Duration::from_millis(1);
        writer.put(10_000);
        drop(writer);
        drop(release);
        assert_eq!(out.iter().collect::<Vec<_>>(), [10_000]);
    }

    #[test]
    fn of_what_is_replaced_the_latest_is_written() {
        let (writer, release, out) = gated(true);
        (1..MOST * 3).for_each(|next| writer.put(next));
        drop(release);
        drop(writer);
        assert_eq!(out.iter().collect::<Vec<_>>(), [0, MOST * 3 - 1]);
    }
}
