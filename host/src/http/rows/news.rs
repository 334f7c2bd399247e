//! Waiting for a state that a client does not have.

use super::asked::After;
use crate::bus::{Address, Delivery, Message, Mode, SubscribeOptions};
use crate::http::State;
use std::time::Duration;

/// Waits until a table is past a state, or is no more; answers whether that was in time. Ends at once when the host stops.
pub(super) async fn come(state: &State, address: &Address, after: After, wait: Duration) -> bool {
    let options = SubscribeOptions { mode: Mode::States, ..SubscribeOptions::default() };
    // It can't be looked at: the answer will say why.
    let Ok(mut subscription) = state.bus.subscribe_with(address, options) else { return true };
    let news = async {
        loop {
            let Delivery { message, .. } = subscription.next().await;
            match message {
                Message::Snapshot(table) if after.is_past(&table) => return,
                Message::Step(step) if after.epoch.is_some_and(|e| e != step.epoch) || step.to > after.seq => return,
                Message::Gone => return,
                _ => {}
            }
        }
    };
    let mut stopping = state.stopping.clone();
    tokio::select! {
        // Services that end with the host take their tables with them: that is no news to who waits.
        biased;
        _ = stopping.wait_for(|stop| *stop) => false,
        () = news => true,
        () = tokio::time::sleep(wait) => false,
    }
}
