//! Where things are, and cargo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The project's root folder.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// Where this test run's artifacts are: the project's target folder.
#[must_use]
pub fn target() -> PathBuf {
    let exe = std::env::current_exe().expect("a test has a program");
    exe.ancestors().nth(3).expect("target/<profile>/deps/<test>").to_path_buf()
}

/// Runs cargo without network, in `folder`, with its artifacts in the project's own target folder.
///
/// # Panics
///
/// When it fails, with all it said.
pub fn cargo(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "cargo {arguments:?} in {}:\n{said}", folder.display());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folder of the program and the drivers, built.
pub fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let packages = [
            "busway",
            "busway-fixture",
            "busway-careless",
            "busway-relic",
            "busway-system",
            "busway-files",
            "busway-push",
        ];
        let named = packages.iter().flat_map(|p| ["-p", p]);
        cargo(&root(), &["build", "--quiet"].into_iter().chain(named).collect::<Vec<_>>());
        target().join("debug")
    })
}

/// The program.
#[must_use]
pub fn program() -> PathBuf {
    built().join("busway")
}

/// A driver's library.
#[must_use]
pub fn driver(name: &str) -> PathBuf {
    built().join(format!("libbusway_{name}.so"))
}
