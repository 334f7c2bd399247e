//! The traits that an author implements.

use crate::abi::Status;
use crate::event::EventTypeInfo;
use crate::info::{ActionInfo, Overlap, StateInfo, TableInfo};
use crate::message::{ErrorBody, ExecuteRequest, PollRequest, StateBody, SubscribedRequest, WebhookRequest};
use crate::options::Options;
use crate::table::{TableSpec, Update};
use crate::{Context, Error};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;

/// A kind of source. Export it with [`export_driver!`](crate::export_driver).
pub trait Driver: Sized + 'static {
    /// Unique on a node: a lower-case letter, then lower-case letters, digits, `-` and `_`.
    const ID: &'static str;
    /// One line for operators.
    const DESCRIPTION: &'static str = "";
    /// Whether two sources of one datasource may be open at once.
    const OVERLAP: Overlap = Overlap::Beside;
    /// What a datasource may set: a struct that derives `Deserialize` and `JsonSchema`.
    type Options: Options;
    /// What [`open`](Self::open) makes; [`PollSource`](crate::PollSource) serves most.
    type Source: Source;

    /// The tables that every source has. A source whose tables depend on its options lists them itself.
    #[must_use]
    fn tables() -> Vec<TableSpec> {
        Vec::new()
    }

    /// What sources can be asked to do.
    #[must_use]
    fn actions() -> Vec<ActionInfo> {
        Vec::new()
    }

    /// Types of events that sources tell of with [`Context::emit`], besides those that every host knows.
    #[must_use]
    fn events() -> Vec<EventTypeInfo> {
        Vec::new()
    }

    /// Set when sources hand their state over to the next generation.
    #[must_use]
    fn state() -> Option<StateInfo> {
        None
    }

    /// Opens a source in standby: it may read, but has no effect outside before [`Source::activate`].
    ///
    /// # Errors
    ///
    /// Why it can't be opened now; the host tries again later.
    fn open(options: Self::Options, context: Context) -> Result<Self::Source, Error>;
}

/// A running source. Methods may run at once on several threads, except: one `poll` at a time, nothing after `close`.
///
/// A panic in any of them is caught, reported with its place, and poisons the source: it is closed and opened anew.
pub trait Source: Send + Sync + 'static {
    /// The tables this source has now, if they are not the driver's.
    ///
    /// # Errors
    ///
    /// Why they can't be listed.
    fn tables(&self) -> Result<Option<Vec<TableInfo>>, Error> {
        Ok(None)
    }

    /// Reads the data: one update for each table that `request` wants, each with its own outcome.
    ///
    /// # Errors
    ///
    /// When nothing could be read at all; all tables stay as they were.
    fn poll(&self, request: &PollRequest) -> Result<Vec<Update>, Error>;

    /// Which tables have subscribers now. A hint.
    fn subscribed(&self, _request: &SubscribedRequest) {}

    /// Runs an action and answers its result.
    ///
    /// # Errors
    ///
    /// Why it failed.
    fn execute(&self, action: &str, _args: &Args) -> Result<Value, Error> {
        Err(Error::with_status(Status::NOT_FOUND, format!("no action {action:?}")))
    }

    /// Stop having effects; release what only one source may hold. Threads of [`Context::spawn`] see
    /// [`Context::active`] turn false before this is called.
    ///
    /// # Errors
    ///
    /// Why it can't.
    fn pause(&self, _deadline: Duration) -> Result<(), Error> {
        Ok(())
    }

    /// Undo [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// Why it can't.
    fn resume(&self) -> Result<(), Error> {
        self.activate()
    }

    /// Leave standby: start threads, publish, have effects.
    ///
    /// # Errors
    ///
    /// Why it can't.
    fn activate(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What the next generation's source should go on from, in the version that [`Driver::state`] says.
    ///
    /// # Errors
    ///
    /// Why it can't be given.
    fn export_state(&self) -> Result<Option<StateBody>, Error> {
        Ok(None)
    }

    /// Takes an earlier generation's state before the first poll.
    ///
    /// # Errors
    ///
    /// When it can't be read; nothing was changed.
    fn import_state(&self, state: StateBody) -> Result<(), Error> {
        Err(Error::invalid(format!("state of version {} can't be read", state.version)))
    }

    /// End the calls in flight soon. Sleepers of [`Context::sleep`] are woken anyway.
    fn cancel(&self) {}

    /// The last call. Threads of [`Context::spawn`] and the private runtime are ended after it.
    ///
    /// # Errors
    ///
    /// What could not be released.
    fn close(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Something outside told of news: the host passes on what came. What it means is published as by a source that
    /// learns by itself ([`Context::publisher`]); the answer names the tables that were updated.
    ///
    /// # Errors
    ///
    /// Why nothing was made of it. A source that takes none answers [`Status::NOT_IMPLEMENTED`].
    fn webhook(&self, _request: &WebhookRequest) -> Result<Vec<String>, Error> {
        Err(Error::from_parts(Status::NOT_IMPLEMENTED, ErrorBody::new("this source takes no webhooks")))
    }

    /// Anything that later contracts add.
    ///
    /// # Errors
    ///
    /// An unknown operation is [`Status::NOT_IMPLEMENTED`].
    fn control(&self, op: &str, _json: &str) -> Result<Value, Error> {
        Err(Error::with_status(Status::NOT_IMPLEMENTED, format!("unknown operation {op:?}")))
    }
}

/// An action's arguments: by position, by name, or both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Args {
    info: Option<ActionInfo>,
    positional: Vec<Value>,
    named: Map<String, Value>,
}

impl Args {
    /// The arguments of a request, after a check against what the action declares.
    ///
    /// # Errors
    ///
    /// All problems at once: unknown, missing, given twice, too many.
    pub(crate) fn of(info: Option<ActionInfo>, request: ExecuteRequest) -> Result<Self, Error> {
        let found = info.as_ref().map(|info| info.misfits(&request.positional, &request.named)).unwrap_or_default();
        if found.is_empty() {
            return Ok(Self { info, positional: request.positional, named: request.named });
        }
        let message = format!("the arguments of {:?} are wrong", request.action);
        Err(Error::invalid(message).problems(found))
    }

    /// An argument by its declared name, wherever it was given; none when it wasn't.
    ///
    /// # Errors
    ///
    /// When it is of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let position = self.info.as_ref().and_then(|info| info.args.iter().position(|a| a.name == name));
        let value = self.named.get(name).or_else(|| self.positional.get(position?));
        let read = |value: &Value| T::deserialize(value).map_err(|e| Error::invalid(format!("argument {name:?}: {e}")));
        value.map(read).transpose()
    }

    /// An argument that must be there.
    ///
    /// # Errors
    ///
    /// When it is missing or of another type.
    pub fn require<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let missing = || Error::invalid(format!("missing argument {name:?}"));
        self.get(name)?.ok_or_else(missing)
    }

    /// Those by position, as they came.
    #[must_use]
    pub fn positional(&self) -> &[Value] {
        &self.positional
    }

    /// Those by name, as they came.
    #[must_use]
    pub fn named(&self) -> &Map<String, Value> {
        &self.named
    }
}
