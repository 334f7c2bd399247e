//! The container, which is this host: where it is in its life.

use super::super::catalogue::{
    ContainerLifecycleEvent, ContainerStartup, ContainerStartupEvent, ResourceLifecycle, ResourceState,
};
use super::super::{Events, Publisher};
use super::{own, tell};

/// Tells where the host is in its life.
#[derive(Debug)]
pub(crate) struct Container {
    publisher: Publisher,
    node: String,
}

impl Container {
    /// It begins.
    pub(crate) fn new(events: &Events) -> Self {
        let container = Self { publisher: own(events), node: events.settings().node.clone() };
        container.is(ResourceState::NEW);
        container
    }

    /// All that it starts with is there: these drivers and datasources.
    pub(crate) fn ready(&self, started: Vec<String>) {
        let data = ContainerStartup { startup_names: Some(started) };
        tell::<ContainerStartupEvent>(&self.publisher, &self.node, &data, &[]);
        self.is(ResourceState::READY);
    }

    /// It answers.
    pub(crate) fn active(&self) {
        self.is(ResourceState::ACTIVE);
    }

    /// It ends; whoever listens is still there.
    pub(crate) fn ends(&self) {
        self.is(ResourceState::TERMINATED);
    }

    fn is(&self, state: ResourceState) {
        let data = ResourceLifecycle { state: Some(state) };
        tell::<ContainerLifecycleEvent>(&self.publisher, &self.node, &data, &[]);
    }
}
