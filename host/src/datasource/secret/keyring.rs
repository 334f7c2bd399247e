//! Sealing: a secret becomes a text that can be kept, and opened again only with the key and for the record it is of.
//!
//! The cipher is XChaCha20-Poly1305. Its nonces of 24 bytes may be random for as long as a key is used: nothing has to be
//! counted, so neither a restored backup nor a copied state directory can ever use one twice. It runs in constant time on any
//! processor. A text names its key, so none is tried, and more than one can be in use. Its length shows the secret's.

use super::file::{self, Key, KeyError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// How every sealed text begins; the number is the format's.
const PREFIX: &str = "sealed:1:";
const NONCE: usize = 24;

/// Why a text was not opened. Nothing of the text is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Something else, or cut short.
    #[error("this is no sealed secret: set the option anew")]
    NotSealed,
    /// A later Busway sealed it.
    #[error(
        "this secret is sealed in format {format:?}, and this Busway knows format 1: start the newer one, or set the option anew"
    )]
    Format {
        /// The format.
        format: String,
    },
    /// Its key is not there.
    #[error("this secret is sealed with the key {key:08x}, which is not in the key file {}: put back the key file that was there when the secret was set, or set the option anew", file.display())]
    NoKey {
        /// The key's number.
        key: u32,
        /// The key file.
        file: PathBuf,
    },
    /// Not one that we sealed for this record.
    #[error("this sealed secret was altered, or belongs to another record: set the option anew")]
    Altered,
    /// The system gives no random numbers.
    #[error("nothing can be sealed: the system gives no random numbers: {reason}")]
    Random {
        /// What the system says.
        reason: String,
    },
}

/// The keys that secrets are sealed with: the newest seals, each opens what it sealed.
///
/// They are in the file `key` of the state directory, which only its owner may read. It is in no backup: keep a copy of it
/// apart and with care, since without it what it sealed is lost.
pub struct Keyring {
    path: PathBuf,
    /// Never empty; the newest is the last.
    keys: Vec<Key>,
    newest: Key,
}

impl Keyring {
    /// Reads the key file of a state directory; makes it at first use, with one new key.
    ///
    /// # Errors
    ///
    /// When others may read it, it is another user's, damaged, of a later format, or can't be read or made.
    pub fn open(state_dir: &Path) -> Result<Self, KeyError> {
        let path = state_dir.join(file::FILE);
        let (newest, keys) = file::open(&path)?;
        Ok(Self { path, keys, newest })
    }

    /// Adds a key to the file, with which is sealed from now on. What is sealed is opened as before; see
    /// [`is_current`](Self::is_current) for what to seal anew.
    ///
    /// # Errors
    ///
    /// When the file can't be written: all is as it was.
    pub fn rotate(&mut self) -> Result<(), KeyError> {
        let key =
            Key::new(|number| self.key(number).is_some()).map_err(|reason| KeyError::unusable(&self.path, reason))?;
        file::write(&self.path, self.keys.iter().chain([&self.newest, &key]), true)?;
        self.keys.push(std::mem::replace(&mut self.newest, key));
        Ok(())
    }

    /// The key file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Seals a secret for the owner that `owner` names: a record's id. No two results are alike.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn seal(&self, owner: &[u8], plain: &[u8]) -> Result<String, SealError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| SealError::Random { reason: error.to_string() })?;
        let head = head(self.newest.number);
        let payload = Payload { msg: plain, aad: &[head.as_bytes(), owner].concat() };
        let sealed = cipher(&self.newest).encrypt(&XNonce::from(nonce), payload);
        // It fails for messages of 256 GB.
        let sealed = sealed.map_err(|_| SealError::NotSealed)?;
        let mut bytes = nonce.to_vec();
        bytes.extend(sealed);
        Ok(head + &URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens what was sealed for that owner.
    ///
    /// # Errors
    ///
    /// When it is no sealed text, was altered or moved, or its key is not there.
    pub fn open_sealed(&self, owner: &[u8], sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (number, rest) = parse(sealed)?;
        let key = self.key(number).ok_or_else(|| SealError::NoKey { key: number, file: self.path.clone() })?;
        let bytes = URL_SAFE_NO_PAD.decode(rest).map_err(|_| SealError::NotSealed)?;
        let (nonce, message) = bytes.split_first_chunk::<NONCE>().ok_or(SealError::NotSealed)?;
        let payload = Payload { msg: message, aad: &[head(number).as_bytes(), owner].concat() };
        let plain = cipher(key).decrypt(&XNonce::from(*nonce), payload);
        plain.map(Zeroizing::new).map_err(|_| SealError::Altered)
    }

    /// Does a text look like a sealed one, of whatever format?
    #[must_use]
    pub fn is_sealed(text: &str) -> bool {
        !matches!(parse(text), Err(SealError::NotSealed))
    }

    /// Was it sealed with the newest key? One that was not should be sealed anew some time after a rotation.
    #[must_use]
    pub fn is_current(&self, sealed: &str) -> bool {
        parse(sealed).is_ok_and(|(number, _)| number == self.newest.number)
    }

    fn key(&self, number: u32) -> Option<&Key> {
        [&self.newest].into_iter().chain(&self.keys).find(|key| key.number == number)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("path", &self.path)
            .field("keys", &(self.keys.len() + 1))
            .finish_non_exhaustive()
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&**key.bytes).into())
}

/// What comes before the sealed bytes; sealed with them. Of one length for all keys, so that what follows it can't be taken
/// for a part of it.
fn head(number: u32) -> String {
    format!("{PREFIX}{number:08x}:")
}

/// The key's number and the sealed bytes' text.
fn parse(sealed: &str) -> Result<(u32, &str), SealError> {
    let Some(rest) = sealed.strip_prefix(PREFIX) else {
        let format = sealed.strip_prefix("sealed:").and_then(|rest| rest.split_once(':')).map(|(format, _)| format);
        let format = format.filter(|f| (1..6).contains(&f.len()) && f.bytes().all(|b| b.is_ascii_digit()));
        return Err(format.map_or(SealError::NotSealed, |format| SealError::Format { format: format.to_owned() }));
    };
    let (number, rest) = rest.split_once(':').ok_or(SealError::NotSealed)?;
    file::number(number).map(|number| (number, rest)).ok_or(SealError::NotSealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_sealed_is_opened_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::open(folder.path()).unwrap();
        let sealed = keys.seal(b"one", b"hunter2").unwrap();
        assert!(sealed.starts_with("sealed:1:") && !sealed.contains("hunter2"), "{sealed}");
        assert_eq!(**keys.open_sealed(b"one", &sealed).unwrap(), *b"hunter2");
        assert_ne!(keys.seal(b"one", b"hunter2").unwrap(), sealed);
        assert_eq!(keys.open_sealed(b"two", &sealed), Err(SealError::Altered));
        // The next start has the same key.
        assert_eq!(**Keyring::open(folder.path()).unwrap().open_sealed(b"one", &sealed).unwrap(), *b"hunter2");
    }

    #[test]
    fn an_old_key_opens_and_the_newest_seals() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = Keyring::open(folder.path()).unwrap();
        let old = keys.seal(b"one", b"first").unwrap();
        keys.rotate().unwrap();
        keys.rotate().unwrap();
        let new = keys.seal(b"one", b"second").unwrap();
        assert_eq!((keys.is_current(&old), keys.is_current(&new)), (false, true));
        let again = Keyring::open(folder.path()).unwrap();
        assert_eq!((again.is_current(&old), again.is_current(&new)), (false, true));
        assert_eq!(**again.open_sealed(b"one", &old).unwrap(), *b"first");
        assert_eq!(**again.open_sealed(b"one", &new).unwrap(), *b"second");
        // A text can't be given to another key.
        let swapped = new[..18].to_owned() + &old[18..];
        assert_eq!(again.open_sealed(b"one", &swapped), Err(SealError::Altered));
    }

    #[test]
    fn errors_say_what_to_do_and_nothing_else() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (keys, others) = (Keyring::open(one.path()).unwrap(), Keyring::open(two.path()).unwrap());
        let sealed = others.seal(b"x", b"hunter2").unwrap();
        let number = &sealed[9..17];
        let text = |sealed: &str| keys.open_sealed(b"x", sealed).unwrap_err().to_string();
        assert_eq!(
            text(&sealed),
            format!(
                "this secret is sealed with the key {number}, which is not in the key file {}: put back the key file that was \
                 there when the secret was set, or set the option anew",
                one.path().join("key").display()
            )
        );
        assert_eq!(
            text("sealed:2:abc"),
            "this secret is sealed in format \"2\", and this Busway knows format 1: start the newer one, or set the option anew"
        );
        let own = keys.seal(b"x", b"hunter2").unwrap();
        for wrong in
            ["", "hunter2", "sealed:hunter2", "sealed:hunter2:x", "sealed:1:", "sealed:1:+0000000:", &own[..20]]
        {
            assert_eq!(text(wrong), "this is no sealed secret: set the option anew");
        }
        assert_eq!(
            text(&own[..own.len() - 3]),
            "this sealed secret was altered, or belongs to another record: set the option anew"
        );
        assert_eq!(format!("{keys:?}"), format!("Keyring {{ path: {:?}, keys: 1, .. }}", one.path().join("key")));
    }

    #[test]
    fn whatever_is_altered_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::open(folder.path()).unwrap();
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
        let plain = prop::collection::vec(any::<u8>(), 0..80);
        proptest!(config, |(plain in plain, at in any::<prop::sample::Index>(), to in "[ -~]")| {
            let sealed = keys.seal(b"owner", &plain).unwrap();
            prop_assert_eq!(&**keys.open_sealed(b"owner", &sealed).unwrap(), &plain[..]);
            let at = at.index(sealed.len());
            let altered = format!("{}{to}{}", &sealed[..at], &sealed[at + 1..]);
            prop_assert_eq!(keys.open_sealed(b"owner", &altered).is_ok(), altered == sealed);
        });
    }
}
