//! What the SDK promises, tried from outside: through the host in memory, and through the bare contract.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::type_complexity,
    reason = "tests"
)]

mod actions;
mod cancel;
mod errors;
mod hostile;
mod hostile_schema;
mod logs;
mod options;
mod panics;
mod polls;
mod push;
mod retry;
#[cfg(feature = "tokio")]
mod runtime;
mod split;
mod state;
mod support;
mod tables;
mod testhost;
mod webhooks;
