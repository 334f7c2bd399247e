//! Versions of symbols: those that are needed of other libraries, and those that a library has.

use super::super::error::BytesError;
use super::super::words::{half, part, readable, word};
use super::dynamic::Dynamic;
use super::image::Image;
use object::elf;

/// Libraries have some dozens.
const MAX_VERSIONS: usize = 1 << 16;

/// The form of an entry.
#[derive(Clone, Copy)]
struct Entry {
    size: u64,
    /// Where in it stands how far off the next one is.
    next: u64,
}

/// Both of libraries and of what is wanted of each.
const WANTED: Entry = Entry { size: 16, next: 12 };
const OWN: Entry = Entry { size: 20, next: 16 };

/// What is needed of one library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) library: String,
    /// With whether it works without it, too.
    pub(super) versions: Vec<(String, bool)>,
}

/// All versions that a library speaks of.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) wanted: Vec<Wanted>,
    pub(super) own: Vec<String>,
    /// The highest number that one has within the library.
    highest: u16,
    any: bool,
}

impl Versions {
    /// Reads the tables of versions.
    pub(super) fn parse(image: &Image<'_>, dynamic: &Dynamic<'_>) -> Result<Self, BytesError> {
        let mut versions = Self::default();
        let unmapped = || BytesError::malformed("its versions are not mapped");
        if let Some(address) = dynamic.get(elf::DT_VERNEED) {
            versions.read_wanted(image.rest(address).ok_or_else(unmapped)?, dynamic)?;
        }
        if let Some(address) = dynamic.get(elf::DT_VERDEF) {
            versions.read_own(image.rest(address).ok_or_else(unmapped)?, dynamic)?;
        }
        Ok(versions)
    }

    /// Checks that each of so many symbols has a version that is there.
    pub(super) fn check(&self, image: &Image<'_>, dynamic: &Dynamic<'_>, symbols: u64) -> Result<(), BytesError> {
        let Some(address) = dynamic.get(elf::DT_VERSYM) else { return Ok(()) };
        if !self.any {
            return Err(BytesError::malformed("its symbols have versions, and there are none"));
        }
        let Some(numbers) = symbols.checked_mul(2).and_then(|length| image.at(address, length)) else {
            return Err(BytesError::malformed("the versions of its symbols are not mapped"));
        };
        // 0 and 1 stand for none; the highest bit hides.
        let highest = numbers.chunks_exact(2).filter_map(|two| half(two, 0)).map(|number| number & 0x7fff).max();
        match highest {
            Some(number) if number > self.highest.max(1) => {
                Err(BytesError::Malformed(format!("a symbol is of its version {number}, which is none")))
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, number: u16) {
        self.any = true;
        self.highest = self.highest.max(number & 0x7fff);
    }

    fn read_wanted(&mut self, table: &[u8], dynamic: &Dynamic<'_>) -> Result<(), BytesError> {
        let name = |at| Ok::<_, BytesError>(readable(dynamic.text(number(table, at))?));
        let mut left = MAX_VERSIONS;
        for at in chain(table, 0, WANTED, &mut left)? {
            let mut wanted = Wanted { library: name(at + 4)?, versions: Vec::new() };
            for at in chain(table, at + number(table, at + 8), WANTED, &mut left)? {
                let optional = half(table, at + 4).unwrap_or_default() & elf::VER_FLG_WEAK.0 != 0;
                self.count(half(table, at + 6).unwrap_or_default());
                wanted.versions.push((name(at + 8)?, optional));
            }
            self.wanted.push(wanted);
        }
        Ok(())
    }

    fn read_own(&mut self, table: &[u8], dynamic: &Dynamic<'_>) -> Result<(), BytesError> {
        let mut left = MAX_VERSIONS;
        for at in chain(table, 0, OWN, &mut left)? {
            self.count(half(table, at + 4).unwrap_or_default());
            let name = dynamic.text(number(table, at + number(table, at + 12)))?;
            self.own.push(readable(name));
        }
        Ok(())
    }
}

fn number(table: &[u8], at: u64) -> u64 {
    word(table, at).map_or(u64::MAX >> 1, u64::from)
}

/// Where the entries of a table lie, each of which says how far off the next one is; none ends it.
fn chain(table: &[u8], first: u64, entry: Entry, left: &mut usize) -> Result<Vec<u64>, BytesError> {
    let refuse = |text: &str| Err(BytesError::malformed(text));
    let (mut at, mut all) = (first, Vec::new());
    loop {
        if part(table, at, entry.size).is_none() {
            return refuse("its table of versions leads beyond what is mapped");
        }
        if *left == 0 {
            return refuse("it has more versions than there can be");
        }
        *left -= 1;
        all.push(at);
        match word(table, at + entry.next).map(u64::from) {
            Some(0) | None => return Ok(all),
            Some(step) => at += step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_end_or_are_refused() {
        let table = |steps: &[u32]| -> Vec<u8> {
            steps
                .iter()
                .flat_map(|step| {
                    [[0; 12], [0; 12]].concat()[..12].iter().copied().chain(step.to_le_bytes()).collect::<Vec<_>>()
                })
                .collect()
        };
        let walk = |steps: &[u32], mut left| chain(&table(steps), 0, WANTED, &mut left);
        assert_eq!(walk(&[32, 7, 0], 9), Ok(vec![0, 32]));
        assert!(walk(&[32, 7, 16], 9).is_err());
        assert!(walk(&[16, 16, 0], 2).is_err());
        assert!(walk(&[u32::MAX], 2).is_err());
    }
}
