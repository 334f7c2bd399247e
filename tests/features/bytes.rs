//! Files that must not reach the system's loader: what is said of them, and that they are taken up once they are right.

use crate::loading::{ONE, reason};
use busway::plugin::{BytesError, facts};
use busway_tests::fixture::Fixture;
use busway_tests::host::{Bed, Said};
use busway_tests::wait_for;
use busway_tests::workspace::root;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where a section of a 64-bit ELF file lies, by what precedes it in the file: offset and size.
fn section(bytes: &[u8], name: &str) -> (usize, usize) {
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
    let header = |i: usize| long(40) + i * 64;
    let names = long(header(half(62)) + 24);
    let is = |i: &usize| bytes[names + word(header(*i))..].starts_with(format!("{name}\0").as_bytes());
    let i = (1..half(60)).find(is).expect("the section is there");
    (long(header(i) + 24), long(header(i) + 32))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What `check` says of a plugin file.
fn checked(bed: &Bed, file: &str) -> String {
    checked_all(bed).into_iter().find(|(name, _)| name.ends_with(file)).expect("check names every file").1
}

/// What `check` says of each plugin file.
fn checked_all(bed: &Bed) -> Vec<(String, String)> {
    let Said { out, .. } = bed.run(&["check", "-o", "jsonl"]);
    let lines = out.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    lines.filter(|line| line["what"] == "plugin").map(|line| (text(&line["name"]), text(&line["detail"]))).collect()
}

#[test]
fn inv02_no_truncated_driver_is_accepted() {
    let whole = Fixture::new();
    for percent in 0..100 {
        let end = whole.bytes().len() * percent / 100;
        let error = facts(&whole.bytes()[..end]).expect_err("it is cut short");
        assert!(error.may_be_incomplete(), "{percent} %: {error}");
    }
    assert_eq!(facts(whole.bytes()).unwrap().note.id, "fixture-driver-aa");
}

#[test]
fn inv02_no_driver_with_a_hole_in_what_the_loader_reads_is_accepted() {
    let whole = Fixture::new().bytes().to_vec();
    let names =
        [".dynsym", ".dynstr", ".gnu.hash", ".rela.dyn", ".dynamic", ".text", ".eh_frame_hdr", ".busway", ".shstrtab"];
    for name in names {
        let (begin, size) = section(&whole, name);
        let mut holed = whole.clone();
        holed[begin..begin + size].fill(0);
        let error = facts(&holed).expect_err(name);
        assert!(error.may_be_incomplete(), "{name}: {error}");
    }
    // As file systems leave it: whole blocks, beginning anywhere among the code.
    let (begin, size) = section(&whole, ".text");
    for part in 0..8 {
        let first = (begin + size * part / 9).next_multiple_of(4096);
        let mut holed = whole.clone();
        holed[first..first + 4096].fill(0);
        let expected =
            BytesError::Hole { part: "section .text".to_owned(), begin: first as u64, end: first as u64 + 4096 };
        assert_eq!(facts(&holed), Err(expected));
    }
    // What was laid out and not yet written: zeros up to the end.
    for percent in 1..20 {
        let mut holed = whole.clone();
        holed[whole.len() * percent / 20..].fill(0);
        assert!(facts(&holed).expect_err("zeros").may_be_incomplete(), "{percent}");
    }
}

/// Numbers that look random and are the same in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % end
    }
}

#[test]
fn inv02_whatever_the_bytes_are_the_look_at_them_ends() {
    let mut bytes = Fixture::new().bytes().to_vec();
    let mut seeded = Seeded(0x9e37_79b9_7f4a_7c15);
    let tables =
        [".dynamic", ".dynsym", ".gnu.hash", ".gnu.version", ".gnu.version_r", ".rela.dyn", ".eh_frame_hdr", ".busway"];
    let mut places: Vec<(usize, usize)> = tables.iter().map(|name| section(&bytes, name)).collect();
    let sections = usize::try_from(u64::from_le_bytes(bytes[40..48].try_into().unwrap())).unwrap();
    places.extend([(0, 64), (64, 616), (sections, 40 * 64)]);
    let mut refused = 0;
    for _ in 0..300 {
        let mut undo = Vec::new();
        for _ in 0..=seeded.below(3) {
            let (begin, size) = places[seeded.below(places.len())];
            let (at, width) = (begin + seeded.below(size), 1 << seeded.below(4));
            let value = match seeded.below(5) {
                0 => 0,
                1 => u64::MAX,
                2 => 1 << seeded.below(64),
                3 => seeded.below(bytes.len()) as u64,
                _ => seeded.below(usize::MAX) as u64,
            };
            let end = (at + width).min(bytes.len());
            undo.push((at, bytes[at..end].to_vec()));
            bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
        }
        refused += usize::from(facts(&bytes).is_err());
        for (at, before) in undo.into_iter().rev() {
            bytes[at..at + before.len()].copy_from_slice(&before);
        }
    }
    // Most of a library's bytes are nobody's business but its own; of the tables, many are the loader's.
    assert!((100..300).contains(&refused), "{refused}");
    assert!(facts(&bytes).is_ok());
}

#[test]
fn a_copy_that_goes_on_is_incomplete_and_taken_up_when_it_is_whole() {
    let bed = Bed::new();
    let whole = Fixture::new();
    let length = whole.bytes().len();
    let (begin, size) = section(whole.bytes(), ".text");
    let mut holed = whole.clone().id("fixture-driver-hh").bytes().to_vec();
    let first = (begin + size / 2).next_multiple_of(4096);
    holed[first..first + 8192].fill(0);
    let cut = |percent: usize| &whole.bytes()[..length * percent / 100];
    let again = "copy it again, best under another name and then renamed";
    let short = |percent: usize| {
        let at = length * percent / 100;
        format!("it is cut short: its table of sections ends at byte {length}, the file at {at}; {again}")
    };
    let hole = format!("it has a hole: in section .text, bytes {first} to {} are all zero; {again}", first + 8192);
    let zeros = format!("it has a hole: in its beginning, bytes 0 to 4096 are all zero; {again}");
    let files = [
        ("cut1.so", cut(1), short(1)),
        ("cut50.so", cut(50), short(50)),
        ("cut99.so", cut(99), short(99)),
        ("holed.so", &holed, hole),
        ("zeros.so", &[0; 10_000], zeros),
    ];
    let write = |folder: &Path| files.iter().for_each(|(name, bytes, _)| fs::write(folder.join(name), bytes).unwrap());
    write(&bed.path("plugins"));
    bed.configure("");
    let said: Vec<String> = checked_all(&bed).into_iter().map(|(_, detail)| detail).collect();
    assert_eq!(said, files.each_ref().map(|(_, _, text)| text.clone()));
    let mut host = bed.start(ONE);
    write(&host.path("plugins"));
    for (file, _, text) in &files {
        assert_eq!(&reason(&host, file, "incomplete"), text);
    }
    whole.copy_over(&host.plugin("cut50.so"));
    host.wait_plugin("cut50.so", "serving");
    host.wait_datasource("one", "running");
    // Nobody went on with the others.
    for (file, _, text) in &files[3..] {
        assert_eq!(&reason(&host, file, "refused"), text);
    }
    assert!(host.is_alive());
}

#[test]
fn what_is_wrong_for_good_is_refused_at_once() {
    let bed = Bed::new();
    fs::write(bed.plugin("script.so"), "#!/bin/sh\nexec true\n").unwrap();
    fs::write(bed.plugin("archive.so"), "!<arch>\n").unwrap();
    let whole = Fixture::new();
    let stack = stack_flags(whole.bytes());
    let mut executable = whole.clone().id("fixture-driver-ss").bytes().to_vec();
    executable[stack] |= 1;
    fs::write(bed.plugin("stack.so"), &executable).unwrap();
    let newer = whole.id("fixture-driver-vv").replace("GLIBC_2.34", "GLIBC_9.34");
    newer.rename_into(&bed.plugin("newer.so"));
    bed.configure("");
    let host = bed.start("");
    for (file, text) in [
        ("script.so", "it is no shared library: it is a script"),
        (
            "archive.so",
            "it is no shared library: it is an archive of object files (.a): build it with crate-type = [\"cdylib\"]",
        ),
        (
            "stack.so",
            "it asks for an executable stack, which would be every stack of the host: link it with -z noexecstack, and build \
             its assembly so",
        ),
    ] {
        assert_eq!(reason(&host, file, "refused"), text);
    }
    let text = reason(&host, "newer.so", "refused");
    let newest = text.strip_prefix("it needs GLIBC_9.34 of libc.so.6, this system has GLIBC_2.");
    let newest = newest.and_then(|rest| rest.strip_suffix(" at most: build it on a system as old as this one"));
    assert!(newest.is_some_and(|number| number.parse::<u32>().is_ok()), "{text}");
}

/// Where the flags of the stack's segment stand.
fn stack_flags(bytes: &[u8]) -> usize {
    let headers = (0..11).map(|i| 64 + i * 56);
    let is_stack = |at: &usize| bytes[*at..*at + 4] == 0x6474_e551_u32.to_le_bytes();
    headers.clone().find(is_stack).expect("linkers say what the stack is to be") + 4
}

#[test]
fn a_checksum_file_decides() {
    let bed = Bed::new();
    let fixture = Fixture::new();
    fixture.rename_into(&bed.plugin("libfixture.so"));
    let inspected = bed.run(&["plugin", "inspect", "plugins/libfixture.so", "-o", "json"]).out;
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let hash = inspected["sha256"].as_str().unwrap().to_owned();
    let wrong = "0".repeat(64);
    fs::write(bed.plugin("libfixture.so.sha256"), format!("{wrong}  libfixture.so\n")).unwrap();
    bed.configure("");
    let text = format!("its SHA-256 is {hash}, its checksum file libfixture.so.sha256 says {wrong}: copy both again");
    assert_eq!(checked(&bed, "libfixture.so"), text);
    let host = bed.start(ONE);
    // Copied a moment ago, its checksum file not yet.
    fixture.rename_into(&host.plugin("libfixture.so"));
    assert_eq!(reason(&host, "libfixture.so", "incomplete"), text);
    fs::write(host.plugin("libfixture.so.sha256"), format!("{hash}  other.so\n")).unwrap();
    assert_eq!(
        reason(&host, "libfixture.so", "refused"),
        "its checksum file libfixture.so.sha256 is for other.so, not for libfixture.so: write it anew with `sha256sum \
         libfixture.so > libfixture.so.sha256`"
    );
    fs::write(host.plugin("libfixture.so.sha256"), format!("{hash}  libfixture.so\n")).unwrap();
    host.wait_plugin("libfixture.so", "serving");
    host.wait_datasource("one", "running");
    // Other bytes than were meant: those that serve go on.
    fixture.revision(2).rename_into(&host.plugin("libfixture.so"));
    let said = wait_for("the new bytes to be refused", || {
        let row = host.wait_row("_host", "plugins", "a plugin", |_| true);
        let text = row["reason"].as_str().unwrap_or_default().to_owned();
        if text.contains(&format!("says {hash}: copy both again")) { Ok(text) } else { Err(row.to_string()) }
    });
    assert!(said.starts_with("its SHA-256 is "), "{said}");
    assert_eq!(host.rows("one", "numbers").unwrap()[0]["revision"], 1);
}

#[test]
fn what_others_can_write_is_refused_until_they_can_not() {
    let bed = Bed::new();
    Fixture::new().rename_into(&bed.plugin("libfixture.so"));
    let folder = bed.path("plugins").canonicalize().unwrap();
    let file = folder.join("libfixture.so");
    chmod(&folder, 0o777);
    chmod(&file, 0o666);
    bed.configure("");
    let why = "is writable by everybody, who could put code into the host so";
    let text = |what: &str, path: &Path| format!("{what} {why}: chmod o-w {}", path.display());
    assert_eq!(checked(&bed, "libfixture.so"), text("it", &file));
    let host = bed.start(ONE);
    assert_eq!(reason(&host, "libfixture.so", "refused"), text("it", &file));
    chmod(&file, 0o644);
    wait_for("the directory to be named", || {
        let said = reason(&host, "libfixture.so", "refused");
        if said == text("its directory", &folder) { Ok(()) } else { Err(said) }
    });
    chmod(&folder, 0o755);
    host.wait_plugin("libfixture.so", "serving");
    host.wait_datasource("one", "running");
}

#[test]
fn only_listed_bytes_are_loaded_where_that_is_asked_for() {
    let bed = Bed::new();
    let fixture = Fixture::new();
    fixture.rename_into(&bed.plugin("libfixture.so"));
    bed.configure("");
    let listed = "[plugins]\ntrust = 'listed'";
    let rewrite = |bed: &Bed| {
        let text = fs::read_to_string(bed.path("busway.toml")).unwrap().replace("[plugins]", listed);
        fs::write(bed.path("busway.toml"), text).unwrap();
    };
    rewrite(&bed);
    let said = checked(&bed, "libfixture.so");
    let hash = said.split(['(', ')']).nth(1).and_then(|text| text.strip_prefix("SHA-256 ")).unwrap().to_owned();
    let text = format!(
        "its bytes (SHA-256 {hash}) are not on the list of trusted plugins state/plugins.lock: if they are what they should \
         be, `busway plugin trust plugins/libfixture.so`"
    );
    assert_eq!(said, text);
    let host = bed.start_with(rewrite, ONE);
    assert_eq!(reason(&host, "libfixture.so", "refused"), text);
    let trust = |arguments: &[&str]| {
        let mut command = host.command(&[&["plugin", "trust"], arguments].concat());
        let output =
            command.env("BUSWAY_CONFIG", "busway.toml").env("USER", "ada").env_remove("SUDO_USER").output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap(), output.status.code())
    };
    let of = format!("libfixture.so (fixture-driver-aa 0.1.0, SHA-256 {hash})");
    assert_eq!(trust(&["plugins/libfixture.so"]), (format!("{of} is trusted now\n"), String::new(), Some(0)));
    host.wait_plugin("libfixture.so", "serving");
    host.wait_datasource("one", "running");
    assert_eq!(trust(&["plugins/libfixture.so"]).0, format!("{of} was trusted already\n"));
    let list = trust(&["--list", "-o", "json"]).0;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["list"], "state/plugins.lock");
    let entry = &list["plugins"][0];
    assert_eq!((entry["sha256"].as_str(), entry["by"].as_str()), (Some(hash.as_str()), Some("ada")));
    // A new build is not trusted because the old one was; that one serves on.
    fixture.revision(2).rename_into(&host.plugin("libfixture.so"));
    let said = reason(&host, "libfixture.so", "held back");
    assert!(said.starts_with("its bytes (SHA-256 ") && said.ends_with("; the bytes before serve on"), "{said}");
    assert_eq!(host.rows("one", "numbers").unwrap()[0]["revision"], 1);
    assert_eq!(trust(&["plugins/libfixture.so"]).2, Some(0));
    host.wait_row("one", "numbers", "the new build's rows", |row| row["revision"] == 2);
    // And no longer.
    assert_eq!(trust(&["--remove", &hash[..12]]), (format!("{of} is trusted no longer\n"), String::new(), Some(0)));
    let (out, err, code) = trust(&["--remove", &hash[..12]]);
    let expected = format!("error: no trusted plugin {}\n  why: the trusted plugins are libfixture.so\n", &hash[..12]);
    assert_eq!((out.as_str(), err.starts_with(&expected), code), ("", true, Some(4)), "{err}");
    let (_, err, code) = trust(&["busway.toml"]);
    assert_eq!((err.as_str(), code), ("error: busway.toml: it is no shared library: it is text\n", Some(6)));
}

/// What the fuzzer begins with is still what its name says.
#[test]
fn inv02_of_each_seed_it_is_known_what_is_said() {
    let cut = "it is cut short: its header ends at byte 64, the file at ";
    let cut_table = "it is cut short: its table of sections ends at byte ";
    let expected = [
        ("cut-half", cut_table),
        ("cut-header", cut),
        ("cut-ident", cut),
        ("cut-segments", cut_table),
        ("hole-dynamic", "it has a hole: in its dynamic table, bytes "),
        ("hole-symbols", "it has a hole: in section .dynsym, bytes "),
        ("note-abort", "it is built with panic = \"abort\", "),
        ("note-contract", "it speaks contract 9.0.0, this host "),
        ("note-length", "its note can't be read: the note is shorter than it says"),
        ("note-no-json", "its note can't be read: key must be a string at line 1 column 2"),
        ("note-none", "it is no Busway driver: it has no section .busway; "),
        ("other-machine", "it is built for linux aarch64, "),
        ("sections-far", cut_table),
        ("stranger-archive", "it is no shared library: it is an archive of object files (.a): "),
        ("stranger-macho", "it is built for macos, "),
        ("stranger-pe", "it is built for windows, "),
        ("stranger-text", "it is no shared library: it is a script"),
        ("whole", "seed"),
        ("whole-relro", "seed"),
        ("whole-run-path", "seed"),
        ("whole-sysv-hash", "seed"),
        ("whole-unrelocated", "seed"),
    ];
    let folder = root().join("host/fuzz/seeds/plugin_bytes");
    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, expected.map(|(name, _)| name));
    for (name, begin) in expected {
        let bytes = fs::read(folder.join(name)).unwrap();
        let said = facts(&bytes).map_or_else(|error| error.to_string(), |facts| facts.note.id);
        assert!(said.starts_with(begin), "{name}: {said}");
    }
}
