//! A source ready-made: a closure for each table.

use crate::abi::Status;
use crate::driver::{Args, Source};
use crate::message::{ErrorBody, PollRequest, StateBody, SubscribedRequest, WebhookRequest};
use crate::table::{Batches, Change, TableSpec, Update};
use crate::{Context, Error, TableInfo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

type Read = Box<dyn Fn(&Context, bool) -> Result<Change, Error> + Send + Sync>;
type Act = Box<dyn Fn(&Context, &Args) -> Result<Value, Error> + Send + Sync>;
type Run = std::sync::Arc<dyn Fn(&Context) + Send + Sync>;
type Hear = Box<dyn Fn(&Context, &SubscribedRequest) + Send + Sync>;
type Hook = Box<dyn Fn(&Context, &WebhookRequest) -> Result<Vec<String>, Error> + Send + Sync>;
type Export = Box<dyn Fn() -> Result<StateBody, Error> + Send + Sync>;
type Import = Box<dyn Fn(StateBody) -> Result<(), Error> + Send + Sync>;

/// A source made of closures: one reads each table, others run actions, push, or hand state over. An error of one table
/// is that table's; the others are read.
///
/// ```
/// use busway_plugin_api::prelude::*;
///
/// #[derive(Serialize, Deserialize)]
/// struct Load { one: f64, five: f64 }
///
/// fn open(context: Context) -> PollSource {
///     PollSource::new(context)
///         .table(TableSpec::of::<Load>("load"), |_| Ok(vec![Load { one: 0.5, five: 0.4 }]))
///         .action("greet", |_, args| Ok(format!("hello {}", args.require::<String>("whom")?)))
/// }
/// ```
pub struct PollSource {
    context: Context,
    tables: Vec<(TableSpec, Read)>,
    actions: Vec<(String, Act)>,
    threads: Vec<(String, Run)>,
    hear: Option<Hear>,
    hook: Option<Hook>,
    state: Option<(Export, Import)>,
}

impl PollSource {
    /// One without tables.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self {
            context,
            tables: Vec::new(),
            actions: Vec::new(),
            threads: Vec::new(),
            hear: None,
            hook: None,
            state: None,
        }
    }

    /// With a table of serde rows.
    #[must_use]
    pub fn table<T: Serialize>(
        self,
        spec: TableSpec,
        read: impl Fn(&Context) -> Result<Vec<T>, Error> + Send + Sync + 'static,
    ) -> Self {
        let columns = spec.clone();
        self.snapshots(spec, move |context| columns.rows(&read(context)?))
    }

    /// With a table of Arrow batches.
    #[must_use]
    pub fn batches(
        self,
        spec: TableSpec,
        read: impl Fn(&Context) -> Result<Batches, Error> + Send + Sync + 'static,
    ) -> Self {
        self.snapshots(spec, read)
    }

    fn snapshots(
        mut self,
        spec: TableSpec,
        read: impl Fn(&Context) -> Result<Batches, Error> + Send + Sync + 'static,
    ) -> Self {
        self.tables.push((spec, Box::new(move |context, _| Ok(Change::Snapshot(read(context)?)))));
        self
    }

    /// With a table whose closure says itself what happened: [`Change::Unchanged`], say, when it can tell cheaply. Where
    /// the host wants all rows nevertheless, it gets those that the closure gave last.
    #[must_use]
    pub fn changes(
        mut self,
        spec: TableSpec,
        read: impl Fn(&Context) -> Result<Change, Error> + Send + Sync + 'static,
    ) -> Self {
        // A poll that wants all rows takes no "unchanged" for an answer; what was said last is at hand, and the host has
        // the same memory.
        let last = Mutex::new(None);
        let read = move |context: &Context, snapshot: bool| {
            let change = read(context)?;
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            match (&change, &*last) {
                (Change::Snapshot(rows), _) => *last = Some(rows.clone()),
                (Change::Unchanged, Some(rows)) if snapshot => return Ok(Change::Snapshot(rows.clone())),
                (Change::Unchanged, Some(_)) => {}
                (Change::Unchanged, None) => return Err(Error::new("unchanged, but it never gave rows")),
                _ => *last = None,
            }
            Ok(change)
        };
        self.tables.push((spec, Box::new(read)));
        self
    }

    /// With an action, which [`Driver::actions`](crate::Driver::actions) declares.
    #[must_use]
    pub fn action<T: Serialize>(
        mut self,
        name: impl Into<String>,
        run: impl Fn(&Context, &Args) -> Result<T, Error> + Send + Sync + 'static,
    ) -> Self {
        let run = move |context: &Context, args: &Args| Ok(serde_json::to_value(run(context, args)?)?);
        self.actions.push((name.into(), Box::new(run)));
        self
    }

    /// With a thread that runs while the source is active: to push what it learns by itself. It must end soon after
    /// [`Context::active`] turns false.
    #[must_use]
    pub fn thread(mut self, name: impl Into<String>, run: impl Fn(&Context) + Send + Sync + 'static) -> Self {
        self.threads.push((name.into(), std::sync::Arc::new(run)));
        self
    }

    /// With something to do when subscribers come to a table or leave it: each time, all tables that have some are named. It
    /// is told once the source is active, too. What is expensive to read can be left out while nobody watches: a table that
    /// its source publishes answers [`Change::Published`] to polls, rows or none.
    #[must_use]
    pub fn on_subscribed(mut self, run: impl Fn(&Context, &SubscribedRequest) + Send + Sync + 'static) -> Self {
        self.hear = Some(Box::new(run));
        self
    }

    /// With something to make of what others send: it publishes, and answers the names of the tables that it updated.
    #[must_use]
    pub fn webhook(
        mut self,
        take: impl Fn(&Context, &WebhookRequest) -> Result<Vec<String>, Error> + Send + Sync + 'static,
    ) -> Self {
        self.hook = Some(Box::new(take));
        self
    }

    /// With state that the next generation goes on from, in the version that [`Driver::state`](crate::Driver::state)
    /// says. States of other versions are refused: a source that reads those too implements [`Source`] itself.
    #[must_use]
    pub fn state<S: Serialize + DeserializeOwned>(
        mut self,
        version: u32,
        export: impl Fn() -> S + Send + Sync + 'static,
        import: impl Fn(S) + Send + Sync + 'static,
    ) -> Self {
        let export = move || Ok(StateBody { version, state: serde_json::to_value(export())? });
        let import = move |state: StateBody| {
            if state.version != version {
                let message = format!("state of version {}, this driver reads {version}", state.version);
                return Err(Error::invalid(message));
            }
            let read =
                serde_json::from_value(state.state).map_err(|e| Error::invalid(format!("unreadable state: {e}")))?;
            import(read);
            Ok(())
        };
        self.state = Some((Box::new(export), Box::new(import)));
        self
    }
}

impl Source for PollSource {
    fn tables(&self) -> Result<Option<Vec<TableInfo>>, Error> {
        Ok(Some(self.tables.iter().map(|(spec, _)| spec.info()).collect()))
    }

    fn poll(&self, request: &PollRequest) -> Result<Vec<Update>, Error> {
        let wanted = self.tables.iter().filter(|(spec, _)| request.wants(&spec.name));
        // Tables that were asked for and are not there: the host knew them from somewhere.
        let known = |name: &String| self.tables.iter().any(|(spec, _)| &spec.name == name);
        let gone = request.tables.iter().flatten().filter(|name| !known(name));
        let mut updates: Vec<Update> = gone.map(|name| Update::bare(name, Change::Gone)).collect();
        for (spec, read) in wanted {
            if self.context.cancelled() {
                return Err(Error::cancelled());
            }
            let change =
                read(&self.context, request.snapshot).unwrap_or_else(|error| Change::Failed(error.body().clone()));
            updates.push(spec.update(change));
        }
        Ok(updates)
    }

    fn subscribed(&self, request: &SubscribedRequest) {
        if let Some(hear) = &self.hear {
            hear(&self.context, request);
        }
    }

    fn execute(&self, action: &str, args: &Args) -> Result<Value, Error> {
        match self.actions.iter().find(|(name, _)| name == action) {
            Some((_, run)) => run(&self.context, args),
            None => Err(Error::with_status(Status::NOT_FOUND, format!("no action {action:?}"))),
        }
    }

    fn activate(&self) -> Result<(), Error> {
        for (name, run) in &self.threads {
            let run = std::sync::Arc::clone(run);
            self.context.spawn(name, move |context| run(context))?;
        }
        Ok(())
    }

    fn pause(&self, _deadline: Duration) -> Result<(), Error> {
        self.context.join();
        Ok(())
    }

    fn webhook(&self, request: &WebhookRequest) -> Result<Vec<String>, Error> {
        match &self.hook {
            Some(take) => take(&self.context, request),
            None => Err(Error::from_parts(Status::NOT_IMPLEMENTED, ErrorBody::new("this source takes no webhooks"))),
        }
    }

    fn export_state(&self) -> Result<Option<StateBody>, Error> {
        self.state.as_ref().map(|(export, _)| export()).transpose()
    }

    fn import_state(&self, state: StateBody) -> Result<(), Error> {
        match &self.state {
            Some((_, import)) => import(state),
            None => Err(Error::invalid("this source takes no state")),
        }
    }
}

impl std::fmt::Debug for PollSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tables: Vec<&str> = self.tables.iter().map(|(spec, _)| spec.name.as_str()).collect();
        f.debug_struct("PollSource").field("tables", &tables).finish_non_exhaustive()
    }
}
