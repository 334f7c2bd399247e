//! Which build of a program or library a file is, without reading all of it.

use object::Object as _;
use object::read::ReadCache;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The build id that its linker wrote, else what tells one file from another; the same for the same file.
pub(super) fn of(path: &Path) -> String {
    let Ok(file) = File::open(path) else { return "unknown".to_owned() };
    let about = file.metadata();
    let bytes = ReadCache::new(file);
    let id = object::File::parse(&bytes).ok().and_then(|file| file.build_id().ok().flatten().map(<[u8]>::to_vec));
    match (id, about) {
        (Some(id), _) => id.iter().fold("build-id ".to_owned(), |mut text, byte| {
            // Writing to a String never fails.
            let _ = write!(text, "{byte:02x}");
            text
        }),
        (None, Ok(about)) => {
            format!("file {} {} {}.{:09}", about.ino(), about.size(), about.mtime(), about.mtime_nsec())
        }
        (None, Err(_)) => "unknown".to_owned(),
    }
}

/// The build of the C library that this process runs with.
pub(super) fn of_libc() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let libc = paths.find(|path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("libc.so") || name.starts_with("libc-")
    });
    libc.map_or_else(|| "none".to_owned(), |path| of(Path::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_told_from_another() {
        let (this, libc) = (of(Path::new("/proc/self/exe")), of_libc());
        assert!(this.len() > 20 && libc.len() > 20 && this != libc, "{this}, {libc}");
        assert_eq!(this, of(&std::env::current_exe().unwrap()));
        assert_eq!(of(Path::new("/no/such")), "unknown");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let before = of(&file);
        std::fs::write(&file, "#!/bin/sh\n\n").unwrap();
        assert!(before.starts_with("file ") && before != of(&file), "{before}");
    }
}
