//! What the feature tests share.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod workspace;
