//! Batches that contradict themselves, and columns that nobody declared.

use super::{FILE, attempt, quarantined, runs_on, serving, verdict};
use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::Bed;
use serde_json::{Value, json};

/// How they do, and what is said of table `texts`.
const LIES: [(&str, &str); 5] = [
    ("count", "C Data interface error: the batch has a negative or overflowing length or offset"),
    ("over", "C Data interface error: the batch has 9223372036854775807 rows: too long for Utf8"),
    ("miss", "C Data interface error: the batch has no buffer 1 in a column of type Utf8"),
    (
        "fall",
        "the rows contradict themselves: Invalid argument error: Offset invariant failure: non-monotonic offset at slot \
         1: 9 > 4",
    ),
    (
        "utf8",
        "the rows contradict themselves: Invalid argument error: Invalid UTF8 sequence at string index 0 (0..3): invalid \
         utf-8 sequence of 1 bytes from index 0",
    ),
];

#[test]
fn inv06_a_batch_that_contradicts_itself_is_refused_and_the_last_good_rows_stay() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin(FILE));
    let datasources: String = LIES
        .iter()
        .map(|(lie, _)| {
            format!(
                "[datasource.{lie}]\ndriver = '{ID}'\npoll = '50ms'\n[datasource.{lie}.options]\ntexts = true\nfault = \
                 'batch_{lie}'\nafter = 2\n"
            )
        })
        .collect();
    let mut host = bed.start(&datasources);
    for (lie, said) in LIES {
        let degraded = host.wait_datasource(lie, "degraded");
        assert_eq!(degraded["error"], format!("table \"texts\": {said}"), "{lie}");
        let rows = host.rows(lie, "texts").unwrap();
        assert_eq!(
            rows,
            [json!({"id": 0, "text": "one"}), json!({"id": 1, "text": "two"}), json!({"id": 2, "text": "three"})]
        );
        // The other tables are read on.
        let ticks = |row: &serde_json::Value| row["polls"].as_u64().unwrap();
        let before = ticks(&host.rows(lie, "ticks").unwrap()[0]);
        host.wait_row(lie, "ticks", "further polls", |row| ticks(row) > before);
    }
    assert!(host.is_alive());
}

#[test]
fn inv06_a_build_whose_batches_contradict_themselves_breaks_the_contract() {
    let mut host = serving(Bed::new(), &Fixture::new(), "texts = true");
    for (i, (lie, said)) in LIES.into_iter().enumerate() {
        let revision = 2 + u32::try_from(i).unwrap();
        let report = attempt(&host, &Fixture::new().revision(revision).fault("batch", lie));
        let reason = format!(
            "datasource \"one\" could not be polled with it: the driver breaks the contract: table \"texts\": {said}"
        );
        assert_eq!(verdict(&report), ("refused".to_owned(), reason), "{lie}");
        assert_eq!(quarantined(&host, &report).as_deref(), Some("fault"), "{lie}");
        runs_on(&host, 1);
    }
    assert_eq!(verdict(&attempt(&host, &Fixture::new().revision(9))).0, "committed");
    assert!(host.is_alive());
}

#[test]
fn inv05_a_build_whose_batches_contradict_themselves_on_probation_is_taken_back() {
    let host = serving(Bed::new(), &Fixture::new(), "texts = true\nfault = 'batch_fall'\nfault_of = 2\nafter = 1");
    let report = attempt(&host, &Fixture::new().revision(2));
    let (outcome, reason) = verdict(&report);
    let expected = "datasource \"one\" could not be polled with it: the driver breaks the contract: table \"texts\": ";
    assert!(outcome == "rolled_back" && reason.starts_with(expected), "{outcome}: {reason}");
    assert_eq!(quarantined(&host, &report).as_deref(), Some("fault"));
    runs_on(&host, 1);
}

#[test]
fn rows_have_the_columns_that_they_come_with_whatever_was_declared() {
    let host = serving(Bed::new(), &Fixture::new(), "fault = 'other_columns'\nfault_of = 2");
    let mut stream = host.stream("one", "numbers");
    stream.follow("the first rows", |_| {}, |rows| rows.is_some());
    let report = attempt(&host, &Fixture::new().revision(2));
    assert_eq!(verdict(&report), ("committed".to_owned(), String::new()));
    // Other columns are another epoch: who follows gets the whole.
    stream.follow(
        "rows with another column",
        |_| {},
        |rows| rows.is_some_and(|rows| rows.len() == 40 && rows.iter().all(|row| row["more"].is_string())),
    );
    assert_eq!(stream.snapshots(), 2);
    runs_on(&host, 2);
    // That it is declared otherwise is said, once.
    let told: Vec<Value> = host
        .log()
        .into_iter()
        .filter(|line| {
            line["message"] == "a table has other columns than its driver declares: rows are taken as they come"
        })
        .collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((&told[0]["table"], &told[0]["datasource"]), (&json!("numbers"), &json!("one")));
    assert_eq!(told[0]["difference"], "declared: id (I), revision (I); given: id (I), revision (I), more (u)");
    let shown =
        host.wait_row("_host", "datasources", "what it says", |row| row["name"] == "one" && !row["status"].is_null());
    assert_eq!(shown["status"], "other columns than declared: \"numbers\"");
}
