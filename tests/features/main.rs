//! Busway's features, each through its public face: one file a feature.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod faults;
mod host;
mod http;
mod loading;
mod reload;
