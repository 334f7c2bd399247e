//! `export_driver!`: the entry points, the panic guard around each, and the note.

use crate::abi::abi_stable::library::LibHeader;
use crate::abi::abi_stable::sabi_trait::TD_Opaque;
use crate::abi::abi_stable::std_types::{RNone, RSome, RStr, RVec};
use crate::abi::object::Source_TO;
use crate::abi::{self, HostObject, Module, Opened, PollReply, Reply, Root, Status, TableUpdate};
use crate::driver::{Args, Driver, Source};
use crate::info::{DriverInfo, TableInfo, is_driver_id};
use crate::message::{
    AttachRequest, ErrorBody, ExecuteRequest, Headed, LogFilterRequest, OpenRequest, PollRequest, SelfTestRequest,
    StateBody, SubscribedRequest, WebhookRequest, decode, failure, success,
};
use crate::table::{Change, TableSpec, Update};
use crate::{Context, Error, guard, log, options};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Exports a [`Driver`] from a `cdylib`: this, the trait and a build make a plugin.
///
/// Use it once in a crate, at its root. The driver's version is the crate's.
///
/// ```
/// use busway_plugin_api::prelude::*;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct NoOptions {}
///
/// #[derive(Serialize, Deserialize)]
/// struct Tick { seconds: u64 }
///
/// struct Clock;
///
/// impl Driver for Clock {
///     const ID: &'static str = "clock";
///     type Options = NoOptions;
///     type Source = PollSource;
///
///     fn open(_: NoOptions, context: Context) -> Result<PollSource, Error> {
///         Ok(PollSource::new(context).table(TableSpec::of::<Tick>("ticks"), |_| {
///             Ok(vec![Tick { seconds: std::time::UNIX_EPOCH.elapsed()?.as_secs() }])
///         }))
///     }
/// }
///
/// busway_plugin_api::export_driver!(Clock);
/// # fn main() {}
/// ```
///
/// An ID that breaks the rules does not compile:
///
/// ```compile_fail,E0080
/// # use busway_plugin_api::prelude::*;
/// # #[derive(Deserialize, JsonSchema)]
/// # struct NoOptions {}
/// struct Clock;
///
/// impl Driver for Clock {
///     const ID: &'static str = "My Clock";
/// #   type Options = NoOptions;
/// #   type Source = PollSource;
/// #   fn open(_: NoOptions, context: Context) -> Result<PollSource, Error> { Ok(PollSource::new(context)) }
///     // …
/// }
///
/// busway_plugin_api::export_driver!(Clock);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! export_driver {
    ($driver:ty) => {
        #[allow(unsafe_code, missing_docs, unreachable_pub)]
        const _: () = {
            struct Exported;

            impl $crate::export::Export for Exported {
                type Driver = $driver;
                const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            }

            const NOTE_PAIRS: &[(&str, &str)] = &$crate::export::note::<Exported>(cfg!(panic = "unwind"));

            #[used]
            #[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,.busway"))]
            #[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".busway"))]
            static NOTE: [u8; $crate::abi::note_len(NOTE_PAIRS)] = $crate::abi::note_bytes(NOTE_PAIRS);

            // `busway_abi::ROOT_SYMBOL`; an attribute takes no constant.
            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static HEADER: $crate::export::Header = $crate::export::header::<Exported>();
        };
    };
}

/// What [`export_driver!`](crate::export_driver) knows.
#[doc(hidden)]
pub trait Export: 'static {
    type Driver: Driver;
    const VERSION: &'static str;
}

#[doc(hidden)]
pub type Header = LibHeader;

#[doc(hidden)]
#[must_use]
pub const fn header<E: Export>() -> LibHeader {
    abi::header::<Entry<E>>()
}

/// The entry points, for who puts others around them: a driver that tests what hosts make of broken ones, say.
#[doc(hidden)]
#[must_use]
pub fn module<E: Export>() -> Module {
    <Entry<E> as Root>::module()
}

/// The note's keys and values.
#[doc(hidden)]
#[must_use]
pub const fn note<E: Export>(unwinds: bool) -> [(&'static str, &'static str); 7] {
    assert!(
        is_driver_id(<E::Driver as Driver>::ID),
        "a driver's ID is a lower-case letter, then at most 63 lower-case letters, digits, '-' or '_'"
    );
    [
        ("id", <E::Driver as Driver>::ID),
        ("version", E::VERSION),
        ("contract", abi::VERSION),
        ("sdk", SDK),
        ("abi_stable", abi::ABI_STABLE),
        ("target", env!("BUSWAY_TARGET")),
        ("panic", if unwinds { "unwind" } else { "abort" }),
    ]
}

const SDK: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// The functions of the module, for one driver.
pub(crate) struct Entry<E>(PhantomData<E>);

impl<E: Export> Root for Entry<E> {
    fn module() -> Module {
        Module::new(describe::<E>, attach, open::<E>, set_log_filter, self_test, control)
    }
}

fn reply<T: Serialize>(result: Result<T, Error>) -> Reply {
    match result {
        Ok(value) => success(&value),
        Err(error) => failure(error.status(), error.body()),
    }
}

fn read<T: DeserializeOwned>(request: RStr<'_>) -> Result<T, Error> {
    // Serde would read a struct from a list, too.
    if !request.trim_start().starts_with('{') {
        let error = ErrorBody::new("not the JSON that was expected: a request is an object");
        return Err(Error::from_parts(Status::INVALID, error));
    }
    decode(&request).map_err(|body| Error::from_parts(Status::INVALID, body))
}

extern "C" fn describe<E: Export>(_: RStr<'_>) -> Reply {
    guard::install_hook();
    reply(guard::run(|| {
        Ok(DriverInfo {
            id: E::Driver::ID.to_owned(),
            version: E::VERSION.to_owned(),
            contract: abi::VERSION.to_owned(),
            sdk: SDK.to_owned(),
            description: E::Driver::DESCRIPTION.to_owned(),
            overlap: E::Driver::OVERLAP,
            options: options::declare::<<E::Driver as Driver>::Options>(),
            tables: tables::<E::Driver>(),
            actions: E::Driver::actions(),
            events: E::Driver::events(),
            state: E::Driver::state(),
        })
    }))
}

fn tables<D: Driver>() -> Vec<TableInfo> {
    D::tables().iter().map(TableSpec::info).collect()
}

extern "C" fn attach(host: HostObject, request: RStr<'_>) -> Reply {
    guard::install_hook();
    reply(guard::run(|| {
        let request: AttachRequest = read(request)?;
        log::attach(host, &request.log_filter).map_err(|e| Error::with_status(Status::INVALID, e))
    }))
}

extern "C" fn set_log_filter(request: RStr<'_>) -> Reply {
    reply(guard::run(|| {
        let request: LogFilterRequest = read(request)?;
        log::set_filter(&request.filter).map_err(|e| Error::with_status(Status::INVALID, e))
    }))
}

#[allow(clippy::panic, reason = "panicking is what it is for")]
extern "C" fn self_test(request: RStr<'_>) -> Reply {
    guard::install_hook();
    reply(guard::run(|| {
        let request: SelfTestRequest = read(request)?;
        if request.panic {
            panic!("self-test");
        }
        Ok(())
    }))
}

extern "C" fn control(op: RStr<'_>, _: RStr<'_>) -> Reply {
    reply::<()>(Err(Error::with_status(Status::NOT_IMPLEMENTED, format!("unknown operation {op:?}"))))
}

extern "C" fn open<E: Export>(request: RStr<'_>, host: HostObject) -> Opened {
    guard::install_hook();
    let opened = guard::run(|| {
        let request: OpenRequest = read(request)?;
        let context = Context::new(host, &request);
        // Guarded by itself: what was started before a panic is ended, too.
        guard::run(|| start::<E>(&request, &context)).inspect_err(|_| context.close())
    });
    match opened {
        Ok(served) => Opened { reply: Reply::ok(), source: RSome(Source_TO::from_value(served, TD_Opaque)) },
        Err(error) => Opened { reply: failure(error.status(), error.body()), source: RNone },
    }
}

fn start<E: Export>(request: &OpenRequest, context: &Context) -> Result<Served<E::Driver>, Error> {
    let _entered = context.enter_call(request.call);
    let options = options::parse(&request.options).map_err(|problems| {
        let message = format!("the options of datasource {:?} are wrong", request.datasource);
        Error::invalid(message).problems(problems)
    })?;
    let source = Some(E::Driver::open(options, context.clone())?);
    Ok(Served { source, context: context.clone(), poisoned: AtomicBool::new(false) })
}

/// A source with the guard around each of its methods.
struct Served<D: Driver> {
    /// There until it is dropped.
    source: Option<D::Source>,
    context: Context,
    poisoned: AtomicBool,
}

impl<D: Driver> Drop for Served<D> {
    fn drop(&mut self) {
        let source = self.source.take();
        // No panic may leave a drop either. There is nobody to answer; a panic was logged.
        let _ = guard::run(|| {
            let _entered = self.context.enter();
            drop(source);
            Ok(())
        });
    }
}

impl<D: Driver> Served<D> {
    /// Reads the request, does the work as this source, and poisons it when the work panics.
    fn guarded<Q: DeserializeOwned, T>(
        &self,
        request: RStr<'_>,
        work: impl FnOnce(Q, Duration) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(Error::with_status(Status::POISONED, "an earlier panic poisoned this source"));
        }
        self.watched(|| {
            let Headed { head, body } = read(request)?;
            let _entered = self.context.enter_call(head.call);
            work(body, Duration::from_millis(head.deadline_ms))
        })
    }

    fn watched<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        guard::run(work).inspect_err(|error| {
            if error.status() == Status::PANICKED {
                self.poisoned.store(true, Ordering::Release);
            }
        })
    }

    fn source(&self) -> Result<&D::Source, Error> {
        self.source.as_ref().ok_or_else(|| Error::with_status(Status::CLOSED, "the source is gone"))
    }

    fn activate(&self, start: impl FnOnce(&D::Source) -> Result<(), Error>) -> Result<(), Error> {
        if self.context.active() {
            return Ok(());
        }
        let source = self.source()?;
        self.context.set_active(true);
        start(source).inspect_err(|_| self.context.set_active(false))
    }
}

/// An update in answer to a poll. One that can't cross is its own table's error.
fn answer(update: Update) -> Result<TableUpdate, Error> {
    let table = update.table.clone();
    let refused = match update.change {
        Change::Delta { .. } => "changes are published, a poll answers all rows".to_owned(),
        _ => match update.export() {
            Ok(exported) => return Ok(exported),
            Err(error) => error.to_string(),
        },
    };
    Ok(Update::bare(table, Change::Failed(ErrorBody::new(refused))).export()?)
}

/// The operation of [`Source::webhook`](crate::Source::webhook).
pub(crate) const WEBHOOK: &str = "webhook";

/// A request that carries nothing of its own.
type Nothing = std::collections::BTreeMap<String, serde::de::IgnoredAny>;

impl<D: Driver> abi::Source for Served<D> {
    fn tables(&self, request: RStr<'_>) -> Reply {
        reply(self.guarded(request, |_: Nothing, _| Ok(self.source()?.tables()?.unwrap_or_else(tables::<D>))))
    }

    fn poll(&self, request: RStr<'_>) -> PollReply {
        let polled = self.guarded(request, |request: PollRequest, _| {
            let updates = self.source()?.poll(&request)?;
            updates.into_iter().map(answer).collect::<Result<RVec<_>, Error>>()
        });
        match polled {
            Ok(updates) => PollReply { reply: Reply::ok(), updates },
            Err(error) => PollReply { reply: failure(error.status(), error.body()), updates: RVec::new() },
        }
    }

    fn subscribed(&self, request: RStr<'_>) -> Reply {
        reply(self.guarded(request, |request: SubscribedRequest, _| {
            self.source()?.subscribed(&request);
            Ok(())
        }))
    }

    fn execute(&self, request: RStr<'_>) -> Reply {
        reply(self.guarded(request, |request: ExecuteRequest, _| {
            let actions = D::actions();
            let info = actions.into_iter().find(|a| a.name == request.action);
            let action = request.action.clone();
            self.source()?.execute(&action, &Args::of(info, request)?)
        }))
    }

    fn pause(&self, request: RStr<'_>) -> Reply {
        reply(self.guarded(request, |_: Nothing, deadline| {
            // It stays so when the pause fails: its threads have been told to end, and the host's `resume`, which comes
            // then, starts them again.
            self.context.set_active(false);
            self.source()?.pause(deadline)
        }))
    }

    fn resume(&self, request: RStr<'_>) -> Reply {
        reply(self.guarded(request, |_: Nothing, _| self.activate(D::Source::resume)))
    }

    fn activate(&self, request: RStr<'_>) -> Reply {
        reply(self.guarded(request, |_: Nothing, _| self.activate(D::Source::activate)))
    }

    fn export_state(&self, request: RStr<'_>) -> Reply {
        reply(self.guarded(request, |_: Nothing, _| self.source()?.export_state()))
    }

    fn import_state(&self, request: RStr<'_>) -> Reply {
        reply(self.guarded(request, |state: StateBody, _| self.source()?.import_state(state)))
    }

    fn cancel(&self, _: RStr<'_>) -> Reply {
        self.context.wake();
        reply(self.watched(|| {
            self.source()?.cancel();
            Ok(())
        }))
    }

    fn close(&self, request: RStr<'_>) -> Reply {
        // Poisoned or not: what was taken must be given back.
        reply(self.watched(|| {
            let head: Headed<Nothing> = read(request).unwrap_or_default();
            let _entered = self.context.enter_call(head.head.call);
            let closed = guard::run(|| self.source()?.close());
            self.context.close();
            closed
        }))
    }

    fn control(&self, op: RStr<'_>, json: RStr<'_>) -> Reply {
        if op.as_str() == WEBHOOK {
            return reply(self.guarded(json, |request: WebhookRequest, _| self.source()?.webhook(&request)));
        }
        reply(self.watched(|| self.source()?.control(&op, &json)))
    }
}
