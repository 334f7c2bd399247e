//! A driver that does what the test says, a host that writes down what it is told, and memory that counts its end.

use busway_plugin_api::abi::abi_stable::sabi_trait::TD_Opaque;
use busway_plugin_api::abi::abi_stable::std_types::RStr;
use busway_plugin_api::abi::object::Host_TO;
use busway_plugin_api::abi::{Host, HostObject, ModuleRef, Reply, SourceObject, Status, TableUpdate};
use busway_plugin_api::export::{Export, Header, header};
use busway_plugin_api::message::{
    ErrorBody, LogRecord, PollRequest, StateBody, SubscribedRequest, WebhookRequest, decode,
};
use busway_plugin_api::prelude::*;
use busway_plugin_api::serde_json::{Value, json};
use busway_plugin_api::testing::{TestHost, TestSource};
use busway_plugin_api::{TableInfo, serde_json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(8);
/// What must end at once has ended by then.
pub(crate) const SOON: Duration = Duration::from_secs(3);

/// Opening sets the log filter, which the whole process shares: a test of the filter takes this for writing.
pub(crate) static FILTER: RwLock<()> = RwLock::new(());

type Made = Result<Box<dyn Source>, Error>;
type Script = Box<dyn FnOnce(Context) -> Made + Send>;
static SCRIPTS: Mutex<Option<HashMap<u64, Script>>> = Mutex::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

#[derive(Deserialize, JsonSchema)]
pub(crate) struct ScriptOptions {
    script: u64,
}

/// Opens what the script says that its options name.
pub(crate) struct Scripted;

/// A source of any type.
pub(crate) struct AnySource(Box<dyn Source>);

impl Source for AnySource {
    fn tables(&self) -> Result<Option<Vec<TableInfo>>, Error> {
        self.0.tables()
    }
    fn poll(&self, request: &PollRequest) -> Result<Vec<Update>, Error> {
        self.0.poll(request)
    }
    fn subscribed(&self, request: &SubscribedRequest) {
        self.0.subscribed(request);
    }
    fn execute(&self, action: &str, args: &Args) -> Result<Value, Error> {
        self.0.execute(action, args)
    }
    fn webhook(&self, request: &WebhookRequest) -> Result<Vec<String>, Error> {
        self.0.webhook(request)
    }
    fn pause(&self, deadline: Duration) -> Result<(), Error> {
        self.0.pause(deadline)
    }
    fn resume(&self) -> Result<(), Error> {
        self.0.resume()
    }
    fn activate(&self) -> Result<(), Error> {
        self.0.activate()
    }
    fn export_state(&self) -> Result<Option<StateBody>, Error> {
        self.0.export_state()
    }
    fn import_state(&self, state: StateBody) -> Result<(), Error> {
        self.0.import_state(state)
    }
    fn cancel(&self) {
        self.0.cancel();
    }
    fn close(&self) -> Result<(), Error> {
        self.0.close()
    }
}

impl Driver for Scripted {
    const ID: &'static str = "scripted";
    type Options = ScriptOptions;
    type Source = AnySource;

    fn actions() -> Vec<ActionInfo> {
        vec![
            ActionInfo::new("kill", "Ends a process").arg("pid", "Which").optional_arg("signal", "How"),
            ActionInfo::new("absent", "Declared, and not there"),
        ]
    }

    fn open(options: ScriptOptions, context: Context) -> Result<AnySource, Error> {
        let script = SCRIPTS.lock().unwrap().as_mut().and_then(|scripts| scripts.remove(&options.script));
        script.ok_or_else(|| Error::new("no such script"))?(context).map(AnySource)
    }
}

fn options<S: Source>(script: impl FnOnce(Context) -> Result<S, Error> + Send + 'static) -> Value {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let script: Script = Box::new(|context| Ok(Box::new(script(context)?)));
    SCRIPTS.lock().unwrap().get_or_insert_default().insert(number, script);
    json!({"script": number})
}

/// Opens a source in the host in memory.
pub(crate) fn try_open<S: Source>(
    host: &TestHost,
    script: impl FnOnce(Context) -> Result<S, Error> + Send + 'static,
) -> Result<TestSource, Error> {
    let _shared = FILTER.read().unwrap_or_else(PoisonError::into_inner);
    host.open::<Scripted>(options(script))
}

pub(crate) fn open<S: Source>(host: &TestHost, script: impl FnOnce(Context) -> S + Send + 'static) -> TestSource {
    try_open(host, |context| Ok(script(context))).unwrap()
}

/// Opens any driver in the host in memory.
pub(crate) fn open_driver<D: Driver>(host: &TestHost, options: Value) -> Result<TestSource, Error> {
    let _shared = FILTER.read().unwrap_or_else(PoisonError::into_inner);
    host.open::<D>(options)
}

struct Exported;

impl Export for Exported {
    type Driver = Scripted;
    const VERSION: &'static str = "1.2.3";
}

/// The driver's module, as a host that loads a library gets it.
pub(crate) fn module() -> ModuleRef {
    static HEADER: Header = header::<Exported>();
    HEADER.init_root_module::<ModuleRef>().unwrap()
}

/// A host that writes down what it is told.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    shared: Arc<(Mutex<Heard>, Condvar)>,
}

#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) log: Vec<LogRecord>,
    pub(crate) statuses: Vec<String>,
    pub(crate) published: Vec<TableUpdate>,
    /// The numbers that `cancelled` was asked for.
    pub(crate) asked: Vec<u64>,
    /// Those it says are cancelled; 0 stands for the closing of the source.
    pub(crate) cancelled: Vec<u64>,
    /// What `publish` answers; none: OK.
    pub(crate) answer: Option<Status>,
}

impl Recorder {
    pub(crate) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell<T>(&self, what: impl FnOnce(&mut Heard) -> T) -> T {
        let told = what(&mut self.heard());
        self.shared.1.notify_all();
        told
    }

    pub(crate) fn wait(&self, until: impl Fn(&Heard) -> bool) -> bool {
        let end = Instant::now() + LONG;
        let mut heard = self.heard();
        while !until(&heard) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            heard = self.shared.1.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) fn object(&self) -> HostObject {
        Host_TO::from_value(self.clone(), TD_Opaque)
    }

    fn attach() {
        let _shared = FILTER.read().unwrap_or_else(PoisonError::into_inner);
        // Records of no source, other tests' too, go to nobody.
        assert!(
            module().attach()(Self::default().object(), r#"{"generation": 3, "log_filter": "trace"}"#.into()).is_ok()
        );
    }

    /// Opens a source through the bare contract.
    pub(crate) fn open<S: Source>(
        &self,
        script: impl FnOnce(Context) -> Result<S, Error> + Send + 'static,
    ) -> Result<SourceObject, (Status, ErrorBody)> {
        Self::attach();
        let request = json!({"call": 17, "datasource": "web", "generation": 3, "options": options(script)});
        let opened = module().open()(request.to_string().as_str().into(), self.object());
        match opened.source.into_option() {
            Some(source) => {
                assert_eq!(opened.reply.status, Status::OK);
                Ok(source)
            }
            None => Err(error(&opened.reply)),
        }
    }
}

impl Host for Recorder {
    fn publish(&self, update: TableUpdate, _wait_ms: u64) -> Reply {
        self.tell(|heard| {
            let status = heard.answer.unwrap_or(Status::OK);
            heard.published.push(update);
            Reply { status, ..Reply::ok() }
        })
    }
    fn emit(&self, _: RStr<'_>) -> Reply {
        Reply::ok()
    }
    fn call(&self, _: RStr<'_>) -> Reply {
        Reply::ok()
    }
    fn request_poll(&self, _: RStr<'_>) -> Reply {
        Reply::ok()
    }
    fn status(&self, request: RStr<'_>) -> Status {
        let request: Value = serde_json::from_str(&request).unwrap();
        self.tell(|heard| heard.statuses.push(request["text"].as_str().unwrap().to_owned()));
        Status::OK
    }
    fn log(&self, record: RStr<'_>) -> Status {
        let record = serde_json::from_str(&record).unwrap();
        self.tell(|heard| heard.log.push(record));
        Status::OK
    }
    fn cancelled(&self, call: u64) -> bool {
        self.tell(|heard| {
            heard.asked.push(call);
            heard.cancelled.contains(&call) || heard.cancelled.contains(&0)
        })
    }
    fn control(&self, _: RStr<'_>, _: RStr<'_>) -> Reply {
        Reply { status: Status::NOT_IMPLEMENTED, ..Reply::ok() }
    }
}

/// Status and error of a reply that is not OK.
pub(crate) fn error(reply: &Reply) -> (Status, ErrorBody) {
    assert_ne!(reply.status, Status::OK, "{reply:?}");
    (reply.status, decode(&reply.body).unwrap())
}

/// A source whose methods do what these say; those that say nothing do nothing.
#[derive(Default)]
pub(crate) struct Mock {
    pub(crate) poll: Option<Box<dyn Fn() -> Result<Vec<Update>, Error> + Send + Sync>>,
    pub(crate) execute: Option<Box<dyn Fn(&str, &Args) -> Result<Value, Error> + Send + Sync>>,
    pub(crate) activate: Option<Box<dyn Fn() -> Result<(), Error> + Send + Sync>>,
    pub(crate) pause: Option<Box<dyn Fn() -> Result<(), Error> + Send + Sync>>,
    pub(crate) cancel: Option<Box<dyn Fn() + Send + Sync>>,
    pub(crate) close: Option<Box<dyn Fn() -> Result<(), Error> + Send + Sync>>,
    pub(crate) _drop: Option<OnDrop>,
}

impl Source for Mock {
    fn poll(&self, _: &PollRequest) -> Result<Vec<Update>, Error> {
        self.poll.as_ref().map_or(Ok(Vec::new()), |poll| poll())
    }
    fn execute(&self, action: &str, args: &Args) -> Result<Value, Error> {
        self.execute.as_ref().map_or(Ok(Value::Null), |execute| execute(action, args))
    }
    fn activate(&self) -> Result<(), Error> {
        self.activate.as_ref().map_or(Ok(()), |activate| activate())
    }
    fn pause(&self, _: Duration) -> Result<(), Error> {
        self.pause.as_ref().map_or(Ok(()), |pause| pause())
    }
    fn cancel(&self) {
        self.cancel.iter().for_each(|cancel| cancel());
    }
    fn close(&self) -> Result<(), Error> {
        self.close.as_ref().map_or(Ok(()), |close| close())
    }
}

/// Does this when it is dropped.
pub(crate) struct OnDrop(pub(crate) Box<dyn Fn() + Send + Sync>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0();
    }
}

/// Waits until it is so, looking again and again.
pub(crate) fn eventually(so: impl Fn() -> bool) -> bool {
    let end = Instant::now() + LONG;
    while !so() {
        if Instant::now() > end {
            return false;
        }
        std::thread::yield_now();
    }
    true
}
