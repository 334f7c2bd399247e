//! Drivers and sources whose calls are noted while they are open.

use super::super::driver::{Call, CallError, Driver, HostCalls, Source};
use super::{About, Marks};
use busway_plugin_api::abi::Status;
use busway_plugin_api::info::{DriverInfo, TableInfo};
use busway_plugin_api::message::{
    AttachRequest, CallHead, ExecuteRequest, OpenRequest, PollRequest, SelfTestRequest, StateBody, SubscribedRequest,
    WebhookRequest,
};
use busway_plugin_api::table::Update;
use serde_json::Value;
use std::sync::Arc;

/// The same driver, with its calls noted, and where its code lies.
pub(in crate::plugin) fn mark(driver: Arc<dyn Driver>, about: About, marks: Arc<Marks>) -> Arc<dyn Driver> {
    if let Some(code) = driver.code() {
        marks.own(&about, &code);
    }
    Arc::new(MarkedDriver { driver, about, marks })
}

struct MarkedDriver {
    driver: Arc<dyn Driver>,
    about: About,
    marks: Arc<Marks>,
}

impl Driver for MarkedDriver {
    fn describe(&self) -> Result<DriverInfo, CallError> {
        let _open = self.marks.open(&self.about, "describe");
        self.driver.describe()
    }

    fn attach(&self, host: Arc<dyn HostCalls>, request: &AttachRequest) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "attach");
        self.driver.attach(host, request)
    }

    fn open(&self, request: &OpenRequest, host: Arc<dyn HostCalls>) -> Result<Arc<dyn Source>, CallError> {
        let about = About { datasource: Some(request.datasource.clone()), ..self.about.clone() };
        let open = self.marks.open(&about, "open");
        let source = self.driver.open(request, host)?;
        drop(open);
        Ok(Arc::new(MarkedSource { source: Some(source), about, marks: Arc::clone(&self.marks) }))
    }

    fn set_log_filter(&self, filter: &str) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "set_log_filter");
        self.driver.set_log_filter(filter)
    }

    fn self_test(&self, request: &SelfTestRequest) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "self_test");
        self.driver.self_test(request)
    }
}

struct MarkedSource {
    /// There until it is dropped.
    source: Option<Arc<dyn Source>>,
    about: About,
    marks: Arc<Marks>,
}

impl Drop for MarkedSource {
    fn drop(&mut self) {
        // Dropping the last reference runs the driver's code.
        let _open = self.marks.open(&self.about, "drop");
        self.source = None;
    }
}

impl MarkedSource {
    fn source(&self) -> Result<&dyn Source, CallError> {
        self.source.as_deref().ok_or_else(|| CallError::new(Status::CLOSED, "the source is closed"))
    }
}

impl Source for MarkedSource {
    fn tables(&self, head: CallHead) -> Result<Vec<TableInfo>, CallError> {
        let _open = self.marks.open(&self.about, "tables");
        self.source()?.tables(head)
    }

    fn poll(&self, call: Call<'_, PollRequest>) -> Result<Vec<Update>, CallError> {
        let _open = self.marks.open(&self.about, "poll");
        self.source()?.poll(call)
    }

    fn subscribed(&self, call: Call<'_, SubscribedRequest>) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "subscribed");
        self.source()?.subscribed(call)
    }

    fn webhook(&self, call: Call<'_, WebhookRequest>) -> Result<Vec<String>, CallError> {
        let _open = self.marks.open(&self.about, "webhook");
        self.source()?.webhook(call)
    }

    fn execute(&self, call: Call<'_, ExecuteRequest>) -> Result<Value, CallError> {
        let _open = self.marks.open(&self.about, "execute");
        self.source()?.execute(call)
    }

    fn pause(&self, head: CallHead) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "pause");
        self.source()?.pause(head)
    }

    fn resume(&self, head: CallHead) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "resume");
        self.source()?.resume(head)
    }

    fn activate(&self, head: CallHead) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "activate");
        self.source()?.activate(head)
    }

    fn export_state(&self, head: CallHead) -> Result<Option<StateBody>, CallError> {
        let _open = self.marks.open(&self.about, "export_state");
        self.source()?.export_state(head)
    }

    fn import_state(&self, call: Call<'_, StateBody>) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "import_state");
        self.source()?.import_state(call)
    }

    fn cancel(&self, calls: Option<&[u64]>) {
        let _open = self.marks.open(&self.about, "cancel");
        if let Some(source) = &self.source {
            source.cancel(calls);
        }
    }

    fn close(&self, head: CallHead) -> Result<(), CallError> {
        let _open = self.marks.open(&self.about, "close");
        self.source()?.close(head)
    }
}
