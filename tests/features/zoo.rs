//! Libraries that are broken as they are loaded: the host lives, says of each what it does, and the others serve.

use busway_tests::animal::Animal;
use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Host};
use busway_tests::{DEADLINE, wait_for};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Instant;

const ONE: &str = "[plugins.vet]\ncpu = '1s'\ntimeout = '25s'\nmemory = 268_435_456\nfile_size = 1_000_000\n[datasource.one]\ndriver = \
                   'fixture-driver-aa'\npoll = '100ms'\n";

const CONSTRUCTORS: &str = "while it was mapped, which runs its constructors";

/// A host with a good driver beside what `fill` puts there; the driver's datasource runs.
fn host_with(fill: impl FnOnce(&Bed)) -> Host {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("good.so"));
    fill(&bed);
    let host = bed.start(ONE);
    host.wait_datasource("one", "running");
    host
}

/// A driver that never comes out of its constructor.
fn sleeper() -> Animal {
    Animal::constructed("animal-sleep", "for (;;) pause();")
}

/// Why a file is not served, but for how often it was tried.
fn reason(host: &Host, file: &str) -> String {
    let reason = host.wait_plugin(file, "refused")["reason"].as_str().unwrap_or_default().to_owned();
    reason.split("; tried ").next().unwrap_or_default().to_owned()
}

/// The host lives, and its good driver is polled on.
fn lives(host: &mut Host) {
    let polls = |row: &Value| row["polls"].as_u64().unwrap_or_default();
    let before = polls(&host.wait_datasource("one", "running"));
    host.wait_row("_host", "datasources", "more polls", |row| row["name"] == "one" && polls(row) > before + 1);
    assert!(host.is_alive());
}

/// Processes that have this folder as theirs, or a part of it: none is left of what was tried.
fn left_in(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let there = processes.filter(|p| fs::read_link(p.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)));
    there.map(|p| fs::read_to_string(p.path().join("status")).unwrap_or_default()).collect()
}

#[test]
fn inv02_what_kills_its_process_kills_no_host() {
    let animals = [
        (
            "abort",
            "fputs(\"no luck\\n\", stderr); abort();",
            format!(
                "tried in a child process, it was killed by SIGABRT {CONSTRUCTORS}, and would have taken the host with it; \
                 its last words: \"no luck\""
            ),
        ),
        (
            "fault",
            "*(volatile int *)8 = 1;",
            format!(
                "tried in a child process, it was killed by SIGSEGV {CONSTRUCTORS}, and would have taken the host with it"
            ),
        ),
        (
            "exit",
            "puts(\"bye\"); exit(0);",
            format!(
                "tried in a child process, it ended the process with code 0 {CONSTRUCTORS}, without an answer; its last \
                 words: \"bye\""
            ),
        ),
        (
            "spin",
            "for (volatile int i = 0;; i++) {}",
            format!(
                "tried in a child process, it used up 1s of processor time {CONSTRUCTORS}; if it needs more, raise \
                 plugins.vet.cpu"
            ),
        ),
        (
            "write",
            "int f = open(\"f\", O_CREAT | O_WRONLY, 0600); char b[65536]; for (;;) write(f, b, sizeof b);",
            format!(
                "tried in a child process, it wrote a file of more than 1000000 bytes {CONSTRUCTORS}; if it needs more, \
                 raise plugins.vet.file_size"
            ),
        ),
        (
            "memory",
            "for (;;) { char *p = malloc(1 << 20); if (!p) { perror(\"malloc\"); abort(); } memset(p, 1, 1 << 20); }",
            format!(
                "tried in a child process, it ran out of memory and was killed by SIGABRT {CONSTRUCTORS}; its last words: \
                 \"malloc: Cannot allocate memory\"; if it needs more, raise plugins.vet.memory"
            ),
        ),
        // The original ends, the copy goes on as a daemon: it must neither answer nor stay.
        (
            "daemon",
            "if (fork()) _exit(7);",
            format!("tried in a child process, it ended the process with code 7 {CONSTRUCTORS}, without an answer"),
        ),
    ];
    let mut host = host_with(|bed| {
        for (name, statements, _) in &animals {
            Animal::constructed(&format!("animal-{name}"), statements).put(&bed.plugin(&format!("{name}.so")));
        }
        // A copy that never stops talking.
        Animal::constructed("animal-flood", "if (fork()) _exit(3); for (;;) write(2, \"me \", 3);")
            .put(&bed.plugin("flood.so"));
    });
    let text = format!("tried in a child process, it ended the process with code 3 {CONSTRUCTORS}, without an answer");
    assert_eq!(reason(&host, "flood.so").split("; its last words: ").next(), Some(text.as_str()));
    for (name, _, text) in &animals {
        assert_eq!(reason(&host, &format!("{name}.so")), *text, "{name}");
    }
    lives(&mut host);
    let state = host.path("state");
    wait_for("every child to be gone", || match left_in(&state) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:#?}")),
    });
    let scratch = fs::read_dir(state.join("vet/scratch")).unwrap().flatten().map(|entry| entry.path());
    // Some are tried again just now.
    let scratch: Vec<_> = scratch.filter(|path| left_in(path).is_empty() && path.exists()).collect();
    assert!(scratch.len() <= 2, "{scratch:?}");
}

#[test]
fn what_never_comes_back_is_ended_when_its_time_is_over() {
    let host = host_with(|_| ());
    let mut host = host.restart(&ONE.replace("25s", "700ms"));
    host.wait_datasource("one", "running");
    sleeper().put(&host.plugin("sleep.so"));
    let text = format!(
        "tried in a child process, it was not done within 700ms: it stopped {CONSTRUCTORS}; if it only needs longer, raise \
         plugins.vet.timeout"
    );
    assert_eq!(reason(&host, "sleep.so"), text);
    lives(&mut host);
}

#[test]
fn what_only_looks_like_a_plugin_is_no_plugin() {
    let mut host = host_with(|bed| {
        let put = |animal: Animal, name: &str| animal.put(&bed.plugin(name));
        let source = "extern void no_such_function(void); __attribute__((constructor)) static void run(void) { \
                      no_such_function(); }\n";
        put(Animal::source("animal-unresolved", source), "unresolved.so");
        put(Animal::source("animal-lookalike", "int answer(void) { return 42; }\n"), "lookalike.so");
        let root = "const char _1as_0lib_1header_0root_bmodule_bloader[4096] = \"not what it seems\";\n";
        put(Animal::source("animal-imposter", root), "imposter.so");
        put(Animal::source("any", "int answer(void) { return 42; }\n").noteless(), "noteless.so");
        Fixture::new()
            .id("fixture-driver-bb")
            .replace("\"version\":\"0.1.0\"", "\"version\":\"0.1.9\"")
            .copy_over(&bed.plugin("liar.so"));
    });
    for (file, text) in [
        ("unresolved.so", "the system's loader refused it: undefined symbol: no_such_function"),
        (
            "lookalike.so",
            "it exports no Busway module (symbol _1as_0lib_1header_0root_bmodule_bloader): export one with export_driver!",
        ),
        ("noteless.so", "it is no Busway driver: it has no section .busway; export one with export_driver!"),
        ("liar.so", "its note says fixture-driver-bb 0.1.9, its description fixture-driver-bb 0.1.0"),
    ] {
        assert_eq!(reason(&host, file), text, "{file}");
    }
    // What abi_stable reads out of nonsense is its own to say.
    let text = reason(&host, "imposter.so");
    assert!(text.starts_with("built with abi_stable "), "{text}");
    let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid())).unwrap();
    let mapped: std::collections::BTreeSet<_> =
        maps.lines().filter(|l| l.contains("/staged/")).filter_map(|l| l.split_whitespace().last()).collect();
    assert_eq!(mapped.len(), 1, "inv02: nothing of them was mapped into the host: {mapped:?}");
    lives(&mut host);
}

#[test]
fn inv02_what_changes_its_process_is_refused() {
    let changes = [
        (
            "forks",
            "it starts a process when it is loaded, and in the host that would be a copy of the host: start it when a \
             source is opened, with a program of its own",
        ),
        (
            "catch",
            "when it is loaded it takes over the handling of SIGTERM, which is the host's: a driver shares the host's \
             process and leaves it as it is",
        ),
        (
            "chdir",
            "when it is loaded it changes the folder that the process runs in, to /: a driver shares the host's process \
             and leaves it as it is",
        ),
        (
            "umask",
            "when it is loaded it changes which rights new files have (umask 0022 to 0000): a driver shares the host's \
             process and leaves it as it is",
        ),
        (
            "setvr",
            "when it is loaded it changes the environment (FIXTURE) while other threads may be reading it: a driver shares \
             the host's process and leaves it as it is",
        ),
        (
            "close",
            "when it is loaded it closes or replaces descriptors that are not its own (0, 1, 2): a driver shares the host's \
             process and leaves it as it is",
        ),
    ];
    let mut host = host_with(|bed| {
        for (at, (load, _)) in changes.iter().enumerate() {
            let id = format!("fixture-driver-c{at}");
            Fixture::new().id(&id).fault("load", load).rename_into(&bed.plugin(&format!("{load}.so")));
        }
    });
    for (load, text) in changes {
        assert_eq!(reason(&host, &format!("{load}.so")), text, "{load}");
    }
    lives(&mut host);
    assert_eq!(left_in(&host.path("state")), [""; 0]);
}

#[test]
fn what_only_costs_is_loaded_with_a_warning() {
    let mut host = host_with(|bed| {
        Fixture::new().id("fixture-driver-dn").fault("load", "noise").rename_into(&bed.plugin("noise.so"));
        Fixture::new().id("fixture-driver-ds").fault("load", "stays").rename_into(&bed.plugin("stays.so"));
    });
    host.wait_plugin("noise.so", "serving");
    host.wait_plugin("stays.so", "serving");
    let log = host.log();
    let warnings = |file: &str| -> Vec<&str> {
        let of_file = log.iter().filter(|line| line["file"].as_str().is_some_and(|path| path.ends_with(file)));
        of_file.filter_map(|line| line["warning"].as_str()).collect()
    };
    assert_eq!(warnings("noise.so"), ["it writes to standard output or error when it is loaded: \"fixture speaks\""]);
    assert_eq!(
        warnings("stays.so"),
        [
            "it keeps /dev/zero open from the moment it is loaded",
            "it starts threads when it is loaded that stay: \"fixture-stays\"",
        ]
    );
    assert_eq!(warnings("good.so"), [""; 0]);
    lives(&mut host);
}

/// How many plugins the host tried since it was started.
fn tried(host: &Host) -> usize {
    host.log().iter().filter(|line| line["message"] == "plugin tried in a child process").count()
}

#[test]
fn a_restart_tries_none_that_is_known_and_chance_is_tried_again() {
    let host = host_with(|bed| {
        Fixture::new().id("fixture-driver-ee").fault("describe", "panic").rename_into(&bed.plugin("panics.so"));
        Animal::constructed("animal-abort", "abort();").put(&bed.plugin("aborts.so"));
    });
    let panics = "its description failed: panicked: fixture panics in describe (at ";
    assert!(reason(&host, "panics.so").starts_with(panics));
    let begun = Instant::now();
    // In its own time, the second after five seconds.
    wait_for("another try", || {
        let reason = host.wait_plugin("aborts.so", "refused")["reason"].as_str().unwrap().to_owned();
        if reason.ends_with("; tried 2 of 4 times") { Ok(()) } else { Err(reason) }
    });
    assert!(begun.elapsed() < DEADLINE);
    assert_eq!(tried(&host), 4);
    let mut host = host.restart(ONE);
    host.wait_datasource("one", "running");
    assert!(reason(&host, "panics.so").starts_with(panics));
    assert!(host.wait_plugin("aborts.so", "refused")["reason"].as_str().unwrap().ends_with("; tried 2 of 4 times"));
    assert_eq!(tried(&host), 0, "all of them were known");
    lives(&mut host);
}

#[test]
fn check_tries_them_too() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("good.so"));
    Animal::constructed("animal-abort", "abort();").put(&bed.plugin("abort.so"));
    bed.configure(ONE);
    let said = bed.run(&["check"]);
    assert_eq!(said.code, Some(6), "{}{}", said.out, said.err);
    let text = format!(
        "  tried in a child process, it was killed by SIGABRT {CONSTRUCTORS}, and would have taken the host with it; tried 1 \
         of 4 times\n"
    );
    assert!(said.out.contains(&text), "{}", said.out);
    assert!(!bed.path("state/vet").exists(), "a look without consequences");
}

#[test]
fn what_tries_a_plugin_ends_with_its_host() {
    let mut host = host_with(|bed| {
        sleeper().put(&bed.plugin("late.new"));
    });
    let state = host.path("state");
    fs::rename(host.plugin("late.new"), host.plugin("late.so")).unwrap();
    wait_for("the child", || if left_in(&state).is_empty() { Err("none".to_owned()) } else { Ok(()) });
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(host.pid()).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    wait_for("the host's end", || if host.is_alive() { Err("it lives".to_owned()) } else { Ok(()) });
    let begun = Instant::now();
    wait_for("the child's end", || match left_in(&state) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:#?}")),
    });
    assert!(begun.elapsed().as_secs() < 20, "sooner than by its own time limit");
}

#[test]
fn a_program_that_can_not_try_plugins_has_no_host() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let builder = || busway::node::Node::builder().state_dir(folder.path().join("state")).plugins(folder.path());
    // The main function of a test program is not ours.
    let error = runtime.block_on(builder().start()).unwrap_err();
    assert!(matches!(error, busway::node::NodeError::Vetter(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "no plugin can be tried before it is loaded: call busway::child_main_if_asked() first in main, or name the program \
         busway with Builder::vet_program or plugins.vet.program"
    );
    // A program that knows nothing of it is found out with the first plugin, and named.
    Fixture::new().rename_into(&folder.path().join("good.so"));
    let node = runtime.block_on(builder().vet_program("/bin/true").start()).unwrap();
    let reason = wait_for("a verdict", || {
        let files = node.catalog().files();
        files.first().map(|file| file.reason.clone()).filter(|r| !r.is_empty()).ok_or_else(|| "none".to_owned())
    });
    assert_eq!(
        reason,
        "it can't be tried: /bin/true, started as a child process, ended with code 0 before it came to the plugin"
    );
    runtime.block_on(node.stop());
    let node = runtime.block_on(builder().vet_program(busway_tests::workspace::program()).start()).unwrap();
    wait_for("the driver", || node.catalog().serving("fixture-driver-aa").ok_or_else(|| "none".to_owned()));
    runtime.block_on(node.stop());
}
