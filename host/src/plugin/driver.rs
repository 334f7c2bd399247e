//! How the host sees drivers and sources: whatever they are made of, these are their faces.

use busway_plugin_api::abi::Status;
use busway_plugin_api::info::{DriverInfo, TableInfo};
use busway_plugin_api::message::{
    AttachRequest, CallHead, CallRequest, ErrorBody, EventBody, ExecuteRequest, LogRecord, OpenRequest, PollRequest,
    SelfTestRequest, StateBody, SubscribedRequest, WebhookRequest,
};
use busway_plugin_api::table::Update;
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

/// Why a call of a driver did not work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{body}")]
pub struct CallError {
    /// How it ended.
    pub status: Status,
    /// What the driver says.
    pub body: ErrorBody,
    code_fault: bool,
}

impl CallError {
    /// What a driver, or the host, answered.
    #[must_use]
    pub fn of(status: Status, body: ErrorBody) -> Self {
        Self { status, body, code_fault: false }
    }

    /// One of the host's own finding.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Self::of(status, ErrorBody::new(message))
    }

    /// An answer that the contract does not allow.
    #[must_use]
    pub fn broken(what: &str) -> Self {
        Self::new(Status::FAILED, format!("the driver breaks the contract: {what}")).into_code_fault()
    }

    /// The same, as a fault of the driver's code.
    #[must_use]
    pub fn into_code_fault(mut self) -> Self {
        self.code_fault = true;
        self
    }

    /// Whether the driver's code is at fault, not its data or its configuration.
    #[must_use]
    pub fn is_code_fault(&self) -> bool {
        self.code_fault || matches!(self.status, Status::PANICKED | Status::POISONED)
    }
}

/// A request and its head.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a, T> {
    /// Number and deadline.
    pub head: CallHead,
    /// What is asked.
    pub body: &'a T,
}

/// A kind of source, as one loaded copy gives it. Every method may block: call it through a [`Pool`](super::Pool).
pub trait Driver: Send + Sync {
    /// What the driver says of itself.
    ///
    /// # Errors
    ///
    /// What it answers, or that its answer breaks the contract.
    fn describe(&self) -> Result<DriverInfo, CallError>;
    /// The addresses of its code, if it is mapped in this process and that is known.
    fn code(&self) -> Option<Range<usize>> {
        None
    }
    /// Once for each generation, before the first `open`.
    ///
    /// # Errors
    ///
    /// What it answers.
    fn attach(&self, host: Arc<dyn HostCalls>, request: &AttachRequest) -> Result<(), CallError>;
    /// Opens a source in standby.
    ///
    /// # Errors
    ///
    /// What it answers.
    fn open(&self, request: &OpenRequest, host: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError>;
    /// Which log records cross.
    ///
    /// # Errors
    ///
    /// What it answers.
    fn set_log_filter(&self, filter: &str) -> Result<(), CallError>;
    /// Misbehaves on request.
    ///
    /// # Errors
    ///
    /// What it answers: for a panic, that it panicked.
    fn self_test(&self, request: &SelfTestRequest) -> Result<(), CallError>;
}

/// A running source. The errors are what it answers, or that its answer breaks the contract.
#[allow(clippy::missing_errors_doc, reason = "said above")]
pub trait Source: Send + Sync {
    /// The tables it has now.
    fn tables(&self, head: CallHead) -> Result<Vec<TableInfo>, CallError>;
    /// Reads the data.
    fn poll(&self, call: Call<'_, PollRequest>) -> Result<Vec<Update>, CallError>;
    /// Which tables have subscribers.
    fn subscribed(&self, call: Call<'_, SubscribedRequest>) -> Result<(), CallError>;
    /// Takes what somebody sent about news; the tables that it updated.
    fn webhook(&self, call: Call<'_, WebhookRequest>) -> Result<Vec<String>, CallError>;
    /// Runs an action.
    fn execute(&self, call: Call<'_, ExecuteRequest>) -> Result<Value, CallError>;
    /// Stop having effects.
    fn pause(&self, head: CallHead) -> Result<(), CallError>;
    /// Undo `pause`.
    fn resume(&self, head: CallHead) -> Result<(), CallError>;
    /// Leave standby.
    fn activate(&self, head: CallHead) -> Result<(), CallError>;
    /// What the next generation goes on from.
    fn export_state(&self, head: CallHead) -> Result<Option<StateBody>, CallError>;
    /// Takes an earlier generation's state.
    fn import_state(&self, call: Call<'_, StateBody>) -> Result<(), CallError>;
    /// End calls in flight; returns at once.
    fn cancel(&self, calls: Option<&[u64]>);
    /// The last call.
    fn close(&self, head: CallHead) -> Result<(), CallError>;
}

/// What a source, or a driver outside any source, may ask of the host. Never panics.
pub trait HostCalls: Send + Sync {
    /// Publishes an update of one table.
    ///
    /// # Errors
    ///
    /// The status says which kind; nothing was changed.
    fn publish(&self, update: Update) -> Result<(), CallError>;
    /// Asks to be polled soon.
    ///
    /// # Errors
    ///
    /// When nobody polls it.
    fn request_poll(&self, request: PollRequest) -> Result<(), CallError>;
    /// Calls a method of a service and waits for its answer, no longer than the request says.
    ///
    /// # Errors
    ///
    /// What the service answers; that it is not there or did not answer in time; that the caller has been cancelled, paused
    /// or closed meanwhile. By itself a host has no services.
    fn call(&self, request: CallRequest) -> Result<Value, CallError> {
        let text = format!("there is no service {:?} here", request.service);
        Err(CallError::new(Status::NOT_FOUND, text))
    }
    /// Tells of something that happened; never waits for who listens. By itself a host has no events.
    ///
    /// # Errors
    ///
    /// The status says which kind; nobody was told.
    fn emit(&self, event: EventBody) -> Result<(), CallError> {
        let text = format!("there is nobody here to tell of {:?}", event.kind);
        Err(CallError::new(Status::NOT_FOUND, text))
    }
    /// A short text for operators.
    fn status(&self, text: String) -> Status;
    /// A log record.
    fn log(&self, record: LogRecord) -> Status;
    /// Whether a call was cancelled, or the source is being closed.
    fn cancelled(&self, call: u64) -> bool;
}
