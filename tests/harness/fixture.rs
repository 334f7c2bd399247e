//! Builds of the fixture driver, made by changing bytes of the one that was built.

use crate::workspace::driver;
use std::path::Path;

/// A build of the fixture driver.
#[derive(Debug, Clone)]
pub struct Fixture {
    bytes: Vec<u8>,
}

/// The driver's id as it is built; others differ in the last two letters.
pub const ID: &str = "fixture-driver-aa";

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// As it was built: revision 1, without fault.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: std::fs::read(driver("fixture")).expect("the fixture driver is built") }
    }

    /// With another id of the same length.
    #[must_use]
    pub fn id(self, id: &str) -> Self {
        self.replace(ID, id)
    }

    /// Another revision: its rows say so.
    #[must_use]
    pub fn revision(self, revision: u32) -> Self {
        self.replace("revision=0001", &format!("revision={revision:04}"))
    }

    /// With a fault (`panic`, `error`, `hang`) at a step: `describe` (`rules` and `junk`, too), `attach` (`error` alone),
    /// `open`, `tables`, `pause`, `export`, `import`, `poll`, `later` (all polls but a source's first), `activate`, `close`;
    /// or with a batch of table `texts` that contradicts itself: `batch` with `count`, `over`, `miss`, `fall`, `utf8`. `load` has others, see the driver.
    #[must_use]
    pub fn fault(self, at: &str, fault: &str) -> Self {
        self.replace(&format!("{at}=good."), &format!("{at}={fault:.<5}"))
    }

    /// Whose sources hand over and read state of that version.
    #[must_use]
    pub fn state(self, version: u32) -> Self {
        self.replace("state=0001;reads=0001", &format!("state={version:04};reads={version:04}"))
    }

    /// Whose sources hand over no state, and read none.
    #[must_use]
    pub fn stateless(self) -> Self {
        self.state(0)
    }

    /// Of whose sources only one can be open.
    #[must_use]
    pub fn exclusive(self) -> Self {
        self.replace("overlap=beside...", "overlap=exclusive")
    }

    /// With every occurrence of a text replaced by one of the same length.
    #[must_use]
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert_eq!(from.len(), to.len(), "{from:?} and {to:?} have one length");
        let places: Vec<usize> = memchr::memmem::find_iter(&self.bytes, from).collect();
        for at in &places {
            self.bytes[*at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        assert!(!places.is_empty(), "the fixture holds {from:?}");
        self
    }

    /// The file's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Puts it into a folder as a build tool does: written beside, then renamed.
    pub fn rename_into(&self, path: &Path) {
        let beside = path.with_extension("new");
        std::fs::write(&beside, &self.bytes).expect("the plugin directory is writable");
        std::fs::rename(&beside, path).expect("the plugin directory is writable");
    }

    /// Writes it over what is there, as `cp` does: the same file, cut to nothing and filled again.
    pub fn copy_over(&self, path: &Path) {
        std::fs::write(path, &self.bytes).expect("the plugin directory is writable");
    }
}
