//! The host's own side of a reload panics, or is gone: the former sources serve on all the same, with their books in order.

use super::{Bed, LONG, count, settle};
use crate::datasource::Phase;
use crate::datasource::fleet::faults;
use crate::plugin::{Ledger, Tenants, Terms};
use serde_json::json;
use std::time::{Duration, Instant};

/// How the two sources are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// They hand nothing over.
    Plain,
    /// State is handed over.
    State,
    /// Only one can be open.
    Exclusive,
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::State, Kind::Exclusive];

async fn two(kind: Kind) -> Bed {
    Bed::two(|script| match kind {
        Kind::Plain => {}
        Kind::State => (1..=2).for_each(|generation| script.keeps(generation, 1, &[1])),
        Kind::Exclusive => script.exclusive(2),
    })
    .await
}

/// The former sources serve, have never been closed, are polled, and take what comes; of the new ones none is left open.
async fn serve_on(bed: &Bed, what: &str) {
    for name in ["one", "two"] {
        tokio::time::timeout(LONG, async {
            bed.until_phase(name, Phase::Running).await;
            bed.all.refreshed(name).await.unwrap();
            bed.until_by(&format!("{name}/t"), &format!("{name} 1.0")).await;
            bed.all.webhook(name, Some("t".to_owned()), json!(1)).await.unwrap();
        })
        .await
        .unwrap_or_else(|_| panic!("{what}: {name} does not serve: {:#?}", bed.script.log()));
        assert_eq!(count(bed, &format!("open {name} 1.0")), 1, "{what}");
        assert_eq!(count(bed, &format!("close {name} 1.0")), 0, "{what}");
        let until = Instant::now() + LONG;
        let of = |step: &str| count(bed, &format!("{step} {name} 2.0"));
        while of("open") != of("close") {
            assert!(Instant::now() < until, "{what}: {:#?}", bed.script.log());
            tokio::task::yield_now().await;
        }
        assert_eq!(bed.all.find(name).unwrap().shared().open().unwrap().generation.number, 1, "{what}");
    }
}

/// And the next build takes over, with nothing lost and nothing twice.
async fn next_is_good(bed: &Bed, kind: Kind, what: &str) {
    if kind == Kind::State {
        bed.script.keeps(3, 1, &[1]);
    }
    let to = bed.script.generation(3);
    bed.all.switch(std::sync::Arc::clone(&to), Terms::default()).await.unwrap();
    bed.catalog.serve(to);
    assert_eq!(bed.all.probe("fake", Duration::ZERO).await, Ok(()), "{what}");
    let ledger = bed.all.retire("fake", Duration::ZERO).await;
    assert_eq!((ledger.gap, ledger.dup), (0, 0), "{what}: {ledger}");
    for name in ["one", "two"] {
        bed.until_by(&format!("{name}/t"), &format!("{name} 3.0")).await;
    }
}

#[tokio::test]
async fn inv05_wherever_the_host_panics_while_it_moves_sources_the_former_serve_on() {
    for kind in KINDS {
        for point in ["open", "quiet", "warm", "ready", "commit", "switched"] {
            let what = format!("{kind:?} {point}");
            // There is no such step.
            if matches!((kind, point), (Kind::Plain, "warm") | (Kind::Exclusive, "open")) {
                continue;
            }
            let bed = two(kind).await;
            faults::put(point);
            let failed =
                tokio::time::timeout(LONG, bed.switch(2, Terms::default())).await.unwrap().unwrap().unwrap_err();
            assert_eq!(failed.to_string(), "the host panicked moving its sources: its log says where", "{what}");
            assert!(!failed.code_fault, "{what}");
            serve_on(&bed, &what).await;
            next_is_good(&bed, kind, &what).await;
        }
    }
}

#[tokio::test]
async fn inv05_when_nobody_waits_for_a_reload_any_more_the_former_serve_on() {
    for kind in KINDS {
        for step in
            ["open two 2.0", "poll two 2.0", "pause two 1.0", "export two 1.0", "import two 2.0", "activate two 2.0"]
        {
            let what = format!("{kind:?} {step}");
            if kind != Kind::State && (step.starts_with("export") || step.starts_with("import")) {
                continue;
            }
            let bed = two(kind).await;
            bed.script.hold_deaf(step);
            let switch = bed.switch(2, Terms::default());
            bed.script.saw(step).await;
            settle().await;
            switch.abort();
            assert!(switch.await.is_err());
            settle().await;
            bed.script.free(step);
            // Whatever was on its way is back before another reload begins.
            drop(tokio::time::timeout(LONG, bed.all.inner.moving.write()).await.unwrap());
            serve_on(&bed, &what).await;
            next_is_good(&bed, kind, &what).await;
        }
    }
}

/// As when the task of the transaction is lost on probation.
#[tokio::test]
async fn inv05_whoever_is_lost_on_probation_the_former_serve_on_and_the_books_balance() {
    for kind in KINDS {
        for probed in [false, true] {
            let what = format!("{kind:?} {probed}");
            let bed = two(kind).await;
            bed.script.vary();
            bed.switch(2, Terms::default()).await.unwrap().unwrap();
            if probed {
                assert_eq!(bed.all.probe("fake", Duration::ZERO).await, Ok(()));
            }
            let ledger: Ledger = bed.all.abort("fake").await;
            assert_eq!((ledger.tables, ledger.gap, ledger.dup), (2, 0, 0), "{what}: {ledger}");
            for name in ["one", "two"] {
                assert!(bed.by(&format!("{name}/t")).unwrap().starts_with(&format!("{name} 1.0 ")), "{what}");
                assert!(bed.script.has(&format!("resume {name} 1.0")) && bed.script.has(&format!("close {name} 2.0")));
                bed.until_phase(name, Phase::Running).await;
            }
            // Once more changes nothing.
            assert_eq!(bed.all.abort("fake").await, Ledger::default(), "{what}");
            assert_eq!(count(&bed, "resume one 1.0"), 1, "{what}");
        }
    }
}

/// The plugin room ends its transactions as the host stops, wherever they are.
#[tokio::test]
async fn inv05_a_stop_in_mid_reload_closes_all_that_is_open_and_waits_for_it() {
    for kind in KINDS {
        for step in [
            "open two 2.0",
            "poll two 2.0",
            "pause two 1.0",
            "export two 1.0",
            "import two 2.0",
            "activate two 2.0",
            "",
        ] {
            let what = format!("{kind:?} {step:?}");
            if kind != Kind::State && (step.starts_with("export") || step.starts_with("import")) {
                continue;
            }
            let bed = two(kind).await;
            if !step.is_empty() {
                bed.script.hold(step);
            }
            // What closes takes its time, and is waited for.
            let closes = ["one 1.0", "two 1.0", "one 2.0", "two 2.0"].map(|source| format!("close {source}"));
            closes.iter().for_each(|step| bed.script.hold_deaf(step));
            let switch = bed.switch(2, Terms::default());
            if step.is_empty() {
                // On probation.
                switch.await.unwrap().unwrap();
            } else {
                bed.script.saw(step).await;
                settle().await;
                switch.abort();
                let _ = switch.await;
            }
            let mut stopping = tokio::spawn({
                let all = bed.all.clone();
                async move { all.stop(LONG).await }
            });
            let opened = |name: &str| {
                let unborn = usize::from(step == format!("open {name}"));
                count(&bed, &format!("open {name}")) - unborn
            };
            // In whichever order: where only one can be open the new one goes before the former is told anything.
            let until = Instant::now() + LONG;
            let mut closing: Vec<&String> = closes.iter().collect();
            loop {
                assert!(Instant::now() < until, "{what}: no {closing:?} in {:#?}", bed.script.log());
                let ended = tokio::time::timeout(Duration::from_millis(2), &mut stopping).await;
                let held = closing.iter().find(|step| bed.script.has(step));
                if let Ok(ended) = ended {
                    assert_eq!(held, None, "{what}: not waited for");
                    break ended.unwrap();
                }
                closing.retain(|step| {
                    let begun = bed.script.has(step);
                    if begun {
                        bed.script.free(step);
                    }
                    !begun
                });
            }
            for name in ["one 1.0", "two 1.0", "one 2.0", "two 2.0"] {
                assert_eq!(
                    opened(name),
                    count(&bed, &format!("close {name}")),
                    "{what} {name}: {:#?}",
                    bed.script.log()
                );
            }
        }
    }
}
