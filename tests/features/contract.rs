//! The contract's promise: any driver of contract 1.x runs in any host of 1.y, both ways.

use busway_tests::fixture::Fixture;
use busway_tests::host::Bed;
use busway_tests::workspace::{cargo, root, target};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Contract 1.1 as it would be made: behind the last field and behind each last method, one more.
const GROWTH: [(&str, &str, &str); 5] = [
    (
        "module.rs",
        "    pub control: extern \"C\" fn(op: RStr<'_>, json: RStr<'_>) -> Reply,\n",
        "    pub news: extern \"C\" fn(text: RStr<'_>) -> Reply,\n",
    ),
    ("module.rs", "        Self { ", "news: no_news, "),
    (
        "module.rs",
        "impl Module {\n",
        "    pub const fn with_news(mut self, news: extern \"C\" fn(RStr<'_>) -> Reply) -> Self {\n        self.news = \
         news;\n        self\n    }\n",
    ),
    ("source.rs", "    fn control(&self, op: RStr<'_>, json: RStr<'_>) -> Reply;\n", NEWS),
    ("host.rs", "    fn control(&self, op: RStr<'_>, json: RStr<'_>) -> Reply;\n", NEWS),
];
const NEWS: &str = "    fn news(&self, _text: RStr<'_>) -> Reply {\n        Reply { status: crate::Status::NOT_IMPLEMENTED, \
                    body: Default::default() }\n    }\n";

/// What `Module::new` fills in for drivers that don't know the new field.
const NO_NEWS: &str = "\nextern \"C\" fn no_news(_: RStr<'_>) -> Reply {\n    Reply { status: \
                       crate::Status::NOT_IMPLEMENTED, body: Default::default() }\n}\n";

/// Another 1.1, which grew another way: `news` takes a number.
const OTHER: (&str, &str, &str) = (
    "source.rs",
    "    fn control(&self, op: RStr<'_>, json: RStr<'_>) -> Reply;\n",
    "    fn news(&self, _number: u64) -> Reply {\n        Reply::ok()\n    }\n",
);

/// A change that no 1.x may make: a method before the last one.
const BREAK: (&str, &str, &str) = (
    "source.rs",
    "    fn tables(&self, request: RStr<'_>) -> Reply;\n",
    "    fn intruder(&self) -> Reply {\n        Reply::ok()\n    }\n",
);

struct Built {
    host: PathBuf,
    plugin: PathBuf,
}

/// Builds fixture host and driver against a changed copy of the contract, in a workspace of its own. Each needs a
/// version of its own too: cargo tells packages of different workspaces in one target folder by name and version alone.
fn build(name: &str, version: &str, changes: &[(&str, &str, &str)], grown: bool) -> Built {
    let folder = target().join("contract").join(name);
    let abi = folder.join("abi/src");
    let fixtures = root().join("tests/fixtures/contract");
    fs::create_dir_all(&abi).unwrap();
    for kind in ["plugin", "host"] {
        fs::create_dir_all(folder.join(kind)).unwrap();
    }
    let manifest = fs::read_to_string(root().join("plugin-api/abi/Cargo.toml")).unwrap();
    let manifest = manifest.replacen("version = \"1.0.0\"", &format!("version = \"{version}\""), 1);
    write(&folder.join("abi/Cargo.toml"), &manifest.replace("publish.workspace = true", "publish = false"));
    for entry in fs::read_dir(root().join("plugin-api/abi/src")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut text = fs::read_to_string(&path).unwrap();
        for (_, anchor, addition) in changes.iter().filter(|(of, ..)| *of == file) {
            assert_eq!(text.matches(anchor).count(), 1, "{file} holds {anchor:?} once");
            text = text.replace(anchor, &format!("{anchor}{addition}"));
        }
        if grown && file == "module.rs" {
            text.push_str(NO_NEWS);
        }
        write(&abi.join(file), &text);
    }
    let whole = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let profile = &whole[whole.find("[profile.dev]").unwrap()..];
    write(
        &folder.join("Cargo.toml"),
        &format!(
            "[workspace]\nresolver = \"2\"\nmembers = [\"abi\", \"plugin\", \"host\"]\n[workspace.package]\nlicense = \
             \"MIT\"\n[workspace.dependencies]\nabi_stable = {{ version = \"=0.11.3\", default-features = false \
             }}\n[workspace.lints.rust]\n{profile}"
        ),
    );
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let cfg = if grown { "println!(\"cargo::rustc-cfg=grown\");" } else { "" };
    let script = format!("fn main() {{ println!(\"cargo::rustc-check-cfg=cfg(grown)\"); {cfg} }}");
    for (kind, target, dependency) in [
        ("plugin", "[lib]\ncrate-type = [\"cdylib\"]".to_owned(), ""),
        ("host", format!("[[bin]]\nname = \"contract-host-{name}\""), "libloading = \"0.9\"\n"),
    ] {
        write(
            &folder.join(kind).join("Cargo.toml"),
            &format!(
                "[package]\nname = \"contract-{kind}-{name}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n{target}\npath = \
                 \"src.rs\"\n[dependencies]\nbusway-abi = {{ path = \"../abi\" }}\nabi_stable.workspace = \
                 true\n{dependency}"
            ),
        );
        write(&folder.join(kind).join("build.rs"), &script);
        write(&folder.join(kind).join("src.rs"), &fs::read_to_string(fixtures.join(format!("{kind}.rs"))).unwrap());
    }
    cargo(&folder, &["build", "--offline", "--quiet"]);
    let debug = target().join("debug");
    Built {
        host: debug.join(format!("contract-host-{name}")),
        plugin: debug.join(format!("libcontract_plugin_{}.so", name.replace('-', "_"))),
    }
}

/// Only when it differs, so that an unchanged contract is not built again.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::write(path, text).unwrap();
    }
}

fn plain() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| build("plain", "1.0.0", &[], false))
}

fn grown() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| build("grown", "1.1.0", &GROWTH, true))
}

fn run(host: &Built, plugins: &[&Built]) -> Vec<String> {
    let output = Command::new(&host.host).args(plugins.iter().map(|p| &p.plugin)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

const PLAIN_IN_PLAIN: &str =
    "contract-plugin-plain: poll[published=rows/7 news=-1] module.news[unknown] source.news[unknown] control[2]";
const GROWN_IN_PLAIN: &str =
    "contract-plugin-grown: poll[published=rows/7 news=2] module.news[unknown] source.news[unknown] control[2]";
const PLAIN_IN_GROWN: &str =
    "contract-plugin-plain: poll[published=rows/7 news=-1] module.news[absent] source.news[2] control[2]";
const GROWN_IN_GROWN: &str = "contract-plugin-grown: poll[published=rows/7 news=77] module.news[module heard host] \
                              source.news[0] control[2]";

#[test]
fn a_host_of_1_0_runs_drivers_of_1_0_and_1_1_in_any_order() {
    assert_eq!(run(plain(), &[plain()]), [PLAIN_IN_PLAIN]);
    assert_eq!(run(plain(), &[grown()]), [GROWN_IN_PLAIN]);
    assert_eq!(run(plain(), &[plain(), grown()]), [PLAIN_IN_PLAIN, GROWN_IN_PLAIN]);
    assert_eq!(run(plain(), &[grown(), plain()]), [GROWN_IN_PLAIN, PLAIN_IN_PLAIN]);
}

#[test]
fn a_host_of_1_1_runs_drivers_of_1_0_and_1_1_in_any_order() {
    assert_eq!(run(grown(), &[plain()]), [PLAIN_IN_GROWN]);
    assert_eq!(run(grown(), &[grown()]), [GROWN_IN_GROWN]);
    assert_eq!(run(grown(), &[plain(), grown()]), [PLAIN_IN_GROWN, GROWN_IN_GROWN]);
    assert_eq!(run(grown(), &[grown(), plain()]), [GROWN_IN_GROWN, PLAIN_IN_GROWN]);
}

#[test]
fn drivers_that_grew_the_contract_apart_do_not_depend_on_who_came_first() {
    let other = build("other", "1.3.0", &[OTHER], false);
    let other_in_plain = PLAIN_IN_PLAIN.replace("-plain", "-other");
    assert_eq!(run(plain(), &[grown(), &other]), [GROWN_IN_PLAIN, &other_in_plain]);
    assert_eq!(run(plain(), &[&other, grown()]), [&other_in_plain, GROWN_IN_PLAIN]);
}

#[test]
fn a_driver_of_another_major_is_refused_in_one_line() {
    let next = build("major", "2.0.0", &[], false);
    assert_eq!(
        run(plain(), &[&next, plain()]),
        [
            "refused: built with contract 2.0.0, this host speaks 1.0.0: rebuild the driver with busway-abi 1.x",
            "| the contract has another major version",
            "| expected: 1.0.0",
            "| found:    2.0.0",
            "| older:    this host: the driver has contract 2.0.0, and this host 1.0.0",
            "| now:      rebuild the driver with a busway-plugin-api that is made with busway-abi 1.x, or use a host of \
             contract 2",
            PLAIN_IN_PLAIN
        ]
    );
}

fn broken() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| build("broken", "1.2.0", &[BREAK], false))
}

const REFUSED: &str = "its types differ from contract 1.0.0 (it was built with 1.2.0): Source::intruder is new in the \
                       driver, and not at an end where it might be; rebuild the driver with busway-abi 1.0.0 (`cargo \
                       update -p busway-abi --precise 1.0.0`), or use a host of contract 1.2.0";
const EXPLAINED: [&str; 5] = [
    "Source::intruder is new in the driver, and not at an end where it might be",
    "expected: poll: fn(&self, RStr<'_>) -> PollReply",
    "found:    intruder: fn(&self) -> Reply",
    "older:    this host: the driver has contract 1.2.0, and this host 1.0.0",
    "now:      rebuild the driver with busway-abi 1.0.0 (`cargo update -p busway-abi --precise 1.0.0`), or use a host \
     of contract 1.2.0",
];

#[test]
fn a_method_slipped_in_before_the_last_is_refused_in_one_line_and_explained_in_five() {
    let said = run(plain(), &[broken(), plain()]);
    let explained = EXPLAINED.map(|line| format!("| {line}"));
    let expected: Vec<String> =
        [format!("refused: {REFUSED}")].into_iter().chain(explained).chain([PLAIN_IN_PLAIN.to_owned()]).collect();
    assert_eq!(said, expected);
}

/// The other way round: the host was built from sources that broke the contract.
#[test]
fn an_old_driver_in_a_host_that_broke_the_contract_is_told_so() {
    let said = run(broken(), &[plain()]);
    assert_eq!(
        said[1..],
        [
            "| Source::intruder is missing in the driver",
            "| expected: intruder: fn(&self) -> Reply",
            "| found:    poll: fn(&self, RStr<'_>) -> PollReply",
            "| older:    the driver: it has contract 1.0.0, and this host 1.2.0",
            "| now:      rebuild the driver with busway-plugin-api on busway-abi 1.2.0 (`cargo update -p busway-abi \
             --precise 1.2.0`)",
        ]
    );
}

#[test]
fn the_program_refuses_such_a_driver_and_tells_all_of_it() {
    let bed = Bed::new();
    let file = bed.plugin("libbroken.so");
    fs::copy(&broken().plugin, &file).unwrap();
    let path = file.to_str().unwrap();
    // From its bytes alone nothing is wrong with it.
    assert_eq!(bed.run(&["plugin", "inspect", path]).code, Some(0));
    let said = bed.run(&["plugin", "inspect", path, "--verbose"]);
    assert_eq!((said.code, said.err), (Some(6), format!("error: {path}: {REFUSED}\n")));
    let lines: Vec<&str> = said.out.lines().skip_while(|line| !line.starts_with("tried ")).collect();
    assert_eq!(lines[..2], ["tried       it can't be loaded", ""]);
    assert_eq!(lines[2..7], EXPLAINED);
    assert_eq!(lines[7..10], ["", "one difference in all:", "  Module.open > Opened.source > Source::intruder"]);
    assert!(lines.contains(&"abi_stable's report:") && lines.len() > 100, "the whole tree: {} lines", lines.len());
    let said = bed.run(&["plugin", "inspect", path, "--verbose", "--output", "json"]);
    let trial = serde_json::from_str::<Value>(&said.out).unwrap()["trial"].take();
    assert_eq!(
        (&trial["verdict"], &trial["kind"], &trial["reason"]),
        (&json!("bad"), &json!("contract"), &json!(REFUSED))
    );
    assert_eq!(trial["explanation"], EXPLAINED.join("\n"));
    // The suite for authors, and a host.
    let said = bed.run(&["plugin", "test", path, "--output", "json"]);
    let checks = serde_json::from_str::<Value>(&said.out).unwrap()["checks"].take();
    let contract = checks.as_array().unwrap().iter().find(|check| check["name"] == "contract").unwrap().clone();
    assert_eq!((&contract["outcome"], &contract["reason"]), (&json!("failed"), &json!(REFUSED)));
    assert_eq!(contract["explanation"], EXPLAINED.join("\n"));
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let host = bed.start("[datasource.one]\ndriver = 'fixture-driver-aa'\npoll = '100ms'\n");
    assert_eq!(host.wait_plugin("libbroken.so", "refused")["reason"], REFUSED);
    host.wait_datasource("one", "running");
    // One that fits is told so.
    let good = host.plugin("libfixture.so");
    let said = host.run(&["plugin", "inspect", good.to_str().unwrap(), "--verbose"]);
    assert_eq!((said.code, said.out.lines().last()), (Some(0), Some("tried       it can be loaded")), "{said:?}");
}
