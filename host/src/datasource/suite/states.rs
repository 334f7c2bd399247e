//! State that is handed over, or not: never without a word.

use super::Bed;
use crate::plugin::{Lenience, Moved, SwitchError, Terms};
use serde_json::json;

fn warm() -> Terms {
    Terms { accept_errors: Lenience::default(), most_state: 999, cold_start: false }
}

fn cold() -> Terms {
    Terms { cold_start: true, ..warm() }
}

/// Generation 1 writes version 1.
async fn moved(prepare: impl Fn(&super::fake::Script), terms: Terms) -> (Bed, Result<Moved, SwitchError>) {
    let bed = Bed::two(|script| {
        script.keeps(1, 1, &[1]);
        prepare(script);
    })
    .await;
    let moved = bed.switch(2, terms).await.unwrap();
    (bed, moved)
}

/// Refused with that text, by the code's fault or not; with a cold start it is told, and goes on.
async fn held(prepare: impl Fn(&super::fake::Script), code_fault: bool, why: &str) {
    let (bed, refused) = moved(&prepare, warm()).await;
    let refused = refused.unwrap_err();
    let told = refused.to_string().replace("\"two\"", "\"one\"");
    assert_eq!(told, format!("datasource \"one\" could not read the state of what it replaces with it: {why}"));
    assert_eq!(refused.code_fault, code_fault, "{why}");
    assert_eq!(bed.by("one/t").as_deref(), Some("one 1.0"));
    let (bed, moved) = moved_of(&prepare).await;
    let of = |name: &str| {
        format!("datasource {name:?} begins without the state of what it replaces: {}", why.replace("one", name))
    };
    assert!(moved.cold.contains(&of("one")), "{why}: {:?}", moved.cold);
    bed.until_by("one/t", "one 2.0").await;
}

async fn moved_of(prepare: impl Fn(&super::fake::Script)) -> (Bed, Moved) {
    let (bed, moved) = moved(prepare, cold()).await;
    (bed, moved.unwrap())
}

#[tokio::test]
async fn inv05_state_that_is_read_is_handed_over() {
    let (bed, moved) = moved(|script| script.keeps(2, 2, &[1, 2]), warm()).await;
    assert!(moved.unwrap().cold.is_empty());
    assert!(bed.script.has("imported one 2.0 \"one 1.0\""));
}

#[tokio::test]
async fn inv05_a_build_that_drops_state_is_refused_unless_it_may() {
    held(
        |_| (),
        true,
        "what serves writes version 1, and the new build reads none: let it read that one, or set plugins.cold_start",
    )
    .await;
    held(
        |script| script.keeps(2, 3, &[2, 3]),
        true,
        "what serves writes version 1, and the new build reads 2, 3: let it read that one too, or set plugins.cold_start",
    )
    .await;
}

#[tokio::test]
async fn inv05_what_is_wrong_with_the_former_ones_state_is_not_the_new_builds_fault() {
    let reads = |script: &super::fake::Script| script.keeps(2, 1, &[1]);
    let both = ["one", "two"];
    held(
        |script| {
            reads(script);
            both.iter().for_each(|name| script.gives(&format!("{name} 1.0"), 7, json!(0)));
        },
        false,
        "what serves says that it writes version 1, and gave version 7: set plugins.cold_start",
    )
    .await;
    held(
        |script| {
            reads(script);
            both.iter().for_each(|name| script.gives(&format!("{name} 1.0"), 1, json!("x".repeat(998))));
        },
        false,
        "the state of what serves has 1000 bytes, more than plugins.most_state, 999: raise that, or set plugins.cold_start",
    )
    .await;
    held(
        |script| {
            reads(script);
            script.panic("export one 1.0");
        },
        false,
        "what serves could not hand it over: export one 1.0 fails on purpose: reload again, or set plugins.cold_start",
    )
    .await;
}

#[tokio::test]
async fn inv05_what_the_new_build_refuses_counts_against_it() {
    held(
        |script| {
            script.keeps(2, 1, &[1]);
            script.fail("import one 2.0");
        },
        true,
        "import one 2.0 fails on purpose",
    )
    .await;
}

#[tokio::test]
async fn inv05_errors_that_are_accepted_do_not_drop_state_without_a_word() {
    let prepare = |script: &super::fake::Script| {
        script.keeps(2, 1, &[1]);
        script.fail("open one 2.0");
    };
    let (_bed, moved) = moved(prepare, Terms { accept_errors: Lenience::new(true), ..warm() }).await;
    let cold = "datasource \"one\" begins without the state of what it replaces: open one 2.0 fails on purpose";
    assert_eq!(moved.unwrap().cold, [cold]);
}
