//! Busway's features, each through its public face: one file a feature.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod contract;
