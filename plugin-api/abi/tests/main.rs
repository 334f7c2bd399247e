//! What keeps the contract as it is, and what is said of those that differ from it.
// The derives are full of unsafe code; what else is says why it is sound.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contracts;
mod golden;
mod headers;
mod layout;
mod mismatch;
