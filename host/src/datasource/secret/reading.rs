//! Reading what options refer to: a file may lie on a mount that does not answer.
//!
//! No thread that others wait for reads a file, and a file that hangs costs one of few threads. A later try for the same
//! file fails at once, so that it does not take them all.

use super::reference::{read_limited, resolve};
use serde_json::Value;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// All files that a datasource's options refer to are read in this time.
const DEADLINE: Duration = Duration::from_secs(5);
/// So many datasources' files are read at once; so many threads may hang for ever.
const READERS: usize = 16;

/// The process's own.
static READERS_OF_ALL: LazyLock<Readers> = LazyLock::new(|| Readers::new(READERS, DEADLINE, read_limited));

/// Options with what they refer to.
#[derive(Debug, PartialEq)]
pub(in crate::datasource) struct Resolved {
    /// The options.
    pub(in crate::datasource) options: Value,
    /// The values that came in place of references, each by itself.
    pub(in crate::datasource) values: Vec<Value>,
}

/// Puts values in place of all references in options.
///
/// # Errors
///
/// All references that lead nowhere, or that a file gives no answer in time.
pub(in crate::datasource) async fn read(options: Value) -> Result<Resolved, String> {
    READERS_OF_ALL.read(options).await
}

type Reader = dyn Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync;

struct Readers {
    free: Arc<Semaphore>,
    deadline: Duration,
    reader: Arc<Reader>,
    under_way: Arc<Mutex<UnderWay>>,
}

impl Readers {
    fn new(
        readers: usize,
        deadline: Duration,
        reader: impl Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self { free: Arc::new(Semaphore::new(readers)), deadline, reader: Arc::new(reader), under_way: Arc::default() }
    }

    async fn read(&self, options: Value) -> Result<Resolved, String> {
        // Who refers to no file waits for none.
        if !options.to_string().contains("${file:") {
            return resolved(&options, &|_| Err(io::ErrorKind::Unsupported.into()));
        }
        let within = humantime::format_duration(self.deadline);
        let free = Arc::clone(&self.free).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(self.deadline, free).await else {
            let text = "other files that options refer to are being read and give no answer: no thread was free for this \
                        datasource's within";
            return Err(format!("{text} {within}: see to the file systems that they are on"));
        };
        let (reader, under_way) = (Arc::clone(&self.reader), Arc::clone(&self.under_way));
        let now = Arc::new(Mutex::new(PathBuf::new()));
        let reading = Arc::clone(&now);
        let (reply, answer) = oneshot::channel();
        let work = move || {
            let _permit = permit;
            let file = |path: &Path| {
                path.clone_into(&mut lock(&reading));
                let _one = One::begin(&under_way, path)?;
                reader(path)
            };
            let _ = reply.send(resolved(&options, &file));
        };
        Builder::new()
            .name("references".to_owned())
            .spawn(work)
            .map_err(|error| format!("no thread to read what the options refer to: {error}"))?;
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err("the host panicked reading what the options refer to: its log says where".to_owned()),
            Err(_) => {
                let path = lock(&now).clone();
                lock(&self.under_way).give_up(&path);
                let path = path.display();
                Err(format!("the file {path}, which an option refers to, can't be read: no answer within {within}"))
            }
        }
    }
}

fn resolved(options: &Value, file: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Resolved, String> {
    let values = RefCell::new(Vec::new());
    let seen = |text: &str| values.borrow_mut().push(Value::from(text));
    let env = |name: &str| std::env::var(name).ok().inspect(|value| seen(value));
    let file =
        |path: &Path| file(path).inspect(|bytes| seen(String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n'])));
    let resolved = resolve(options, &env, &file);
    let options =
        resolved.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    Ok(Resolved { options, values: values.into_inner() })
}

/// The files that are being read.
#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// With whether it was given up.
    files: Vec<(u64, PathBuf, bool)>,
}

impl UnderWay {
    fn give_up(&mut self, path: &Path) {
        self.files.iter_mut().filter(|(_, other, _)| other == path).for_each(|(_, _, hangs)| *hangs = true);
    }
}

/// One of them.
struct One<'a> {
    all: &'a Mutex<UnderWay>,
    number: u64,
}

impl<'a> One<'a> {
    fn begin(all: &'a Mutex<UnderWay>, path: &Path) -> io::Result<Self> {
        let mut under_way = lock(all);
        if under_way.files.iter().any(|(_, other, hangs)| *hangs && other == path) {
            return Err(io::Error::other("an earlier try to read it still waits for an answer"));
        }
        let number = under_way.next;
        under_way.next += 1;
        under_way.files.push((number, path.to_owned(), false));
        Ok(Self { all, number })
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        lock(self.all).files.retain(|(number, ..)| *number != self.number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::mpsc;
    use std::time::Instant;

    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(20);

    /// Files below `/hung` hang until what is returned is dropped.
    fn readers(readers: usize) -> (Readers, mpsc::Sender<()>) {
        let (release, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let reader = move |path: &Path| match path.starts_with("/hung") {
            true => Err(io::Error::other(format!("{:?}", lock(&gate).recv()))),
            false => Ok(b"s3cret\n".to_vec()),
        };
        (Readers::new(readers, SHORT, reader), release)
    }

    #[tokio::test]
    async fn a_file_that_hangs_costs_its_thread_and_no_other_reader() {
        let (readers, release) = readers(2);
        let hung = json!({"a": "${file:/fine}", "b": "${file:/hung/a}"});
        let text = "the file /hung/a, which an option refers to, can't be read: no answer within 300ms";
        assert_eq!(readers.read(hung.clone()).await, Err(text.to_owned()));
        let text = "/b: the file /hung/a can't be read: an earlier try to read it still waits for an answer";
        for _ in 0..3 {
            assert_eq!(readers.read(hung.clone()).await, Err(text.to_owned()));
        }
        let options = readers.read(json!(["as ${file:/fine}!"])).await;
        assert_eq!(options, Ok(Resolved { options: json!(["as s3cret!"]), values: vec![json!("s3cret")] }));
        assert!(readers.read(json!("${file:/hung/b}")).await.is_err());
        let text = "other files that options refer to are being read and give no answer: no thread was free for this \
                    datasource's within 300ms: see to the file systems that they are on";
        assert_eq!(readers.read(json!("${file:/fine}")).await, Err(text.to_owned()), "so many, and no more");
        drop(release);
        let end = Instant::now() + LONG;
        while readers.read(json!("${file:/fine}")).await.is_err() {
            assert!(Instant::now() < end, "threads that come back are not lost");
        }
    }

    #[tokio::test]
    async fn a_pipe_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let path = pipe.display();
        let text = format!("/a: the file {path} can't be read: it is no regular file");
        assert_eq!(read(json!({"a": format!("${{file:{path}}}")})).await, Err(text));
    }
}
