//! Errors in the log.
//!
//! A storm of them is told by its first, and then by how many there were.

use super::super::catalogue::{CriticalLoggingEvent, ErrorLoggingEvent, Logging};
use super::super::{Publisher, RateLimiter};
use super::{next, tell};
use crate::happenings::Receiver;
use crate::logging::{Heard, unheard};
use std::time::Instant;
use tokio::time::Duration;

/// So many in such a time are told, and so many critical ones.
const MOST: usize = 50;
const PER: Duration = Duration::from_secs(10);
/// After so long without another it is told how many were not.
const CALM: Duration = Duration::from_secs(1);

/// Tells of errors that are logged.
pub(super) async fn run(publisher: Publisher, mut heard: Receiver<Heard>) {
    let (mut plain, mut critical) = (RateLimiter::new(MOST, PER), RateLimiter::new(MOST, PER));
    let (mut lost, mut since) = (0, None);
    loop {
        let came = match lost {
            0 => next(&mut heard, &mut lost).await,
            _ => match tokio::time::timeout(CALM, next(&mut heard, &mut lost)).await {
                Ok(came) => came,
                Err(_) => {
                    own_up(&publisher, std::mem::take(&mut lost));
                    since = None;
                    continue;
                }
            },
        };
        let Some(came) = came else { return };
        let limiter = if came.critical { &mut critical } else { &mut plain };
        match limiter.is_limited(Instant::now()) {
            false => one(&publisher, &came),
            true => lost += 1,
        }
        if lost > 0 && since.get_or_insert_with(Instant::now).elapsed() > PER {
            // It does not end.
            own_up(&publisher, std::mem::take(&mut lost));
            since = None;
        }
    }
}

fn one(publisher: &Publisher, came: &Heard) {
    let module = came.target.replace("::", ".");
    let origin = came.datasource.as_ref().or(came.driver.as_ref()).unwrap_or(&module);
    let fields = if came.fields.is_empty() { String::new() } else { serde_json::json!(came.fields).to_string() };
    let more = [("name", came.target.as_str()), ("description", &came.message), ("body", &fields)];
    unheard(|| match came.critical {
        true => tell::<CriticalLoggingEvent>(publisher, origin, &Logging {}, &more),
        false => tell::<ErrorLoggingEvent>(publisher, origin, &Logging {}, &more),
    });
}

fn own_up(publisher: &Publisher, lost: u64) {
    tracing::warn!(lost, "more errors were logged than are told as events");
    let text = format!("{lost} more errors were logged: see the log");
    tell::<ErrorLoggingEvent>(publisher, publisher.name(), &Logging {}, &[("description", &text)]);
}
