//! Builds that do not come back. Their deadlines are the host's own, so these tests take as long.

use super::{attempt, quarantined, runs_on, serving, verdict};
use busway_tests::fixture::Fixture;
use busway_tests::host::Bed;

#[test]
fn inv05_a_description_that_never_ends() {
    let bed = Bed::new().plugins("probation = '100ms'\nvet.timeout = '5s'");
    let mut host = serving(bed, &Fixture::new(), "");
    let report = attempt(&host, &Fixture::new().revision(2).fault("describe", "hang"));
    let reason = "tried in a child process, it was not done within 5s: it stopped while it described itself; if it only \
                  needs longer, raise plugins.vet.timeout; tried 1 of 4 times";
    // Whether it is slow or never comes back nobody knows the first time.
    assert_eq!(verdict(&report), ("inconclusive".to_owned(), reason.to_owned()));
    assert_eq!(quarantined(&host, &report), None);
    runs_on(&host, 1);
    assert_eq!(attempt(&host, &Fixture::new().revision(3))["outcome"], "committed");
    assert!(host.is_alive());
}

#[test]
fn inv05_an_open_that_never_ends() {
    let mut host = serving(Bed::new(), &Fixture::new(), "fault = 'open_hang'\nfault_of = 2");
    let report = attempt(&host, &Fixture::new().revision(2));
    let reason = "datasource \"one\" could not open with it: no answer within 20s";
    assert_eq!(verdict(&report), ("refused".to_owned(), reason.to_owned()));
    assert_eq!(quarantined(&host, &report).as_deref(), Some("fault"));
    runs_on(&host, 1);
    assert_eq!(attempt(&host, &Fixture::new().revision(3))["outcome"], "committed");
    runs_on(&host, 3);
    assert!(host.is_alive());
}
