//! What the operator's directory and configuration decide.

use super::{FILE, datasources, reports, runs_on, serving};
use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::Bed;

#[test]
fn inv04_a_driver_whose_file_is_gone_ends_where_it_is_told_to_and_comes_back() {
    let host = serving(Bed::new().plugins("probation = '100ms'\non_remove = 'stop'"), &Fixture::new(), "");
    std::fs::remove_file(host.plugin(FILE)).unwrap();
    for name in ["one", "two"] {
        let waits = host.wait_datasource(name, "waiting for driver");
        assert_eq!(waits["error"], format!("no driver {ID:?} is loaded"));
        // Its rows stay, and say that they are old.
        assert_eq!(host.rows(name, "ticks").unwrap().len(), 1);
        let table =
            host.wait_row("_host", "tables", "its table", |row| row["service"] == name && row["table"] == "ticks");
        assert_eq!(table["error"], waits["error"]);
    }
    let stopped = host.history("stopped");
    assert_eq!((stopped.len(), &stopped[0]["driver"]), (1, &ID.into()));
    assert!(host.rows("_host", "plugins").unwrap().is_empty());
    Fixture::new().rename_into(&host.plugin(FILE));
    runs_on(&host, 1);
    let last = reports(&host).pop().unwrap();
    assert_eq!((&last["outcome"], &last["to"]), (&"loaded".into(), &2.into()), "the next generation of the same bytes");
    // Other bytes as well.
    std::fs::remove_file(host.plugin(FILE)).unwrap();
    host.wait_datasource("one", "waiting for driver");
    Fixture::new().revision(2).rename_into(&host.plugin(FILE));
    runs_on(&host, 2);
}

#[test]
fn inv04_the_configuration_says_which_of_two_files_serves() {
    let named = format!("{}[plugins.files]\n{ID} = 'plugins/b.so'\n", datasources(""));
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("a.so"));
    Fixture::new().revision(2).rename_into(&bed.plugin("b.so"));
    let host = bed.start(&datasources(""));
    host.wait_plugin("a.so", "conflict");
    host.wait_plugin("b.so", "conflict");
    host.wait_datasource("one", "waiting for driver");
    let host = host.restart(&named);
    runs_on(&host, 2);
    assert_eq!(host.wait_plugin("b.so", "serving")["generation"], 1);
    let reason = host.wait_plugin("a.so", "conflict")["reason"].as_str().unwrap().to_owned();
    assert_eq!(reason, format!("driver id {ID:?} is claimed by {} too: remove one", "plugins/b.so"));
    let explained = host.run(&["plugin", "explain", ID]);
    assert!(explained.out.contains(&format!("the configuration names {} for it\n", "plugins/b.so")));
    // It is that file's, whatever becomes of the other.
    Fixture::new().revision(3).rename_into(&host.plugin("a.so"));
    Fixture::new().revision(4).rename_into(&host.plugin("b.so"));
    runs_on(&host, 4);
}

#[test]
fn inv05_a_reload_waits_for_a_file_that_came_a_moment_ago() {
    let host = Bed::new().start(&datasources(""));
    let reload = host.run(&["plugin", "reload", ID, "--wait"]);
    let none = format!("no driver {ID:?} serves, and no file claims it: busway plugin list shows what there is");
    assert!(reload.code != Some(0) && reload.err.contains(&none), "{reload:?}");
    Fixture::new().rename_into(&host.plugin(FILE));
    let reload = host.run(&["plugin", "reload", ID, "--wait"]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
    assert_eq!(reload.out, format!("{ID} 0.1.0 loaded, generation 1\n"));
    runs_on(&host, 1);
}
