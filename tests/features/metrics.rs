//! What monitoring reads of a host, and what an operator is told when retired code holds too much.

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use busway_tests::wait_for;
use std::collections::BTreeMap;

/// All samples of a page, by name and labels; each was of a family with a type and a help text.
fn samples(host: &Host) -> BTreeMap<String, f64> {
    let page = host.raw("GET", "/metrics", &[], b"");
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let (mut family, mut samples) = (String::new(), BTreeMap::new());
    let mut lines: Vec<&str> = page.body.lines().collect();
    assert_eq!(lines.pop(), Some("# EOF"));
    for line in lines {
        match line.strip_prefix("# ") {
            Some(about) => about.split(' ').nth(1).unwrap().clone_into(&mut family),
            None => {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(&family), "{line} is of {family}");
                assert_eq!(samples.insert(name.to_owned(), value.parse().unwrap()), None, "{name} once");
            }
        }
    }
    samples
}

#[test]
fn monitoring_sees_reloads_and_what_they_leave_behind() {
    let bed = Bed::new().plugins("retired_budget = 1");
    let file = bed.plugin("libfixture.so");
    Fixture::new().rename_into(&file);
    let host = bed.start(&format!("[datasource.one]\ndriver = '{ID}'\npoll = '50ms'\n"));
    host.wait_datasource("one", "running");
    let before = samples(&host);
    let of_driver = |name: &str| format!("{name}{{driver=\"{ID}\"}}");
    let build = before.keys().find(|name| name.starts_with("busway_build_info{")).unwrap();
    assert!(build.contains("contract=\"1."), "{build}");
    assert_eq!(before["busway_retired_generations"], 0.0);
    assert_eq!(before["busway_retired_generations_mapped_bytes"], 0.0);
    assert_eq!(before["busway_datasource_up{datasource=\"one\",driver=\"fixture-driver-aa\"}"], 1.0);
    assert_eq!(before[&format!("busway_reloads_total{{driver=\"{ID}\",outcome=\"loaded\"}}")], 1.0);
    assert!(!before.contains_key(&of_driver("busway_reload_pause_seconds")), "it was only loaded");
    assert!(before["busway_rows{service=\"one\"}"] > 0.0);
    assert!(before["process_resident_memory_bytes"] > 1e6);
    let calm = host.run(&["status"]);
    assert!(!calm.out.contains("over its budget"), "{}", calm.out);

    let next = Fixture::new().revision(2);
    next.rename_into(&file);
    let committed = format!("busway_reloads_total{{driver=\"{ID}\",outcome=\"committed\"}}");
    let after = wait_for("the reload to be over", || {
        let now = samples(&host);
        now.contains_key(&committed).then_some(now).ok_or_else(|| "not yet".to_owned())
    });
    assert_eq!(after["busway_retired_generations"], 1.0);
    assert_eq!(after["busway_retired_generations_mapped_bytes"], next.bytes().len() as f64);
    assert_eq!(after["busway_retired_generations_budget_bytes"], 1.0);
    assert_eq!(after["busway_generations{state=\"retired\"}"], 1.0);
    assert_eq!(after[&of_driver("busway_reload_states_lost_total")], 0.0);
    assert_eq!(after[&of_driver("busway_reload_states_doubled_total")], 0.0);
    assert!(after[&of_driver("busway_reload_pause_seconds")] > 0.0);
    let polls = "busway_datasource_polls_total{datasource=\"one\"}";
    assert!(after[polls] > before[polls]);

    // Past the budget: said in the log, once, and by whoever asks how the host is.
    let megabytes = next.bytes().len().div_ceil(1 << 20);
    let why = format!("1 retired generation holds {megabytes} MiB, more than plugins.retired_budget (0 MiB)");
    let remedy = "restart the host when that suits, which gives it back";
    wait_for("the warning", || host.log_text().contains(&why).then_some(()).ok_or_else(|| host.log_text()));
    let status = host.run(&["status"]);
    assert!(status.out.contains(&format!("  why: {why}\n  try: {remedy}\n")), "{}", status.out);
}
