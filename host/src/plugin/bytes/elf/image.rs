//! A library's parts, and what lies at which address once it is mapped: what the system's loader would make of the file.

use super::super::error::BytesError;
use super::super::kind;
use super::super::words::{half, long, part, readable, text, word, zeros};
use object::elf;

/// Sizes that the format fixes.
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const SECTION_HEADER: u64 = 64;
/// The loader keeps a table of all segments on its stack; libraries have about a dozen.
const MAX_SEGMENTS: u16 = 256;
/// Linkers make some dozens.
const MAX_SECTIONS: u64 = 1 << 20;
/// What systems map at the least.
pub(super) const PAGE: u64 = 4096;
/// No library takes as many addresses.
const MAX_SPAN: u64 = 1 << 36;
/// Every thread that uses the library's thread-local variables has a copy of them.
const MAX_THREAD_LOCAL: u64 = 64 << 20;

/// A part of the file that is mapped, or says something of those that are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) address: u64,
    /// So much comes from the file.
    pub(super) in_file: u64,
    /// So much of memory; what the file does not fill is zero.
    pub(super) in_memory: u64,
    pub(super) align: u64,
}

impl Segment {
    pub(super) fn may(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether memory of it lies there.
    fn holds(&self, address: u64, length: u64) -> bool {
        let Some(at) = address.checked_sub(self.address) else { return false };
        at.checked_add(length).is_some_and(|end| end <= self.in_memory)
    }
}

/// A part of the file as linkers and debuggers see it. The loader doesn't look at these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
}

impl Section<'_> {
    /// How it is called in errors.
    pub(super) fn title(&self) -> String {
        format!("section {}", readable(self.name))
    }
}

/// A library's parts, all of which lie within the file.
#[derive(Debug)]
pub(super) struct Image<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) segments: Vec<Segment>,
    pub(super) sections: Vec<Section<'a>>,
    /// Those that are mapped, by rising addresses.
    loads: Vec<Segment>,
}

impl<'a> Image<'a> {
    /// Reads the headers of a 64-bit, little-endian ELF file.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BytesError> {
        kind::elf(bytes)?;
        // The sections' table comes last in a file: where one was cut, it tells how long it was.
        let sections = sections(bytes)?;
        let segments = segments(bytes)?;
        let loads = segments.iter().filter(|segment| segment.kind == elf::PT_LOAD.0).copied().collect();
        let image = Self { bytes, segments, sections, loads };
        image.check_loads()?;
        image.check_sections()?;
        image.check_others()?;
        Ok(image)
    }

    /// The last one of a kind, which is the one that the loader takes.
    pub(super) fn segment(&self, kind: u32) -> Option<&Segment> {
        self.segments.iter().rev().find(|segment| segment.kind == kind)
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// What of the file lies at an address once it is mapped, up to the end of its segment.
    pub(super) fn rest(&self, address: u64) -> Option<&'a [u8]> {
        let load = self.load(address, 0).filter(|load| load.may(elf::PF_R.0))?;
        let at = address - load.address;
        part(self.bytes, load.offset + at, load.in_file.checked_sub(at)?)
    }

    /// What of the file lies at an address once it is mapped.
    pub(super) fn at(&self, address: u64, length: u64) -> Option<&'a [u8]> {
        part(self.rest(address)?, 0, length)
    }

    /// The mapped segment that has all of these addresses.
    pub(super) fn load(&self, address: u64, length: u64) -> Option<&Segment> {
        let after = self.loads.partition_point(|load| load.address <= address);
        self.loads.get(after.checked_sub(1)?).filter(|load| load.holds(address, length))
    }

    /// Whether code of the file lies at an address.
    pub(super) fn is_code(&self, address: u64) -> bool {
        self.load(address, 1).is_some_and(|load| load.may(elf::PF_X.0) && address - load.address < load.in_file)
    }

    /// Whether an address may be written to.
    pub(super) fn is_writable(&self, address: u64, length: u64) -> bool {
        self.load(address, length).is_some_and(|load| load.may(elf::PF_W.0))
    }

    /// Where the loader maps the file in one piece, and then its segments over that: one that lies elsewhere would be
    /// mapped over something else of the process.
    fn check_loads(&self) -> Result<(), BytesError> {
        let refuse = |text: String| Err(BytesError::Malformed(text));
        let mut mapped_to = 0;
        for (i, load) in self.loads.iter().enumerate() {
            let what = format!("mapped segment {i}");
            let Some(end) = load.address.checked_add(load.in_memory).filter(|end| *end < MAX_SPAN) else {
                return refuse(format!("{what} ends beyond all addresses"));
            };
            if load.in_file > load.in_memory {
                return refuse(format!("{what} is larger in the file than in memory"));
            }
            if !load.align.is_power_of_two() || load.align < PAGE {
                return refuse(format!("{what} is aligned to {} bytes, which are no pages", load.align));
            }
            if load.address % load.align != load.offset % load.align {
                return refuse(format!("{what} begins elsewhere in its page of the file than in memory"));
            }
            let begins = load.address / PAGE * PAGE;
            if i > 0 && begins < mapped_to {
                return refuse(format!("{what} lies over the one before"));
            }
            mapped_to = end.div_ceil(PAGE) * PAGE;
            // The loader fills the rest of the file's last page with zeros; a page beyond the file's end kills it.
            let filled = load.offset + load.in_file;
            let touched = load.in_memory > load.in_file && !(load.address + load.in_file).is_multiple_of(PAGE);
            if touched && filled / PAGE * PAGE >= self.bytes.len() as u64 {
                return refuse(format!("{what} has zeros in a page that begins where the file ends"));
            }
        }
        if self.loads.is_empty() { refuse("nothing of it is to be mapped".to_owned()) } else { Ok(()) }
    }

    /// Linkers and the loader must see the same bytes at the same addresses.
    fn check_sections(&self) -> Result<(), BytesError> {
        let mapped = |section: &&Section<'_>| section.flags & elf::SHF_ALLOC.0 != 0 && !section.bytes.is_empty();
        for section in self.sections.iter().filter(mapped) {
            let load = self.load(section.address, section.bytes.len() as u64);
            let offset = load.map(|load| section.address - load.address + load.offset);
            if offset != Some(section.offset) {
                return Err(BytesError::Malformed(format!("{} is mapped elsewhere than it says", section.title())));
            }
        }
        Ok(())
    }

    /// What the loader and the unwinder read, or do, by the other segments.
    fn check_others(&self) -> Result<(), BytesError> {
        let mut stack = None;
        for segment in &self.segments {
            let inside = || self.at(segment.address, segment.in_file).is_some();
            let refuse = |text: &str| Err(BytesError::malformed(text));
            match elf::ProgramType(segment.kind) {
                elf::PT_PHDR => {
                    let table = long(self.bytes, 32).unwrap_or_default();
                    let length = self.segments.len() as u64 * PROGRAM_HEADER;
                    let there = self.rest(segment.address).is_some_and(|rest| rest.len() as u64 >= length);
                    let at = self.load(segment.address, length).map(|l| segment.address - l.address + l.offset);
                    if !there || at != Some(table) {
                        return refuse("the segment of its program headers lies elsewhere than they");
                    }
                }
                elf::PT_TLS => {
                    let align = segment.align.max(1);
                    if segment.in_file > segment.in_memory || !inside() {
                        return refuse("its thread-local variables begin with what is not mapped");
                    }
                    if segment.in_memory > MAX_THREAD_LOCAL || !align.is_power_of_two() || align > MAX_THREAD_LOCAL {
                        return refuse("its thread-local variables take more than 64 MiB in each thread");
                    }
                }
                elf::PT_GNU_RELRO => {
                    let load = self.load(segment.address, 0);
                    // Linkers round its end up to a page.
                    let end = segment.address.checked_add(segment.in_memory);
                    let fits = load
                        .zip(end)
                        .is_some_and(|(load, end)| end <= (load.address + load.in_memory).next_multiple_of(load.align));
                    if !fits {
                        return refuse("what is to be read-only after loading is no part of one segment");
                    }
                }
                elf::PT_NOTE | elf::PT_GNU_PROPERTY if segment.in_memory > 0 => {
                    let Some(notes) = self.at(segment.address, segment.in_memory) else {
                        return refuse("notes to the loader are not mapped");
                    };
                    check_notes(notes, segment.align)?;
                }
                elf::PT_GNU_STACK => stack = Some(segment.may(elf::PF_X.0)),
                _ => {}
            }
        }
        // Where nothing is said, the loader of x86-64 takes it for asked.
        match stack.unwrap_or(cfg!(target_arch = "x86_64")) {
            true => Err(BytesError::ExecutableStack),
            false => Ok(()),
        }
    }
}

/// The loader goes from note to note by the lengths they state.
fn check_notes(notes: &[u8], align: u64) -> Result<(), BytesError> {
    let align = if align == 8 { 8 } else { 4 };
    let mut at = 0;
    while let (Some(name), Some(content)) = (word(notes, at), word(notes, at + 4)) {
        let end = (at + 12 + u64::from(name)).next_multiple_of(align) + u64::from(content);
        if end > notes.len() as u64 {
            return Err(BytesError::malformed("a note to the loader ends outside of its segment"));
        }
        at = end.next_multiple_of(align);
    }
    Ok(())
}

/// A table's bytes, or that the file ends before it does.
fn table<'a>(bytes: &'a [u8], what: &str, offset: u64, length: u64) -> Result<&'a [u8], BytesError> {
    part(bytes, offset, length).ok_or_else(|| BytesError::Truncated {
        part: what.to_owned(),
        end: offset.saturating_add(length),
        length: bytes.len() as u64,
    })
}

fn hole(part: &str, offset: u64, length: u64) -> BytesError {
    BytesError::Hole { part: part.to_owned(), begin: offset, end: offset + length }
}

fn segments(bytes: &[u8]) -> Result<Vec<Segment>, BytesError> {
    let offset = long(bytes, 32).unwrap_or_default();
    let (size, count) = (half(bytes, 54).unwrap_or_default(), half(bytes, 56).unwrap_or_default());
    if u64::from(size) != PROGRAM_HEADER || count == 0 || count > MAX_SEGMENTS || offset < HEADER {
        let text = format!("its header tells of {count} segments of {size} bytes at byte {offset}");
        return Err(BytesError::Malformed(text));
    }
    let length = u64::from(count) * PROGRAM_HEADER;
    let table = table(bytes, "its table of segments", offset, length)?;
    if zeros(table) {
        return Err(hole("its table of segments", offset, length));
    }
    let segment = |(i, header): (usize, &[u8])| {
        let field = |at| long(header, at).unwrap_or_default();
        let segment = Segment {
            kind: word(header, 0).unwrap_or_default(),
            flags: word(header, 4).unwrap_or_default(),
            offset: field(8),
            address: field(16),
            in_file: field(32),
            in_memory: field(40),
            align: field(48),
        };
        self::table(bytes, &format!("segment {i}"), segment.offset, segment.in_file)?;
        Ok(segment)
    };
    table.chunks_exact(PROGRAM_HEADER as usize).enumerate().map(segment).collect()
}

fn sections(bytes: &[u8]) -> Result<Vec<Section<'_>>, BytesError> {
    let offset = long(bytes, 40).unwrap_or_default();
    let (size, few) = (half(bytes, 58).unwrap_or_default(), half(bytes, 60).unwrap_or_default());
    let names = u64::from(half(bytes, 62).unwrap_or_default());
    if offset == 0 {
        return Ok(Vec::new());
    }
    let title = "its table of sections";
    if u64::from(size) != SECTION_HEADER {
        return Err(BytesError::Malformed(format!("its header tells of sections of {size} bytes")));
    }
    let first = table(bytes, title, offset, u64::from(few.max(1)) * SECTION_HEADER)?;
    // More than fit into the header's number are counted by the first.
    let count = if few == 0 { long(first, 32).unwrap_or_default() } else { u64::from(few) };
    if count == 0 || count > MAX_SECTIONS {
        return Err(BytesError::Malformed(format!("its header tells of {count} sections")));
    }
    let length = count * SECTION_HEADER;
    let table = table(bytes, title, offset, length)?;
    if zeros(&table[(SECTION_HEADER as usize).min(table.len() - 1)..]) {
        return Err(hole(title, offset, length));
    }
    let names =
        if names == u64::from(elf::SHN_XINDEX.0) { u64::from(word(first, 40).unwrap_or_default()) } else { names };
    let header = |i: u64| part(table, i.saturating_mul(SECTION_HEADER), SECTION_HEADER);
    let content = |i: u64, header: &[u8]| {
        let (offset, length) = (long(header, 24).unwrap_or_default(), long(header, 32).unwrap_or_default());
        match elf::SectionType(word(header, 4).unwrap_or_default()) {
            elf::SHT_NULL | elf::SHT_NOBITS => Ok(&[][..]),
            _ => self::table(bytes, &format!("section {i}"), offset, length),
        }
    };
    let no_names = || BytesError::Malformed(format!("section {names}, which would hold the others' names, is none"));
    let names = content(names, header(names).ok_or_else(no_names)?)?;
    if zeros(names) {
        return Err(BytesError::malformed("the names of its sections are all zero"));
    }
    let section = |i: u64| {
        let header = header(i).unwrap_or_default();
        let name = u64::from(word(header, 0).unwrap_or_default());
        let no_name = || BytesError::Malformed(format!("the name of section {i} lies outside of the names"));
        Ok(Section {
            name: if i == 0 { &[] } else { text(names, name).ok_or_else(no_name)? },
            kind: word(header, 4).unwrap_or_default(),
            flags: long(header, 8).unwrap_or_default(),
            address: long(header, 16).unwrap_or_default(),
            offset: long(header, 24).unwrap_or_default(),
            bytes: content(i, header)?,
        })
    };
    (0..count).map(section).collect()
}
