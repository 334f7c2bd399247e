//! Busway's features, each through its public face: one file a feature.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod actions;
mod api;
mod authors;
mod bytes;
mod calls;
mod chaos;
mod cli;
mod cli_bus;
mod cli_datasources;
mod cli_events;
mod cli_files;
mod cloudevents;
mod congress_api;
mod congressclient;
mod contract;
mod datasources;
mod drivers;
mod events;
mod faults;
mod host;
mod http;
mod library;
mod loading;
mod metrics;
mod python;
mod refreshes;
mod reload;
mod reloads;
mod rows;
mod sessions;
mod stream;
mod views;
mod written;
mod zoo;
mod zoo_running;
