//! A library that was built with contract 1.0 and is never built again: drivers from then load and run, and what they
//! say and are told is still understood.

#[cfg(not(target_arch = "x86_64"))]
#[test]
fn the_old_library_is_for_another_machine() {
    println!(
        "it is for x86-64: here the layout of contract 1.0 in plugin-api/abi/tests/golden is all that is compared"
    );
}

#[cfg(target_arch = "x86_64")]
mod old {
    use crate::cli::json_of;
    use busway_tests::host::{Bed, Host};
    use busway_tests::relic::Relic;
    use busway_tests::wait_for;
    use serde_json::{Value, json};

    const THEN: &str = "contract 1.0";
    const ONE: &str = "[datasource.one]\ndriver = 'relic'\npoll = '50ms'\n[datasource.one.options]\nlabel = 'old \
                       one'\nrows = 3\npassword = 'hunter2'\n";

    fn start() -> Host {
        let bed = Bed::new();
        Relic::of_contract_1_0().rename_into(&bed.plugin("librelic.so"));
        let host = bed.start(ONE);
        host.wait_datasource("one", "running");
        host
    }

    fn execute(host: &Host, action: &str, named: &Value) -> (u16, Value) {
        let body = json!({"name": action, "args": {"named": named}});
        host.post("/v1/data-sources/one?action=execute&wait=true", &body)
    }

    #[test]
    fn a_driver_of_contract_1_0_runs_in_todays_host() {
        let host = start();
        let file = host.plugin("librelic.so");
        let said = json_of(host.run(&["plugin", "inspect", file.to_str().unwrap(), "--output", "json"]));
        assert_eq!(said["note"]["contract"], "1.0.0");
        assert_eq!(said["sha256"].as_str(), Relic::of_contract_1_0().sha256(), "it is the file that was built then");
        assert_eq!(said["checksum_file"], true);
        // What it describes, and what it gives.
        let driver = json_of(host.run(&["driver", "show", "relic", "--output", "json"]));
        assert_eq!(driver["description"], "As old as the contract", "{driver}");
        let row = host.wait_row("one", "counts", "a second poll", |row| row["polls"].as_u64() > Some(1));
        assert_eq!(row["build"], THEN);
        assert_eq!(host.rows("one", "counts").unwrap().len(), 3);
        assert_eq!(host.rows("one", "heard").unwrap(), Vec::<Value>::new(), "published as it was activated");
        let running = host.wait_datasource("one", "running");
        assert!(running.to_string().contains("old one: polled "), "its status: {running}");
        // What it is told: who watches, a webhook, an action, a panic.
        let _watching = host.stream("one", "counts");
        wait_for("it to hear who watches", || match execute(&host, "watched", &json!({})) {
            (200, answer) if answer.to_string().contains("counts") => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
        let answer = host.post("/v1/data-sources/one/tables/t/webhook", &json!({"a": 1}));
        assert_eq!(answer, (200, json!({"tables": ["heard"]})));
        assert_eq!(host.rows("one", "heard").unwrap(), [json!({"text": "{\"a\":1}", "table": "t"})]);
        let (status, asked) = execute(&host, "ask", &json!({"service": "nobody", "method": "status"}));
        assert!(status != 200 && asked.to_string().contains("nobody"), "{status} {asked}");
        let (status, panicked) = execute(&host, "panic", &json!({}));
        assert!(status != 200 && panicked.to_string().contains("relic panics on purpose"), "{status} {panicked}");
        host.wait_row("one", "counts", "it to be opened anew", |row| row["build"] == THEN);
        host.wait_datasource("one", "running");
        // Its log, and its secret.
        let opens = host.log().into_iter().find(|record| record.to_string().contains("relic opens"));
        assert!(opens.is_some_and(|record| record.to_string().contains("<hidden>")), "{}", host.log_text());
        assert!(!host.log_text().contains("hunter2"));
    }

    #[test]
    fn it_gives_way_to_todays_build_and_takes_over_again() {
        let host = start();
        let mut stream = host.stream("one", "counts");
        let polls = |rows: &[Value]| rows[0]["polls"].as_u64().unwrap();
        let mut last = 0;
        let mut follow = |build: &str| {
            stream.follow(
                build,
                |rows| {
                    let now = rows.map_or(0, polls);
                    assert!(now >= last, "it counts on from where the other was: {now} after {last}");
                    last = now;
                },
                |rows| rows.is_some_and(|rows| rows[0]["build"] == build),
            );
            (stream.position().0, stream.snapshots())
        };
        let before = follow(THEN);
        let file = host.plugin("librelic.so");
        Relic::of_today().rename_into(&file);
        assert_eq!(follow("today"), before, "one epoch, and steps all the way");
        Relic::of_contract_1_0().rename_into(&file);
        assert_eq!(follow(THEN), before, "one epoch, and steps all the way");
        host.wait_row("_host", "plugins", "the third generation to serve", |row| {
            row["state"] == "serving" && row["generation"] == 3
        });
        let moves = wait_for("both reloads to be written down", || {
            let reports = host.history("transaction");
            let moves: Vec<Value> = reports.into_iter().filter(|report| report["ledger"].is_object()).collect();
            if moves.len() == 2 { Ok(moves) } else { Err(format!("{moves:#?}")) }
        });
        for report in moves {
            let ledger = &report["ledger"];
            assert_eq!((&ledger["gap"], &ledger["dup"]), (&json!(0), &json!(0)), "{report}");
            assert!(ledger["delivered"].as_u64() > Some(0), "{report}");
        }
    }

    #[test]
    fn it_passes_todays_suite() {
        let bed = Bed::new();
        let file = bed.plugin("librelic.so");
        Relic::of_contract_1_0().rename_into(&file);
        let file = file.to_str().unwrap();
        let said = bed.run(&["plugin", "test", file, "--option", "label=x", "--output", "json"]);
        let document: Value = serde_json::from_str(&said.out).unwrap();
        let checks = document["checks"].as_array().unwrap();
        let of = |outcome: &str| checks.iter().filter(|check| check["outcome"] == outcome).collect::<Vec<_>>();
        // It has an action whose code panics on purpose: that is found, and nothing else.
        let failed: Vec<&str> = of("failed").iter().map(|check| check["name"].as_str().unwrap()).collect();
        assert_eq!(failed, ["action_bare", "cancel_in_action"], "{said:?}");
        assert!(of("failed").iter().all(|check| check["reason"].as_str().unwrap().contains("relic panics on purpose")));
        let skipped = of("skipped");
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        assert_eq!(skipped[0]["reason"], "it published nothing while there was no room");
    }
}
