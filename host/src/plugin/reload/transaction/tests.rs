//! What a report says of books that do not balance.

use super::super::super::catalog::Catalog;
use super::super::super::driver::{CallError, Driver, HostCalls, Source};
use super::super::super::pool::Pool;
use super::super::super::record::Copies;
use super::super::super::stage::Stage;
use super::super::super::vet::{Subject, Verdict, Vet};
use super::super::tenants::Moved;
use super::*;
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::{DriverInfo, Overlap};
use busway_plugin_api::message::{AttachRequest, OpenRequest, SelfTestRequest};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

struct Nobody;

fn unasked() -> CallError {
    CallError::new(Status::NOT_IMPLEMENTED, "not implemented")
}

impl Driver for Nobody {
    fn describe(&self) -> Result<DriverInfo, CallError> {
        Err(unasked())
    }

    fn attach(&self, _: Arc<dyn HostCalls>, _: &AttachRequest) -> Result<(), CallError> {
        Err(unasked())
    }

    fn open(&self, _: &OpenRequest, _: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError> {
        Err(unasked())
    }

    fn set_log_filter(&self, _: &str) -> Result<(), CallError> {
        Ok(())
    }

    fn self_test(&self, _: &SelfTestRequest) -> Result<(), CallError> {
        Err(unasked())
    }
}

impl Vet for Nobody {
    fn vet<'a>(&'a self, _: Subject<'a>) -> BoxFuture<'a, Verdict> {
        Box::pin(std::future::pending())
    }

    fn forget(&self, _: &str) {}
}

fn generation(number: u64) -> Arc<Generation> {
    let info = DriverInfo {
        id: "x".to_owned(),
        version: format!("1.{number}.0"),
        contract: "1.0.0".to_owned(),
        sdk: String::new(),
        description: String::new(),
        overlap: Overlap::Beside,
        options: Vec::new(),
        tables: Vec::new(),
        actions: Vec::new(),
        events: Vec::new(),
        state: None,
    };
    Arc::new(Generation {
        number,
        info,
        driver: Arc::new(Nobody),
        pool: Pool::new("x"),
        cancels: Pool::new("cancel"),
        sha256: number.to_string(),
        path: "x.so".into(),
        loaded: Timestamp::now(),
        sources: AtomicUsize::new(0),
        size: 0,
        secrets: Arc::default(),
        health: Arc::default(),
        state: Mutex::default(),
        told: Mutex::default(),
    })
}

/// All of them move, and their books are these.
struct Books {
    ledger: Ledger,
    proven: Result<(), SwitchError>,
}

impl Tenants for Books {
    async fn switch(&self, _: Arc<Generation>, _: Terms) -> Result<Moved, SwitchError> {
        Ok(Moved { sources: 1, ..Moved::default() })
    }

    async fn probe(&self, _: &str, _: Duration) -> Result<(), SwitchError> {
        self.proven.clone()
    }

    async fn retire(&self, _: &str, _: Duration) -> Ledger {
        self.ledger
    }

    async fn revert(&self, _: &str) -> Ledger {
        self.ledger
    }

    async fn abort(&self, _: &str) -> Ledger {
        self.ledger
    }
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A reload from generation 1 to 2 with such books; its report, and the log.
fn reload(ledger: Ledger, proven: Result<(), SwitchError>) -> (Report, String) {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Arc::new(Catalog::new("info"));
    catalog.serve(generation(1));
    let stage = Stage::new(folder.path().join("staged")).unwrap();
    let workshop = Workshop::new(stage, Copies::new(folder.path().join("good")), Arc::new(Nobody), catalog);
    let claim = Claim { path: "x.so".into(), id: "x".to_owned(), version: "1.2.0".to_owned(), sha256: "2".to_owned() };
    let (_abort, aborted) = oneshot::channel();
    let job = Job {
        claim,
        restore: false,
        staged: None,
        made: Some(generation(2)),
        terms: Terms::default(),
        probation: Duration::from_secs(1),
        drain: Duration::ZERO,
        aborted,
        progress: Arc::default(),
    };
    let (news, mut heard) = mpsc::unbounded_channel();
    let page = Page::default();
    let writer = page.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing::subscriber::with_default(log, || {
        runtime.block_on(run(Arc::new(workshop), Arc::new(Books { ledger, proven }), job, news));
    });
    let over = std::iter::from_fn(|| heard.try_recv().ok()).find_map(|news| match news {
        News::Over(over) => Some(over),
        _ => None,
    });
    let log = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
    (over.unwrap().report, log)
}

const FAULT: &str = "states of tables were lost or doubled by a reload: a fault of the host";

#[test]
fn books_that_balance_are_no_news() {
    let (report, log) = reload(Ledger { tables: 1, produced: 3, accepted: 3, delivered: 3, gap: 0, dup: 0 }, Ok(()));
    assert_eq!(report.outcome, Outcome::Committed);
    assert!(report.to_string().contains("gap=0 dup=0") && !log.contains(FAULT), "{report}; {log}");
}

#[test]
fn books_that_are_off_by_one_are_reported_and_logged_as_a_fault_of_the_host() {
    let ledger = Ledger { tables: 1, produced: 3, accepted: 3, delivered: 2, gap: 1, dup: 0 };
    let (report, log) = reload(ledger, Ok(()));
    assert_eq!((report.ledger, report.outcome), (Some(ledger), Outcome::Committed));
    assert_eq!(report.to_string(), "x 1.2.0 committed, generation 2 after 1, gap=1 dup=0");
    assert!(log.contains("ERROR") && log.contains(FAULT) && log.contains("gap=1 dup=0"), "{log}");
    // One that was taken back has books, too.
    let ledger = Ledger { dup: 1, gap: 0, ..ledger };
    let (report, log) = reload(ledger, Err(SwitchError::of("one", "be polled", &"it panicked", true)));
    assert_eq!((report.ledger, report.outcome), (Some(ledger), Outcome::RolledBack));
    assert!(report.to_string().contains("gap=0 dup=1") && log.contains("gap=0 dup=1"), "{report}; {log}");
}
