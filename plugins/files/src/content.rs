//! A file's bytes, and how to tell without them that it is unchanged.

use crate::directory::File;
use busway_plugin_api::{Error, tracing};
use bytes::Bytes;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::time::{Duration, SystemTime};

/// A file system may give two writes within this time one modification time.
const GRAIN: Duration = Duration::from_secs(2);

/// As long as it stays the same, the file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Bytes.
    pub(crate) len: u64,
    modified: Option<SystemTime>,
    identity: Identity,
}

/// Device, inode, and time of change: the last one sees a write after which the modification time was set back.
#[cfg(unix)]
type Identity = (u64, u64, i64, i64);
/// Unknown here.
#[cfg(not(unix))]
type Identity = ();

#[cfg(unix)]
fn identity(about: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (about.dev(), about.ino(), about.ctime(), about.ctime_nsec())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {}

impl Stamp {
    /// Of a file as it is now.
    pub(crate) fn of(about: &Metadata) -> Self {
        Self { len: about.len(), modified: about.modified().ok(), identity: identity(about) }
    }

    /// Whether any later write will show: the last one is so long ago that the next can't have its time.
    fn settled(&self, now: SystemTime) -> bool {
        self.modified.is_some_and(|modified| {
            let apart = now.duration_since(modified).unwrap_or_else(|ahead| ahead.duration());
            apart >= GRAIN
        })
    }
}

/// A file, read whole.
pub(crate) struct Content {
    /// All of it.
    pub(crate) bytes: Bytes,
    /// As it was when it was read.
    pub(crate) stamp: Stamp,
    /// Whether an equal stamp means an equal file.
    pub(crate) settled: bool,
    /// Equal for equal bytes under an equal name (whose ending says how to read them).
    pub(crate) hash: u64,
}

impl Content {
    /// Reads a file of at most so many bytes.
    pub(crate) fn read(file: &File, max: u64) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::new(format!("it can't be read: {error}")).at(&file.name);
        tracing::trace!(file = file.name, "looked into");
        // Once more at once: most writers are quick.
        for _ in 0..2 {
            let now = SystemTime::now();
            let mut open = std::fs::File::open(&file.path).map_err(failed)?;
            let stamp = Stamp::of(&open.metadata().map_err(failed)?);
            if stamp.len > max {
                return Err(too_large(file, stamp.len, max));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(stamp.len)?);
            (&mut open).take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
            let after = Stamp::of(&open.metadata().map_err(failed)?);
            if stamp == after && bytes.len() as u64 == stamp.len {
                let mut hash = DefaultHasher::new();
                hash.write(file.name.as_bytes());
                hash.write_u8(0);
                hash.write(&bytes);
                return Ok(Self { bytes: bytes.into(), stamp, settled: stamp.settled(now), hash: hash.finish() });
            }
        }
        Err(Error::transient("it changed while it was read; the next poll reads it again").at(&file.name))
    }

    /// As text, without the byte order mark that some programs begin with.
    pub(crate) fn text(&self, file: &File) -> Result<&str, Error> {
        let text = std::str::from_utf8(&self.bytes).map_err(|error| {
            let before = &self.bytes[..error.valid_up_to()];
            let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
            Error::new("it is not UTF-8: save it in that encoding").code("not_utf8").at(format!("{}:{line}", file.name))
        })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

fn too_large(file: &File, len: u64, max: u64) -> Error {
    let message = format!("it has {len} bytes, more than the {max} of option \"max_file_bytes\"");
    Error::new(message).code("too_large").at(&file.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Format;

    #[test]
    fn a_stamp_settles_when_its_time_is_past_or_far_ahead() {
        let now = SystemTime::now();
        let settled = |modified| {
            let about = std::fs::metadata(env!("CARGO_MANIFEST_DIR")).map_err(|e| panic!("{e}"));
            about.is_ok_and(|about| Stamp { modified, ..Stamp::of(&about) }.settled(now))
        };
        assert!(settled(Some(now - Duration::from_secs(2))));
        assert!(settled(Some(now + Duration::from_secs(60))));
        assert!(!settled(Some(now - Duration::from_millis(1900))));
        assert!(!settled(Some(now + Duration::from_millis(500))));
        assert!(!settled(None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_has_more_than_it_said_is_read_later() {
        // This one always has: the kernel writes it while it is read.
        let path = std::path::PathBuf::from("/proc/self/status");
        let file = File { name: "status.csv".to_owned(), path, format: Format::Csv, stamp: Err(Error::new("unused")) };
        let refused = Content::read(&file, 1 << 20).map(|_| panic!("it was read")).unwrap_err();
        assert!(refused.is_transient() && refused.message().contains("changed while it was read"), "{refused}");
    }
}
