//! A driver as it was built with contract 1.0, and as it is built now.

use crate::workspace::{driver, root};
use flate2::read::GzDecoder;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// A build of the driver `relic`, with its checksum.
#[derive(Debug, Clone)]
pub struct Relic {
    bytes: Vec<u8>,
    sha256: Option<String>,
}

fn kept(name: &str) -> PathBuf {
    root().join("tests/fixtures/relic").join(name)
}

impl Relic {
    /// The library from then, for x86-64: nothing in the sources changes it.
    ///
    /// # Panics
    ///
    /// When it is not there.
    #[must_use]
    pub fn of_contract_1_0() -> Self {
        let packed = fs::read(kept("libbusway_relic-1.0.so.gz")).expect("the old library is kept");
        let mut bytes = Vec::new();
        let _ = GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).expect("it is a whole archive");
        let sha256 = fs::read_to_string(kept("libbusway_relic-1.0.so.sha256")).expect("its checksum is kept");
        Self { bytes, sha256: Some(sha256) }
    }

    /// As it is built now.
    ///
    /// # Panics
    ///
    /// When it can't be built.
    #[must_use]
    pub fn of_today() -> Self {
        Self { bytes: fs::read(driver("relic")).expect("it is built"), sha256: None }
    }

    /// Its hash, as it was written down when it was built.
    #[must_use]
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref().map(str::trim)
    }

    /// Puts it into a folder as a build tool does, with its checksum file if it has one.
    ///
    /// # Panics
    ///
    /// When the folder can't be written.
    pub fn rename_into(&self, path: &Path) {
        let (beside, sums) = (path.with_extension("new"), path.with_extension("so.sha256"));
        fs::write(&beside, &self.bytes).expect("the plugin directory is writable");
        match &self.sha256 {
            Some(sum) => fs::write(&sums, sum).expect("the plugin directory is writable"),
            None => drop(fs::remove_file(&sums)),
        }
        fs::rename(&beside, path).expect("the plugin directory is writable");
    }
}
