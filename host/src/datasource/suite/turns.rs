//! Who serves while another takes its turn: on the way there, on the way back, and when a step of it hangs.

use super::{Bed, LONG, at, count, pass, serves, settle};
use crate::datasource::Phase;
use crate::plugin::{HostCalls as _, Tenants, Terms};
use busway_plugin_api::TableSpec;
use busway_plugin_api::abi::Status as Code;
use busway_plugin_api::table::{Change, Update};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct Row {
    by: String,
}

async fn stateful() -> Bed {
    Bed::two(|script| (1..=3).for_each(|generation| script.keeps(generation, 1, &[1]))).await
}

/// More than any call has.
const OVERDUE: Duration = Duration::from_secs(21);

#[tokio::test]
async fn inv05_what_failed_is_closed_before_the_former_source_goes_on() {
    let bed = Bed::two(|_| ()).await;
    bed.switch(2, Terms::default()).await.unwrap().unwrap();
    let new = bed.all.find("one").unwrap().shared().open().unwrap();
    bed.script.hold_deaf("close one 2.0");
    let revert = tokio::spawn({
        let all = bed.all.clone();
        async move { all.revert("fake").await }
    });
    bed.script.saw("close one 2.0").await;
    // Nobody is kept waiting for another's.
    bed.script.saw("resume two 1.0").await;
    settle().await;
    assert!(!bed.script.has("resume one 1.0"), "both have effects: {:#?}", bed.script.log());
    let rows = TableSpec::of::<Row>("t").rows(&[Row { by: "the one that failed".to_owned() }]).unwrap();
    let refused = new.ingest.publish(Update::bare("t", Change::Snapshot(rows))).unwrap_err();
    assert_eq!(refused.status, Code::CLOSED);
    bed.script.free("close one 2.0");
    let ledger = revert.await.unwrap();
    assert_eq!((ledger.gap, ledger.dup), (0, 0), "{ledger}");
    assert!(at(&bed, "close one 2.0") < at(&bed, "resume one 1.0"));
    bed.until_by("one/t", "one 1.0").await;
}

#[tokio::test]
async fn inv05_what_failed_and_does_not_close_is_not_waited_for_long() {
    let bed = Bed::two(|_| ()).await;
    bed.switch(2, Terms::default()).await.unwrap().unwrap();
    bed.script.hold_deaf("close one 2.0");
    let revert = tokio::spawn({
        let all = bed.all.clone();
        async move { all.revert("fake").await }
    });
    bed.script.saw("close one 2.0").await;
    settle().await;
    pass(Duration::from_secs(1)).await;
    settle().await;
    assert!(!bed.script.has("resume one 1.0"));
    pass(Duration::from_millis(1100)).await;
    bed.script.saw("resume one 1.0").await;
    revert.await.unwrap();
    serves(&bed, "one").await;
    // The host's end still waits for it.
    let mut stopping = tokio::spawn({
        let all = bed.all.clone();
        async move { all.stop(LONG).await }
    });
    bed.script.saw("close one 1.0").await;
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut stopping).await.is_err());
    bed.script.free("close one 2.0");
    tokio::time::timeout(LONG, stopping).await.unwrap().unwrap();
}

/// Where only one can be open the former source waits for it; the host's end does not.
#[tokio::test]
async fn inv05_at_the_end_of_all_the_former_source_is_closed_though_what_failed_does_not() {
    let bed = Bed::two(|script| (1..=2).for_each(|generation| script.exclusive(generation))).await;
    bed.switch(2, Terms::default()).await.unwrap().unwrap();
    bed.script.hold_deaf("close one 2.0");
    let revert = tokio::spawn({
        let all = bed.all.clone();
        async move { all.revert("fake").await }
    });
    bed.script.saw("close one 2.0").await;
    pass(Duration::from_secs(5)).await;
    settle().await;
    assert!(!bed.script.has("resume one 1.0"), "{:#?}", bed.script.log());
    let stopping = tokio::spawn({
        let all = bed.all.clone();
        async move { all.stop(LONG).await }
    });
    // Sooner than what failed is given up.
    tokio::time::timeout(OVERDUE / 2, bed.script.saw("close one 1.0")).await.unwrap();
    assert!(!bed.script.has("resume one 1.0"), "{:#?}", bed.script.log());
    bed.script.free("close one 2.0");
    tokio::time::timeout(LONG, stopping).await.unwrap().unwrap();
    revert.await.unwrap();
}

/// What a new source was not asked to remember can't be unchanged.
#[tokio::test]
async fn inv05_a_new_source_whose_first_word_is_unchanged_breaks_the_contract() {
    for state in [false, true] {
        for accept_errors in [false, true] {
            let bed = if state { stateful().await } else { Bed::two(|_| ()).await };
            bed.script.unchanging("two 2.0", true);
            let accept_errors = crate::plugin::Lenience::new(accept_errors);
            let refused = bed.switch(2, Terms { accept_errors, ..Terms::default() }).await.unwrap().unwrap_err();
            let text = "datasource \"two\" could not be polled with it: the driver breaks the contract: table \"t\" is \
                        \"unchanged\", though its rows were never given";
            assert_eq!((refused.to_string().as_str(), refused.code_fault), (text, true));
            for name in ["one", "two"] {
                assert_eq!(bed.by(&format!("{name}/t")), Some(format!("{name} 1.0")));
                serves(&bed, name).await;
            }
        }
    }
}

/// What it could not read in its first poll, where that is accepted, is the former's still.
#[tokio::test]
async fn inv05_a_table_that_a_new_source_never_gave_is_not_unchanged_later() {
    let bed = Bed::two(|_| ()).await;
    bed.script.fail("poll two 2.0");
    let terms = Terms { accept_errors: crate::plugin::Lenience::new(true), ..Terms::default() };
    let to = bed.script.generation(2);
    bed.all.switch(Arc::clone(&to), terms).await.unwrap();
    bed.all.probe("fake", Duration::ZERO).await.unwrap();
    bed.catalog.serve(to);
    bed.all.retire("fake", Duration::ZERO).await;
    bed.script.mend("poll two 2.0");
    bed.script.unchanging("two 2.0", true);
    bed.all.refresh("two").unwrap();
    bed.script.until("a good poll", |log| log.iter().any(|step| step == "polled two 2.0 [t]")).await;
    let until = std::time::Instant::now() + LONG;
    while !bed.all.get("two").unwrap().status.error.contains("\"unchanged\", though its rows were never given") {
        assert!(std::time::Instant::now() < until, "{:?}", bed.all.get("two").unwrap().status);
        tokio::task::yield_now().await;
    }
    bed.script.unchanging("two 2.0", false);
    bed.all.refresh("two").unwrap();
    bed.until_by("two/t", "two 2.0").await;
    bed.until_phase("two", Phase::Running).await;
}

#[tokio::test]
async fn inv05_one_whose_hand_over_is_slow_does_not_keep_the_others_paused() {
    let bed = stateful().await;
    bed.script.hold("poll two 2.0");
    let switched = bed.switch(2, Terms::default());
    bed.script.saw("polled one 2.0 [t]").await;
    bed.script.saw("poll two 2.0").await;
    settle().await;
    // It waits a moment...
    assert!(!bed.script.has("resume one 1.0"));
    pass(Duration::from_secs(1)).await;
    // ...and goes on, with another new source at hand.
    bed.script.saw("resume one 1.0").await;
    bed.script.saw("close one 2.0").await;
    bed.script.until("another", |log| log.iter().filter(|step| *step == "tables one 2.0").count() == 2).await;
    serves(&bed, "one").await;
    assert_eq!(count(&bed, "pause one 1.0"), 1);
    bed.script.free("poll two 2.0");
    assert_eq!(switched.await.unwrap().unwrap().sources, 2);
    assert_eq!((count(&bed, "pause one 1.0"), count(&bed, "imported one 2.0 \"one 1.0\"")), (2, 2));
    assert_eq!((count(&bed, "pause two 1.0"), count(&bed, "open two 2.0")), (1, 1));
    bed.all.probe("fake", Duration::ZERO).await.unwrap();
    let ledger = bed.all.retire("fake", Duration::ZERO).await;
    // What the former gave meanwhile is in the books.
    assert_eq!((ledger.tables, ledger.gap, ledger.dup), (2, 0, 0), "{ledger}");
    assert!(ledger.produced >= 3, "{ledger}");
    for name in ["one", "two"] {
        bed.until_by(&format!("{name}/t"), &format!("{name} 2.0")).await;
    }
}

#[tokio::test]
async fn inv05_when_the_slow_one_fails_those_that_went_on_never_noticed() {
    let bed = stateful().await;
    bed.script.hold("poll two 2.0");
    bed.script.panic("poll two 2.0");
    let switched = bed.switch(2, Terms::default());
    bed.script.saw("polled one 2.0 [t]").await;
    bed.script.saw("poll two 2.0").await;
    settle().await;
    pass(Duration::from_secs(1)).await;
    bed.script.saw("resume one 1.0").await;
    bed.script.free("poll two 2.0");
    assert!(switched.await.unwrap().unwrap_err().code_fault);
    assert_eq!((count(&bed, "pause one 1.0"), count(&bed, "open one 1.0")), (1, 1));
    for name in ["one", "two"] {
        serves(&bed, name).await;
        bed.script
            .until("the end of the new", |log| {
                let of = |what: &str| log.iter().filter(|step| *step == &format!("{what} {name} 2.0")).count();
                of("open") == of("close")
            })
            .await;
    }
}

#[tokio::test]
async fn inv05_a_hand_over_that_never_ends_leaves_the_former_in_charge() {
    for step in ["export two 1.0", "import two 2.0"] {
        let bed = stateful().await;
        bed.script.hold_deaf(step);
        let refused = bed.switch(2, Terms::default());
        bed.script.saw(step).await;
        bed.script.saw("polled one 2.0 [t]").await;
        settle().await;
        pass(Duration::from_secs(1)).await;
        // The other does not wait for it.
        bed.script.saw("resume one 1.0").await;
        serves(&bed, "one").await;
        pass(OVERDUE).await;
        settle().await;
        pass(Duration::from_secs(1)).await;
        let refused = refused.await.unwrap().unwrap_err();
        // What the former can't give is not the new one's fault.
        assert_eq!((refused.datasource.as_deref(), refused.code_fault), (Some("two"), step.starts_with("import")));
        for name in ["one", "two"] {
            serves(&bed, name).await;
            assert_eq!(count(&bed, &format!("open {name} 1.0")), 1);
        }
        bed.script.free(step);
        bed.switch(3, Terms::default()).await.unwrap().unwrap();
        let ledger = bed.all.retire("fake", Duration::ZERO).await;
        assert_eq!((ledger.gap, ledger.dup), (0, 0), "{ledger}");
    }
}

/// Before the switch, and after it.
#[tokio::test]
async fn inv05_a_source_that_does_not_go_on_again_is_opened_anew() {
    for after in [false, true] {
        for panics in [false, true] {
            let bed = stateful().await;
            match panics {
                true => bed.script.panic("resume two 1.0"),
                false => bed.script.fail("resume two 1.0"),
            }
            if after {
                bed.switch(2, Terms::default()).await.unwrap().unwrap();
                let ledger = bed.all.revert("fake").await;
                assert_eq!((ledger.gap, ledger.dup), (0, 0), "{ledger}");
            } else {
                bed.script.panic("import two 2.0");
                bed.switch(2, Terms::default()).await.unwrap().unwrap_err();
            }
            bed.script.until("another", |log| log.iter().filter(|s| *s == "activate two 1.0").count() == 2).await;
            assert!(bed.script.has("close two 1.0"));
            for name in ["one", "two"] {
                bed.until_phase(name, Phase::Running).await;
                serves(&bed, name).await;
            }
            assert_eq!((count(&bed, "open one 1.0"), count(&bed, "open two 1.0")), (1, 2));
        }
    }
}

/// It is nothing the new build could be blamed for; whatever the former still says is refused.
#[tokio::test]
async fn inv05_a_source_that_cannot_be_paused_is_replaced_all_the_same() {
    for hangs in [false, true] {
        for state in [false, true] {
            let bed = if state { stateful().await } else { Bed::two(|_| ()).await };
            let former = bed.all.find("two").unwrap().shared().open().unwrap();
            match hangs {
                true => bed.script.hold_deaf("pause two 1.0"),
                false => bed.script.fail("pause two 1.0"),
            }
            let switched = bed.switch(2, Terms::default());
            bed.script.saw("pause two 1.0").await;
            if hangs {
                settle().await;
                if state {
                    bed.script.saw("polled one 2.0 [t]").await;
                    settle().await;
                    pass(Duration::from_secs(1)).await;
                    bed.script.saw("resume one 1.0").await;
                    serves(&bed, "one").await;
                } else {
                    bed.until_by("one/t", "one 2.0").await;
                }
                pass(OVERDUE).await;
                settle().await;
                pass(Duration::from_secs(1)).await;
            }
            assert_eq!(switched.await.unwrap().unwrap().sources, 2);
            let rows = TableSpec::of::<Row>("t").rows(&[Row { by: "the former".to_owned() }]).unwrap();
            let refused = former.ingest.publish(Update::bare("t", Change::Snapshot(rows))).unwrap_err();
            assert_eq!(refused.status, Code::SUPERSEDED);
            // And it can be put back.
            bed.script.free("pause two 1.0");
            let ledger = bed.all.revert("fake").await;
            assert_eq!((ledger.gap, ledger.dup), (0, 0), "{ledger}");
            for name in ["one", "two"] {
                bed.until_by(&format!("{name}/t"), &format!("{name} 1.0")).await;
                serves(&bed, name).await;
            }
        }
    }
}

#[tokio::test]
async fn inv05_one_that_is_never_done_with_its_activation_is_taken_back() {
    let bed = Bed::two(|_| ()).await;
    bed.script.hold_deaf("activate two 2.0");
    let switched = bed.switch(2, Terms::default());
    bed.script.saw("activate two 2.0").await;
    bed.script.saw("activate one 2.0").await;
    settle().await;
    pass(OVERDUE).await;
    settle().await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(switched.await.unwrap().unwrap().sources, 2);
    let fault = bed.all.probe("fake", Duration::ZERO).await.unwrap_err();
    assert_eq!((fault.datasource.as_deref(), fault.code_fault), (Some("two"), true), "{fault}");
    let ledger = bed.all.revert("fake").await;
    assert_eq!((ledger.gap, ledger.dup), (0, 0), "{ledger}");
    for name in ["one", "two"] {
        bed.until_by(&format!("{name}/t"), &format!("{name} 1.0")).await;
        serves(&bed, name).await;
        assert_eq!(count(&bed, &format!("open {name} 1.0")), 1);
    }
    assert!(!bed.script.has("close two 2.0"), "it hangs, so it is left alone");
    bed.script.free("activate two 2.0");
}
