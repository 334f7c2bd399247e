//! A checksum file beside a plugin, `NAME.so.sha256`: where there is one, the plugin is loaded only when it matches.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A list of checksums of a whole release is shorter.
const MAX_BYTES: u64 = 1 << 20;

/// Why a checksum file keeps a plugin from being loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChecksumError {
    /// The file can't be read.
    #[error("its checksum file {file} can't be read: {why}")]
    Unreadable {
        /// The checksum file's name.
        file: String,
        /// Why.
        why: String,
    },
    /// The file holds something else.
    #[error(
        "its checksum file {file} is not understood: it is to hold a SHA-256 in hexadecimal, alone or as `sha256sum {name}` writes it"
    )]
    Malformed {
        /// The checksum file's name.
        file: String,
        /// The plugin's.
        name: String,
    },
    /// The file speaks of another one.
    #[error("its checksum file {file} is for {other}, not for {name}: write it anew with `sha256sum {name} > {file}`")]
    Other {
        /// The checksum file's name.
        file: String,
        /// The plugin's.
        name: String,
        /// Whose checksum it holds.
        other: String,
    },
    /// The plugin is another than was meant.
    #[error("its SHA-256 is {found}, its checksum file {file} says {expected}: copy both again")]
    Mismatch {
        /// The checksum file's name.
        file: String,
        /// What the file says.
        expected: String,
        /// The plugin's.
        found: String,
    },
}

impl ChecksumError {
    /// Whether it looks so while plugin and checksum file are being copied, one after the other.
    #[must_use]
    pub fn may_be_incomplete(&self) -> bool {
        matches!(self, Self::Malformed { .. } | Self::Mismatch { .. })
    }
}

/// Where a plugin's checksum file is to lie.
pub(super) fn beside(plugin: &Path) -> PathBuf {
    let mut name: OsString = plugin.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}

/// Compares a plugin's checksum with that of the file beside it; where there is none, anything is right. Answers whether
/// there is one.
pub(super) fn check(plugin: &Path, sha256: &str) -> Result<bool, ChecksumError> {
    let path = beside(plugin);
    let last = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (file, name) = (last(&path), last(plugin));
    let unreadable = |why: String| ChecksumError::Unreadable { file: file.clone(), why };
    match std::fs::metadata(&path) {
        // To open a pipe would be to wait for its writer.
        Ok(about) if !about.is_file() => return Err(unreadable("it is no file".to_owned())),
        // A link that leads nowhere was meant to lead somewhere.
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => return Ok(false),
        _ => {}
    }
    let mut text = Vec::new();
    let read = std::fs::File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
    read.map_err(|error| unreadable(error.to_string()))?;
    let expected = stated(&text, &file, &name)?;
    if expected == sha256 {
        return Ok(true);
    }
    Err(ChecksumError::Mismatch { file, expected, found: sha256.to_owned() })
}

/// The checksum that a file's text states of a plugin.
fn stated(text: &[u8], file: &str, name: &str) -> Result<String, ChecksumError> {
    let malformed = || ChecksumError::Malformed { file: file.to_owned(), name: name.to_owned() };
    let text = std::str::from_utf8(text).map_err(|_| malformed())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<(String, Option<&str>)> = lines.map(line).collect::<Option<_>>().ok_or_else(malformed)?;
    // A path is as good as the name: whoever made the file was in another folder.
    let named = |of: &str| of.rsplit('/').next() == Some(name);
    match lines.as_slice() {
        [(hash, None)] => Ok(hash.clone()),
        all => match all.iter().find(|(_, of)| of.is_some_and(named)) {
            Some((hash, _)) => Ok(hash.clone()),
            None => {
                let other = all.iter().find_map(|(_, of)| *of).ok_or_else(malformed)?.to_owned();
                Err(ChecksumError::Other { file: file.to_owned(), name: name.to_owned(), other })
            }
        },
    }
}

/// A line's checksum, and whose it is if it says so: `HEX`, `HEX  NAME`, `HEX *NAME` or `SHA256 (NAME) = HEX`.
fn line(line: &str) -> Option<(String, Option<&str>)> {
    let hash = |text: &str| {
        let is = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is.then(|| text.to_ascii_lowercase())
    };
    if let Some(rest) = line.strip_prefix("SHA256 (") {
        let (name, text) = rest.rsplit_once(") = ")?;
        return Some((hash(text)?, Some(name)));
    }
    match line.split_once(char::is_whitespace) {
        None => Some((hash(line)?, None)),
        Some((text, rest)) => {
            let name = rest.trim_start();
            Some((hash(text)?, Some(name.strip_prefix('*').unwrap_or(name))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn forms() {
        let said = |text: &str| stated(text.as_bytes(), "a.so.sha256", "a.so").map_err(|error| error.to_string());
        for good in [
            format!("{HASH}\n"),
            HASH.to_uppercase(),
            format!("{HASH}  a.so\n"),
            format!("{HASH} *a.so"),
            format!("{HASH}  dist/a.so\r\n"),
            format!("SHA256 (a.so) = {HASH}"),
            format!("# made by hand\n{}  b.so\n{HASH}  a.so\n", HASH.replace('e', "0")),
        ] {
            assert_eq!(said(&good), Ok(HASH.to_owned()), "{good}");
        }
        let malformed = "its checksum file a.so.sha256 is not understood: it is to hold a SHA-256 in hexadecimal, alone or \
                         as `sha256sum a.so` writes it";
        for bad in ["", "\n", "abc", &HASH[1..], &format!("{HASH}\n{HASH}"), "SHA256 (a.so) = 1", "<html>no</html>"] {
            assert_eq!(said(bad), Err(malformed.to_owned()), "{bad}");
        }
        assert_eq!(
            said(&format!("{HASH}  b.so")),
            Err("its checksum file a.so.sha256 is for b.so, not for a.so: write it anew with `sha256sum a.so > \
                 a.so.sha256`"
                .to_owned())
        );
    }

    #[test]
    fn only_what_matches_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("a.so");
        assert_eq!(check(&plugin, HASH), Ok(false));
        std::fs::write(beside(&plugin), HASH).unwrap();
        assert_eq!(check(&plugin, HASH), Ok(true));
        let other = HASH.replace('e', "0");
        let error = check(&plugin, &other).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("its SHA-256 is {other}, its checksum file a.so.sha256 says {HASH}: copy both again")
        );
        assert!(error.may_be_incomplete());
        std::fs::remove_file(beside(&plugin)).unwrap();
        std::os::unix::fs::symlink("nowhere", beside(&plugin)).unwrap();
        let text = check(&plugin, HASH).unwrap_err().to_string();
        assert!(text.starts_with("its checksum file a.so.sha256 can't be read: "), "{text}");
        std::fs::remove_file(beside(&plugin)).unwrap();
        std::fs::create_dir(beside(&plugin)).unwrap();
        let text = check(&plugin, HASH).unwrap_err().to_string();
        assert_eq!(text, "its checksum file a.so.sha256 can't be read: it is no file");
    }
}
