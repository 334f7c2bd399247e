//! Reading what options refer to: a file may lie on a mount that does not answer.
//!
//! No thread that others wait for reads a file, and each file is read by one thread at a time: whoever wants it then waits for
//! its turn. A file that hangs costs that one thread; a later try for it fails at once.

use super::reference::{read_limited, resolve};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

/// All files that a datasource's options refer to are read in this time.
const DEADLINE: Duration = Duration::from_secs(5);
/// So many files are read at once; so many threads may hang for ever.
const READERS: usize = 256;

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
/// All references that lead nowhere, or whose file gives no answer in time.
pub(in crate::datasource) async fn read(options: Value) -> Result<Resolved, String> {
    READERS_OF_ALL.read(options).await
}

type Reader = dyn Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync;

struct Readers {
    most: usize,
    deadline: Duration,
    reader: Arc<Reader>,
    under_way: Arc<UnderWay>,
}

/// The files that are being read, each with whether it was given up.
#[derive(Debug, Default)]
struct UnderWay {
    files: Mutex<BTreeMap<PathBuf, bool>>,
    /// Rung when one was read.
    bell: Notify,
}

impl Readers {
    fn new(
        most: usize,
        deadline: Duration,
        reader: impl Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self { most, deadline, reader: Arc::new(reader), under_way: Arc::default() }
    }

    async fn read(&self, options: Value) -> Result<Resolved, String> {
        let until = Instant::now() + self.deadline;
        let paths = files(&options);
        let read = paths.into_iter().map(|path| async move {
            let read = self.file(&path, until).await;
            (path, read)
        });
        let read: BTreeMap<PathBuf, Result<Vec<u8>, String>> =
            futures_util::future::join_all(read).await.into_iter().collect();
        resolved(&options, &|path| match read.get(path) {
            Some(Ok(bytes)) => Ok(bytes.clone()),
            Some(Err(why)) => Err(io::Error::other(why.clone())),
            None => Err(io::ErrorKind::Unsupported.into()),
        })
    }

    /// Reads one file; answers why it can't be read.
    async fn file(&self, path: &Path, until: Instant) -> Result<Vec<u8>, String> {
        let within = || format!("no answer within {}", humantime::format_duration(self.deadline));
        loop {
            // From here on nobody's end is missed.
            let bell = self.under_way.bell.notified();
            let waits = match self.under_way.turn(path, self.most) {
                Turn::Ours => break,
                Turn::Hangs => return Err("an earlier try to read it still waits for an answer".to_owned()),
                Turn::Others => within(),
                Turn::Full => {
                    "other files that options refer to are being read and give no answer, as many as are read at \
                               once: see to the file systems that they are on"
                        .to_owned()
                }
            };
            if timeout_at(until, bell).await.is_err() {
                return Err(waits);
            }
        }
        let (reader, one) = (Arc::clone(&self.reader), One { all: Arc::clone(&self.under_way), path: path.to_owned() });
        let (reply, answer) = oneshot::channel();
        let work = move || {
            let read = reader(&one.path).map_err(|error| error.to_string());
            drop(one);
            let _ = reply.send(read);
        };
        let spawned = Builder::new().name("references".to_owned()).spawn(work);
        spawned.map_err(|error| format!("there is no thread for it: {error}"))?;
        match timeout_at(until, answer).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => Err("the host panicked reading it: its log says where".to_owned()),
            Err(_) => {
                self.under_way.give_up(path);
                Err(within())
            }
        }
    }
}

/// Which files options refer to.
fn files(options: &Value) -> BTreeSet<PathBuf> {
    let paths = RefCell::new(BTreeSet::new());
    let file = |path: &Path| {
        paths.borrow_mut().insert(path.to_owned());
        Ok(Vec::new())
    };
    // What is wrong with them is told when the files are read.
    let _ = resolve(options, &|_| Some(String::new()), &file);
    paths.into_inner()
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

/// Who may read a file now.
enum Turn {
    Ours,
    /// Somebody reads it.
    Others,
    /// Somebody does, and was given up.
    Hangs,
    /// Too many are being read.
    Full,
}

impl UnderWay {
    fn turn(&self, path: &Path, most: usize) -> Turn {
        let mut files = lock(&self.files);
        match files.get(path) {
            Some(true) => Turn::Hangs,
            Some(false) => Turn::Others,
            None if files.len() >= most => Turn::Full,
            None => {
                files.insert(path.to_owned(), false);
                Turn::Ours
            }
        }
    }

    fn give_up(&self, path: &Path) {
        if let Some(hangs) = lock(&self.files).get_mut(path) {
            *hangs = true;
        }
        // Who waits for its turn waits in vain.
        self.bell.notify_waiters();
    }
}

/// A file that is being read, until this is dropped.
struct One {
    all: Arc<UnderWay>,
    path: PathBuf,
}

impl Drop for One {
    fn drop(&mut self) {
        lock(&self.all.files).remove(&self.path);
        self.all.bell.notify_waiters();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use serde_json::json;
    use std::sync::mpsc;

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
        // Many that want the same at once take one thread.
        let text = "/b: the file /hung/a can't be read: ";
        for error in join_all((0..20).map(|_| readers.read(hung.clone()))).await {
            let error = error.unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
        let late = format!("{text}an earlier try to read it still waits for an answer");
        let begun = Instant::now();
        assert_eq!(readers.read(hung.clone()).await, Err(late));
        assert!(begun.elapsed() < SHORT, "it is said at once");
        let options = readers.read(json!(["as ${file:/fine}!"])).await;
        assert_eq!(options, Ok(Resolved { options: json!(["as s3cret!"]), values: vec![json!("s3cret")] }));
        let text = "/x: the file /hung/b can't be read: no answer within 300ms";
        assert_eq!(readers.read(json!({"x": "${file:/hung/b}"})).await, Err(text.to_owned()));
        let text = "/x: the file /fine can't be read: other files that options refer to are being read and give no answer, as \
                    many as are read at once: see to the file systems that they are on";
        assert_eq!(readers.read(json!({"x": "${file:/fine}"})).await, Err(text.to_owned()), "so many, and no more");
        drop(release);
        let end = Instant::now() + LONG;
        while readers.read(json!("${file:/fine}")).await.is_err() {
            assert!(Instant::now() < end, "threads that come back are not lost");
        }
    }

    #[tokio::test]
    async fn many_files_that_hang_stop_no_other() {
        let (readers, _release) = readers(READERS);
        let hung: Vec<String> = (0..100).map(|n| format!("${{file:/hung/{n}}}")).collect();
        readers.read(json!(hung)).await.unwrap_err();
        assert_eq!(readers.read(json!("${file:/fine}")).await.map(|read| read.options), Ok(json!("s3cret")));
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
