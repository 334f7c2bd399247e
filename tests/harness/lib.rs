//! What the feature tests share: the built program and drivers, hosts to drive from outside, and clients of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod animal;
pub mod fixture;
pub mod host;
pub mod openstack;
pub mod proxy;
pub mod python;
pub mod relic;
pub mod running;
pub mod session;
pub mod stream;
pub mod workspace;

use std::time::{Duration, Instant};

/// No test waits longer for anything.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Looks again and again until there is something, with a deadline.
///
/// # Panics
///
/// When there is nothing in time: with what was waited for, and what was there instead.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) => assert!(Instant::now() < end, "waited {DEADLINE:?} for {what}; instead: {instead}"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
