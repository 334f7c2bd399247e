//! Texts that are kept beside the tests. With `BUSWAY_GOLDEN=write` in the environment they are written anew.

use std::path::PathBuf;
use std::{env, fs};

/// Where a text is kept.
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"))
}

/// Whether the texts are to be written.
pub(crate) fn writes() -> bool {
    env::var("BUSWAY_GOLDEN").map_or(false, |value| value == "write")
}

/// Compares a text with the one that is kept, or keeps it.
pub(crate) fn check(name: &str, text: &str) {
    let path = path(name);
    if writes() {
        fs::write(&path, text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} differs from what is said now; if that is meant, test again with BUSWAY_GOLDEN=write\n\
         kept:\n{kept}\nnow:\n{text}",
        path.display()
    );
}
