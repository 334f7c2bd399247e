//! The key file: a first line with its format, then a line a key: its number, its bytes, and a sum that shows damage. The
//! newest key is the last.
//!
//! ```text
//! busway keys 1
//! 3f2a9c01 q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA= 5d0c33aa
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Its name in the state directory.
pub(super) const FILE: &str = "key";
const HEADER: &str = "busway keys 1";
const KEY: usize = 32;
/// Room for some hundred keys.
const LONGEST: u64 = 16 * 1024;

/// Why the keys can't be had. No key is told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Others may read it.
    #[error("the key file {} may be read by others (mode {mode:03o}): chmod 600 it, and if others had access, set new secrets", path.display())]
    Shared {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another user can change it.
    #[error("the key file {} belongs to the user with id {owner}, who is neither this one ({us}) nor root: chown it, or put back the right one", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        us: u32,
    },
    /// It is not whole.
    #[error("the key file {} is damaged ({what}): put back a copy of it; without it the secrets sealed with it are lost", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It can't be read or written.
    #[error("the key file {} can't be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl KeyError {
    pub(super) fn unusable(path: &Path, reason: impl ToString) -> Self {
        Self::Unusable { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// A key. Its bytes stay where they are when it moves, and are wiped when it goes.
pub(super) struct Key {
    pub(super) number: u32,
    pub(super) bytes: Box<Zeroizing<[u8; KEY]>>,
}

impl Key {
    /// A random one with a random number that is not taken: so a key that was made in place of a lost one is not taken for it.
    pub(super) fn new(taken: impl Fn(u32) -> bool) -> Result<Self, getrandom::Error> {
        let mut bytes = Box::new(Zeroizing::new([0; KEY]));
        getrandom::fill(&mut **bytes)?;
        loop {
            let number = getrandom::u32()?;
            if !taken(number) {
                return Ok(Self { number, bytes });
            }
        }
    }

    fn sum(&self) -> u32 {
        let sum = Sha256::new().chain_update(self.number.to_be_bytes()).chain_update(self.bytes.as_slice()).finalize();
        u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]])
    }

    fn parse(line: &str) -> Result<Self, &'static str> {
        let mut words = line.split(' ');
        let (Some(name), Some(text), Some(sum), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err("is no number, key and sum");
        };
        let mut bytes = Box::new(Zeroizing::new([0; KEY]));
        // Decoding may need more room than it fills.
        let mut room = Zeroizing::new([0; 2 * KEY]);
        let length = STANDARD.decode_slice(text, &mut *room).map_err(|_| "has no key of 32 bytes")?;
        if length != KEY {
            return Err("has no key of 32 bytes");
        }
        bytes.copy_from_slice(&room[..KEY]);
        let key = Self { number: number(name).ok_or("has no number of 8 digits")?, bytes };
        if number(sum) == Some(key.sum()) { Ok(key) } else { Err("has another sum than its key") }
    }
}

/// A number as it is written: 8 small hexadecimal digits.
pub(super) fn number(text: &str) -> Option<u32> {
    let plain = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u32::from_str_radix(text, 16).ok().filter(|_| plain)
}

/// Reads the file, or makes it. Gives the newest key and the others.
pub(super) fn open(path: &Path) -> Result<(Key, Vec<Key>), KeyError> {
    if !fs::exists(path).map_err(|error| KeyError::unusable(path, error))? {
        let key = Key::new(|_| false).map_err(|error| KeyError::unusable(path, error))?;
        // If somebody was faster, his key counts: it is read below.
        write(path, [&key].into_iter(), false)?;
    }
    let file = File::open(path).map_err(|error| KeyError::unusable(path, error))?;
    let about = file.metadata().map_err(|error| KeyError::unusable(path, error))?;
    let us = rustix::process::geteuid().as_raw();
    if about.uid() != us && about.uid() != 0 {
        return Err(KeyError::Owner { path: path.to_owned(), owner: about.uid(), us });
    }
    if about.mode() & 0o077 != 0 {
        return Err(KeyError::Shared { path: path.to_owned(), mode: about.mode() & 0o777 });
    }
    let damaged = |what: String| KeyError::Damaged { path: path.to_owned(), what };
    if about.len() > LONGEST {
        return Err(damaged(format!("it has {} bytes, a key file at most {LONGEST}", about.len())));
    }
    // With room for all of it: a buffer that grows leaves what was in it behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST).unwrap_or(0) + 1));
    file.take(LONGEST).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => damaged("it is no text".to_owned()),
        _ => KeyError::unusable(path, error),
    })?;
    parse(&text).map_err(damaged)
}

fn parse(text: &str) -> Result<(Key, Vec<Key>), String> {
    let mut lines = text.lines();
    match lines.next() {
        Some(HEADER) => {}
        Some(later) if later.strip_prefix("busway keys ").is_some_and(|n| n.parse::<u32>().is_ok()) => {
            return Err(format!("it begins with {later:?}, which a later Busway wrote, where {HEADER:?} was expected"));
        }
        _ => return Err(format!("its first line is not {HEADER:?}")),
    }
    let mut keys: Vec<Key> = Vec::new();
    for (line, number) in lines.zip(2..) {
        let key = Key::parse(line).map_err(|what| format!("line {number} {what}"))?;
        if keys.iter().any(|other| other.number == key.number) {
            return Err(format!("line {number} has a number that is there already"));
        }
        keys.push(key);
    }
    let newest = keys.pop().ok_or("it has no key")?;
    // A line that was cut off would show in its sum; one that is missing as a whole can't be known.
    Ok((newest, keys))
}

/// Writes the file whole, readable by its owner alone. Without `replace` one that is there stays.
pub(super) fn write<'a>(path: &Path, keys: impl Iterator<Item = &'a Key>, replace: bool) -> Result<(), KeyError> {
    let unusable = |error: io::Error| KeyError::unusable(path, error);
    // Where somebody keeps it elsewhere, with a link here, it is written there.
    let target = if replace { fs::canonicalize(path).map_err(unusable)? } else { path.to_owned() };
    let directory = target.parent().unwrap_or(Path::new("."));
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST).unwrap_or(0)));
    text.push_str(HEADER);
    text.push('\n');
    for key in keys {
        let mut room = Zeroizing::new([0; 2 * KEY]);
        let length =
            STANDARD.encode_slice(key.bytes.as_slice(), &mut *room).map_err(|error| KeyError::unusable(path, error))?;
        text.push_str(&format!("{:08x} ", key.number));
        text.push_str(std::str::from_utf8(&room[..length]).unwrap_or_default());
        text.push_str(&format!(" {:08x}\n", key.sum()));
    }
    if u64::try_from(text.len()).is_ok_and(|length| length > LONGEST) {
        return Err(KeyError::unusable(path, "it is full: take out keys that nothing is sealed with any more"));
    }
    let mut file = tempfile::Builder::new().prefix(".key-").tempfile_in(directory).map_err(unusable)?;
    // Whatever the umask is.
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600)).map_err(unusable)?;
    file.write_all(text.as_bytes()).map_err(unusable)?;
    file.as_file().sync_all().map_err(unusable)?;
    if replace {
        file.persist(&target).map_err(|error| unusable(error.error))?;
    } else if let Err(error) = file.persist_noclobber(&target)
        && error.error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(unusable(error.error));
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let made: Vec<[u8; KEY]> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| **open(&path).map_err(drop).unwrap().0.bytes)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|key| *key == made[0] && *key != [0; KEY]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!((text.lines().next(), text.lines().count()), (Some("busway keys 1"), 2));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a passing file is left");
        assert!(text.contains(&STANDARD.encode(made[0])));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        open(&path).map_err(drop).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let line = good.lines().nth(1).unwrap();
        let refused = || open(&path).map(drop).unwrap_err().to_string();
        let damaged = |what: &str| {
            format!(
                "the key file {} is damaged ({what}): put back a copy of it; without it the secrets sealed with it are lost",
                path.display()
            )
        };
        let flipped = format!("{}{}{}", &line[..20], if &line[20..21] == "A" { "B" } else { "A" }, &line[21..]);
        for (text, what) in [
            (String::new(), "its first line is not \"busway keys 1\""),
            ("busway keys 1\n".to_owned(), "it has no key"),
            (
                "busway keys 2\nwhatever".to_owned(),
                "it begins with \"busway keys 2\", which a later Busway wrote, where \"busway keys 1\" was expected",
            ),
            (format!("busway keys 1\n{flipped}\n"), "line 2 has another sum than its key"),
            (good[..good.len() - 3].to_owned(), "line 2 has another sum than its key"),
            ("busway keys 1\n00000001 c2hvcnQ= 00000000\n".to_owned(), "line 2 has no key of 32 bytes"),
            (format!("busway keys 1\n00000001 {} 00000000\n", "A".repeat(500)), "line 2 has no key of 32 bytes"),
            ("busway keys 1\nhunter2\n".to_owned(), "line 2 is no number, key and sum"),
            (format!("busway keys 1\n{}\n", line.replacen(&line[..8], "F", 1)), "line 2 has no number of 8 digits"),
            (format!("{good}{line}\n"), "line 3 has a number that is there already"),
            ("x".repeat(20_000), "it has 20000 bytes, a key file at most 16384"),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(refused(), damaged(what));
        }
        fs::write(&path, [0xff; 10]).unwrap();
        assert_eq!(refused(), damaged("it is no text"));
        fs::write(&path, &good).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            refused(),
            format!(
                "the key file {} may be read by others (mode 640): chmod 600 it, and if others had access, set new secrets",
                path.display()
            )
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
            assert_eq!(
                refused(),
                format!(
                    "the key file {} belongs to the user with id 12345, who is neither this one (0) nor root: chown it, or put \
                     back the right one",
                    path.display()
                )
            );
        }
        let nowhere = folder.path().join("none/key");
        let text = open(&nowhere).map(drop).unwrap_err().to_string();
        assert!(text.starts_with(&format!("the key file {} can't be used: No such file", nowhere.display())), "{text}");
    }
}
