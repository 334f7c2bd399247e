//! ELF files, as the system's loader sees them.
//!
//! The loader trusts what it maps: a file that ends early kills the process at the first touch (SIGBUS), a table that leads
//! astray does (SIGSEGV), an entry that is missing ends it by an assertion. So everything the loader reads before the
//! first byte of the library's code runs is followed here first, without one byte being mapped.

mod dynamic;
mod holes;
mod image;
mod relocations;
mod symbols;
mod unwinding;
mod versions;

use super::error::BytesError;
use super::facts::{Needs, Version};
use super::words::{part, readable, text};
use busway_plugin_api::abi::NOTE_SECTION;
use dynamic::Dynamic;
use image::Image;
use object::elf;
use symbols::Symbols;
use versions::Versions;

/// What a library says without being run.
#[derive(Debug)]
pub(super) struct Said<'a> {
    /// The note's bytes, if it has one.
    pub(super) note: Option<&'a [u8]>,
    pub(super) needs: Needs,
    /// Whose runtime is in it: Go's version.
    pub(super) go: Option<String>,
    /// What its linker calls it: the same for the same build.
    pub(super) build_id: Option<String>,
}

/// Checks everything that the loader would follow, and reads what the library says.
pub(super) fn read(bytes: &[u8]) -> Result<Said<'_>, BytesError> {
    let image = Image::parse(bytes)?;
    // A hole is a better word than what comes of it.
    holes::check(&image)?;
    let dynamic = Dynamic::parse(&image)?;
    let symbols = Symbols::parse(&image, &dynamic)?;
    let count = relocations::check(&image, &dynamic, &symbols)?;
    let versions = Versions::parse(&image, &dynamic)?;
    versions.check(&image, &dynamic, count)?;
    unwinding::check(&image)?;
    Ok(Said {
        note: image.section(NOTE_SECTION).map(|section| section.bytes),
        needs: needs(&dynamic, versions)?,
        go: go(&image),
        build_id: build_id(&image),
    })
}

/// The versions of symbols that a library of the system has.
pub(super) fn versions_of(bytes: &[u8]) -> Result<Vec<String>, BytesError> {
    let image = Image::parse(bytes)?;
    let dynamic = Dynamic::parse(&image)?;
    Ok(Versions::parse(&image, &dynamic)?.own)
}

fn needs(dynamic: &Dynamic<'_>, versions: Versions) -> Result<Needs, BytesError> {
    let mut libraries = dynamic.texts(elf::DT_NEEDED)?;
    // Libraries that stand in for this one are loaded as well.
    libraries.extend(dynamic.texts(elf::DT_AUXILIARY)?);
    libraries.extend(dynamic.texts(elf::DT_FILTER)?);
    let mut run_paths = Vec::new();
    for tag in [elf::DT_RPATH, elf::DT_RUNPATH] {
        let paths = dynamic.texts(tag)?;
        run_paths.extend(paths.iter().flat_map(|text| text.split(':')).map(str::to_owned));
    }
    let mut wanted = Vec::new();
    for of in versions.wanted {
        // The loader ends the process where it finds versions of a library that it was not told to load. It itself and
        // libc are there in any case.
        let known = libraries.contains(&of.library) || of.library.starts_with("ld-linux") || of.library == "libc.so.6";
        if !known {
            let text = format!("it wants versions of {}, which is not among the libraries it needs", of.library);
            return Err(BytesError::Malformed(text));
        }
        wanted.extend(of.versions.into_iter().map(|(version, optional)| Version {
            library: of.library.clone(),
            version,
            optional,
        }));
    }
    Ok(Needs { libraries, run_paths, versions: wanted })
}

/// The version of Go, if its runtime is in there.
fn go(image: &Image<'_>) -> Option<String> {
    let section = image.section(".go.buildinfo")?;
    // From Go 1.18 on the version stands there; before, an address of it.
    let length = section.bytes.get(32).copied().filter(|length| *length < 0x80);
    let inline = section.bytes.get(15).is_some_and(|flags| flags & 2 != 0);
    let version = length.filter(|_| inline).and_then(|length| part(section.bytes, 33, u64::from(length)));
    Some(version.map_or("of unknown version".to_owned(), readable))
}

fn build_id(image: &Image<'_>) -> Option<String> {
    let section = image.section(".note.gnu.build-id")?;
    let id = section.bytes.get(16..).filter(|_| text(section.bytes, 12) == Some(b"GNU"))?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}
