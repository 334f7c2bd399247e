//! The table by which the system's loader finds everything else.

use super::super::error::BytesError;
use super::super::words::{long, readable, text, zeros};
use super::image::Image;
use object::elf;
use object::elf::DynamicTag;

/// The size of an entry.
const ENTRY: usize = 16;

/// The table's entries, and the texts they name.
#[derive(Debug)]
pub(super) struct Dynamic<'a> {
    entries: Vec<(i64, u64)>,
    strings: &'a [u8],
}

impl<'a> Dynamic<'a> {
    /// Reads the table. The loader ends the process, rather than answer, when an entry that belongs to another is
    /// missing or of another size than it was built for.
    pub(super) fn parse(image: &Image<'a>) -> Result<Self, BytesError> {
        let refuse = |text: &str| Err(BytesError::malformed(text));
        let Some(segment) = image.segment(elf::PT_DYNAMIC.0) else {
            return refuse("it has no dynamic table");
        };
        let Some(table) = image.at(segment.address, segment.in_file) else {
            return refuse("its dynamic table is not mapped");
        };
        if zeros(table) {
            let (begin, length) = (segment.offset, segment.in_file);
            return Err(BytesError::Hole { part: "its dynamic table".into(), begin, end: begin + length });
        }
        if !image.is_writable(segment.address, segment.in_file) {
            return refuse("its dynamic table can't be written to, as the loader does");
        }
        let number = |entry: &[u8]| long(entry, 0).unwrap_or_default().cast_signed();
        let all: Vec<(i64, u64)> = table
            .chunks_exact(ENTRY)
            .map(|entry| (number(entry), long(entry, 8).unwrap_or_default()))
            .take_while(|(tag, _)| *tag != elf::DT_NULL.0)
            .collect();
        if all.len() == table.len() / ENTRY {
            return refuse("its dynamic table has no end");
        }
        let mut dynamic = Self { entries: all, strings: &[] };
        let (Some(strings), Some(length)) = (dynamic.get(elf::DT_STRTAB), dynamic.get(elf::DT_STRSZ)) else {
            return refuse("its dynamic table names no texts");
        };
        dynamic.strings = match image.at(strings, length) {
            Some(strings) if strings.last() == Some(&0) => strings,
            Some(_) => return refuse("the texts of its dynamic table do not end"),
            None => return refuse("the texts of its dynamic table are not mapped"),
        };
        dynamic.check(image)?;
        Ok(dynamic)
    }

    /// An entry's value; the last one holds, as for the loader.
    pub(super) fn get(&self, tag: DynamicTag) -> Option<u64> {
        self.entries.iter().rev().find(|(at, _)| *at == tag.0).map(|(_, value)| *value)
    }

    /// The values of all entries of a kind, in their order.
    pub(super) fn all(&self, tag: DynamicTag) -> impl Iterator<Item = u64> {
        self.entries.iter().filter(move |(at, _)| *at == tag.0).map(|(_, value)| *value)
    }

    /// The text at a place among the texts.
    pub(super) fn text(&self, at: u64) -> Result<&'a [u8], BytesError> {
        text(self.strings, at).ok_or_else(|| BytesError::malformed("a name lies outside of the texts"))
    }

    /// All texts of entries of a kind.
    pub(super) fn texts(&self, tag: DynamicTag) -> Result<Vec<String>, BytesError> {
        self.all(tag).map(|at| self.text(at).map(readable)).collect()
    }

    /// Whether a bit of the flags is set.
    pub(super) fn has(&self, flags: DynamicTag, bit: u64) -> bool {
        self.get(flags).unwrap_or_default() & bit != 0
    }

    fn check(&self, image: &Image<'_>) -> Result<(), BytesError> {
        let refuse = |text: String| Err(BytesError::Malformed(text));
        if self.has(elf::DT_FLAGS_1, elf::DF_1_PIE.0) {
            return Err(BytesError::NotALibrary("a program: build it with crate-type = [\"cdylib\"]".to_owned()));
        }
        if self.has(elf::DT_FLAGS_1, elf::DF_1_NOOPEN.0) {
            return Err(BytesError::NotALibrary("a library that forbids to be loaded later (-z nodlopen)".to_owned()));
        }
        if self.get(elf::DT_TEXTREL).is_some() || self.has(elf::DT_FLAGS, elf::DF_TEXTREL.0) {
            return Err(BytesError::TextRelocations);
        }
        for (tag, size, what) in [
            (elf::DT_SYMENT, 24, "symbols"),
            (elf::DT_RELAENT, 24, "relocations"),
            (elf::DT_RELRENT, 8, "relative relocations"),
            (elf::DT_PLTREL, elf::DT_RELA.0.cast_unsigned(), "relocations of calls"),
        ] {
            if let Some(other) = self.get(tag).filter(|value| *value != size) {
                return refuse(format!("its {what} are of another kind ({other}) than this machine's ({size})"));
            }
        }
        for (table, partners, what) in [
            (elf::DT_RELA, &[elf::DT_RELASZ, elf::DT_RELAENT][..], "relocations"),
            (elf::DT_RELR, &[elf::DT_RELRSZ, elf::DT_RELRENT], "relative relocations"),
            (elf::DT_JMPREL, &[elf::DT_PLTRELSZ, elf::DT_PLTREL], "relocations of calls"),
            (elf::DT_INIT_ARRAY, &[elf::DT_INIT_ARRAYSZ], "constructors"),
            (elf::DT_FINI_ARRAY, &[elf::DT_FINI_ARRAYSZ], "destructors"),
            (elf::DT_VERNEED, &[elf::DT_VERNEEDNUM], "needed versions"),
            (elf::DT_VERDEF, &[elf::DT_VERDEFNUM], "versions"),
        ] {
            if self.get(table).is_some() && partners.iter().any(|partner| self.get(*partner).is_none()) {
                return refuse(format!("its dynamic table does not say how long its table of {what} is"));
            }
        }
        if self.get(elf::DT_REL).is_some() {
            return refuse("it has relocations of a kind that this machine does not have".to_owned());
        }
        for (tag, kind, what) in [
            (elf::DT_SYMTAB, elf::SHT_DYNSYM, "symbols"),
            (elf::DT_GNU_HASH, elf::SHT_GNU_HASH, "symbols' hashes"),
            (elf::DT_VERSYM, elf::SHT_GNU_VERSYM, "symbols' versions"),
            (elf::DT_VERNEED, elf::SHT_GNU_VERNEED, "needed versions"),
            (elf::DT_VERDEF, elf::SHT_GNU_VERDEF, "versions"),
            (elf::DT_INIT_ARRAY, elf::SHT_INIT_ARRAY, "constructors"),
            (elf::DT_FINI_ARRAY, elf::SHT_FINI_ARRAY, "destructors"),
        ] {
            let mut sections = image.sections.iter().filter(|section| section.kind == kind.0).peekable();
            let address = self.get(tag);
            if address.is_some() && sections.peek().is_some() && !sections.any(|s| Some(s.address) == address) {
                return refuse(format!("its dynamic table and its sections name different places of its {what}"));
            }
        }
        for (tag, what) in [(elf::DT_INIT, "constructor"), (elf::DT_FINI, "destructor")] {
            if self.get(tag).is_some_and(|address| !image.is_code(address)) {
                return refuse(format!("its {what} is no code of it"));
            }
        }
        for tag in [elf::DT_NEEDED, elf::DT_SONAME, elf::DT_RPATH, elf::DT_RUNPATH, elf::DT_AUXILIARY, elf::DT_FILTER] {
            self.all(tag).try_for_each(|at| self.text(at).map(|_| ()))?;
        }
        Ok(())
    }
}
