//! Datasources that are made, changed and removed while the host runs, and that outlive it.

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use busway_tests::wait_for;
use serde_json::{Value, json};

const NO_FILE: &str = "";

fn start(datasources: &str) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start(datasources);
    host.wait_plugin("libfixture.so", "serving");
    host
}

fn draft(name: &str, config: &Value) -> Value {
    json!({"name": name, "driver": ID, "config": config})
}

fn create(host: &Host, name: &str, config: Value) -> Value {
    let (status, body) = host.post("/v1/data-sources", &draft(name, &config));
    assert_eq!(status, 201, "{body}");
    body
}

/// The numbers' rows.
fn count(host: &Host, name: &str, rows: usize) {
    wait_for(&format!("{rows} rows of {name}"), || match host.rows(name, "numbers")?.len() {
        n if n == rows => Ok(()),
        n => Err(format!("{n}")),
    });
}

fn refused(answer: (u16, Value)) -> (u16, String, String) {
    let (status, body) = answer;
    let error = &body["error"];
    assert_eq!(error["error_code"], status, "{body}");
    (
        status,
        error["error_data"]["kind"].as_str().unwrap_or_default().to_owned(),
        error["message"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn one_is_created_read_changed_disabled_and_removed() {
    let host = start(NO_FILE);
    let made = create(&host, "web", json!({"rows": "5"}));
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["config"]["rows"], 5, "a text is read as what the option is");
    assert_eq!((&made["type"], &made["enabled"], &made["revision"]), (&Value::Null, &json!(true), &json!(1)));
    count(&host, "web", 5);
    let seen = wait_for("it to run", || {
        let (_, body) = host.get("/v1/data-sources/web");
        if body["state"] == "running" { Ok(body) } else { Err(body.to_string()) }
    });
    assert_eq!(host.get(&format!("/v1/data-sources/{id}")).1["name"], "web");
    assert_eq!(seen["managed_by"], "api");
    let (_, list) = host.get("/v1/data-sources?fields=name,driver");
    assert_eq!(list, json!({"results": [{"name": "web", "driver": ID}]}));

    // A changed option is applied by opening beside and switching: the table goes on, in its epoch.
    let epoch = host.get("/v1/services/web/tables/numbers/rows").1["epoch"].clone();
    let (status, body) = host.patch("/v1/data-sources/web", &json!({"config": {"rows": 2}, "description": "two"}));
    assert_eq!((status, &body["revision"], &body["description"]), (200, &json!(2), &json!("two")), "{body}");
    count(&host, "web", 2);
    assert_eq!(host.get("/v1/services/web/tables/numbers/rows").1["epoch"], epoch);
    let stale = format!("\"{}-1\"", &id[..8]);
    let stale = host.send("PATCH", "/v1/data-sources/web", &[("if-match", &stale)], &json!({"enabled": false}));
    assert_eq!(
        refused(stale),
        (
            409,
            "DatasourceRevisionConflict".to_owned(),
            "Datasource web is at revision 2, not 1: read it again, and decide anew".to_owned()
        )
    );

    let (status, body) = host.patch("/v1/data-sources/web", &json!({"enabled": false}));
    assert_eq!((status, &body["state"]), (200, &json!("disabled")), "{body}");
    assert_eq!(host.get("/v1/services/web/tables/numbers/rows").0, 404, "its tables are gone");
    assert_eq!(host.get("/v1/data-sources/web").1["enabled"], false);
    let (status, _) = host.patch("/v1/data-sources/web", &json!({"enabled": true}));
    assert_eq!(status, 200);
    count(&host, "web", 2);

    assert_eq!(host.delete("/v1/data-sources/web"), (200, Value::Null));
    for path in ["/v1/data-sources/web", "/v1/data-sources/web/status", "/v1/data-sources/web/tables"] {
        let (status, kind, text) = refused(host.get(path));
        assert_eq!((status, &*kind, &*text), (404, "DatasourceNotFound", "Datasource not found web"));
    }
    let again = create(&host, "web", json!({}));
    assert_ne!(again["id"], id);
    count(&host, "web", 3);
    assert_ne!(host.get("/v1/services/web/tables/numbers/rows").1["epoch"], epoch);
}

#[test]
fn inv16_bad_input_is_named_and_changes_nothing() {
    let host = start("[datasource.fixed]\ndriver = 'fixture-driver-aa'\n");
    host.wait_datasource("fixed", "running");
    let post = |body: Value| refused(host.post("/v1/data-sources", &body));
    let expect = |status: u16, kind: &str, text: &str| (status, kind.to_owned(), text.to_owned());
    assert_eq!(
        post(json!({"name": "web", "driver": "fixture-driver-ab"})),
        expect(
            400,
            "InvalidDriver",
            "Invalid driver: fixture-driver-ab: no driver \"fixture-driver-ab\" is loaded: did you mean \"fixture-driver-aa\"?"
        )
    );
    assert_eq!(
        post(draft("web", &json!({"rowss": 1, "pushes": "maybe"}))),
        expect(
            400,
            "InvalidDriverOption",
            "Invalid driver options: unknown option \"rowss\": did you mean \"rows\"?; option \"pushes\" takes true or false, \
             got \"maybe\""
        )
    );
    assert_eq!(
        post(draft("a b", &json!({}))),
        expect(
            400,
            "InvalidDatasourceName",
            "datasource \"a b\": a name is words of A-Z a-z 0-9 _ - joined by dots, begins with no underscore, has 255 \
             characters at most and is no uuid"
        )
    );
    assert_eq!(
        post(draft("fixed", &json!({}))),
        expect(409, "DatasourceNameInUse", "Datasource already in use with name fixed")
    );
    assert_eq!(
        post(json!({"nam": "web"})),
        expect(
            400,
            "InvalidDatasource",
            "Invalid datasource: unknown key \"nam\": did you mean \"name\"?; name is missing; driver is missing"
        )
    );
    let managed = "Datasource fixed is managed by the configuration file: change it there, and reload the file";
    let kind = "DatasourceManagedByFile";
    assert_eq!(refused(host.delete("/v1/data-sources/fixed")), expect(409, kind, managed));
    assert_eq!(refused(host.patch("/v1/data-sources/fixed", &json!({"enabled": false}))), expect(409, kind, managed));
    assert_eq!(
        refused(host.delete("/v1/data-sources/none")),
        expect(404, "DatasourceNotFound", "Datasource not found none")
    );
    let (_, list) = host.get("/v1/data-sources?fields=name,revision");
    assert_eq!(list, json!({"results": [{"name": "fixed", "revision": 1}]}));
    let (status, _, text) = refused(host.get("/v1/data-sources?feilds=name"));
    assert_eq!(status, 400, "{text}");
    let (status, body) = host.get("/v1/data-sources?fields=nam");
    assert_eq!(
        (status, &body["error"]["message"]),
        (400, &json!("fields: a datasource has no \"nam\": did you mean \"name\"?"))
    );
}

#[test]
fn a_name_of_a_live_service_is_refused_and_of_fifty_clients_one_wins() {
    let host = start(NO_FILE);
    let (status, kind, text) = refused(host.post("/v1/data-sources", &draft("_host", &json!({}))));
    assert_eq!((status, &*kind), (400, "InvalidDatasourceName"), "{text}");
    let won: Vec<u16> = std::thread::scope(|scope| {
        let ask = || host.post("/v1/data-sources", &draft("web", &json!({}))).0;
        let all: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|status| **status == 201).count(), 1, "{won:?}");
    assert!(won.iter().all(|status| [201, 409].contains(status)), "{won:?}");
    count(&host, "web", 3);
}

#[test]
fn inv14_what_was_acknowledged_is_there_after_a_kill() {
    let mut host = start(NO_FILE);
    for round in 0..3_u32 {
        let names: Vec<String> = (0..8).map(|n| format!("r{round}.n{n}")).collect();
        std::thread::scope(|scope| {
            for name in &names {
                let host = &host;
                scope.spawn(move || create(host, name, json!({"rows": round + 1})));
            }
        });
        let (status, _) = host.patch(&format!("/v1/data-sources/{}", names[0]), &json!({"description": "changed"}));
        assert_eq!(status, 200);
        assert_eq!(host.delete(&format!("/v1/data-sources/{}", names[1])).0, 200);
        host = host.kill_and_start(NO_FILE);
        host.wait_plugin("libfixture.so", "serving");
        let (_, list) = host.get("/v1/data-sources?fields=name,description,config");
        let list = list["results"].as_array().unwrap();
        assert_eq!(list.len(), 7 * (round as usize + 1));
        let of = |name: &String| list.iter().find(|d| d["name"] == **name);
        assert_eq!(of(&names[0]).unwrap()["description"], "changed");
        assert_eq!(of(&names[1]), None);
        count(&host, &names[7], round as usize + 1);
    }
}

/// What a client knows of one name: what it was told last, and what it asked and was not told.
#[derive(Default)]
struct Known {
    told: Option<u64>,
    asked: Option<Option<u64>>,
}

#[test]
fn inv14_kills_at_any_moment_lose_nothing_that_was_acknowledged() {
    let seed = std::env::var("BUSWAY_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(7_u64);
    let rounds = std::env::var("BUSWAY_KILLS").ok().and_then(|s| s.parse().ok()).unwrap_or(4_u64);
    let mut host = start(NO_FILE);
    let mut names: Vec<(String, Known)> = (0..6).map(|n| (format!("n{n}"), Known::default())).collect();
    let mut mutations = 0;
    for round in 0..rounds {
        // Two thirds of a second at most, a little more than nothing at least.
        let pause = std::time::Duration::from_millis(20 + (seed * 31 + round * 7919) % 640);
        let (url, pid) = (&host, host.pid());
        mutations += std::thread::scope(|scope| {
            let clients: Vec<_> = names
                .iter_mut()
                .enumerate()
                .map(|(n, (name, known))| scope.spawn(move || mutate(url, name, known, seed + round * 100 + n as u64)))
                .collect();
            std::thread::park_timeout(pause);
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            clients.into_iter().map(|client| client.join().unwrap()).sum::<u64>()
        });
        host = host.kill_and_start(NO_FILE);
        let (_, list) = host.get("/v1/data-sources?fields=name,description,revision");
        let list = list["results"].as_array().unwrap();
        for (name, known) in &mut names {
            let kept = list.iter().find(|one| one["name"] == **name);
            let kept = kept.map(|one| one["description"].as_str().unwrap().parse().unwrap());
            let asked = known.asked.take();
            assert!(
                kept == known.told || asked == Some(kept),
                "{name}: told {:?}, asked {asked:?}, kept {kept:?}",
                known.told
            );
            known.told = kept;
        }
        host.wait_plugin("libfixture.so", "serving");
    }
    assert!(mutations >= rounds * 3, "{mutations} mutations in {rounds} rounds");
    eprintln!("{mutations} acknowledged mutations, {rounds} kills");
}

/// Creates, changes and removes one datasource until the host is gone. How often it was told that it is done.
fn mutate(host: &Host, name: &str, known: &mut Known, seed: u64) -> u64 {
    let path = format!("/v1/data-sources/{name}");
    for n in 1.. {
        let value = seed * 1_000_000 + n;
        let text = value.to_string();
        let (method, path, body, becomes) = match known.told {
            None => {
                let body = json!({"name": name, "driver": ID, "description": text, "enabled": n % 2 == 0});
                ("POST", "/v1/data-sources", body, Some(value))
            }
            Some(_) if (seed + n).is_multiple_of(5) => ("DELETE", path.as_str(), Value::Null, None),
            Some(_) => ("PATCH", path.as_str(), json!({"description": text}), Some(value)),
        };
        known.asked = Some(becomes);
        match host.try_send(method, path, &body) {
            Ok(200 | 201) => known.told = becomes,
            Ok(status) => panic!("{method} {path}: {status}"),
            Err(_) => return n - 1,
        }
        known.asked = None;
    }
    0
}

#[test]
fn further_addresses_are_listened_on_and_changed_while_it_runs() {
    let host = start(NO_FILE);
    let body = json!({"name": "web", "driver": ID, "addresses": ["shared.data"]});
    assert_eq!(host.post("/v1/data-sources", &body).0, 201);
    let there = |address: &str| host.post(&format!("/v1/addresses/{address}/calls/ping"), &json!({"a": 1})).0;
    assert_eq!((there("shared.data"), there("other.data")), (200, 404));
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"addresses": ["other.data"]})).0, 200);
    assert_eq!((there("shared.data"), there("other.data")), (404, 200));
    let (status, _, text) = refused(host.patch("/v1/data-sources/web", &json!({"addresses": ["_host"]})));
    assert_eq!(
        (status, &*text),
        (400, "Invalid datasource: address \"_host\" is a service's own name: choose another")
    );
    assert_eq!(host.get("/v1/data-sources/web").1["addresses"], json!(["other.data"]));
}

#[test]
fn inv15_a_planted_secret_is_found_nowhere() {
    const SECRET: &str = "pl4nted-s3cret-hunter2";
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    std::fs::write(bed.path("password"), format!("{SECRET}\n")).unwrap();
    let host = bed.start("[log]\nfilter = 'trace'\n");
    host.wait_plugin("libfixture.so", "serving");
    let mut said = Vec::new();
    let mut note = |answer: (u16, Value)| {
        said.push(answer.1.to_string());
        answer
    };
    let config = json!({"password": SECRET, "leaks": true});
    let (status, body) = note(host.post("/v1/data-sources", &draft("leaky", &config)));
    assert_eq!((status, &body["config"]["password"]), (201, &json!("<hidden>")));
    let by_file = json!({"password": format!("${{file:{}}}", host.path("password").display()), "leaks": true});
    assert_eq!(note(host.post("/v1/data-sources", &draft("filed", &by_file))).0, 201);
    for name in ["leaky", "filed"] {
        wait_for("the leaks", || {
            let (_, body) = host.get(&format!("/v1/data-sources/{name}"));
            let error = body["error"].as_str().unwrap_or_default().to_owned();
            if error.contains("no way in with <hidden>") { Ok(()) } else { Err(body.to_string()) }
        });
        let act = format!("/v1/data-sources/{name}?action=execute&wait=true");
        let (status, body) = note(host.post(&act, &json!({"name": "leak"})));
        assert_eq!((status, body), (200, json!({"result": {"said": "it is <hidden>", "list": ["<hidden>"]}})));
    }
    // What was hidden comes back: the value stays.
    let (status, body) =
        note(host.patch("/v1/data-sources/leaky", &json!({"config": {"password": "<hidden>", "rows": 4}})));
    assert_eq!((status, &body["config"]["password"]), (200, &json!("<hidden>")));
    count(&host, "leaky", 4);
    let act = "/v1/data-sources/leaky?action=execute&wait=true";
    assert_eq!(note(host.post(act, &json!({"name": "leak"}))).1["result"]["said"], "it is <hidden>");
    note(host.post("/v1/data-sources", &draft("leaky", &config)));
    note(host.post("/v1/data-sources", &draft("other", &json!({"password": [SECRET]}))));
    note(host.patch("/v1/data-sources/leaky", &json!({"config": {"password": 7, "rows": SECRET}})));
    for path in ["/v1/data-sources", "/v1/data-sources/leaky", "/v1/data-sources/leaky/status"] {
        note(host.get(path));
    }
    for (path, hidden) in [
        ("/v1/data-sources/leaky/tables/leaks/spec", "no polls without <hidden>"),
        ("/v1/data-sources/leaky", "table \"kept_by_<hidden>\": the table's name holds the value of a secret option"),
    ] {
        let (_, body) = note(host.get(path));
        let text = body.to_string();
        let hidden = Value::from(hidden).to_string();
        assert!(text.contains(hidden.trim_matches('"')), "{path}: {text}");
    }
    for table in ["datasources", "tables", "plugins"] {
        note(host.get(&format!("/v1/services/_host/tables/{table}/rows")));
    }
    let stored = std::fs::read_dir(host.path("state")).unwrap().map(|entry| entry.unwrap().path());
    let stored: Vec<_> = stored.filter(|path| path.is_file()).collect();
    assert!(stored.len() >= 2, "{stored:?}");
    let found = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
    for path in stored {
        assert!(!found(&std::fs::read(&path).unwrap()), "{}", path.display());
    }
    let log = host.log_text();
    for words in ["fixture says <hidden>", "fixture's thread says <hidden>", "fixture's thread panics with <hidden>"] {
        assert!(log.contains(words), "the driver's words came through: {words}");
    }
    assert!(!found(log.as_bytes()), "the log");
    // The error of a value of another type quotes what is no secret of an option that is none.
    let quoted = said.iter().filter(|text| found(text.as_bytes())).collect::<Vec<_>>();
    assert!(quoted.iter().all(|text| text.contains("option \\\"rows\\\" takes a whole number")), "{quoted:?}");
}

#[test]
fn inv14_one_whose_driver_is_gone_waits_and_starts_when_it_comes_and_is_pruned_when_told() {
    let host = start(NO_FILE);
    create(&host, "web", json!({}));
    count(&host, "web", 3);
    let plugin = host.plugin("libfixture.so");
    std::fs::rename(&plugin, host.path("away.so")).unwrap();
    let other = "fixture-driver-bb";
    Fixture::new().id(other).rename_into(&host.plugin("libother.so"));
    let host = host.restart(NO_FILE);
    host.wait_plugin("libother.so", "serving");
    let error = "no driver \"fixture-driver-aa\" is loaded: did you mean \"fixture-driver-bb\"?";
    host.wait_row("_host", "datasources", "it to wait", |row| {
        row["state"] == "waiting for driver" && row["error"] == error
    });
    let (status, _) = host.post("/v1/data-sources", &json!({"name": "more", "driver": other}));
    assert_eq!(status, 201, "another is not held up");
    count(&host, "more", 3);
    let (_, orphans) = host.get("/v1/orphans");
    assert_eq!(orphans["results"].as_array().unwrap().len(), 1);
    std::fs::rename(host.path("away.so"), &plugin).unwrap();
    count(&host, "web", 3);
    let orphans = |host: &Host, wanted: usize| {
        wait_for("the orphans", || match host.get("/v1/orphans").1 {
            body if body["results"].as_array().map(Vec::len) == Some(wanted) => Ok(()),
            body => Err(body.to_string()),
        });
    };
    orphans(&host, 0);
    std::fs::remove_file(&plugin).unwrap();
    let host = host.restart(NO_FILE);
    host.wait_datasource("web", "waiting for driver");
    orphans(&host, 1);
    let pruned = host.post("/v1/orphans", &json!({"names": ["web", "more"]}));
    assert_eq!(pruned, (200, json!({"removed": ["web"]})));
    assert_eq!(host.get("/v1/data-sources?fields=name").1, json!({"results": [{"name": "more"}]}));
}

#[test]
fn the_configuration_file_is_followed_when_told() {
    let section = |name: &str, rest: &str| format!("[datasource.{name}]\ndriver = 'fixture-driver-aa'\n{rest}");
    let host = start(&(section("one", "") + &section("two", "")));
    count(&host, "one", 3);
    create(&host, "made", json!({}));
    let id = host.get("/v1/data-sources/one").1["id"].clone();
    let head = std::fs::read_to_string(host.path("busway.toml")).unwrap();
    let head = head.split("[datasource").next().unwrap().to_owned();
    let write = |rest: String| std::fs::write(host.path("busway.toml"), head.clone() + &rest).unwrap();
    write(section("one", "options = { rows = 7 }\n") + &section("three", "") + &section("made", ""));
    let expected = json!({"results": [
        {"name": "made", "change": "clash"},
        {"name": "one", "change": "changed", "keys": ["options.rows"]},
        {"name": "three", "change": "added"},
        {"name": "two", "change": "removed"},
    ]});
    assert_eq!(host.get("/v1/config/diff"), (200, expected.clone()));
    count(&host, "one", 3);
    assert_eq!(host.post("/v1/config/reload", &Value::Null), (200, expected));
    count(&host, "one", 7);
    count(&host, "three", 3);
    assert_eq!(host.get("/v1/data-sources/two").0, 404);
    assert_eq!(host.get("/v1/data-sources/one").1["id"], id);
    write("[datasource.one]\ndriver = 7\n".to_owned());
    let (status, kind, text) = refused(host.post("/v1/config/reload", &Value::Null));
    assert_eq!((status, &*kind), (400, "BadConfig"), "{text}");
    assert!(text.ends_with("invalid type: integer `7`, expected a string"), "{text}");
    count(&host, "three", 3);
}

#[test]
fn a_change_that_cannot_be_applied_leaves_the_former_in_force_until_it_can() {
    let host = start(NO_FILE);
    create(&host, "web", json!({"rows": 2}));
    count(&host, "web", 2);
    let (status, _) = host.patch("/v1/data-sources/web", &json!({"config": {"fault": "open_error", "rows": 4}}));
    assert_eq!(status, 200);
    let seen = host.wait_datasource("web", "degraded");
    let error = seen["error"].as_str().unwrap();
    let begins = "the changed configuration is not in force, the former one is: it can't open: ";
    assert!(error.starts_with(begins), "{error}");
    count(&host, "web", 2);
    // A new build takes over with the former configuration.
    Fixture::new().revision(2).rename_into(&host.plugin("libfixture.so"));
    wait_for("the new build's rows", || {
        let rows = host.rows("web", "numbers")?;
        if rows.len() == 2 && rows[0]["revision"] == 2 { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    host.wait_row("_host", "datasources", "it to go on as it was", |row| {
        row["state"] == "degraded"
            && row["generation"] == 2
            && row["error"].as_str().is_some_and(|e| e.starts_with(begins))
    });
    assert_eq!(host.patch("/v1/data-sources/web", &json!({"config": {"fault": null}})).0, 200);
    count(&host, "web", 4);
    host.wait_datasource("web", "running");
}

#[test]
fn an_action_is_checked_and_one_of_a_request_id_runs_once() {
    let host = start(NO_FILE);
    create(&host, "web", json!({}));
    host.wait_datasource("web", "running");
    let act = |query: &str, body: Value| host.post(&format!("/v1/data-sources/web?action=execute{query}"), &body);
    let echo = json!({"name": "echo", "args": {"named": {"text": "hi"}}});
    assert_eq!(act("&wait=true", echo.clone()), (200, json!({"result": "hi"})));
    // The predecessor's form: nobody waits.
    assert_eq!(act("", echo), (200, json!({})));
    let (status, kind, text) = refused(act("", json!({"name": "ecko"})));
    assert_eq!((status, &*kind, &*text), (400, "unknown_action", "no action \"ecko\": did you mean \"echo\"?"));
    let (_, kind, text) = refused(act("", json!({"name": "echo", "args": {"positional": [1, 2], "named": {"x": 1}}})));
    assert_eq!(
        (&*kind, &*text),
        (
            "invalid_arguments",
            "the arguments of \"echo\" are wrong: 2 arguments given, 1 taken; unknown argument \"x\": it takes text"
        )
    );
    let watched = |id: &str| act("&wait=true", json!({"name": "watched", "request_id": id})).1["result"].clone();
    let before = watched("one");
    let mut stream = host.stream("web", "numbers");
    stream.follow("its rows", |_| {}, |rows| rows.is_some());
    wait_for("the source to know", || match watched(&uuid(&host)) {
        now if now != before => Ok(()),
        same => Err(same.to_string()),
    });
    assert_eq!(watched("one"), before, "it ran once");
    let (status, kind, text) = refused(act("&wait=true", json!({"name": "waiting", "request_id": "one"})));
    assert_eq!(
        (status, &*kind, &*text),
        (409, "request_id_used", "request id \"one\" was used for another request: choose another id")
    );
}

/// Some text that was not there before.
fn uuid(host: &Host) -> String {
    let (_, body) = host.get("/v1/services/_host/tables/datasources/rows");
    format!("{}-{:?}", body["to"], std::time::Instant::now())
}
