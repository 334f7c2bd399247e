//! What every store must do. An implementation runs it with one line: `suite!(name, how to make a kept one)`.

use super::{Document, MAX_DOCUMENT, MemoryStore, SqliteStore, Store, StoreError};
use futures_util::future::join_all;
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;

/// A store, and how to come back to it after its host has ended.
trait Kept: Sized {
    fn new() -> Self;
    fn store(&self) -> Arc<dyn Store>;
    /// None: it forgets.
    fn reopened(self) -> Option<Arc<dyn Store>>;
}

struct Memory(Arc<MemoryStore>);

impl Kept for Memory {
    fn new() -> Self {
        Self(Arc::new(MemoryStore::new()))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    fn reopened(self) -> Option<Arc<dyn Store>> {
        None
    }
}

struct Sqlite {
    folder: TempDir,
    store: Arc<SqliteStore>,
}

impl Kept for Sqlite {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path()).unwrap());
        Self { folder, store }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    fn reopened(self) -> Option<Arc<dyn Store>> {
        drop(Arc::into_inner(self.store).expect("nobody else has it"));
        Some(Arc::new(SqliteStore::open(self.folder.path()).unwrap()))
    }
}

macro_rules! suite {
    ($name:ident, $kept:ty) => {
        mod $name {
            use super::*;

            #[tokio::test]
            async fn what_is_made_is_there() {
                super::what_is_made_is_there::<$kept>().await;
            }

            #[tokio::test]
            async fn what_is_refused_changes_nothing() {
                super::what_is_refused_changes_nothing::<$kept>().await;
            }

            #[tokio::test]
            async fn any_text_is_kept_as_it_is() {
                super::any_text_is_kept_as_it_is::<$kept>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn of_many_who_want_one_thing_one_gets_it() {
                super::of_many_who_want_one_thing_one_gets_it::<$kept>().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn what_was_acknowledged_is_seen_by_all_at_once() {
                super::what_was_acknowledged_is_seen_by_all_at_once::<$kept>().await;
            }

            #[test]
            fn any_history_has_an_order() {
                super::any_history_has_an_order::<$kept>();
            }
        }
    };
}

suite!(memory, Memory);
suite!(sqlite, Sqlite);

fn document(name: &str, revision: u64) -> Document {
    Document { id: Uuid::new_v4(), name: name.to_owned(), revision, body: format!("{{\"of\":\"{name}\"}}") }
}

/// What is there now, and after the host's end.
async fn is_there<K: Kept>(kept: K, expected: &[Document]) {
    assert_eq!(kept.store().all().await.unwrap(), expected);
    if let Some(store) = kept.reopened() {
        assert_eq!(store.all().await.unwrap(), expected);
    }
}

async fn what_is_made_is_there<K: Kept>() {
    let kept = K::new();
    let store = kept.store();
    let (b, a) = (document("b", 1), document("a", 1));
    store.create(b.clone()).await.unwrap();
    store.create(a.clone()).await.unwrap();
    assert_eq!(store.get(a.id).await.unwrap(), Some(a.clone()));
    assert_eq!(store.all().await.unwrap(), [a.clone(), b.clone()], "by name");
    let renamed = Document { name: "c".to_owned(), revision: 2, body: "{}".to_owned(), ..a.clone() };
    store.replace(renamed.clone()).await.unwrap();
    assert_eq!(store.get(a.id).await.unwrap(), Some(renamed.clone()));
    // The former name is free, and so is that of one that is removed.
    let next = document("a", 1);
    store.create(next.clone()).await.unwrap();
    store.remove(b.id, 1).await.unwrap();
    let again = Document { id: b.id, ..document("b", 1) };
    store.create(again.clone()).await.unwrap();
    drop(store);
    is_there(kept, &[next, again, renamed]).await;
}

async fn what_is_refused_changes_nothing<K: Kept>() {
    let kept = K::new();
    let store = kept.store();
    let (a, b) = (document("a", 1), document("b", 1));
    store.create(a.clone()).await.unwrap();
    store.create(b.clone()).await.unwrap();
    let conflict = |expected, found| Err(StoreError::Conflict { id: a.id, expected, found });
    let in_use = Err(StoreError::NameInUse { name: "b".to_owned() });
    let stranger = document("x", 2);
    let missing = Err(StoreError::NotFound { id: stranger.id });
    let of = |revision| Document { name: "new".to_owned(), revision, ..a.clone() };

    assert_eq!(store.create(document("b", 1)).await, in_use);
    assert_eq!(store.create(of(1)).await, conflict(0, 1));
    assert_eq!(store.create(of(2)).await, conflict(1, 0));
    assert_eq!(store.create(Document { id: b.id, ..of(0) }).await.unwrap_err().to_string(), {
        format!("record {} is at revision 0, not 0", b.id)
    });
    assert_eq!(store.replace(Document { name: "b".to_owned(), ..of(2) }).await, in_use);
    assert_eq!(store.replace(of(0)).await, conflict(0, 1));
    assert_eq!(store.replace(of(1)).await, conflict(0, 1));
    assert_eq!(store.replace(of(3)).await, conflict(2, 1));
    assert_eq!(store.replace(of(u64::MAX)).await, conflict(u64::MAX - 1, 1));
    assert_eq!(store.replace(stranger.clone()).await, missing);
    assert_eq!(store.remove(a.id, 2).await, conflict(2, 1));
    assert_eq!(store.remove(a.id, u64::MAX).await, conflict(u64::MAX, 1));
    assert_eq!(store.remove(stranger.id, 1).await, missing);
    let long = Document { body: "x".repeat(MAX_DOCUMENT), ..of(2) };
    assert_eq!(
        store.replace(long).await.unwrap_err().to_string(),
        "the record \"new\" has 524291 bytes, and a store takes 524288: shorten its configuration"
    );
    // A change that nobody waits for any more is made whole or not at all: here it was never begun.
    drop(store.remove(a.id, 1));
    // Refused ones beside good ones, at once.
    let good = document("good", 1);
    let (first, second, third) =
        tokio::join!(store.create(document("a", 1)), store.create(good.clone()), store.remove(b.id, 9));
    assert_eq!(first, Err(StoreError::NameInUse { name: "a".to_owned() }));
    assert_eq!(second, Ok(()));
    assert_eq!(third, Err(StoreError::Conflict { id: b.id, expected: 9, found: 1 }));
    drop(store);
    is_there(kept, &[a, b, good]).await;
}

async fn any_text_is_kept_as_it_is<K: Kept>() {
    let kept = K::new();
    let store = kept.store();
    let largest = Document { body: "ü".repeat(MAX_DOCUMENT / 2 - 1), ..document("zz", 1) };
    let mut documents = vec![largest];
    for name in ["", "\0", "a\0b", "' OR 1=1 --", "A", "a", "é", "e\u{301}", "\u{10ffff}"] {
        documents.push(Document { body: format!("{name}\r\n\t\0"), ..document(name, 1) });
    }
    for document in &documents {
        store.create(document.clone()).await.unwrap();
    }
    documents.sort_by(|a, b| a.name.cmp(&b.name));
    drop(store);
    is_there(kept, &documents).await;
}

async fn of_many_who_want_one_thing_one_gets_it<K: Kept>() {
    let kept = K::new();
    let store = kept.store();
    let clients: Vec<Document> = (0..50).map(|_| document("wanted", 1)).collect();
    let mut asked = JoinSet::new();
    for client in clients {
        let store = Arc::clone(&store);
        asked.spawn(async move { (client.clone(), store.create(client).await) });
    }
    let (won, lost): (Vec<_>, Vec<_>) = asked.join_all().await.into_iter().partition(|(_, result)| result.is_ok());
    assert_eq!((won.len(), lost.len()), (1, 49));
    assert!(lost.iter().all(|(_, result)| *result == Err(StoreError::NameInUse { name: "wanted".to_owned() })));

    let winner = won[0].0.clone();
    let of = |n: u32| Document { revision: 2, body: n.to_string(), ..winner.clone() };
    let changed = join_all((0..50).map(|n| store.replace(of(n)))).await;
    let won: Vec<u32> = (0..50).zip(&changed).filter(|(_, result)| result.is_ok()).map(|(n, _)| n).collect();
    assert_eq!(won.len(), 1);
    drop(store);
    is_there(kept, &[of(won[0])]).await;
}

/// Writers and readers of one record, on threads of their own: who saw a revision, or heard that it was written, tells all,
/// and nobody who looks after that sees an older one.
async fn what_was_acknowledged_is_seen_by_all_at_once<K: Kept>() {
    let kept = K::new();
    let store = kept.store();
    let record = document("counter", 1);
    store.create(record.clone()).await.unwrap();
    let known = Arc::new(AtomicU64::new(1));
    let mut work = JoinSet::new();
    for reader in 0..3 {
        let (store, known, id) = (Arc::clone(&store), Arc::clone(&known), record.id);
        work.spawn(async move {
            while known.load(Ordering::SeqCst) < 100 {
                let before = known.load(Ordering::SeqCst);
                let seen = match reader {
                    0 => store.all().await.unwrap()[0].revision,
                    _ => store.get(id).await.unwrap().unwrap().revision,
                };
                assert!(seen >= before, "revision {seen} was seen after {before}");
                known.fetch_max(seen, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..2 {
        let (store, known, record) = (Arc::clone(&store), Arc::clone(&known), record.clone());
        work.spawn(async move {
            let mut next = 2;
            while next <= 100 {
                match store.replace(Document { revision: next, ..record.clone() }).await {
                    Ok(()) => drop(known.fetch_max(next, Ordering::SeqCst)),
                    Err(StoreError::Conflict { found, .. }) => next = found,
                    Err(error) => panic!("{error}"),
                }
                next += 1;
            }
        });
    }
    while let Some(done) = work.join_next().await {
        done.unwrap();
    }
    drop(store);
    is_there(kept, &[Document { revision: 100, ..record }]).await;
}

#[derive(Debug, Clone)]
enum Act {
    Create { id: u8, name: u8 },
    Replace { id: u8, name: u8, revision: u64 },
    Remove { id: u8, revision: u64 },
    Get { id: u8 },
    All,
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Change(Result<(), StoreError>),
    One(Option<Document>),
    All(Vec<Document>),
}

/// What somebody asked, from when till when, and what he was told.
#[derive(Debug, Clone)]
struct Event {
    act: Act,
    body: String,
    begin: u64,
    end: u64,
    answer: Answer,
}

/// Few ids, names and revisions, so that they meet.
fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = prop_oneof![
        4 => (0..4u8, 0..3u8).prop_map(|(id, name)| Act::Create { id, name }),
        4 => (0..4u8, 0..3u8, 2..5u64).prop_map(|(id, name, revision)| Act::Replace { id, name, revision }),
        2 => (0..4u8, 1..4u64).prop_map(|(id, revision)| Act::Remove { id, revision }),
        2 => (0..4u8).prop_map(|id| Act::Get { id }),
        1 => Just(Act::All),
    ];
    prop::collection::vec(prop::collection::vec(act, 1..8), 1..5)
}

fn id(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) + 1)
}

fn wanted(act: &Act, body: &str) -> Document {
    let (number, name, revision) = match *act {
        Act::Create { id, name } => (id, name, 1),
        Act::Replace { id, name, revision } => (id, name, revision),
        _ => panic!("asks for no document"),
    };
    Document { id: id(number), name: format!("n{name}"), revision, body: body.to_owned() }
}

/// What a store is, in the plainest words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Model(Vec<(Uuid, String, u64, String)>);

impl Model {
    fn answer(&mut self, act: &Act, body: &str) -> Answer {
        let there = |model: &Self, id: Uuid| model.0.iter().position(|record| record.0 == id);
        let result = match act {
            Act::Create { .. } => {
                let new = wanted(act, body);
                match there(self, new.id) {
                    Some(at) => Err(StoreError::Conflict { id: new.id, expected: 0, found: self.0[at].2 }),
                    None => self.put(new, None),
                }
            }
            Act::Replace { revision, .. } => {
                let new = wanted(act, body);
                match there(self, new.id) {
                    None => Err(StoreError::NotFound { id: new.id }),
                    Some(at) if self.0[at].2 + 1 != *revision => {
                        Err(StoreError::Conflict { id: new.id, expected: revision - 1, found: self.0[at].2 })
                    }
                    Some(at) => self.put(new, Some(at)),
                }
            }
            Act::Remove { id: number, revision } => match there(self, id(*number)) {
                None => Err(StoreError::NotFound { id: id(*number) }),
                Some(at) if self.0[at].2 == *revision => {
                    self.0.remove(at);
                    Ok(())
                }
                Some(at) => Err(StoreError::Conflict { id: id(*number), expected: *revision, found: self.0[at].2 }),
            },
            Act::Get { id: number } => return Answer::One(there(self, id(*number)).map(|at| self.document(at))),
            Act::All => {
                let mut all: Vec<_> = (0..self.0.len()).map(|at| self.document(at)).collect();
                all.sort_by(|a, b| a.name.cmp(&b.name));
                return Answer::All(all);
            }
        };
        Answer::Change(result)
    }

    fn put(&mut self, new: Document, at: Option<usize>) -> Result<(), StoreError> {
        if self.0.iter().any(|record| record.1 == new.name && record.0 != new.id) {
            return Err(StoreError::NameInUse { name: new.name });
        }
        if let Some(at) = at {
            self.0.remove(at);
        }
        self.0.push((new.id, new.name, new.revision, new.body));
        self.0.sort();
        Ok(())
    }

    fn document(&self, at: usize) -> Document {
        let (id, name, revision, body) = self.0[at].clone();
        Document { id, name, revision, body }
    }
}

/// All acts of all clients, each client's one after the other, the clients at once.
async fn history(store: Arc<dyn Store>, acts: Vec<Vec<Act>>) -> Vec<Vec<Event>> {
    let clock = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for (client, acts) in acts.into_iter().enumerate() {
        let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
        clients.spawn(async move {
            let mut events = Vec::new();
            for (number, act) in acts.into_iter().enumerate() {
                // Each writes something else: a lost or repeated change shows.
                let body = format!("{client}.{number}");
                let begin = clock.fetch_add(1, Ordering::SeqCst);
                let answer = match &act {
                    Act::Create { .. } => Answer::Change(store.create(wanted(&act, &body)).await),
                    Act::Replace { .. } => Answer::Change(store.replace(wanted(&act, &body)).await),
                    Act::Remove { id: number, revision } => Answer::Change(store.remove(id(*number), *revision).await),
                    Act::Get { id: number } => Answer::One(store.get(id(*number)).await.unwrap()),
                    Act::All => Answer::All(store.all().await.unwrap()),
                };
                let end = clock.fetch_add(1, Ordering::SeqCst);
                events.push(Event { act, body, begin, end, answer });
            }
            events
        });
    }
    clients.join_all().await
}

/// Is there an order of all events in which each answer is right, nobody's comes before one that ended before it began, and
/// the end is what is there? Tried depth first; a state that was reached with the same events done is not tried again.
fn order(
    history: &[Vec<Event>],
    done: &mut Vec<usize>,
    model: &Model,
    end: &[Document],
    tried: &mut HashSet<(Vec<usize>, Model)>,
) -> bool {
    if !tried.insert((done.clone(), model.clone())) {
        return false;
    }
    let next = |client: usize, done: &[usize]| history[client].get(done[client]);
    let Some(first_end) = (0..history.len()).filter_map(|client| next(client, done)).map(|event| event.end).min()
    else {
        return model.clone().answer(&Act::All, "") == Answer::All(end.to_vec());
    };
    for client in 0..history.len() {
        let Some(event) = next(client, done).filter(|event| event.begin < first_end) else { continue };
        let mut model = model.clone();
        if model.answer(&event.act, &event.body) == event.answer {
            done[client] += 1;
            if order(history, done, &model, end, tried) {
                return true;
            }
            done[client] -= 1;
        }
    }
    false
}

fn any_history_has_an_order<K: Kept>() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(acts in acts())| {
        let kept = K::new();
        let (events, end) = runtime.block_on(async {
            let store = kept.store();
            let events = history(Arc::clone(&store), acts).await;
            (events, store.all().await.unwrap())
        });
        let mut done = vec![0; events.len()];
        let found = order(&events, &mut done, &Model::default(), &end, &mut HashSet::new());
        prop_assert!(found, "no order explains {events:#?} and in the end {end:#?}");
        if let Some(store) = kept.reopened() {
            prop_assert_eq!(runtime.block_on(store.all()).unwrap(), end);
        }
    });
}
