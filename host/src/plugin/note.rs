//! What a plugin's bytes say of it, without one of them being run: that they are a whole object file for this machine,
//! their note, and what they need.

use super::scan::{ScanError, look};
use super::stage::{Bytes, StageError};
use busway_plugin_api::abi::{self, NOTE_SECTION, read_note};
use busway_plugin_api::info::is_driver_id;
use object::elf;
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{Architecture, BinaryFormat, Endianness, Object as _, ObjectKind, ObjectSection as _};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The note, read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The driver's id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The contract it was built with.
    pub contract: String,
    /// What it was built with on top of the contract.
    #[serde(default)]
    pub sdk: String,
    /// The `abi_stable` it was built with.
    pub abi_stable: String,
    /// The target it was built for.
    #[serde(default)]
    pub target: String,
    /// `unwind` or `abort`.
    #[serde(default)]
    pub panic: String,
}

/// Why the bytes are no plugin for this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// There are none.
    #[error("the file is empty")]
    Empty,
    /// They are no object file.
    #[error("it is no shared library: {0}")]
    NotALibrary(String),
    /// Another system's or machine's.
    #[error("it is built for {found}, this host runs on {host}: build it for this machine")]
    Machine {
        /// What the file is for.
        found: String,
        /// What the host is.
        host: String,
    },
    /// It ends before its parts do.
    #[error(
        "it is cut short: {part} ends at byte {end}, the file at {length}; copy it again, best under another name and then renamed"
    )]
    Truncated {
        /// Which part.
        part: String,
        /// Where it should end.
        end: u64,
        /// Where the file ends.
        length: u64,
    },
    /// No note: not made for this host.
    #[error("it is no Busway driver: it has no section {NOTE_SECTION}; export one with export_driver!")]
    NoNote,
    /// A note that can't be read.
    #[error("its note can't be read: {0}")]
    BadNote(String),
    /// A contract that can't work here.
    #[error("it speaks contract {theirs}, this host {ours}: {advice}")]
    Contract {
        /// The driver's.
        theirs: String,
        /// The host's.
        ours: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// Another `abi_stable` is another contract.
    #[error("it is built with abi_stable {theirs}, the contract with {ours}: rebuild it with that version")]
    AbiStable {
        /// The driver's.
        theirs: String,
        /// The contract's.
        ours: &'static str,
    },
    /// A panic in it would end the host.
    #[error("it is built with panic = \"{0}\", so a panic in it would end the host: build it with panic = \"unwind\"")]
    Panics(String),
    /// It needs a library that this system does not have.
    #[error("it needs {library}, which {why}: link it statically, or install it system-wide")]
    Needs {
        /// The library's name.
        library: String,
        /// What is wrong with that.
        why: String,
    },
}

/// What a library needs beyond itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// The libraries' names.
    pub libraries: Vec<String>,
    /// Places of its own it would have them looked for.
    pub run_paths: Vec<String>,
}

/// Reads the note of a file's bytes, after every check that can be made of bytes alone. `beside` is the file's own
/// folder, for a better word about libraries that lie there; `installed` answers whether the system has a library.
///
/// # Errors
///
/// What is wrong, and what to do.
pub fn read(bytes: &[u8], beside: &Path, installed: impl Fn(&str) -> bool) -> Result<Note, NoteError> {
    if bytes.is_empty() {
        return Err(NoteError::Empty);
    }
    let file = object::File::parse(bytes).map_err(|error| not_a_library(bytes, &error.to_string()))?;
    machine(&file)?;
    let mut needs = Needs::default();
    if let object::File::Elf64(elf) = &file {
        within(elf, bytes.len() as u64)?;
        needs = needed(elf).map_err(|e| NoteError::NotALibrary(e.to_string()))?;
    }
    if file.kind() != ObjectKind::Dynamic {
        return Err(NoteError::NotALibrary(
            "it is a program or an object file: build it with crate-type = [\"cdylib\"]".to_owned(),
        ));
    }
    let section = file.section_by_name(NOTE_SECTION).ok_or(NoteError::NoNote)?;
    let data = section.data().map_err(|e| NoteError::BadNote(e.to_string()))?;
    let json = read_note(data).map_err(|e| NoteError::BadNote(e.to_string()))?;
    let note: Note = serde_json::from_str(json).map_err(|e| NoteError::BadNote(e.to_string()))?;
    check(&note)?;
    satisfied(&needs, beside, installed)?;
    Ok(note)
}

/// Reads a file and its note, as the host would.
///
/// # Errors
///
/// What is wrong, and what to do.
pub fn inspect_file(path: &Path) -> Result<(Bytes, Note), InspectError> {
    // What is no file is not opened: to open a pipe is to wait for its writer.
    if let Some(Err(error)) = look(path) {
        return Err(InspectError::NoFile(error));
    }
    let bytes = Bytes::read(path)?;
    let note = read(&bytes.bytes, path.parent().unwrap_or(Path::new("/")), installed)?;
    Ok((bytes, note))
}

/// Why a file is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is none.
    #[error(transparent)]
    NoFile(ScanError),
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] StageError),
    /// Its bytes are none.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl InspectError {
    /// Whether another look may help though the file stays as it is.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Note(NoteError::Needs { .. }))
    }
}

fn not_a_library(bytes: &[u8], error: &str) -> NoteError {
    // What `object` refuses though it begins as a library does was most likely cut short.
    if bytes.starts_with(b"\x7fELF") {
        let length = bytes.len() as u64;
        return match end_of_sections(bytes) {
            Some(end) if end > length => NoteError::Truncated { part: "its section table".to_owned(), end, length },
            _ => NoteError::NotALibrary(error.to_owned()),
        };
    }
    NoteError::NotALibrary(if bytes.starts_with(b"#!") || bytes.is_ascii() {
        "it is text".to_owned()
    } else {
        error.to_owned()
    })
}

/// Where the header of a 64-bit ELF file says that its section table ends.
fn end_of_sections(bytes: &[u8]) -> Option<u64> {
    let begin = bytes.get(40..48)?.try_into().ok().map(u64::from_le_bytes)?;
    let short = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
    begin.checked_add(u64::from(short(58)?) * u64::from(short(60)?))
}

fn machine(file: &object::File<'_>) -> Result<(), NoteError> {
    let (format, system) = if cfg!(windows) {
        (BinaryFormat::Pe, "windows")
    } else if cfg!(target_vendor = "apple") {
        (BinaryFormat::MachO, "macos")
    } else {
        (BinaryFormat::Elf, "linux")
    };
    let ours = if cfg!(target_arch = "aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 };
    if file.format() == format && file.architecture() == ours && file.is_64() {
        return Ok(());
    }
    let name = |architecture: Architecture| format!("{architecture:?}").to_ascii_lowercase();
    let found = match file.format() {
        BinaryFormat::Elf => "linux",
        BinaryFormat::MachO => "macos",
        BinaryFormat::Pe => "windows",
        _ => "another system",
    };
    Err(NoteError::Machine {
        found: format!("{found} {}", name(file.architecture())),
        host: format!("{system} {}", name(ours)),
    })
}

/// Every segment and section must lie within the file: mapping one that doesn't kills the process at the first touch.
fn within(elf: &ElfFile64<'_, Endianness>, length: u64) -> Result<(), NoteError> {
    let endian = elf.endian();
    let check = |part: String, offset: u64, size: u64| {
        let end = offset.saturating_add(size);
        if end > length { Err(NoteError::Truncated { part, end, length }) } else { Ok(()) }
    };
    for (i, segment) in elf.elf_program_headers().iter().enumerate() {
        check(format!("segment {i}"), segment.p_offset(endian), segment.p_filesz(endian))?;
    }
    let header = elf.elf_header();
    let sections = u64::from(header.e_shnum(endian)) * u64::from(header.e_shentsize(endian));
    check("its section table".to_owned(), header.e_shoff(endian), sections)?;
    for (i, section) in elf.elf_section_table().iter().enumerate() {
        if section.sh_type(endian) != elf::SHT_NOBITS {
            check(format!("section {i}"), section.sh_offset(endian), section.sh_size(endian))?;
        }
    }
    Ok(())
}

fn needed(elf: &ElfFile64<'_, Endianness>) -> object::Result<Needs> {
    let (endian, data) = (elf.endian(), elf.data());
    let mut needs = Needs::default();
    let Some((entries, strings)) = elf.elf_section_table().dynamic(endian, data)? else { return Ok(needs) };
    let strings = elf.elf_section_table().strings(endian, data, strings)?;
    for entry in entries {
        let tag = entry.tag(endian);
        if !matches!(tag, elf::DT_NEEDED | elf::DT_RPATH | elf::DT_RUNPATH) {
            continue;
        }
        let text = String::from_utf8_lossy(entry.string(endian, strings)?).into_owned();
        if tag == elf::DT_NEEDED { needs.libraries.push(text) } else { needs.run_paths.push(text) }
    }
    Ok(needs)
}

fn check(note: &Note) -> Result<(), NoteError> {
    if !is_driver_id(&note.id) {
        return Err(NoteError::BadNote(format!("{:?} is no driver id", note.id)));
    }
    let major = |version: &str| version.split('.').next().and_then(|n| n.parse::<u64>().ok());
    let (theirs, ours) = (major(&note.contract), major(abi::VERSION));
    if theirs != ours {
        let advice =
            if theirs > ours { "use a newer host" } else { "rebuild the driver with a newer busway-plugin-api" };
        return Err(NoteError::Contract { theirs: note.contract.clone(), ours: abi::VERSION, advice });
    }
    if note.abi_stable != abi::ABI_STABLE {
        return Err(NoteError::AbiStable { theirs: note.abi_stable.clone(), ours: abi::ABI_STABLE });
    }
    if note.panic == "abort" {
        return Err(NoteError::Panics(note.panic.clone()));
    }
    Ok(())
}

/// A driver is one self-contained file: it is copied before it is mapped, so what lies beside it is not found.
fn satisfied(needs: &Needs, beside: &Path, installed: impl Fn(&str) -> bool) -> Result<(), NoteError> {
    for library in &needs.libraries {
        let name = library.rsplit('/').next().unwrap_or(library);
        let path = beside.join(name);
        let why = if library.contains('/') {
            "it names by a path".to_owned()
        } else if installed(library)
            || needs.run_paths.iter().any(|p| p.starts_with('/') && Path::new(p).join(name).exists())
        {
            continue;
        } else if path.exists() || needs.run_paths.iter().any(|p| p.contains("$ORIGIN")) {
            format!("would be looked for beside it ({})", path.display())
        } else {
            "this system does not have".to_owned()
        };
        return Err(NoteError::Needs { library: library.clone(), why });
    }
    Ok(())
}

/// Whether the system's loader would find a library: it is in one of the places where systems keep them, or where
/// `LD_LIBRARY_PATH` points.
#[must_use]
pub(super) fn installed(library: &str) -> bool {
    const PLACES: [&str; 8] = [
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
        "/usr/local/lib",
        "/lib/x86_64-linux-gnu",
        "/lib/aarch64-linux-gnu",
        "/usr/local/lib64",
    ];
    let configured = std::env::var_os("LD_LIBRARY_PATH");
    let configured = configured.iter().flat_map(std::env::split_paths);
    let triplets = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    // Further places that the administrator told the loader of.
    let told = std::fs::read_dir("/etc/ld.so.conf.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let told = told.chain([PathBuf::from("/etc/ld.so.conf")]).filter_map(|file| std::fs::read_to_string(file).ok());
    let told: Vec<PathBuf> = told
        .flat_map(|text| text.lines().filter(|l| l.starts_with('/')).map(PathBuf::from).collect::<Vec<_>>())
        .collect();
    PLACES
        .iter()
        .chain(&triplets)
        .map(PathBuf::from)
        .chain(configured)
        .chain(told)
        .any(|place| place.join(library).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        read(bytes, Path::new("/plugins"), |_| true).map_or_else(|e| e.to_string(), |note| format!("{note:?}"))
    }

    #[test]
    fn what_is_no_library_is_said_so() {
        assert_eq!(said(b""), "the file is empty");
        assert_eq!(said(b"#!/bin/sh\n"), "it is no shared library: it is text");
        assert!(said(&[0xff; 100]).starts_with("it is no shared library: "), "{}", said(&[0xff; 100]));
    }

    #[test]
    fn notes_that_can_not_work_here() {
        let note = Note {
            id: "a".into(),
            version: "1".into(),
            contract: "1.4.0".into(),
            sdk: String::new(),
            abi_stable: "0.11.3".into(),
            target: String::new(),
            panic: "unwind".into(),
        };
        assert_eq!(check(&note), Ok(()));
        for (changed, text) in [
            (Note { id: "A b".into(), ..note.clone() }, "its note can't be read: \"A b\" is no driver id"),
            (
                Note { contract: "2.0.0".into(), ..note.clone() },
                "it speaks contract 2.0.0, this host 1.0.0: use a newer host",
            ),
            (
                Note { contract: "0.9.0".into(), ..note.clone() },
                "it speaks contract 0.9.0, this host 1.0.0: rebuild the driver with a newer busway-plugin-api",
            ),
            (
                Note { abi_stable: "0.12.0".into(), ..note.clone() },
                "it is built with abi_stable 0.12.0, the contract with 0.11.3: rebuild it with that version",
            ),
            (
                Note { panic: "abort".into(), ..note.clone() },
                "it is built with panic = \"abort\", so a panic in it would end the host: build it with panic = \
                 \"unwind\"",
            ),
        ] {
            assert_eq!(check(&changed).map_err(|e| e.to_string()), Err(text.to_owned()));
        }
    }

    #[test]
    fn a_driver_is_one_self_contained_file() {
        let needs =
            |names: &[&str]| Needs { libraries: names.iter().map(|n| (*n).to_owned()).collect(), ..Needs::default() };
        let system = |name: &str| name.starts_with("libc.");
        assert_eq!(satisfied(&needs(&["libc.so.6"]), Path::new("/plugins"), system), Ok(()));
        let refused = satisfied(&needs(&["libc.so.6", "libfoo.so.1"]), Path::new("/plugins"), system);
        assert_eq!(
            refused.map_err(|e| e.to_string()),
            Err("it needs libfoo.so.1, which this system does not have: link it statically, or install it system-wide"
                .to_owned())
        );
    }
}
