//! What a file is that is no shared library for this system, in a word for whoever put it there.

use super::error::BytesError;
use super::words::{half, word, zeros};
use object::{Architecture, BinaryFormat, Object as _};

/// How files begin, and what they are.
const BEGINNINGS: [(&[u8], &str); 17] = [
    (b"#!", "a script"),
    (b"!<arch>\n", "an archive of object files (.a): build it with crate-type = [\"cdylib\"]"),
    (b"!<thin>\n", "an archive of object files (.a): build it with crate-type = [\"cdylib\"]"),
    (b"\x1f\x8b", "compressed with gzip: unpack it"),
    (b"\xfd7zXZ\0", "compressed with xz: unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it"),
    (b"BZh", "compressed with bzip2: unpack it"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"\0asm", "a WebAssembly module"),
    (b"BC\xc0\xde", "LLVM bitcode: build it with crate-type = [\"cdylib\"]"),
    (b"version https://git-lfs", "a pointer of git-lfs: fetch the file itself with `git lfs pull`"),
    (b"<!DOCTYPE", "a web page: what it was loaded from gave that instead of the file"),
    (b"<!doctype", "a web page: what it was loaded from gave that instead of the file"),
    (b"<html", "a web page: what it was loaded from gave that instead of the file"),
    (b"INPUT", "a linker script"),
    (b"GROUP", "a linker script"),
    (b"/* GNU ld script", "a linker script"),
];

/// So much of a file tells what it is.
const HEAD: usize = 4096;
/// How an ELF file begins.
pub(super) const ELF: &[u8] = b"\x7fELF";

/// What this host's libraries are.
pub(super) fn ours() -> (BinaryFormat, &'static str, Architecture) {
    let (format, system) = if cfg!(windows) {
        (BinaryFormat::Pe, "windows")
    } else if cfg!(target_vendor = "apple") {
        (BinaryFormat::MachO, "macos")
    } else {
        (BinaryFormat::Elf, "linux")
    };
    let machine = if cfg!(target_arch = "aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 };
    (format, system, machine)
}

/// Refuses what is built for another system or machine than this.
pub(super) fn for_another_machine(found: String) -> BytesError {
    let (_, system, machine) = ours();
    BytesError::Machine { found, host: format!("{system} {}", name(machine)) }
}

fn name(machine: Architecture) -> String {
    format!("{machine:?}").to_ascii_lowercase()
}

/// What bytes are that don't begin as an ELF file does.
pub(super) fn stranger(bytes: &[u8]) -> BytesError {
    let head = &bytes[..bytes.len().min(HEAD)];
    if zeros(head) {
        return BytesError::Hole { part: "its beginning".to_owned(), begin: 0, end: head.len() as u64 };
    }
    if ELF.starts_with(head) {
        return BytesError::Truncated { part: "its header".to_owned(), end: 64, length: head.len() as u64 };
    }
    if let Some((_, what)) = BEGINNINGS.iter().find(|(beginning, _)| head.starts_with(beginning)) {
        return BytesError::NotALibrary((*what).to_owned());
    }
    let system = match head {
        [b'M', b'Z', ..] => Some("windows"),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xfe, 0xed, 0xfa, 0xcf | 0xce, ..] => Some("macos"),
        // Java's classes begin so, too, with a version where Apple counts machines.
        [0xca, 0xfe, 0xba, 0xbe, rest @ ..] if rest.starts_with(&[0, 0, 0]) && rest.get(3) < Some(&40) => Some("macos"),
        _ => None,
    };
    if let Some(system) = system {
        let machine = object::File::parse(bytes).ok().map(|file| name(file.architecture()));
        return for_another_machine(
            [Some(system.to_owned()), machine].into_iter().flatten().collect::<Vec<_>>().join(" "),
        );
    }
    if head.starts_with(b"\xca\xfe\xba\xbe") {
        return BytesError::NotALibrary("a Java class".to_owned());
    }
    // A character may be cut in two where the head ends.
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    if is_text && !head.contains(&0) {
        return BytesError::NotALibrary("text".to_owned());
    }
    let first: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    BytesError::NotALibrary(format!("of no known kind: it begins with {}", first.join(" ")))
}

/// Refuses an ELF file that is for another machine or system, or is no shared library.
pub(super) fn elf(bytes: &[u8]) -> Result<(), BytesError> {
    let length = bytes.len() as u64;
    let short = || BytesError::Truncated { part: "its header".to_owned(), end: 64, length };
    let (class, order, system) = match bytes {
        [_, _, _, _, class, order, _, system, ..] if length >= 64 => (*class, *order, *system),
        _ => return Err(short()),
    };
    let number = |at| {
        let number = half(bytes, at).unwrap_or_default();
        if order == 2 { number.swap_bytes() } else { number }
    };
    let (kind, machine) = (number(16), number(18));
    if zeros(&bytes[4..64]) {
        return Err(BytesError::Hole { part: "its header".to_owned(), begin: 4, end: 64 });
    }
    let (_, _, host) = ours();
    let expected = if host == Architecture::Aarch64 { 183 } else { 62 };
    let systems = [(1, "hp-ux"), (2, "netbsd"), (6, "solaris"), (9, "freebsd"), (12, "openbsd")];
    let system = match systems.iter().find(|(number, _)| *number == system) {
        Some((_, name)) => name,
        None if matches!(system, 0 | 3) => "linux",
        None => return Err(BytesError::malformed(format!("its header names system {system}, which is none"))),
    };
    if machine != expected || class != 2 || order != 1 || system != "linux" {
        let mut found = format!("{system} {}", machine_name(machine));
        if class == 1 && matches!(machine, 62 | 183 | 243) {
            found += " (32 bits)";
        }
        if order == 2 && matches!(machine, 183) {
            found += " (big-endian)";
        }
        if !matches!((class, order), (1 | 2, 1 | 2)) {
            return Err(BytesError::malformed(format!("its header is of class {class} and byte order {order}")));
        }
        return Err(for_another_machine(found));
    }
    let what = match kind {
        3 => {
            let version = word(bytes, 20).unwrap_or_default();
            let wrong = || BytesError::malformed(format!("its header is of version {version}, not 1"));
            return if version == 1 { Ok(()) } else { Err(wrong()) };
        }
        1 => "an object file (.o): build it with crate-type = [\"cdylib\"]",
        2 => "a program: build it with crate-type = [\"cdylib\"]",
        4 => "a core dump",
        _ => return Err(BytesError::malformed(format!("its header names file type {kind}, which is none"))),
    };
    Err(BytesError::NotALibrary(what.to_owned()))
}

fn machine_name(machine: u16) -> String {
    let names: [(u16, &str); 14] = [
        (2, "sparc"),
        (3, "i386"),
        (8, "mips"),
        (20, "powerpc"),
        (21, "powerpc64"),
        (22, "s390x"),
        (40, "arm"),
        (43, "sparc64"),
        (50, "ia64"),
        (62, "x86_64"),
        (183, "aarch64"),
        (243, "riscv64"),
        (247, "bpf"),
        (258, "loongarch64"),
    ];
    let known = names.iter().find(|(number, _)| *number == machine);
    known.map_or_else(|| format!("machine {machine}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(class: u8, order: u8, system: u8, kind: u16, machine: u16) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1, system]);
        let half = |number: u16| if order == 2 { number.to_be_bytes() } else { number.to_le_bytes() };
        head[16..18].copy_from_slice(&half(kind));
        head[18..20].copy_from_slice(&half(machine));
        head[20] = 1;
        head
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn elf_files_for_others() {
        for (bytes, text) in [
            (
                head(2, 1, 0, 3, 183),
                "it is built for linux aarch64, this host runs on linux x86_64: build it for this machine",
            ),
            (
                head(1, 1, 0, 3, 3),
                "it is built for linux i386, this host runs on linux x86_64: build it for this machine",
            ),
            (
                head(1, 1, 0, 3, 62),
                "it is built for linux x86_64 (32 bits), this host runs on linux x86_64: build it for this machine",
            ),
            (
                head(2, 2, 0, 3, 22),
                "it is built for linux s390x, this host runs on linux x86_64: build it for this machine",
            ),
            (
                head(2, 1, 9, 3, 62),
                "it is built for freebsd x86_64, this host runs on linux x86_64: build it for this machine",
            ),
            (head(2, 1, 0, 2, 62), "it is no shared library: it is a program: build it with crate-type = [\"cdylib\"]"),
            (
                head(2, 1, 0, 1, 62),
                "it is no shared library: it is an object file (.o): build it with crate-type = [\"cdylib\"]",
            ),
            (head(2, 1, 0, 4, 62), "it is no shared library: it is a core dump"),
        ] {
            assert_eq!(elf(&bytes).map_err(|e| e.to_string()), Err(text.to_owned()));
        }
        assert_eq!(elf(&head(2, 1, 0, 3, 62)), Ok(()));
        assert!(elf(&head(2, 1, 0, 3, 62)[..63]).unwrap_err().may_be_incomplete());
        assert!(elf(&head(7, 1, 0, 3, 62)).unwrap_err().may_be_incomplete());
    }

    #[test]
    fn what_is_no_elf_file_is_named() {
        for (bytes, text) in [
            (&b"#!/bin/sh\necho"[..], "it is no shared library: it is a script"),
            (b"Dear operator", "it is no shared library: it is text"),
            (b"\x1f\x8b\x08\x00", "it is no shared library: it is compressed with gzip: unpack it"),
            (b"\xca\xfe\xba\xbe\0\0\0\x41", "it is no shared library: it is a Java class"),
            (b"\xff\xfe\x00\x01\x02", "it is no shared library: it is of no known kind: it begins with ff fe 00 01"),
            (b"\xff", "it is no shared library: it is of no known kind: it begins with ff"),
        ] {
            assert_eq!(stranger(bytes).to_string(), text);
        }
        assert!(stranger(b"MZ\x90").to_string().starts_with("it is built for windows, this host runs on "));
        assert!(stranger(b"\xcf\xfa\xed\xfe").to_string().starts_with("it is built for macos, this host runs on "));
        assert_eq!(stranger(&[0; 9000]), BytesError::Hole { part: "its beginning".to_owned(), begin: 0, end: 4096 });
        assert!(matches!(stranger(b"\x7fE"), BytesError::Truncated { length: 2, .. }));
    }
}
