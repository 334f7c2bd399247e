//! The host as a process: starting, refusing to, stopping.

use busway_tests::fixture::Fixture;
use busway_tests::host::Bed;
use std::net::TcpListener;

#[test]
fn a_second_host_on_one_state_directory_is_told_who_has_it() {
    let host = Bed::new().start("");
    let said = host.command(&["run", "--config", "busway.toml"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(said.stderr).unwrap(),
        format!(
            "error: the state directory state is in use by the host with process id {}: stop that one, or name another \
             with --state-dir\n",
            host.pid()
        )
    );
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let bed = Bed::new();
    bed.configure("");
    let said = bed.run(&["run", "--listen", &address.to_string()]);
    assert_eq!(said.code, Some(1));
    assert_eq!(
        said.err,
        format!("error: can't listen on {address}: Address already in use (os error 98); name another with --listen\n")
    );
    // What was begun is undone: the next start works.
    let _ = bed.start("");
}

#[test]
fn a_configuration_that_is_wrong_is_said_with_its_line() {
    let bed = Bed::new();
    bed.configure("[datasource.a]\ndriver = 'files'\npool = 1\n");
    let said = bed.run(&["run"]);
    assert_eq!(said.code, Some(5));
    assert_eq!(
        said.err,
        "error: the configuration busway.toml, line 11: unknown field `pool`, expected one of `driver`, `description`, \
         `enabled`, `addresses`, `poll`, `deadline`, `max_rows`, `max_bytes`, `persist_data`, `options`\n"
    );
    let said = bed.run(&["run", "--config", "nowhere.toml"]);
    assert_eq!(said.code, Some(5));
    assert_eq!(
        said.err,
        "error: the configuration nowhere.toml can't be read: No such file or directory (os error 2)\n"
    );
}

#[test]
fn it_stops_gracefully_even_with_a_driver_that_hangs() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let mut host = bed.start(
        "[datasource.good]\ndriver = 'fixture-driver-aa'\npoll = '50ms'\n[datasource.hangs]\ndriver = \
         'fixture-driver-aa'\ndeadline = '1s'\n[datasource.hangs.options]\nfault = 'poll_hang'\n",
    );
    host.wait_datasource("good", "running");
    host.wait_datasource("hangs", "opening");
    assert!(host.terminate().success());
    assert!(host.log().iter().any(|l| l["message"] == "stopped"), "{}", host.log_text());
    assert!(!host.path("bus.sock").exists(), "its socket is gone");
}

#[test]
fn the_socket_is_its_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt;
    let host = Bed::new().start("");
    let mode = std::fs::metadata(host.path("bus.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
