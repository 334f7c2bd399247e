//! A reload of several sources: what one does costs the others nothing, and it can end at any step.

use super::{Bed, LONG, address, at, count, pass, serves, settle};
use crate::datasource::Phase;
use crate::plugin::{Tenants, Terms};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test]
async fn inv05_while_one_is_slow_to_open_or_be_polled_the_others_serve() {
    for (step, state) in [("open two 2.0", false), ("poll two 2.0", false), ("open two 2.0", true)] {
        let bed = Bed::two(|script| {
            if state {
                (1..=2).for_each(|generation| script.keeps(generation, 1, &[1]));
            }
        })
        .await;
        bed.script.hold(step);
        let reload = bed.reload(2);
        bed.script.saw(if state { "tables one 2.0" } else { "polled one 2.0 [t]" }).await;
        bed.script.saw(step).await;
        settle().await;
        serves(&bed, "one").await;
        if step.starts_with("open") {
            serves(&bed, "two").await;
        }
        assert!(!bed.script.log().iter().any(|step| step.starts_with("pause")), "{:#?}", bed.script.log());
        bed.script.free(step);
        reload.await.unwrap().unwrap();
        for name in ["one", "two"] {
            bed.until_by(&format!("{name}/t"), &format!("{name} 2.0")).await;
        }
    }
}

#[tokio::test]
async fn inv05_a_poll_that_runs_when_its_source_is_replaced_is_cancelled_and_nobody_is_paused_for_it() {
    let bed = Bed::two(|_| ()).await;
    bed.script.hold("poll two 1.0");
    bed.all.refresh("two").unwrap();
    bed.script.until("a second poll", |log| log.iter().filter(|step| *step == "poll two 1.0").count() == 2).await;
    bed.reload(2).await.unwrap().unwrap();
    assert!(at(&bed, "cancel two 1.0") < at(&bed, "pause one 1.0"), "{:#?}", bed.script.log());
    for name in ["one", "two"] {
        bed.until_by(&format!("{name}/t"), &format!("{name} 2.0")).await;
        let status = bed.until_phase(name, Phase::Running).await;
        assert_eq!((status.failures, &*status.error), (0, ""), "to be replaced is no failure");
    }
}

#[tokio::test]
async fn inv05_a_poll_that_was_cancelled_for_a_reload_that_fails_is_made_up_for() {
    let bed = Bed::two(|script| (1..=2).for_each(|generation| script.keeps(generation, 1, &[1]))).await;
    bed.script.vary();
    bed.script.hold("poll two 1.0");
    bed.all.refresh("two").unwrap();
    bed.script.until("a second poll", |log| log.iter().filter(|step| *step == "poll two 1.0").count() == 2).await;
    bed.script.panic("import one 2.0");
    bed.script.hold("import one 2.0");
    let reload = bed.switch(2, Terms::default());
    bed.script.saw("import one 2.0").await;
    bed.script.free("poll two 1.0");
    bed.script.free("import one 2.0");
    assert!(reload.await.unwrap().unwrap_err().code_fault);
    bed.until_by("two/t", "two 1.0 2").await;
    let status = bed.until_phase("two", Phase::Running).await;
    assert_eq!((status.failures, &*status.error), (0, ""));
}

#[tokio::test]
async fn inv05_a_poll_that_does_not_heed_holds_nobody_up_and_is_no_second_one_of_its_source() {
    let bed = Bed::two(|_| ()).await;
    bed.script.hold_deaf("poll two 1.0");
    bed.all.refresh("two").unwrap();
    bed.script.until("a second poll", |log| log.iter().filter(|step| *step == "poll two 1.0").count() == 2).await;
    let switched = bed.switch(2, Terms::default());
    bed.script.saw("polled two 2.0 [t]").await;
    settle().await;
    pass(Duration::from_millis(300)).await;
    bed.script.saw("cancel two 1.0").await;
    assert!(!bed.script.has("pause one 1.0"), "a source is paused while another's poll is waited for");
    pass(Duration::from_secs(2)).await;
    assert_eq!(switched.await.unwrap().unwrap().sources, 2);
    // Back to where it was, the former source is polled when it is back from the poll that it did not end.
    let revert = {
        let all = bed.all.clone();
        tokio::spawn(async move { all.revert("fake").await })
    };
    bed.script.saw("resume two 1.0").await;
    settle().await;
    assert_eq!(count(&bed, "poll two 1.0"), 2);
    bed.script.free("poll two 1.0");
    revert.await.unwrap();
    // Once more, if what was wanted of the poll that was cancelled is still wanted.
    assert!(count(&bed, "poll two 1.0") >= 3);
    bed.until_by("two/t", "two 1.0").await;
}

#[tokio::test]
async fn inv05_rows_of_a_poll_that_is_waited_for_are_there_before_the_state_is_taken() {
    let bed = Bed::two(|script| (1..=2).for_each(|generation| script.keeps(generation, 1, &[1]))).await;
    bed.script.vary();
    bed.script.hold_deaf("poll two 1.0");
    bed.all.refresh("two").unwrap();
    bed.script.until("a second poll", |log| log.iter().filter(|step| *step == "poll two 1.0").count() == 2).await;
    bed.script.hold("export two 1.0");
    let switched = bed.switch(2, Terms::default());
    bed.script.saw("tables two 2.0").await;
    pass(Duration::from_secs(5)).await;
    settle().await;
    assert!(!bed.script.has("pause one 1.0") && !bed.script.has("pause two 1.0"), "{:#?}", bed.script.log());
    bed.script.free("poll two 1.0");
    bed.script.saw("export two 1.0").await;
    assert_eq!(bed.by("two/t").as_deref(), Some("two 1.0 2"));
    bed.script.free("export two 1.0");
    assert_eq!(switched.await.unwrap().unwrap().sources, 2);
    assert!(bed.script.has("imported two 2.0 \"two 1.0\""), "{:#?}", bed.script.log());
}

/// What the old source gave after the new one was first polled is newer.
#[tokio::test]
async fn inv05_no_table_goes_back_to_what_a_new_source_read_before_the_old_one_went_on() {
    let bed = Bed::two(|_| ()).await;
    bed.script.vary();
    let mut subscription = bed.bus.subscribe(address("one/t"));
    bed.script.hold("poll two 2.0");
    let switched = bed.switch(2, Terms::default());
    bed.script.saw("polled one 2.0 [t]").await;
    bed.script.saw("poll two 2.0").await;
    bed.all.refreshed("one").await.unwrap();
    bed.script.free("poll two 2.0");
    switched.await.unwrap().unwrap();
    bed.until_by("one/t", "one 2.0 2").await;
    let mut seen = Vec::new();
    while let Some(delivery) = subscription.try_next() {
        if let crate::bus::Message::Step(step) = delivery.message {
            let rows = crate::table::rows_json(std::iter::once(step.added.clone())).unwrap();
            seen.push(rows.get().to_owned());
        }
    }
    assert!(!seen.iter().any(|rows| rows.contains("one 2.0 1")), "{seen:?}");
    let ledger = bed.all.retire("fake", Duration::ZERO).await;
    assert_eq!((ledger.gap, ledger.dup), (0, 0), "{ledger}");
    bed.until_phase("one", Phase::Running).await;
}

/// A table that the old source has begun since the new one was first polled goes on, unless the new one has none of that name.
#[tokio::test]
async fn inv05_a_table_that_comes_while_others_are_opened_goes_on() {
    for has in [true, false] {
        let bed = Bed::new(&[("t", false), ("u", false)]).await;
        (1..=2).for_each(|generation| bed.script.without(generation, "u"));
        bed.catalog.serve(bed.script.generation(1));
        for name in ["one", "two"] {
            bed.create(name, json!({})).await;
            bed.script.saw(&format!("activate {name} 1.0")).await;
        }
        settle().await;
        bed.script.hold("poll two 2.0");
        let switched = bed.switch(2, Terms::default());
        bed.script.saw("polled one 2.0 [t]").await;
        bed.script.saw("poll two 2.0").await;
        bed.script.with(1, "u");
        if has {
            bed.script.with(2, "u");
        }
        bed.all.refreshed("one").await.unwrap();
        let began = bed.bus.table(&address("one/u")).unwrap().epoch;
        bed.script.free("poll two 2.0");
        switched.await.unwrap().unwrap();
        assert_eq!(bed.all.probe("fake", Duration::ZERO).await, Ok(()), "{has}");
        bed.all.retire("fake", Duration::ZERO).await;
        if has {
            bed.until_by("one/u", "one 2.0").await;
            assert_eq!(bed.bus.table(&address("one/u")).unwrap().epoch, began, "it was begun anew");
        } else {
            assert_eq!(bed.by("one/u"), None);
        }
        let status = bed.until_phase("one", Phase::Running).await;
        assert_eq!(&*status.error, "");
    }
}

/// The end of what failed is nobody's concern.
#[tokio::test]
async fn inv05_no_source_waits_paused_for_the_end_of_one_that_failed() {
    let bed = Bed::two(|script| (1..=2).for_each(|generation| script.keeps(generation, 1, &[1]))).await;
    for name in ["one", "two"] {
        bed.script.hold_deaf(&format!("close {name} 2.0"));
    }
    bed.script.hold("import two 2.0");
    bed.script.panic("import two 2.0");
    let refused = bed.switch(2, Terms::default());
    bed.script.saw("polled one 2.0 [t]").await;
    bed.script.saw("import two 2.0").await;
    settle().await;
    bed.script.free("import two 2.0");
    for name in ["one", "two"] {
        bed.script.saw(&format!("resume {name} 1.0")).await;
        bed.script.saw(&format!("close {name} 2.0")).await;
        tokio::time::timeout(LONG / 2, serves(&bed, name)).await.unwrap();
    }
    for name in ["one", "two"] {
        bed.script.free(&format!("close {name} 2.0"));
    }
    assert!(refused.await.unwrap().unwrap_err().code_fault);
}

#[tokio::test]
async fn inv05_sources_of_which_only_one_can_be_open_are_paused_first_and_come_back() {
    let bed = Bed::two(|script| script.exclusive(2)).await;
    bed.script.fail("open two 2.0");
    assert_eq!(bed.switch(2, Terms::default()).await.unwrap().unwrap_err().step, "open");
    for name in ["one", "two"] {
        assert!(at(&bed, &format!("pause {name} 1.0")) < at(&bed, &format!("open {name} 2.0")));
        serves(&bed, name).await;
    }
    assert!(at(&bed, "close one 2.0") < at(&bed, "resume one 1.0"), "it gives back what the old one needs");
    bed.script.mend("open two 2.0");
    bed.reload(2).await.unwrap().unwrap();
    bed.until_by("two/t", "two 2.0").await;
}

#[tokio::test]
async fn inv05_a_fault_of_one_at_any_step_leaves_all_as_they_were() {
    for (step, state) in [
        ("open two 2.0", false),
        ("tables two 2.0", true),
        ("poll two 2.0", false),
        ("import two 2.0", true),
        ("poll two 2.0", true),
    ] {
        let bed = Bed::two(|script| {
            if state {
                (1..=2).for_each(|generation| script.keeps(generation, 1, &[1]));
            }
        })
        .await;
        bed.script.panic(step);
        let refused = bed.switch(2, Terms::default()).await.unwrap().unwrap_err();
        assert_eq!((refused.datasource.as_deref(), refused.code_fault), (Some("two"), true), "{step}");
        for name in ["one", "two"] {
            serves(&bed, name).await;
            assert_eq!(count(&bed, &format!("open {name} 1.0")), 1, "{step}");
            let (opened, closed) =
                (count(&bed, &format!("open {name} 2.0")), count(&bed, &format!("close {name} 2.0")));
            assert_eq!(opened, closed + usize::from(step == "open two 2.0" && name == "two"), "{step} {name}");
        }
        // Nothing of it is left behind.
        bed.script.mend(step);
        bed.reload(2).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn inv05_a_datasource_that_goes_at_any_step_has_no_say_and_leaves_nothing() {
    for (step, state) in [
        ("open two 2.0", false),
        ("poll two 2.0", false),
        ("pause two 1.0", false),
        ("activate two 2.0", false),
        ("export two 1.0", true),
        ("import two 2.0", true),
        ("poll two 2.0", true),
    ] {
        for stops in [false, true] {
            let bed = Bed::two(|script| {
                if state {
                    (1..=2).for_each(|generation| script.keeps(generation, 1, &[1]));
                }
            })
            .await;
            bed.script.hold(step);
            let reload = bed.reload(2);
            bed.script.saw(step).await;
            if stops {
                bed.all.stop(LONG).await;
            } else {
                bed.all.remove("two", None).await.unwrap();
                reload.await.unwrap().unwrap();
                bed.until_by("one/t", "one 2.0").await;
            }
            let gone = if stops { &["one", "two"][..] } else { &["two"] };
            let left = || {
                let of = |what: &str, name: &&str| {
                    bed.script.log().iter().filter(|step| step.starts_with(&format!("{what} {name} "))).count()
                };
                // One whose opening was cancelled was never there.
                gone.iter()
                    .find(|name| {
                        of("open", name) != of("close", name) + usize::from(step.starts_with("open") && **name == "two")
                    })
                    .copied()
            };
            let until = Instant::now() + LONG;
            while left().is_some() {
                assert!(Instant::now() < until, "{step} {stops}: {:?} in {:#?}", left(), bed.script.log());
                tokio::task::yield_now().await;
            }
        }
    }
}

/// More than wait for a thread in the time that one may wait.
#[tokio::test]
async fn inv05_a_large_fleet_of_slow_sources_moves_a_few_at_once() {
    const MANY: usize = 240;
    let bed = Bed::new(&[("t", false)]).await;
    for number in 0..MANY {
        bed.create(&format!("s{number}"), json!({})).await;
    }
    for number in 0..MANY {
        bed.script.saw(&format!("activate s{number} 1.0")).await;
    }
    bed.script.slow(Duration::from_millis(8), Duration::from_millis(120));
    let moved = bed.switch(2, Terms::default()).await.unwrap().unwrap();
    assert_eq!(moved.sources, MANY);
    // Each is paused for itself alone: all their polls take 240 ms, one after the other 2 s.
    assert!(bed.all.probe("fake", Duration::ZERO).await.is_ok());
    let log = bed.script.log();
    let last = log.iter().rposition(|step| step.starts_with("open ") && step.ends_with(" 2.0")).unwrap();
    let first = log.iter().position(|step| step.starts_with("pause ")).unwrap();
    assert!(last < first, "one is paused before all are open");
}
