//! Zeros where a linker never leaves them: blocks of the file that were never written.
//!
//! In a library's own tables of constants zeros may be meant, and nobody can tell. In code, names, symbols and the like
//! no whole block is zero.

use super::super::error::BytesError;
use super::super::words::zeros;
use super::image::{Image, Section};
use object::elf;

/// File systems write no less at a time.
const BLOCK: usize = 4096;

/// Refuses blocks of zeros where there can't be one.
pub(super) fn check(image: &Image<'_>) -> Result<(), BytesError> {
    image.sections.iter().try_for_each(|section| {
        let hole = match looks(section) {
            Looks::Free => None,
            Looks::NotAllZero => zeros(section.bytes).then_some((0, section.bytes.len())),
            Looks::NoBlock => block(section),
        };
        let Some((begin, end)) = hole else { return Ok(()) };
        let at = |offset: usize| section.offset + offset as u64;
        Err(BytesError::Hole { part: section.title(), begin: at(begin), end: at(end) })
    })
}

/// What a section can't be.
enum Looks {
    /// Anything goes.
    Free,
    /// There is something in it.
    NotAllZero,
    /// There is something in every block of it.
    NoBlock,
}

fn looks(section: &Section<'_>) -> Looks {
    let (kind, flags) = (elf::SectionType(section.kind), elf::SectionFlags(section.flags).0);
    let has = |flag: elf::SectionFlags| flags & flag.0 != 0;
    let structured = [
        elf::SHT_SYMTAB,
        elf::SHT_DYNSYM,
        elf::SHT_STRTAB,
        elf::SHT_RELA,
        elf::SHT_NOTE,
        elf::SHT_GNU_HASH,
        elf::SHT_GNU_VERSYM,
        elf::SHT_GNU_VERNEED,
    ];
    let named: [&[u8]; 4] = [b".eh_frame", b".eh_frame_hdr", b".gcc_except_table", b".busway"];
    if kind == elf::SHT_NOBITS || section.bytes.is_empty() {
        Looks::Free
    } else if structured.contains(&kind) {
        // The first of each of some kinds is zero, and there may be no other.
        if section.bytes.len() > 64 { Looks::NoBlock } else { Looks::Free }
    } else if kind == elf::SHT_PROGBITS && (has(elf::SHF_EXECINSTR) || named.contains(&section.name)) {
        Looks::NoBlock
    } else if kind == elf::SHT_PROGBITS && has(elf::SHF_ALLOC) && !has(elf::SHF_WRITE) && section.bytes.len() >= BLOCK {
        Looks::NotAllZero
    } else {
        Looks::Free
    }
}

/// The first run of whole blocks of the file that are zero; or the whole section, if it is.
fn block(section: &Section<'_>) -> Option<(usize, usize)> {
    let bytes = section.bytes;
    // As far as to where the file's next block begins.
    let first = usize::try_from(section.offset.next_multiple_of(BLOCK as u64) - section.offset).ok()?;
    let blocks = bytes.get(first..).unwrap_or_default().chunks_exact(BLOCK);
    let Some(begin) = blocks.clone().position(zeros) else {
        let all = first_is_telling(bytes) && zeros(bytes);
        return all.then_some((0, bytes.len()));
    };
    let run = blocks.skip(begin).take_while(|block| zeros(block)).count();
    Some((first + begin * BLOCK, first + (begin + run) * BLOCK))
}

/// A terminator alone is a section, too, of a few zeros.
fn first_is_telling(bytes: &[u8]) -> bool {
    bytes.len() > 16
}
