//! What the loader writes into a library once it is mapped: each at a place that may be written to, each of a symbol that
//! is there. And the constructors and destructors, whose places are filled so.

use super::super::error::BytesError;
use super::super::words::{half, long, word};
use super::dynamic::Dynamic;
use super::image::Image;
use super::symbols::Symbols;
use object::elf;
use std::collections::{BTreeSet, HashMap};

/// The size of an entry.
const ENTRY: usize = 24;

/// The kinds that matter here, by machine.
#[derive(Debug, Clone, Copy)]
struct Kinds {
    relative: u32,
    /// The value is what a function of the library answers.
    computed: u32,
    copy: u32,
    /// Two words instead of one.
    descriptor: u32,
}

const X86_64: Kinds = Kinds {
    relative: elf::R_X86_64_RELATIVE.0,
    computed: elf::R_X86_64_IRELATIVE.0,
    copy: elf::R_X86_64_COPY.0,
    descriptor: elf::R_X86_64_TLSDESC.0,
};
const AARCH64: Kinds = Kinds {
    relative: elf::R_AARCH64_RELATIVE.0,
    computed: elf::R_AARCH64_IRELATIVE.0,
    copy: elf::R_AARCH64_COPY.0,
    descriptor: elf::R_AARCH64_TLSDESC.0,
};

/// Checks all relocations; answers the number of symbols that they and the hash table speak of.
pub(super) fn check(image: &Image<'_>, dynamic: &Dynamic<'_>, symbols: &Symbols<'_>) -> Result<u64, BytesError> {
    let kinds = if half(image.bytes, 18) == Some(183) { AARCH64 } else { X86_64 };
    let arrays = arrays(image, dynamic)?;
    let mut filled: HashMap<u64, bool> = HashMap::new();
    let mut named: BTreeSet<u64> = BTreeSet::new();
    let tables = [(elf::DT_RELA, elf::DT_RELASZ), (elf::DT_JMPREL, elf::DT_PLTRELSZ)];
    for (tag, size) in tables {
        let Some(address) = dynamic.get(tag) else { continue };
        let size = dynamic.get(size).unwrap_or_default();
        let Some(table) = image.at(address, size).filter(|table| table.len().is_multiple_of(ENTRY)) else {
            return Err(BytesError::malformed("its relocations are not mapped, or not whole"));
        };
        // So many come first; the loader takes them all for relative, whatever they say.
        let relative = if tag == elf::DT_RELA { dynamic.get(elf::DT_RELACOUNT).unwrap_or_default() } else { 0 };
        for (i, entry) in table.chunks_exact(ENTRY).enumerate() {
            let refuse = |why: &str| Err(BytesError::Malformed(format!("its relocation {i} {why}")));
            let (place, info) = (long(entry, 0).unwrap_or_default(), long(entry, 8).unwrap_or_default());
            let addend = long(entry, 16).unwrap_or_default();
            let (symbol, kind) = (info >> 32, word(entry, 8).unwrap_or_default());
            if (i as u64) < relative && kind != kinds.relative {
                return refuse("stands among the relative ones and is none");
            }
            // Linkers leave some that do nothing.
            if kind == 0 {
                continue;
            }
            if kind == kinds.copy {
                return refuse("copies a variable, as only programs may");
            }
            if !image.is_writable(place, if kind == kinds.descriptor { 16 } else { 8 }) {
                return refuse("changes what is not mapped, or not to be changed");
            }
            if kind == kinds.computed && !image.is_code(addend) {
                return refuse("is to be computed by what is no code of it");
            }
            if symbol != 0 {
                named.insert(symbol);
            }
            if arrays.iter().any(|(begin, end)| (*begin..*end).contains(&place)) {
                filled.insert(place, symbol != 0 || image.is_code(addend));
            }
        }
    }
    for symbol in &named {
        symbols.check(*symbol, image, dynamic)?;
    }
    packed(image, dynamic, &arrays, &mut filled)?;
    for (begin, end) in arrays {
        for place in (begin..end).step_by(8) {
            if filled.get(&place) != Some(&true) {
                return Err(BytesError::malformed("one of its constructors or destructors is no code of it"));
            }
        }
    }
    Ok(symbols.count.max(named.last().map_or(0, |symbol| symbol + 1)))
}

/// Where the tables of constructors and destructors lie.
fn arrays(image: &Image<'_>, dynamic: &Dynamic<'_>) -> Result<Vec<(u64, u64)>, BytesError> {
    let pairs = [(elf::DT_INIT_ARRAY, elf::DT_INIT_ARRAYSZ), (elf::DT_FINI_ARRAY, elf::DT_FINI_ARRAYSZ)];
    let mut all = Vec::new();
    for (tag, size) in pairs {
        let (Some(begin), Some(size)) = (dynamic.get(tag), dynamic.get(size)) else { continue };
        if !size.is_multiple_of(8) || image.at(begin, size).is_none() {
            return Err(BytesError::malformed("its table of constructors or destructors is not mapped, or not whole"));
        }
        all.push((begin, begin + size));
    }
    Ok(all)
}

/// Relative relocations of the packed form: an even word is a place, an odd one says by its bits which of the 63 behind
/// the last are, too.
fn packed(
    image: &Image<'_>,
    dynamic: &Dynamic<'_>,
    arrays: &[(u64, u64)],
    filled: &mut HashMap<u64, bool>,
) -> Result<(), BytesError> {
    let (Some(address), Some(size)) = (dynamic.get(elf::DT_RELR), dynamic.get(elf::DT_RELRSZ)) else { return Ok(()) };
    let Some(table) = image.at(address, size).filter(|table| table.len().is_multiple_of(8)) else {
        return Err(BytesError::malformed("its relative relocations are not mapped, or not whole"));
    };
    let refuse =
        || Err(BytesError::malformed("a relative relocation changes what is not mapped, or not to be changed"));
    let mut fill = |place: u64| {
        if arrays.iter().any(|(begin, end)| (*begin..*end).contains(&place)) {
            let code = image.at(place, 8).and_then(|word| long(word, 0)).is_some_and(|code| image.is_code(code));
            filled.insert(place, code);
        }
    };
    let mut next = None;
    for word in table.chunks_exact(8).filter_map(|word| long(word, 0)) {
        match next {
            _ if word & 1 == 0 => {
                if !image.is_writable(word, 8) {
                    return refuse();
                }
                fill(word);
                next = Some(word + 8);
            }
            None => return refuse(),
            Some(begin) => {
                for bit in (1..64).filter(|bit| word >> bit & 1 == 1) {
                    let place = begin + (bit - 1) * 8;
                    if !image.is_writable(place, 8) {
                        return refuse();
                    }
                    fill(place);
                }
                next = begin.checked_add(63 * 8);
            }
        }
    }
    Ok(())
}
