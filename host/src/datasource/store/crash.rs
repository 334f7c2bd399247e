//! A process that writes is killed at random moments, again and again, over one store: every change that it was told is kept
//! is there, and of those on their way each is there whole or not at all.
//!
//! `BUSWAY_CRASH_MUTATIONS=1000` asks for more changes, `BUSWAY_CRASH_SEED` for other ones; a failure names its seed.

use super::{Change, Document, SqliteStore, Store};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use uuid::Uuid;

const WORKERS: u64 = 4;
const CHILD: &str = "BUSWAY_CRASH_CHILD";

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// One writer's changes, the same for the same seed, and what is there after each.
struct Worker {
    random: Random,
    prefix: String,
    records: BTreeMap<Uuid, Document>,
    count: u64,
}

impl Worker {
    fn new(seed: u64, round: u64, worker: u64) -> Self {
        let random = Random(seed ^ (round << 32) ^ (worker << 16));
        Self { random, prefix: format!("{round}.{worker}."), records: BTreeMap::new(), count: 0 }
    }

    fn next(&mut self) -> Change {
        self.count += 1;
        let size = self.random.below(20_000);
        let body: String = std::iter::repeat_n(format!("{}{} ", self.prefix, self.count), 2_000).collect();
        let body = body[..usize::try_from(size).unwrap().min(body.len())].to_owned();
        let name = format!("{}{}", self.prefix, self.count);
        let count = u64::try_from(self.records.len()).unwrap();
        let some = self.records.values().nth(usize::try_from(self.random.below(count.max(1))).unwrap()).cloned();
        let change = match (self.random.below(3), some) {
            (0, Some(former)) => Change::Remove { id: former.id, revision: former.revision },
            (1, Some(former)) => {
                let name = if self.random.below(2) == 0 { former.name } else { name };
                Change::Replace(Document { id: former.id, name, revision: former.revision + 1, body })
            }
            _ => {
                let id = Uuid::from_u64_pair(self.random.next(), self.random.next());
                Change::Create(Document { id, name, revision: 1, body })
            }
        };
        match change.clone() {
            Change::Create(document) | Change::Replace(document) => drop(self.records.insert(document.id, document)),
            Change::Remove { id, .. } => drop(self.records.remove(&id)),
        }
        change
    }
}

/// The process that is killed. It does nothing unless the test below starts it.
#[test]
fn child() {
    let Ok(asked) = std::env::var(CHILD) else { return };
    let mut asked = asked.splitn(3, ':');
    let [seed, round] = std::array::from_fn(|_| asked.next().unwrap().parse::<u64>().unwrap());
    let store = Arc::new(SqliteStore::open(Path::new(asked.next().unwrap())).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut workers = tokio::task::JoinSet::new();
        for number in 0..WORKERS {
            let store = Arc::clone(&store);
            workers.spawn(async move {
                let mut worker = Worker::new(seed, round, number);
                loop {
                    match worker.next() {
                        Change::Create(document) => store.create(document).await,
                        Change::Replace(document) => store.replace(document).await,
                        Change::Remove { id, revision } => store.remove(id, revision).await,
                    }
                    .unwrap();
                    // In one piece, and past what the test's harness holds back.
                    std::io::stderr().write_all(format!("kept {number}\n").as_bytes()).unwrap();
                }
            });
        }
        workers.join_all().await;
    });
}

/// Lets the child write until so many changes were acknowledged, kills it a moment later, and counts each worker's.
fn killed(seed: u64, round: u64, folder: &Path, random: &mut Random) -> Vec<usize> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "datasource::store::crash::child", "--nocapture"])
        .env(CHILD, format!("{seed}:{round}:{}", folder.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let (limit, moment) = (random.below(20), Duration::from_micros(random.below(4_000)));
    let mut kept = vec![0; usize::try_from(WORKERS).unwrap()];
    let mut seen = 0;
    let mut other = Vec::new();
    let (_held, never) = mpsc::channel::<()>();
    // The first one may die before its file is there.
    if round == 0 {
        let _ = never.recv_timeout(moment);
        child.kill().unwrap();
    }
    // To the end: what was acknowledged before it died counts.
    for line in lines {
        let line = line.unwrap();
        let Some(worker) = line.strip_prefix("kept ") else {
            other.push(line);
            continue;
        };
        kept[worker.parse::<usize>().unwrap()] += 1;
        if seen == limit {
            let _ = never.recv_timeout(moment);
            child.kill().unwrap();
        }
        seen += 1;
    }
    let status = child.wait().unwrap();
    assert!(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9), "it ended by itself: {other:#?}");
    kept
}

#[test]
fn inv14_what_was_acknowledged_survives_a_kill() {
    let seed = number("BUSWAY_CRASH_SEED", Uuid::new_v4().as_u64_pair().0);
    let wanted = usize::try_from(number("BUSWAY_CRASH_MUTATIONS", 150)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut random = Random(seed);
    let mut expected: BTreeMap<Uuid, Document> = BTreeMap::new();
    let (mut acknowledged, mut on_their_way, mut round) = (0, 0, 0);
    while acknowledged < wanted {
        let kept = killed(seed, round, folder.path(), &mut random);
        acknowledged += kept.iter().sum::<usize>();
        let store = SqliteStore::open(folder.path()).unwrap();
        let found: BTreeMap<Uuid, Document> =
            runtime.block_on(store.all()).unwrap().into_iter().map(|document| (document.id, document)).collect();
        for (number, kept) in (0..).zip(kept) {
            let mut worker = Worker::new(seed, round, number);
            (0..kept).for_each(|_| drop(worker.next()));
            let of_it: BTreeMap<_, _> = found
                .iter()
                .filter(|(_, d)| d.name.starts_with(&worker.prefix))
                .map(|(id, d)| (*id, d.clone()))
                .collect();
            if of_it != worker.records {
                worker.next();
                on_their_way += 1;
            }
            assert!(
                of_it == worker.records,
                "BUSWAY_CRASH_SEED={seed}: round {round}, worker {number}: {kept} changes were acknowledged; found {:?}, \
                 which is neither that nor one more, {:?}",
                brief(&of_it),
                brief(&worker.records)
            );
            expected.extend(of_it);
        }
        assert!(found == expected, "BUSWAY_CRASH_SEED={seed}: round {round}: an earlier round's records changed");
        round += 1;
    }
    println!("{round} kills, {acknowledged} changes acknowledged and kept, {on_their_way} on their way and whole");
}

fn brief(records: &BTreeMap<Uuid, Document>) -> Vec<(&str, u64, usize)> {
    records.values().map(|d| (d.name.as_str(), d.revision, d.body.len())).collect()
}
