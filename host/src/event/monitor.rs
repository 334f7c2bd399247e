//! Events for those who ask from time to time: a session collects them, and gives what came since.
//!
//! ION's event monitor service (`eventmonitor.py`) kept all of it for ever; here sessions are bounded in number, in what they
//! collect, and in the time that nobody asks.

use super::queue::{Bounds, Told};
use super::subscription::{Delivery, Listening, Subscription};
use super::{Events, Topics};
use jiff::Timestamp;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The longest name of a session, in bytes.
const MAX_NAME: usize = 100;

/// How much sessions may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions.
    pub sessions: usize,
    /// Subscriptions of each.
    pub subscriptions: usize,
    /// What each subscription keeps.
    pub bounds: Bounds,
    /// A session that nobody asks for so long ends.
    pub idle: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        let bounds = Bounds { events: 1000, bytes: 1 << 20 };
        Self { sessions: 100, subscriptions: 20, bounds, idle: Duration::from_secs(600) }
    }
}

/// Why nothing is collected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The name can't be one.
    #[error(
        "{0:?} can't be a session's name: it has 1 to {MAX_NAME} characters, none of them white space or control characters"
    )]
    BadName(String),
    /// There are too many.
    #[error("there are {0} sessions, and no room for another: end one, or wait until one was idle for long enough")]
    Sessions(usize),
    /// It has too many.
    #[error("session {session:?} has {most} subscriptions, and no room for another: end one of them")]
    Subscriptions {
        /// The session.
        session: String,
        /// How many it may have.
        most: usize,
    },
    /// There is none.
    #[error("there is no session {0:?}: it ended, or was idle for too long")]
    NoSession(String),
    /// It has none of that name.
    #[error("session {session:?} has no subscription {subscription:?}")]
    NoSubscription {
        /// The session.
        session: String,
        /// What was asked for.
        subscription: String,
    },
}

/// What a subscription of a session collected.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// The subscription.
    pub id: String,
    /// Its topics.
    pub topics: String,
    /// What happened, in order.
    pub events: Vec<Told>,
    /// So many events had to go for these, since the last time that somebody asked.
    pub lost: u64,
}

#[derive(Debug)]
struct Collector {
    topics: String,
    subscription: Subscription,
    kept: VecDeque<Told>,
    bytes: usize,
    lost: u64,
    /// Up to which event it was given: each by itself, what comes meanwhile comes to one before it comes to another.
    given: u64,
}

impl Collector {
    /// Takes what came.
    fn collect(&mut self, bounds: Bounds) {
        while let Some(delivery) = self.subscription.try_next() {
            match delivery {
                Delivery::Gap(lost) => self.lost += lost,
                Delivery::Event(taken) => {
                    self.bytes += taken.told().bytes;
                    self.kept.push_back(taken.told().clone());
                    taken.done();
                }
            }
        }
        while self.kept.len() > bounds.events || (self.bytes > bounds.bytes && self.kept.len() > 1) {
            self.bytes -= self.kept.pop_front().map_or(0, |gone| gone.bytes);
            self.lost += 1;
        }
    }
}

#[derive(Debug)]
struct Session {
    collectors: BTreeMap<String, Collector>,
    asked: Instant,
}

#[derive(Debug)]
struct State {
    limits: SessionLimits,
    sessions: BTreeMap<String, Session>,
}

impl State {
    /// Ends those that nobody asks.
    fn tidy(&mut self, now: Instant) {
        let idle = self.limits.idle;
        self.sessions.retain(|_, session| now.saturating_duration_since(session.asked) <= idle);
    }
}

/// Sessions that collect events. Clones are the same.
#[derive(Debug, Clone)]
pub struct Monitor {
    events: Events,
    state: Arc<Mutex<State>>,
}

impl Monitor {
    /// No session yet.
    #[must_use]
    pub fn new(events: &Events, limits: SessionLimits) -> Self {
        let state = State { limits, sessions: BTreeMap::new() };
        Self { events: events.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what nobody asks any more, from time to time, for as long as there is a monitor. Within a tokio runtime.
    pub fn keep_tidy(&self) {
        let (state, pause) = (Arc::downgrade(&self.state), self.state().limits.idle / 4);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                let Some(state) = state.upgrade() else { return };
                state.lock().unwrap_or_else(PoisonError::into_inner).tidy(Instant::now());
            }
        });
    }

    /// Collects these events for a session from now on; makes the session if there is none. Answers the subscription's id.
    ///
    /// # Errors
    ///
    /// There are too many, or the name can't be.
    pub fn subscribe(&self, session: &str, topics: Topics) -> Result<String, MonitorError> {
        if session.is_empty()
            || session.len() > MAX_NAME
            || session.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return Err(MonitorError::BadName(session.chars().take(60).collect()));
        }
        let mut state = self.state();
        let now = Instant::now();
        state.tidy(now);
        let limits = state.limits;
        if !state.sessions.contains_key(session) && state.sessions.len() >= limits.sessions {
            return Err(MonitorError::Sessions(limits.sessions));
        }
        let listening = Listening { topics: Some(topics.clone()), bounds: limits.bounds, ..Listening::default() };
        let collector = Collector {
            topics: topics.as_str().to_owned(),
            subscription: self.events.subscribe(&listening),
            kept: VecDeque::new(),
            bytes: 0,
            lost: 0,
            given: 0,
        };
        let begun = || Session { collectors: BTreeMap::new(), asked: now };
        let there = state.sessions.entry(session.to_owned()).or_insert_with(begun);
        there.asked = now;
        if there.collectors.len() >= limits.subscriptions {
            let (session, most) = (session.to_owned(), limits.subscriptions);
            return Err(MonitorError::Subscriptions { session, most });
        }
        let id = loop {
            // Six characters, as the predecessor's.
            let id = Uuid::new_v4().simple().to_string().split_off(26);
            if !there.collectors.contains_key(&id) {
                break id;
            }
        };
        there.collectors.insert(id.clone(), collector);
        Ok(id)
    }

    /// What a session collected: what happened then or later, or what it was not given yet; of all its subscriptions, or of
    /// these. A session that is not there has collected nothing.
    #[must_use]
    pub fn get(&self, session: &str, since: Option<Timestamp>, only: &[String]) -> Vec<Collected> {
        let mut state = self.state();
        state.tidy(Instant::now());
        let bounds = state.limits.bounds;
        let Some(session) = state.sessions.get_mut(session) else { return Vec::new() };
        session.asked = Instant::now();
        let asked_for = session.collectors.iter_mut().filter(|(id, _)| only.is_empty() || only.contains(id));
        let collected = asked_for.map(|(id, collector)| {
            collector.collect(bounds);
            let given = collector.given;
            let new = |told: &&Told| match since {
                Some(since) => told.event.time >= since,
                None => told.position > given,
            };
            let events: Vec<Told> = collector.kept.iter().filter(new).cloned().collect();
            collector.given = collector.kept.back().map_or(given, |told| told.position);
            let lost = std::mem::take(&mut collector.lost);
            Collected { id: id.clone(), topics: collector.topics.clone(), events, lost }
        });
        collected.collect()
    }

    /// Ends a subscription of a session, or the session.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn unsubscribe(&self, session: &str, subscription: Option<&str>) -> Result<(), MonitorError> {
        let mut state = self.state();
        let missing = || MonitorError::NoSession(session.to_owned());
        let Some(subscription) = subscription else {
            return state.sessions.remove(session).map(drop).ok_or_else(missing);
        };
        let there = state.sessions.get_mut(session).ok_or_else(missing)?;
        there.asked = Instant::now();
        there.collectors.remove(subscription).map(drop).ok_or_else(|| MonitorError::NoSubscription {
            session: session.to_owned(),
            subscription: subscription.to_owned(),
        })
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.state().sessions.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::suite::{fields, quiet};
    use super::super::{How, Settings};
    use super::*;
    use serde_json::{Value, json};

    fn publish(events: &Events, of: &str, fields_of: Value) -> String {
        let how = How { origin: Some("o"), ..How::default() };
        events.publisher("p").create_and_publish(of, fields(fields_of), how).unwrap().id
    }

    fn topics(events: &Events, of: &str) -> Topics {
        Topics::new(events.catalogue(), Some(of), None).unwrap()
    }

    fn ids(collected: &[Collected]) -> Vec<Vec<String>> {
        collected.iter().map(|one| one.events.iter().map(|told| told.event.id.clone()).collect()).collect()
    }

    #[test]
    fn what_came_since_is_given_once_and_again_by_its_time() {
        let events = quiet();
        let monitor = Monitor::new(&events, SessionLimits::default());
        publish(&events, "ScheduleEvent", json!({}));
        let schedule = monitor.subscribe("me", topics(&events, "2001")).unwrap();
        assert_eq!(schedule.len(), 6);
        assert_eq!(ids(&monitor.get("me", None, &[])), [vec![]; 1] as [Vec<String>; 1], "nothing from before");
        let first = publish(&events, "ScheduleEvent", json!({"datetime": "2020-01-01T00:00:00Z"}));
        let second = publish(&events, "ScheduleEvent", json!({}));
        publish(&events, "ErrorLoggingEvent", json!({}));
        assert_eq!(ids(&monitor.get("me", None, &[])), [vec![first.clone(), second.clone()]]);
        assert_eq!(ids(&monitor.get("me", None, &[])), [Vec::<String>::new()]);
        let since = Some("2021-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(ids(&monitor.get("me", since, &[])), [vec![second]]);
        let told = monitor.get("me", Some(Timestamp::UNIX_EPOCH), &[]);
        assert_eq!((told[0].id.as_str(), told[0].topics.as_str()), (schedule.as_str(), "2001.#"));
        assert!(monitor.get("nobody", None, &[]).is_empty());
    }

    #[test]
    fn some_of_its_subscriptions_and_their_ends() {
        let events = quiet();
        let monitor = Monitor::new(&events, SessionLimits::default());
        let one = monitor.subscribe("me", topics(&events, "ScheduleEvent")).unwrap();
        let two = monitor.subscribe("me", topics(&events, "ErrorLoggingEvent")).unwrap();
        let error = publish(&events, "ErrorLoggingEvent", json!({}));
        assert_eq!(ids(&monitor.get("me", None, std::slice::from_ref(&one))), [Vec::<String>::new()]);
        let all: Vec<String> = ids(&monitor.get("me", None, &[])).concat();
        assert_eq!(all, [error], "it was not given before");
        monitor.unsubscribe("me", Some(&one)).unwrap();
        let gone = monitor.unsubscribe("me", Some(&one)).unwrap_err().to_string();
        assert_eq!(gone, format!("session \"me\" has no subscription {one:?}"));
        assert_eq!(monitor.get("me", None, &[])[0].id, two);
        monitor.unsubscribe("me", None).unwrap();
        assert!(events.subscriptions().is_empty());
        let gone = monitor.unsubscribe("me", None).unwrap_err().to_string();
        assert_eq!(gone, "there is no session \"me\": it ended, or was idle for too long");
    }

    #[test]
    fn one_that_is_asked_for_alone_is_given_once() {
        let events = quiet();
        let monitor = Monitor::new(&events, SessionLimits::default());
        let one = monitor.subscribe("me", topics(&events, "ScheduleEvent")).unwrap();
        let only = std::slice::from_ref(&one);
        let first = publish(&events, "ScheduleEvent", json!({}));
        assert_eq!(ids(&monitor.get("me", None, only)), [vec![first]]);
        assert_eq!(ids(&monitor.get("me", None, only)), [Vec::<String>::new()]);
        let second = publish(&events, "ScheduleEvent", json!({}));
        assert_eq!(ids(&monitor.get("me", None, only)), [vec![second]]);
    }

    #[test]
    fn what_comes_while_it_is_asked_is_given_the_next_time() {
        const ROUNDS: usize = 20_000;
        let events = quiet();
        let limits =
            SessionLimits { bounds: Bounds { events: 3 * ROUNDS, bytes: 1 << 30 }, ..SessionLimits::default() };
        let monitor = Monitor::new(&events, limits);
        for _ in 0..5 {
            for of in ["ScheduleEvent", "ErrorLoggingEvent"] {
                monitor.subscribe("me", topics(&events, of)).unwrap();
            }
        }
        let telling = std::thread::spawn({
            let events = events.clone();
            move || {
                for _ in 0..ROUNDS {
                    publish(&events, "ScheduleEvent", json!({}));
                    publish(&events, "ErrorLoggingEvent", json!({}));
                }
            }
        });
        let mut got = 0;
        let mut ask = || got += monitor.get("me", None, &[]).iter().map(|one| one.events.len()).sum::<usize>();
        while !telling.is_finished() {
            ask();
        }
        telling.join().unwrap();
        ask();
        assert_eq!(got, 10 * ROUNDS);
    }

    #[test]
    fn bounded_in_number_in_size_and_in_time() {
        let events = Events::new(Settings { rate: None, ..Settings::default() });
        let bounds = Bounds { events: 3, bytes: 1 << 20 };
        let limits = SessionLimits { sessions: 2, subscriptions: 2, bounds, ..SessionLimits::default() };
        let monitor = Monitor::new(&events, limits);
        let subscribe = |session: &str| monitor.subscribe(session, topics(&events, "2001")).map_err(|e| e.to_string());
        subscribe("a").unwrap();
        subscribe("a").unwrap();
        let full = "session \"a\" has 2 subscriptions, and no room for another: end one of them";
        assert_eq!(subscribe("a").unwrap_err(), full);
        subscribe("b").unwrap();
        let full = "there are 2 sessions, and no room for another: end one, or wait until one was idle for long enough";
        assert_eq!(subscribe("c").unwrap_err(), full);
        assert!(subscribe("a b").unwrap_err().starts_with("\"a b\" can't be a session's name"));
        for _ in 0..2 {
            (0..2).for_each(|_| drop(publish(&events, "ScheduleEvent", json!({}))));
            assert!(monitor.get("b", Some(Timestamp::MAX), &[])[0].events.is_empty());
        }
        publish(&events, "ScheduleEvent", json!({}));
        let told = monitor.get("b", Some(Timestamp::UNIX_EPOCH), &[]);
        assert_eq!((told[0].events.len(), told[0].lost), (3, 1), "one was lost before, and said then");
        monitor.state().tidy(Instant::now() + Duration::from_secs(599));
        assert_eq!(monitor.sessions(), 2);
        monitor.state().tidy(Instant::now() + Duration::from_secs(602));
        assert_eq!((monitor.sessions(), events.subscriptions().len()), (0, 0));
    }
}
