//! A driver's file is replaced while it runs: the tables go on from the new code, and a client that watches sees no
//! error and no wrong row.

use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};
use busway_tests::stream::Stream;
use serde_json::Value;

const ONE: &str = "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\n[datasource.one.options]\nrows = \
                   40\n[datasource.two]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\n";

fn start() -> (Host, Stream) {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(ONE);
    host.wait_datasource("one", "running");
    host.wait_datasource("two", "running");
    let mut stream = host.stream("one", "numbers");
    stream.follow("the first rows", |_| {}, |rows| rows.is_some());
    (host, stream)
}

/// Every row of a state says one revision: states of two generations are never mixed.
fn revision(rows: Option<&[Value]>) -> u64 {
    let rows = rows.expect("the table is there at every moment");
    assert_eq!(rows.len(), 40, "every row is there at every moment");
    let revision = rows[0]["revision"].as_u64().unwrap();
    assert!(rows.iter().all(|row| row["revision"] == revision), "{rows:?}");
    revision
}

fn switch(stream: &mut Stream, to: u64) {
    stream.follow(
        &format!("revision {to}"),
        |rows| {
            revision(rows);
        },
        |rows| revision(rows) == to,
    );
}

#[test]
fn inv05_by_rename_and_by_copying_over_the_file_that_serves() {
    let (mut host, mut stream) = start();
    let (epoch, _) = stream.position();
    let file = host.plugin("libfixture.so");
    for to in 2..=6 {
        let next = Fixture::new().revision(to);
        if to % 2 == 0 {
            next.rename_into(&file)
        } else {
            next.copy_over(&file)
        }
        switch(&mut stream, u64::from(to));
    }
    assert_eq!(stream.position().0, epoch, "one epoch over all generations");
    assert_eq!(stream.snapshots(), 1, "steps, not snapshots");
    host.wait_row("_host", "plugins", "generation 6 to serve", |row| {
        row["state"] == "serving" && row["generation"] == 6
    });
    // Its other datasource moved as well.
    host.wait_row("two", "numbers", "revision 6", |row| row["revision"] == 6);
    let generations = host.rows("_host", "generations").unwrap();
    assert_eq!(generations.len(), 6);
    assert!(host.is_alive());
}

#[test]
fn state_is_handed_over() {
    let (host, mut stream) = start();
    let polls = |row: &Value| row["polls"].as_u64().unwrap();
    let before = polls(&host.wait_row("one", "ticks", "some polls", |row| polls(row) > 5));
    Fixture::new().revision(2).rename_into(&host.plugin("libfixture.so"));
    switch(&mut stream, 2);
    assert!(polls(&host.rows("one", "ticks").unwrap()[0]) > before, "it counts on from where the old one was");
}

#[test]
fn the_same_bytes_again_are_the_same_library_and_the_next_generation() {
    let (host, mut stream) = start();
    let file = host.plugin("libfixture.so");
    Fixture::new().revision(2).rename_into(&file);
    switch(&mut stream, 2);
    Fixture::new().rename_into(&file);
    switch(&mut stream, 1);
    host.wait_row("_host", "plugins", "generation 3 to serve", |row| {
        row["state"] == "serving" && row["generation"] == 3
    });
    let mapped = std::fs::read_to_string(format!("/proc/{}/maps", host.pid())).unwrap();
    let copies: std::collections::BTreeSet<&str> =
        mapped.lines().filter_map(|l| l.split_whitespace().last()).filter(|p| p.contains("/staged/")).collect();
    assert_eq!(copies.len(), 2, "{copies:#?}");
    assert!(!mapped.contains("plugins/libfixture.so"), "inv01: the operator's file is never mapped");
}

#[test]
fn inv05_a_bad_build_is_held_back_and_the_old_one_serves_on() {
    for (at, fault, expected) in [
        ("open", "panic", "could not open with it: panicked: fixture panics on purpose"),
        ("open", "error", "could not open with it: fixture fails on purpose"),
        ("poll", "panic", "could not be polled with it: panicked: fixture panics on purpose"),
        ("describe", "panic", "its description failed: panicked: fixture panics in describe"),
    ] {
        let (mut host, mut stream) = start();
        Fixture::new().revision(2).fault(at, fault).rename_into(&host.plugin("libfixture.so"));
        let held = host.wait_plugin("libfixture.so", "held back");
        let reason = held["reason"].as_str().unwrap();
        assert!(reason.contains(expected) && reason.ends_with("; the bytes before serve on"), "{reason}");
        host.wait_datasource("one", "running");
        host.wait_datasource("two", "running");
        let polls = |row: &Value| row["polls"].as_u64().unwrap();
        let before = polls(&host.rows("one", "ticks").unwrap()[0]);
        host.wait_row("one", "ticks", "the old one to be polled on", |row| polls(row) > before + 2);
        assert_eq!(revision(stream.rows()), 1);
        // The next good build takes over.
        Fixture::new().revision(3).rename_into(&host.plugin("libfixture.so"));
        switch(&mut stream, 3);
        assert!(host.is_alive());
    }
}

#[test]
fn inv01_nothing_done_to_the_file_harms_what_runs() {
    let (mut host, stream) = start();
    let file = host.plugin("libfixture.so");
    std::fs::write(&file, b"").unwrap();
    host.wait_plugin("libfixture.so", "refused");
    std::fs::write(&file, &Fixture::new().bytes()[..5000]).unwrap();
    std::fs::remove_dir_all(host.path("plugins")).unwrap();
    host.wait_plugin("libfixture.so", "missing");
    let polls = |row: &Value| row["polls"].as_u64().unwrap();
    let before = polls(&host.rows("one", "ticks").unwrap()[0]);
    host.wait_row("one", "ticks", "polls as before", |row| polls(row) > before + 2);
    assert_eq!(revision(stream.rows()), 1);
    assert!(host.is_alive());
}

#[test]
fn a_source_that_hangs_is_revived_by_the_next_build() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(
        "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\ndeadline = \
         '300ms'\n[datasource.one.options]\nfault = 'poll_hang'\nfault_of = 1\nafter = 3\n",
    );
    host.wait_datasource("one", "hung");
    Fixture::new().revision(2).rename_into(&host.plugin("libfixture.so"));
    host.wait_row("one", "numbers", "rows of the new build", |row| row["revision"] == 2);
}

#[test]
fn inv01_a_driver_that_hangs_is_revived_by_an_order_from_a_fresh_copy_of_the_same_bytes() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(
        "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\ndeadline = \
         '300ms'\n[datasource.one.options]\nfault = 'poll_hang'\nfault_of = 1\nafter = 3\n",
    );
    host.wait_datasource("one", "hung");
    let revived = host.run(&["plugin", "reload", "fixture-driver-aa", "--wait"]);
    assert_eq!(revived.code, Some(0), "{revived:?}");
    assert!(revived.out.starts_with("fixture-driver-aa 0.1.0 committed, generation 2 after 1"), "{revived:?}");
    let mapped = std::fs::read_to_string(format!("/proc/{}/maps", host.pid())).unwrap();
    let copies: std::collections::BTreeSet<&str> =
        mapped.lines().filter_map(|l| l.split_whitespace().last()).filter(|p| p.contains("/staged/")).collect();
    assert_eq!(copies.len(), 2, "{copies:#?}");
    // One that is well is left alone.
    let (host, _) = start();
    let well = host.run(&["plugin", "reload", "fixture-driver-aa", "--wait"]);
    assert_eq!(well.code, Some(0), "{well:?}");
    assert!(well.out.starts_with("fixture-driver-aa 0.1.0 already serves these bytes, those of "), "{well:?}");
}

#[test]
fn inv05_what_fails_on_probation_is_taken_back_and_stays_out() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    // Good when it is tried beside the old one, bad when it is in charge.
    let datasources = "[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\n[datasource.one.options]\nrows = \
                       40\nfault = 'poll_panic'\nfault_of = 2\nafter = 1\n[datasource.two]\ndriver = \
                       'fixture-driver-aa'\npoll = '50ms'\n";
    let host = bed.start(datasources);
    host.wait_datasource("one", "running");
    host.wait_datasource("two", "running");
    let mut stream = host.stream("one", "numbers");
    stream.follow("the first rows", |_| {}, |rows| rows.is_some());
    let epoch = stream.position().0;
    let build = Fixture::new().revision(2);
    build.rename_into(&host.plugin("libfixture.so"));
    let held = host.wait_plugin("libfixture.so", "held back");
    let reason = held["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("datasource \"one\" could not be polled with it: panicked: fixture panics on purpose"),
        "{reason}"
    );
    stream.follow(
        "the old one's rows",
        |rows| assert_eq!(rows.map(<[Value]>::len), Some(40)),
        |rows| revision(rows) == 1,
    );
    assert_eq!((stream.position().0, stream.snapshots()), (epoch, 1), "one epoch, and steps all the way");
    host.wait_datasource("one", "running");
    host.wait_row("two", "numbers", "the old one's rows in the other datasource, too", |row| row["revision"] == 1);
    // One command says what happened.
    let (status, history) = host.get("/v1/plugins/history?driver=fixture-driver-aa");
    assert_eq!(status, 200);
    let entries = history["results"].as_array().unwrap();
    let back = entries.iter().find(|entry| entry["outcome"] == "rolled_back").expect("it is written down");
    let ledger = &back["ledger"];
    assert_eq!((ledger["gap"].as_u64(), ledger["dup"].as_u64()), (Some(0), Some(0)), "{back}");
    assert!(ledger["delivered"].as_u64() >= Some(2), "{back}");
    let quarantined = entries.iter().find(|entry| entry["event"] == "quarantined").expect("it is written down");
    let hash = quarantined["sha256"].as_str().unwrap().to_owned();
    // Over a restart the bytes stay out, and the kept copy serves.
    let host = host.restart(datasources);
    let held = host.wait_plugin("libfixture.so", "held back");
    assert!(held["reason"].as_str().unwrap().ends_with("; the bytes before serve on"), "{held}");
    host.wait_row("one", "numbers", "the kept copy's rows", |row| row["revision"] == 1);
    // Released, they are tried again.
    assert_eq!(host.run(&["plugin", "release", &hash[..12]]).code, Some(0));
    host.wait_row("_host", "generations", "another try", |row| row["state"] == "withdrawn");
    host.wait_row("one", "numbers", "the kept copy's rows again", |row| row["revision"] == 1);
}

#[test]
fn rollback_puts_the_former_copy_in_charge_until_the_file_changes() {
    let (host, mut stream) = start();
    let file = host.plugin("libfixture.so");
    Fixture::new().revision(2).rename_into(&file);
    switch(&mut stream, 2);
    let rollback = host.run(&["plugin", "rollback", "fixture-driver-aa"]);
    assert_eq!(rollback.code, Some(0), "{rollback:?}");
    switch(&mut stream, 1);
    let explained = host.run(&["plugin", "explain", "fixture-driver-aa"]);
    assert!(explained.out.contains("held back: an operator rolled it back"), "{explained:?}");
    Fixture::new().revision(3).rename_into(&file);
    switch(&mut stream, 3);
    let reload = host.run(&["plugin", "reload", "fixture-driver-aa", "--wait"]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
}
