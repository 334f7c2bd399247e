//! The libraries of this system: where its loader finds them, and which versions of symbols they have.

use super::elf::versions_of;
use super::error::BytesError;
use super::facts::{Facts, numbers};
use super::words::{text, word};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The loader's own list of what the directories of its configuration hold.
const CACHE: &str = "/etc/ld.so.cache";
/// How the list begins; its last three characters are its form's version.
const CACHE_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Where the loader looks last.
const PLACES: [&str; 6] = ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/lib/{}-linux-gnu", "/usr/lib/{}-linux-gnu"];
/// No library of a system is larger.
const MAX_BYTES: u64 = 1 << 28;

/// Where libraries lie, in the order in which the system's loader looks.
#[derive(Debug, Clone, Default)]
pub struct Libraries {
    /// What is in this process already, by its file's name: the loader takes that first.
    mapped: BTreeMap<String, PathBuf>,
    before: Vec<PathBuf>,
    cached: BTreeMap<String, PathBuf>,
    places: Vec<PathBuf>,
    /// Which versions of symbols each has that was asked for; `None`: it can't be read so.
    versions: Arc<Mutex<BTreeMap<PathBuf, Option<Vec<String>>>>>,
}

impl Libraries {
    /// This system's, as they are now.
    #[must_use]
    pub fn of_system() -> Self {
        let configured = std::env::var_os("LD_LIBRARY_PATH");
        let places = PLACES.iter().map(|place| PathBuf::from(place.replace("{}", std::env::consts::ARCH)));
        Self {
            mapped: mapped(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default()),
            before: configured.iter().flat_map(std::env::split_paths).filter(|place| place.is_absolute()).collect(),
            cached: cached(&std::fs::read(CACHE).unwrap_or_default()),
            places: places.collect(),
            versions: Arc::default(),
        }
    }

    /// Those of these folders alone.
    #[must_use]
    pub fn of_folders(places: Vec<PathBuf>) -> Self {
        Self { places, ..Self::default() }
    }

    /// Where the loader would find a library.
    #[must_use]
    pub fn find(&self, library: &str) -> Option<PathBuf> {
        let there = |path: &PathBuf| path.exists();
        let within = |places: &[PathBuf]| places.iter().map(|place| place.join(library)).find(there);
        let known = |list: &BTreeMap<String, PathBuf>| list.get(library).filter(|path| there(path)).cloned();
        known(&self.mapped)
            .or_else(|| within(&self.before))
            .or_else(|| known(&self.cached))
            .or_else(|| within(&self.places))
    }

    /// Whether the loader would find all that a library needs. A driver is one self-contained file: it is copied before
    /// it is mapped, so what lies `beside` it is not found.
    ///
    /// # Errors
    ///
    /// The first library, or version of one, that is not there.
    pub fn satisfy(&self, facts: &Facts, beside: &Path) -> Result<(), BytesError> {
        let needs = &facts.needs;
        let mut found = BTreeMap::new();
        for library in &needs.libraries {
            let run_path = || {
                let absolute = needs.run_paths.iter().filter(|path| path.starts_with('/'));
                absolute.map(|path| Path::new(path).join(library)).find(|path| path.exists())
            };
            let by_path = library.contains('/');
            if let Some(path) = (!by_path).then(|| self.find(library).or_else(run_path)).flatten() {
                found.insert(library.as_str(), path);
                continue;
            }
            let why = if by_path {
                "it names by a path".to_owned()
            } else if needs.run_paths.iter().any(|path| path.contains("$ORIGIN") || path.contains("${ORIGIN}"))
                || beside.join(library).exists()
            {
                "is looked for beside the driver".to_owned()
            } else {
                "this system does not have".to_owned()
            };
            return Err(BytesError::Needs { library: library.clone(), why });
        }
        for (library, path) in found {
            let wanted = needs.versions.iter().filter(|version| version.library == library && !version.optional);
            let wanted: Vec<&str> = wanted.map(|version| version.version.as_str()).collect();
            self.has_versions(library, &path, &wanted)?;
        }
        Ok(())
    }

    /// Which versions of symbols a library has; it is read once.
    fn versions_of(&self, path: &Path) -> Option<Vec<String>> {
        let known = || self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = known().get(path) {
            return own.clone();
        }
        let small = std::fs::metadata(path).is_ok_and(|about| about.len() <= MAX_BYTES);
        let bytes = if small { std::fs::read(path).ok() } else { None };
        let own = bytes.and_then(|bytes| versions_of(&bytes).ok());
        known().insert(path.to_owned(), own.clone());
        own
    }

    fn has_versions(&self, library: &str, path: &Path, wanted: &[&str]) -> Result<(), BytesError> {
        if wanted.is_empty() {
            return Ok(());
        }
        // A library that can't be read so is the loader's to judge, in a process of its own.
        let Some(own) = self.versions_of(path) else { return Ok(()) };
        // One without versions satisfies any, as the loader sees it.
        let missing = wanted.iter().filter(|version| !own.is_empty() && !own.iter().any(|own| own == *version));
        let Some(missing) = missing.max_by_key(|version| numbers(version)) else { return Ok(()) };
        let family = |version: &str| version.split_once('_').map_or("", |(family, _)| family).to_owned();
        let related = own.iter().filter(|own| family(own) == family(missing) && !numbers(own).is_empty());
        let newest = related.max_by_key(|version| numbers(version));
        Err(BytesError::TooOld {
            library: library.to_owned(),
            version: (*missing).to_owned(),
            newest: newest.map_or_else(|| "none like it".to_owned(), |newest| format!("{newest} at most")),
        })
    }
}

/// The files of libraries that are in this process.
fn mapped(maps: &str) -> BTreeMap<String, PathBuf> {
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])));
    let named = paths.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)));
    named.filter(|(name, _)| name.contains(".so")).collect()
}

/// What the loader's list says. Of several of one name, the first.
fn cached(list: &[u8]) -> BTreeMap<String, PathBuf> {
    let mut all = BTreeMap::new();
    // Older systems have an older list before it.
    let Some(begin) = memchr_of(list, CACHE_MAGIC) else { return all };
    let list = &list[begin..];
    let count = word(list, 20).unwrap_or_default();
    for i in 0..u64::from(count) {
        let at = 48 + i * 24;
        let (Some(name), Some(path)) = (word(list, at + 4), word(list, at + 8)) else { break };
        let text = |at: u32| text(list, u64::from(at)).and_then(|text| std::str::from_utf8(text).ok());
        if let (Some(name), Some(path)) = (text(name), text(path)) {
            // Of other machines, which one system may have as well.
            let flags = word(list, at).unwrap_or_default();
            let ours = if cfg!(target_arch = "aarch64") { 0x0a03 } else { 0x0303 };
            if flags == ours {
                all.entry(name.to_owned()).or_insert_with(|| PathBuf::from(path));
            }
        }
    }
    all
}

fn memchr_of(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Needs, Version};
    use super::super::note::tests::note;
    use super::*;

    fn facts(libraries: &[&str], versions: &[(&str, &str)]) -> Facts {
        let libraries = libraries.iter().map(|name| (*name).to_owned()).collect();
        let version = |(library, version): &(&str, &str)| Version {
            library: (*library).to_owned(),
            version: (*version).to_owned(),
            optional: false,
        };
        let needs = Needs { libraries, run_paths: Vec::new(), versions: versions.iter().map(version).collect() };
        Facts { note: note(), needs, go: None, build_id: None }
    }

    fn said(facts: &Facts, beside: &Path) -> String {
        Libraries::of_system().satisfy(facts, beside).map_or_else(|error| error.to_string(), |()| "found".to_owned())
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn a_driver_is_one_self_contained_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libbar.so.1"), "").unwrap();
        assert_eq!(said(&facts(&["libc.so.6", "libm.so.6"], &[]), folder.path()), "found");
        for (library, text) in [
            (
                "libfoo.so.1",
                "it needs libfoo.so.1, which this system does not have; link it statically or install it system-wide",
            ),
            (
                "libbar.so.1",
                "it needs libbar.so.1, which is looked for beside the driver; link it statically or install it \
                 system-wide",
            ),
            (
                "/opt/libbar.so.1",
                "it needs /opt/libbar.so.1, which it names by a path; link it statically or install it system-wide",
            ),
        ] {
            assert_eq!(said(&facts(&[library], &[]), folder.path()), text);
        }
        let mut origin = facts(&["libfoo.so.1"], &[]);
        origin.needs.run_paths = vec!["$ORIGIN/lib".to_owned()];
        assert_eq!(
            said(&origin, folder.path()),
            "it needs libfoo.so.1, which is looked for beside the driver; link it statically or install it system-wide"
        );
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn versions_newer_than_the_systems_are_told_with_both() {
        let here = Path::new("/plugins");
        assert_eq!(said(&facts(&["libc.so.6"], &[("libc.so.6", "GLIBC_2.17")]), here), "found");
        let text = said(&facts(&["libc.so.6"], &[("libc.so.6", "GLIBC_2.17"), ("libc.so.6", "GLIBC_2.999")]), here);
        let newest = text.strip_prefix("it needs GLIBC_2.999 of libc.so.6, this system has GLIBC_2.");
        let newest = newest.and_then(|rest| rest.strip_suffix(" at most: build it on a system as old as this one"));
        assert!(newest.is_some_and(|number| number.parse::<u32>().is_ok()), "{text}");
    }

    #[test]
    fn the_loaders_list_is_read() {
        let mut list = b"ld.so-1.7.0 and so on\0\0\0".to_vec();
        let begin = list.len();
        list.extend(CACHE_MAGIC);
        list.extend(2_u32.to_le_bytes());
        list.resize(begin + 48, 0);
        let flags = if cfg!(target_arch = "aarch64") { 0x0a03_u32 } else { 0x0303 };
        for (flags, name, path) in [(flags, 96, 101_u32), (0x0003, 96_u32, 101)] {
            for number in [flags, name, path, 0, 0, 0] {
                list.extend(number.to_le_bytes());
            }
        }
        list.extend(b"a.so\0/x/a.so\0");
        let read = cached(&list);
        assert_eq!(read, BTreeMap::from([("a.so".to_owned(), PathBuf::from("/x/a.so"))]));
        for end in 0..list.len() {
            cached(&list[..end]);
        }
        let maps = "7f00-7f01 r--p 00000000 08:01 42   /lib/libc.so.6\n7f02-7f03 rw-p 00000000 00:00 0\n";
        assert_eq!(mapped(maps), BTreeMap::from([("libc.so.6".to_owned(), PathBuf::from("/lib/libc.so.6"))]));
    }
}
