//! The contract's layout, as it was and as it is: a driver built with any earlier 1.x must go on to load.

use crate::golden;
use abi_stable::StableAbi;
use busway_abi::layout::text;
use busway_abi::{abi_stable, ModuleRef, VERSION};
use std::collections::BTreeMap;
use std::fs;
use std::os::raw::c_char;

/// What may be done, and how, for who has just broken it.
const RULES: &str = "\
A driver that was built with that version would be refused, or worse. Allowed is to append, behind the last field or
method of Module, Source or Host: a field is read as an option (`missing_field(option)`), a method has a default body.
Anything else is said in JSON, or as an operation of `control`. See ARCHITECTURE.md, \"The contract\".";

struct Type {
    head: String,
    fields: Vec<String>,
}

impl Type {
    fn may_grow(&self) -> bool {
        self.head.starts_with("prefix of ")
    }
}

fn types(layout: &str) -> BTreeMap<String, Type> {
    let mut types: BTreeMap<String, Type> = BTreeMap::new();
    let mut last = String::new();
    for line in layout.lines() {
        match line.strip_prefix("    ") {
            Some(field) => types.get_mut(&last).unwrap().fields.push(field.to_owned()),
            None => {
                let (name, head) = line.split_once(") ").unwrap();
                last = format!("{name})");
                let new = types.insert(last.clone(), Type { head: head.to_owned(), fields: Vec::new() });
                assert!(new.is_none(), "{last} is there twice");
            }
        }
    }
    types
}

/// The lines that break `old`: gone, changed or in the way.
fn breaks(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (types(old), types(new));
    let mut breaks = Vec::new();
    for (name, was) in &old {
        let is = match new.get(name) {
            Some(is) => is,
            None => {
                breaks.push(format!("- {name} {}", was.head));
                continue;
            }
        };
        let mut said = Vec::new();
        if is.head != was.head {
            said.push(format!("- {name} {}\n+ {name} {}", was.head, is.head));
        }
        said.extend(fields(was, is));
        if !said.is_empty() {
            breaks.push(format!("in {name}:\n{}", said.join("\n")));
        }
    }
    breaks
}

/// Which fields are gone, in the way, or elsewhere.
fn fields(was: &Type, is: &Type) -> Vec<String> {
    let prefix = if is.may_grow() { was.fields.len().min(is.fields.len()) } else { is.fields.len() };
    if was.fields == is.fields[..prefix] {
        return Vec::new();
    }
    // What only moved because of others says nothing.
    let bare = |line: &String| line.split(' ').filter(|word| !word.starts_with("at=")).collect::<Vec<_>>().join(" ");
    let has = |fields: &[String], line: &String| fields.iter().any(|field| bare(field) == bare(line));
    let gone = was.fields.iter().filter(|line| !has(&is.fields, line)).map(|line| format!("-     {line}"));
    let new = is.fields[..prefix].iter().filter(|line| !has(&was.fields, line)).map(|line| format!("+     {line}"));
    let mut said: Vec<String> = gone.chain(new).collect();
    if said.is_empty() {
        let moved = was.fields.iter().zip(&is.fields).find(|(a, b)| a != b);
        said.extend(moved.map(|(a, b)| format!("-     {a}\n+     {b}")));
    }
    said
}

/// Today's layout. C's `char`, which the Arrow structs point to, is signed on some machines: here as on those.
fn today() -> String {
    let text = text(<ModuleRef as StableAbi>::LAYOUT);
    let char = if c_char::MIN == 0 { "u8" } else { "i8" };
    let pointers = ["format", "name", "metadata"];
    let lines =
        text.lines().map(|line| match pointers.iter().find(|name| line.starts_with(&format!("    {name}: "))) {
            Some(_) => line.replace(&format!("*const {char}"), "*const i8"),
            None => line.to_owned(),
        });
    lines.map(|line| line + "\n").collect()
}

/// The contract's version that a release of it is known by.
fn release() -> String {
    VERSION.rsplit_once('.').unwrap().0.to_owned()
}

/// All layouts that were ever released, by version.
fn released() -> Vec<(String, String)> {
    let folder = golden::path("x");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(version) = name.strip_prefix("layout-").and_then(|rest| rest.strip_suffix(".txt")) {
            all.push((version.to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn every_released_contract_is_a_prefix_of_todays() {
    let (today, released) = (today(), released());
    assert!(released.iter().any(|(version, _)| version == "1.0"), "the layout of 1.0 is kept for good");
    for (version, old) in released {
        let breaks = breaks(&old, &today);
        assert!(
            breaks.is_empty(),
            "contract {version} is broken (- as it was, + as it is):\n\n{}\n\n{RULES}",
            breaks.join("\n")
        );
    }
}

#[test]
fn what_is_new_has_a_version_of_its_own() {
    let (release, today) = (release(), today());
    let path = golden::path(&format!("layout-{release}"));
    if golden::writes() && !path.exists() {
        fs::write(&path, &today).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_else(|_| {
        panic!("contract {release} is new: test with BUSWAY_GOLDEN=write, which keeps its layout in {}", path.display())
    });
    let news = breaks(&today, &kept);
    assert!(
        news.is_empty(),
        "contract {release} was released without this:\n\n{}\n\nIf the test beside this one \
         passes, drivers built before still load. Raise the minor version in plugin-api/abi/Cargo.toml, then test with \
         BUSWAY_GOLDEN=write.",
        news.join("\n").replace("\n+ ", "\n! ").replace("\n- ", "\n+ ").replace("\n! ", "\n- ")
    );
}

/// The comparison itself, on layouts that are changed as text.
#[test]
fn growth_is_told_from_breaks() {
    let first = fs::read_to_string(golden::path("layout-1.0")).unwrap();
    let change = |from: &str, to: &str| {
        assert_eq!(first.matches(from).count(), 1, "{from}");
        first.replacen(from, to, 1)
    };
    let control =
        "    control: fn(op: RStr<'_>, json: RStr<'_>) -> Reply at=40 size=8 align=8 readable lifetimes=_,_\n";
    let news = "    news: fn() at=48 size=8 align=8 readable\n";
    let with = format!("{control}{news}");
    let none: [&str; 0] = [];
    assert_eq!(breaks(&first, &first), none);
    assert_eq!(breaks(&first, &change(control, &with)), none, "appended to a type that may grow");
    assert_eq!(breaks(&first, &format!("{first}zebra (busway-abi) struct size=1\n")), none, "a type that is new");
    let status = "    status: Status at=0 size=4 align=4\n    body: RString at=8 size=32 align=8\n";
    for (changed, said) in [
        (
            change(control, &format!("{news}{control}")),
            format!("in Module (busway-abi):\n+ {}", news.trim_end()),
        ),
        (
            change(control, ""),
            format!("in Module (busway-abi):\n- {}", control.trim_end()),
        ),
        (
            change("Module (busway-abi) prefix of 6", "Module (busway-abi) prefix of 7"),
            "in Module (busway-abi):\n- Module (busway-abi) prefix of 6 align=8 repr=C\n+ Module (busway-abi) prefix of 7 \
             align=8 repr=C"
                .to_owned(),
        ),
        (
            change(status, &format!("{status}    more: u8 at=40 size=1 align=1\n")),
            "in Reply (busway-abi):\n+     more: u8 at=40 size=1 align=1".to_owned(),
        ),
        (
            change("Status (busway-abi) struct size=4", "State (busway-abi) struct size=4"),
            "- Status (busway-abi) struct size=4 align=4 repr=Transparent".to_owned(),
        ),
    ] {
        assert_eq!(breaks(&first, &changed), [said]);
    }
}
