//! The symbols that the loader looks up: where its hash tables lead, and where symbols lie.

use super::super::error::BytesError;
use super::super::words::{half, long, part, word};
use super::dynamic::Dynamic;
use super::image::Image;
use object::elf;

/// The size of a symbol.
const SYMBOL: u64 = 24;

/// The table of dynamic symbols.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    table: &'a [u8],
    /// So many of them are within reach of the hash table.
    pub(super) count: u64,
}

impl<'a> Symbols<'a> {
    /// Finds the table by what leads to it, and checks every symbol that can be found.
    pub(super) fn parse(image: &Image<'a>, dynamic: &Dynamic<'a>) -> Result<Self, BytesError> {
        let Some(address) = dynamic.get(elf::DT_SYMTAB) else {
            return Err(BytesError::malformed("its dynamic table names no symbols"));
        };
        let unmapped = || BytesError::malformed("its symbols are not mapped");
        let mut symbols = Self { table: image.rest(address).ok_or_else(unmapped)?, count: 0 };
        symbols.count = match (dynamic.get(elf::DT_GNU_HASH), dynamic.get(elf::DT_HASH)) {
            (Some(address), _) => gnu_count(image.rest(address).unwrap_or_default()),
            (None, Some(address)) => old_count(image.rest(address).unwrap_or_default()),
            (None, None) => return Err(BytesError::malformed("it has no hash table of its symbols")),
        }?;
        for i in 0..symbols.count {
            symbols.check(i, image, dynamic)?;
        }
        Ok(symbols)
    }

    /// Checks one symbol: that it is there, has a name, and lies where its kind may.
    pub(super) fn check(&self, i: u64, image: &Image<'_>, dynamic: &Dynamic<'_>) -> Result<(), BytesError> {
        let refuse = |why: &str| Err(BytesError::Malformed(format!("its symbol {i} {why}")));
        let symbol = i.checked_mul(SYMBOL).and_then(|at| part(self.table, at, SYMBOL));
        let Some(symbol) = symbol else { return refuse("lies beyond what is mapped") };
        if dynamic.text(u64::from(word(symbol, 0).unwrap_or_default())).is_err() {
            return refuse("has a name outside of the texts");
        }
        let section = elf::SymbolSection(half(symbol, 6).unwrap_or_default());
        if matches!(section, elf::SHN_UNDEF | elf::SHN_ABS) {
            return Ok(());
        }
        let value = long(symbol, 8).unwrap_or_default();
        let there = match elf::SymbolType(symbol[4] & 0xf) {
            elf::STT_FUNC | elf::STT_GNU_IFUNC => image.is_code(value),
            elf::STT_TLS => image.segment(elf::PT_TLS.0).is_some_and(|segment| value <= segment.in_memory),
            // The end of a segment is a place, too.
            _ => image.load(value, 0).is_some(),
        };
        if there { Ok(()) } else { refuse("lies where nothing of it is mapped") }
    }
}

/// How many symbols a hash table of GNU's form leads to.
fn gnu_count(table: &[u8]) -> Result<u64, BytesError> {
    let refuse = |text: &str| Err(BytesError::malformed(text));
    let field = |at| word(table, at).map(u64::from);
    let (Some(buckets), Some(base), Some(filters)) = (field(0), field(4), field(8)) else {
        return refuse("the hash table of its symbols is not mapped");
    };
    if !filters.is_power_of_two() {
        return refuse("the hash table of its symbols has a filter of a size that is no power of two");
    }
    let begin = 16 + filters * 8;
    let Some(buckets) = part(table, begin, buckets * 4) else {
        return refuse("the hash table of its symbols is larger than what is mapped");
    };
    let chains = begin + buckets.len() as u64;
    let numbers = (0..buckets.len() as u64 / 4).filter_map(|i| word(buckets, i * 4)).filter(|first| *first != 0);
    let Some((least, last)) = numbers.fold(None, |range: Option<(u32, u32)>, first| {
        let (least, last) = range.unwrap_or((first, first));
        Some((least.min(first), last.max(first)))
    }) else {
        return Ok(base);
    };
    if u64::from(least) < base {
        return refuse("the hash table of its symbols leads before its first");
    }
    // Chains lie one behind the other: where the last one ends, all have ended.
    let mut i = u64::from(last);
    loop {
        match word(table, chains + (i - base) * 4) {
            Some(hash) if hash & 1 == 1 => return Ok(i + 1),
            Some(_) => i += 1,
            None => return refuse("the hash table of its symbols has no end"),
        }
    }
}

/// How many symbols a hash table of the old form leads to.
fn old_count(table: &[u8]) -> Result<u64, BytesError> {
    let refuse = |text: &str| Err(BytesError::malformed(text));
    let field = |at| word(table, at).map(u64::from);
    let (Some(buckets), Some(count)) = (field(0), field(4)) else {
        return refuse("the hash table of its symbols is not mapped");
    };
    if part(table, 8, (buckets + count) * 4).is_none() {
        return refuse("the hash table of its symbols is larger than what is mapped");
    }
    // Each symbol is in one chain: whoever takes more steps goes round in circles.
    let mut steps = 0;
    for bucket in 0..buckets {
        let mut i = field(8 + bucket * 4).unwrap_or_default();
        while i != 0 {
            steps += 1;
            if i >= count || steps > count {
                return refuse("the hash table of its symbols leads beyond them, or in circles");
            }
            i = field(8 + (buckets + i) * 4).unwrap_or_default();
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn gnu_chains_end_or_are_refused() {
        // One bucket that leads to symbol 5 of base 5, two long; one filter.
        let good = [1, 5, 1, 6, 0, 0, 5, 2, 3];
        assert_eq!(gnu_count(&table(&good)), Ok(7));
        for (at, value) in [(2, 0), (2, 3), (2, u32::MAX), (0, u32::MAX), (6, 4), (6, u32::MAX), (8, 2)] {
            let mut bad = good;
            bad[at] = value;
            assert!(gnu_count(&table(&bad)).is_err(), "{at} {value}");
        }
        assert_eq!(gnu_count(&table(&[1, 5, 1, 6, 0, 0, 0])), Ok(5));
        assert!(gnu_count(&[]).is_err());
    }

    #[test]
    fn old_chains_end_or_are_refused() {
        // One bucket, three symbols: 2, then 1.
        let good = [1, 3, 2, 0, 0, 1];
        assert_eq!(old_count(&table(&good)), Ok(3));
        for (at, value) in [(0, u32::MAX), (1, u32::MAX), (2, 3), (4, 2), (5, 2)] {
            let mut bad = good;
            bad[at] = value;
            assert!(old_count(&table(&bad)).is_err(), "{at} {value}");
        }
    }
}
