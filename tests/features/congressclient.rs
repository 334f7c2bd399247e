//! OpenStack's own client, unmodified, makes a tour of every command it has for datasources, drivers and versions.

use busway_tests::fixture::{Fixture, ID};
use busway_tests::host::{Bed, Host};
use busway_tests::openstack::{Library, Login, Shell, openstack};
use busway_tests::wait_for;
use busway_tests::workspace::driver;
use serde_json::{Value, json};

const TOKEN: &str = "h0sts-t0ken";

fn start(listen: &str) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    std::fs::copy(driver("push"), bed.plugin("libpush.so")).unwrap();
    std::fs::write(bed.path("token"), TOKEN).unwrap();
    let host = bed.start(listen);
    host.wait_plugin("libfixture.so", "serving");
    host.wait_plugin("libpush.so", "serving");
    host
}

/// The client breaks on Python 3 before it shows the answer; the same request, and what came.
fn broken(host: &Host, shell: &mut Shell, arguments: &[&str], path: &str) -> Value {
    let said = shell.run(arguments);
    assert_eq!((said.code, &*said.err), (Some(1), "'dict' object has no attribute 'iteritems'\n"), "{arguments:?}");
    let (status, body) = host.get(path);
    assert_eq!(status, 200, "{body}");
    body
}

fn fails(shell: &mut Shell, arguments: &[&str], text: &str) {
    let said = shell.run(arguments);
    assert_eq!((said.code, &*said.out, &*said.err), (Some(1), "", text), "{arguments:?}");
}

fn updates(status: &Value) -> u64 {
    status["number_of_updates"].as_str().unwrap().parse().unwrap()
}

fn versions_and_drivers(host: &Host, shell: &mut Shell) {
    assert_eq!(
        shell.json(&["version", "list"]),
        json!([{"id": "v1", "status": "CURRENT", "updated": "2013-08-12T17:42:13Z"}])
    );
    assert_eq!(
        shell.json(&["driver", "list"]),
        json!([
            {"id": ID, "description": "Misbehaves on request"},
            {"id": "push", "description": "Tables whose rows clients write"},
        ])
    );
    let mut shown = shell.json(&["driver", "config", "show", ID]);
    assert!(shown["module"].take().as_str().unwrap().ends_with("libfixture.so"));
    let shown_too = shown.as_object_mut().unwrap();
    assert!(shown_too.remove("generation").is_some() && shown_too.remove("info").is_some());
    let mut options = shown["config"].take();
    assert_eq!(options.as_object_mut().unwrap().remove("password"), Some(json!("(optional)")));
    assert!(options.as_object().unwrap().values().all(|is| is == "(optional)"), "{options}");
    assert_eq!(
        shown,
        json!({"id": ID, "description": "Misbehaves on request", "module": null, "config": null, "secret": ["password"]})
    );
    fails(
        shell,
        &["driver", "config", "show", "pusch"],
        "Driver not found pusch: no driver \"pusch\" is loaded: did you mean \"push\"? (HTTP 404)\n",
    );
    let schema =
        broken(host, shell, &["driver", "schema", "show", ID], &format!("/v1/system/drivers/{ID}"))["tables"].take();
    let columns = json!([{"name": "id", "description": "None"}, {"name": "revision", "description": "None"}]);
    assert_eq!(schema, json!([{"table_id": "numbers", "columns": columns}]));
}

/// Makes a datasource that is polled; its id.
fn polled(host: &Host, shell: &mut Shell) -> String {
    let arguments = ["datasource", "create", ID, "web", "--description", "all of it"];
    let config = ["--config", "rows=2", "--config", "password=hush", "--config", "poll_time=3600"];
    let made = shell.json(&[&arguments[..], &config].concat());
    assert_eq!(
        [&made["name"], &made["driver"], &made["description"], &made["type"], &made["enabled"]],
        [&json!("web"), &json!(ID), &json!("all of it"), &Value::Null, &json!(true)]
    );
    assert_eq!((&made["config"]["rows"], &made["config"]["password"]), (&json!(2), &json!("<hidden>")));
    let id = made["id"].as_str().unwrap().to_owned();
    let list = shell.json(&["datasource", "list"]);
    let (name, driver) = (&list[0]["name"], &list[0]["driver"]);
    assert_eq!((list.as_array().unwrap().len(), name, driver), (1, &json!("web"), &json!(ID)));
    assert_eq!((&list[0]["id"], &list[0]["enabled"]), (&json!(id), &json!(true)));
    let config = list[0]["config"].as_str().unwrap();
    assert!(config.contains("'rows': '2'") && config.contains("'password': '<hidden>'"), "{config}");
    host.wait_datasource("web", "running");

    assert_eq!(shell.json(&["datasource", "table", "list", "web"]), json!([{"id": "numbers"}, {"id": "ticks"}]));
    assert_eq!(shell.json(&["datasource", "table", "show", &id, "numbers"]), json!({"id": "numbers"}));
    assert_eq!(
        shell.json(&["datasource", "table", "schema", "show", "web", "ticks"]),
        json!([{"name": "id", "description": "None"}, {"name": "polls", "description": "None"}])
    );
    let rows = wait_for("the rows", || match shell.json(&["datasource", "row", "list", "web", "numbers"]) {
        rows if rows != json!([]) => Ok(rows),
        rows => Err(rows.to_string()),
    });
    assert_eq!(rows, json!([{"id": 0, "revision": 1}, {"id": 1, "revision": 1}]));
    let schema = broken(host, shell, &["datasource", "schema", "show", "web"], "/v1/data-sources/web/schema");
    let tables: Vec<&Value> = schema["tables"].as_array().unwrap().iter().map(|table| &table["table_id"]).collect();
    assert_eq!(tables, ["numbers", "ticks"]);
    let actions = broken(host, shell, &["datasource", "actions", "show", "web"], "/v1/data-sources/web/actions");
    let echo = json!({
        "name": "echo", "description": "Answers its argument", "args": [{"name": "text", "description": "What to answer"}]
    });
    assert_eq!(actions["results"][0], echo);

    let before = wait_for("its first poll", || match shell.json(&["datasource", "status", "show", "web"]) {
        status if status["initialized"] == "True" => Ok(status),
        status => Err(status.to_string()),
    });
    assert_eq!((&before["last_error"], updates(&before)), (&json!("None"), 1));
    assert_eq!((&before["subscriptions"], &before["subscribers"]), (&json!([]), &json!([])));
    assert_ne!(before["last_updated"], "None");
    for (asked, name) in [(2, "web"), (3, &*id)] {
        shell.done(&["datasource", "request-refresh", name]);
        wait_for("the refresh", || match updates(&shell.json(&["datasource", "status", "show", name])) {
            now if now == asked => Ok(()),
            now => Err(now.to_string()),
        });
    }
    id
}

fn pushed(shell: &mut Shell) {
    let made =
        shell.json(&["datasource", "create", "push", "alarms", "--config", "columns=[\"host\", \"alarm\", \"up\"]"]);
    assert_eq!(made["config"]["columns"], json!(["host", "alarm", "up"]));
    let list = ["datasource", "row", "list", "alarms", "data"];
    wait_for("the table", || match shell.run(&[&list[..], &["-f", "json"]].concat()) {
        said if said.code == Some(0) => Ok(()),
        said => Err(said.err),
    });
    assert_eq!(shell.json(&list), json!([]));
    let rows = r#"[["web1", "disk", "yes"], ["web2", null, "no"]]"#;
    shell.done(&["datasource", "row", "update", "alarms", "data", rows]);
    assert_eq!(
        shell.json(&list),
        json!([{"host": "web1", "alarm": "disk", "up": "yes"}, {"host": "web2", "alarm": "None", "up": "no"}])
    );
    fails(
        shell,
        &["datasource", "row", "update", "alarms", "data", r#"[["web1", "disk", "yes"], ["web2"]]"#],
        "row 2 has 1 values for 3 columns: host, alarm, up (HTTP 400)\n",
    );
    fails(
        shell,
        &["datasource", "row", "update", "web", "numbers", "[[1, 2]]"],
        "Method replace_entire_table_data not supported for datasource web: clients write no table of driver \
         fixture-driver-aa (HTTP 400)\n",
    );
    assert_eq!(shell.json(&list).as_array().unwrap().len(), 2, "nothing was changed");
    let status = shell.json(&["datasource", "status", "show", "alarms"]);
    assert_eq!((&status["initialized"], &status["last_error"]), (&json!("True"), &json!("None")));
}

/// What the commands do not do, and the library under them does.
fn library(host: &Host, login: Login<'_>) {
    let mut library = Library::new(host.url(), login);
    let shown = library.call("show_datasource", &[json!("web")]).unwrap();
    assert_eq!((&shown["name"], &shown["config"]["password"]), (&json!("web"), &json!("<hidden>")));
    let echo = json!({"name": "echo", "args": {"positional": ["hi"], "named": {}}});
    let execute = |library: &mut Library, body: Value| {
        library.call("execute_datasource_action", &[json!("web"), json!("execute"), body])
    };
    assert_eq!(execute(&mut library, echo), Ok(json!({})));
    let wrong = execute(&mut library, json!({"name": "ecko", "args": {"positional": [], "named": {}}}));
    assert_eq!(wrong, Err((400, "no action \"ecko\": did you mean \"echo\"? (HTTP 400)".to_owned())));
    assert_eq!(
        library.call("list_datasource_rows", &[json!("web"), json!("numbers")]),
        Ok(json!(host.get("/v1/data-sources/web/tables/numbers/rows").1))
    );
    let draft = json!({"name": "off", "driver": ID, "config": {}, "enabled": false});
    assert_eq!(library.call("create_datasource", &[draft]).unwrap()["enabled"], false);
    assert_eq!(library.call("delete_datasource", &[json!("off")]), Ok(Value::Null));
    let none = (404, "Datasource not found off (HTTP 404)".to_owned());
    assert_eq!(library.call("list_datasource_status", &[json!("off")]), Err(none));
}

fn refusals_and_ends(shell: &mut Shell, id: &str) {
    for (arguments, text) in [
        (&["create", ID, "web"][..], "Datasource already in use with name web (HTTP 409)\n"),
        (
            &["create", ID, "more", "--config", "rowss=1"],
            "Invalid driver options: unknown option \"rowss\": did you mean \"rows\"? (HTTP 400)\n",
        ),
        (&["create", "none", "more"], "Invalid driver: none: no driver \"none\" is loaded (HTTP 400)\n"),
        (&["status", "show", "more"], "Datasource not found more (HTTP 404)\n"),
        (&["table", "list", "more"], "Datasource not found more (HTTP 404)\n"),
        (&["row", "list", "web", "more"], "Not Found::tablename 'more' does not exist (HTTP 404)\n"),
        // The client looks the name up itself, having been told that there is none.
        (&["delete", "more"], "Resource more not found (HTTP 404)\n"),
    ] {
        fails(shell, &[&["datasource"], arguments].concat(), text);
    }
    shell.done(&["datasource", "delete", id]);
    shell.done(&["datasource", "delete", "alarms"]);
    assert_eq!(shell.json(&["datasource", "list"]), json!([]));
}

fn tour(host: &Host, login: Login<'_>) {
    // What a person sees, in a process of its own.
    let said = openstack(host.url(), login, &["congress", "version", "list"]);
    let table = "+----+---------+----------------------+\n| id | status  | updated              |\n\
                 +----+---------+----------------------+\n| v1 | CURRENT | 2013-08-12T17:42:13Z |\n\
                 +----+---------+----------------------+\n";
    assert_eq!((said.code, &*said.out, &*said.err), (Some(0), table, ""));
    let mut shell = Shell::new(host.url(), login);
    versions_and_drivers(host, &mut shell);
    let id = polled(host, &mut shell);
    pushed(&mut shell);
    library(host, login);
    refusals_and_ends(&mut shell, &id);
}

#[test]
fn a_tour_without_login_where_writes_are_open() {
    let host = start("open_writes = true\n");
    tour(&host, Login::None);
    let warning = "listen.open_writes: every user and program of this machine may change everything here";
    assert!(host.log().iter().any(|line| line["message"] == warning && line["level"] == "WARN"));
}

#[test]
fn a_tour_with_the_token() {
    let host = start("token_file = 'token'\n");
    tour(&host, Login::AdminToken(TOKEN));
    let mut stranger = Shell::new(host.url(), Login::AdminToken("another"));
    fails(
        &mut stranger,
        &["datasource", "create", ID, "web"],
        "this needs the token, as \"Authorization: Bearer …\" or \"X-Auth-Token: …\" (HTTP 401)\n",
    );
    assert_eq!(stranger.json(&["datasource", "list"]), json!([]));
}

#[test]
fn without_a_word_in_the_configuration_nothing_is_written_over_tcp() {
    let host = start("");
    let mut shell = Shell::new(host.url(), Login::None);
    assert_eq!(shell.json(&["datasource", "list"]), json!([]));
    fails(
        &mut shell,
        &["datasource", "create", ID, "web"],
        "over TCP this host answers reads only: use its unix socket, or set listen.token_file or listen.open_writes \
         (HTTP 403)\n",
    );
}
