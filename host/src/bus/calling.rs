//! Who is called, and how a call gets there.

use super::Bus;
use super::call::{self, Call, CallError, CallOptions, CallRequest, Fault, Reply, Target, WORK_DEADLINE};
use super::pattern::Pattern;
use super::selector::Selector;
use super::subscription::SubscribeOptions;
use super::table_view::TableView;
use super::{Address, View};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Where who is called runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Here(String),
    There { node: Arc<str>, process: Uuid, service: Option<String> },
    ThisNode,
}

/// One table that was asked for.
#[derive(Debug, Clone)]
pub struct TableReply {
    /// The table.
    pub address: Arc<Address>,
    /// Its state; none: it did not come in time.
    pub table: Option<Arc<TableView>>,
}

impl Bus {
    /// Calls a service (by its name, or as a [`Target`]), a node, or any one who listens on an address. `.await` it.
    pub fn call(&self, target: impl Into<Target>, method: &str, args: Value) -> CallRequest {
        CallRequest::new(self.clone(), target.into(), method, args)
    }

    /// Calls all services that listen on an address of the pattern, at once; each one's answer or error, in the order of
    /// their names. Nobody listens: no answers.
    pub async fn call_all(&self, addresses: &Pattern, method: &str, args: Value, deadline: Duration) -> Vec<Reply> {
        let calls = self.listeners(addresses, false).into_iter().map(|(service, place)| {
            let mut options = CallOptions::of(method, self.node());
            options.deadline = deadline;
            let (bus, args) = (self.clone(), args.clone());
            async move {
                let node = match &place {
                    Place::There { node, .. } => node.to_string(),
                    _ => bus.node().to_owned(),
                };
                let result = bus.deliver(place, method, args, options).await;
                Reply { service, node, result }
            }
        });
        join_all(calls).await
    }

    /// Tells somebody to do something, and does not wait for it. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When nobody is there.
    pub fn command(&self, target: impl Into<Target>, method: &str, args: Value) -> Result<(), CallError> {
        let place = self.place(&target.into(), false)?;
        self.tell(place, method, args);
        Ok(())
    }

    /// Tells all services that listen on an address of the pattern, this node's too; answers how many those are. One that
    /// can't be told keeps nobody else from being told. Must be called within a tokio runtime.
    pub fn broadcast(&self, addresses: &Pattern, method: &str, args: &Value) -> usize {
        let all = self.listeners(addresses, false);
        let count = all.len();
        all.into_iter().for_each(|(_, place)| self.tell(place, method, args.clone()));
        count
    }

    /// Tells all nodes, this one too; answers how many those are. Must be called within a tokio runtime.
    pub fn broadcast_nodes(&self, method: &str, args: &Value) -> usize {
        let nodes = self.nodes();
        for node in &nodes {
            let place = match node.process == self.process() {
                true => Place::ThisNode,
                false => Place::There { node: Arc::from(node.node.as_str()), process: node.process, service: None },
            };
            self.tell(place, method, args.clone());
        }
        nodes.len()
    }

    fn tell(&self, place: Place, method: &str, args: Value) {
        let (bus, method) = (self.clone(), method.to_owned());
        let options = CallOptions::of(&method, self.node());
        // Nobody waits for what comes of it.
        drop(tokio::spawn(async move { bus.deliver(place, &method, args, options).await }));
    }

    /// The present states of tables, of all who publish them, on whatever node; who did not answer in time is told. Waits no
    /// longer than [`WORK_DEADLINE`].
    ///
    /// # Errors
    ///
    /// When nobody publishes such a table.
    pub async fn request(
        &self,
        tables: impl Into<Selector>,
        view: View,
        deadline: Duration,
    ) -> Result<Vec<TableReply>, CallError> {
        let selector = tables.into();
        let there = self.services(true);
        if let Some(address) = selector.literal()
            && !self.has_service(address.service())
            && self.listeners(&Pattern::literal(address.service()), false).is_empty()
        {
            return Err(CallError::NotFound { what: format!("service {:?}", address.service()), there });
        }
        let what = format!("a table {selector}");
        let options = SubscribeOptions { view, ..SubscribeOptions::default() };
        let subscription = self.subscribe_with(selector, options);
        let mut subscription = subscription.map_err(|e| CallError::Failed(Fault::arguments(e)))?;
        let asked = subscription.places();
        if asked.is_empty() {
            return Err(CallError::NotFound { what, there });
        }
        let until = Instant::now() + deadline.min(WORK_DEADLINE);
        let all = |got: &BTreeMap<Arc<Address>, Arc<TableView>>| asked.iter().all(|address| got.contains_key(address));
        let mut got: BTreeMap<Arc<Address>, Arc<TableView>> = BTreeMap::new();
        loop {
            got.extend(subscription.tables().into_iter().map(|view| (Arc::clone(&view.address), view)));
            if all(&got) || tokio::time::timeout_at(until, subscription.next()).await.is_err() {
                break;
            }
        }
        Ok(asked.into_iter().map(|address| TableReply { table: got.remove(&address), address }).collect())
    }

    /// Answers calls of this node itself: of the method `method`, besides `ping`, `status`, `services` and `nodes`.
    pub fn method<F, R>(&self, method: &str, description: &str, handler: F)
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, Fault>> + Send + 'static,
    {
        let handler = move |call| -> call::Answer { Box::pin(handler(call)) };
        let method_ = call::Method { description: description.to_owned(), handler: Arc::new(handler) };
        self.inner.methods.insert(method, method_);
    }

    /// Where who is called runs; an error at once when nobody is there.
    pub(super) fn place(&self, target: &Target, local: bool) -> Result<Place, CallError> {
        let registry = self.registry();
        let there = match target {
            Target::Service(name) if registry.services.contains_key(name) => return Ok(Place::Here(name.clone())),
            Target::Service(name) => {
                if let Some(remote) = registry.remote.get(name).filter(|_| !local) {
                    let service = Some(name.clone());
                    return Ok(Place::There { node: Arc::clone(&remote.node), process: remote.process, service });
                }
                drop(registry);
                self.services(false)
            }
            Target::Node(node) => {
                drop(registry);
                if node == self.node() {
                    return Ok(Place::ThisNode);
                }
                let nodes = self.nodes();
                if let Some(found) = nodes.iter().find(|one| one.node == *node).filter(|_| !local) {
                    let node = Arc::from(node.as_str());
                    return Ok(Place::There { node, process: found.process, service: None });
                }
                nodes.into_iter().map(|one| one.node).collect()
            }
            Target::Any(address) => {
                drop(registry);
                static TURN: AtomicUsize = AtomicUsize::new(0);
                let all = self.listeners(&Pattern::literal(address), local);
                let here = all.iter().any(|(_, place)| matches!(place, Place::Here(_)));
                let near: Vec<Place> = all
                    .into_iter()
                    .map(|(_, place)| place)
                    .filter(|place| !here || matches!(place, Place::Here(_)))
                    .collect();
                if !near.is_empty() {
                    return Ok(near[TURN.fetch_add(1, Ordering::Relaxed) % near.len()].clone());
                }
                self.services(false)
            }
        };
        let whom = match target {
            Target::Service(name) => format!("service {name:?}"),
            Target::Node(node) => format!("node {node:?}"),
            Target::Any(address) => format!("a service that listens on {address:?}"),
        };
        Err(CallError::NotFound { what: if local { format!("{whom} on this node") } else { whom }, there })
    }

    /// All who listen on an address of the pattern, by name.
    fn listeners(&self, addresses: &Pattern, local: bool) -> Vec<(String, Place)> {
        let registry = self.registry();
        let hidden = addresses.to_string().starts_with('_');
        let met = |name: &String| {
            let mut all = registry.addresses(name).into_iter();
            all.any(|address| addresses.matches(&address) && (hidden || !address.starts_with('_')))
        };
        let names: BTreeSet<String> = match addresses.is_literal() {
            true => registry.listeners(addresses.as_str()),
            false => registry.services.keys().chain(registry.remote.keys()).filter(|name| met(name)).cloned().collect(),
        };
        let place = |name: String| {
            if registry.services.contains_key(&name) {
                return Some((name.clone(), Place::Here(name)));
            }
            let remote = registry.remote.get(&name).filter(|_| !local)?;
            let (node, process, service) = (Arc::clone(&remote.node), remote.process, Some(name.clone()));
            Some((name, Place::There { node, process, service }))
        };
        names.into_iter().filter_map(place).collect()
    }

    /// Makes the call.
    pub(super) async fn deliver(
        &self,
        place: Place,
        method: &str,
        args: Value,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let call =
            |args| Call { method: method.to_owned(), args, caller: options.caller.clone(), deadline: options.deadline };
        match place {
            Place::Here(name) => self.answer(&name, call(args)).await,
            Place::ThisNode => self.answer_as_node(call(args)).await,
            Place::There { node, process, service } => {
                self.call_there((&node, process), service, method, args, options).await
            }
        }
    }

    /// A call of a service of this node.
    pub(super) async fn answer(&self, name: &str, call: Call) -> Result<Value, CallError> {
        let core = self.registry().services.get(name).cloned();
        let Some(core) = core else {
            return Err(CallError::NotFound { what: format!("service {name:?}"), there: self.services(false) });
        };
        call::answer(self, &core, call).await
    }

    /// A call of this node itself.
    pub(super) async fn answer_as_node(&self, call: Call) -> Result<Value, CallError> {
        match call::of_a_node(self, &call.method, &call.args) {
            Some(value) => Ok(value),
            None => call::answer_of_node(self, &self.inner.methods, call).await,
        }
    }
}
