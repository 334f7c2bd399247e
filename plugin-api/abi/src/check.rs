//! Whether a plugin and this contract fit, and the way to its root module.

use crate::{ModuleRef, VERSION};
use abi_stable::{
    abi_stability::abi_checking::{check_layout_compatibility_with_globals, CheckingGlobals},
    library::{AbiHeaderRef, LibraryError},
    type_layout::TypeLayout,
    StableAbi,
};
use core::fmt;

/// Why a plugin was refused. [`Display`](fmt::Display) is short enough for a table's cell; `detail` holds the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incompatible {
    /// What differs, in one line.
    pub reason: String,
    /// The contract that the plugin was built with, when it could be read.
    pub theirs: Option<String>,
    /// The checker's whole report, up to thousands of lines; empty when there is none.
    pub detail: String,
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Incompatible {}

fn refused(reason: impl Into<String>) -> Incompatible {
    Incompatible { reason: reason.into(), theirs: None, detail: String::new() }
}

/// The root module behind a plugin's header, after a check in both directions: `abi_stable`'s own asks that a library
/// have at least what we have, which would refuse an older driver; it is enough that one side's layout is a prefix of
/// the other's, since what is missing reads as absent or runs its default body.
///
/// This runs code of the plugin, some of it before it is accepted: the C calling-convention tests, the functions that
/// describe its types, and the module's constructor.
///
/// # Errors
///
/// When the plugin was built with another `abi_stable`, another major contract, or layouts that fit in neither
/// direction, and when its constructor fails.
///
/// # Safety
///
/// The header must come from a library that stays mapped for the rest of the process: layouts and the module are kept
/// by reference.
pub unsafe fn root_module(header: AbiHeaderRef) -> Result<ModuleRef, Incompatible> {
    let library = header.upgrade().map_err(|error| match error {
        LibraryError::InvalidAbiHeader(found) => refused(format!(
            "built with abi_stable {}.{}, this host with {}",
            found.abi_major,
            found.abi_minor,
            crate::ABI_STABLE,
        )),
        other => {
            Incompatible { detail: other.to_string(), ..refused("its C calling convention differs from the host's") }
        }
    })?;
    let name = library.root_mod_consts().name();
    if name.as_str() != crate::MODULE_NAME {
        return Err(refused(format!("it is a library of {name:?}, not a Busway driver")));
    }
    let theirs = library.version_strings().version.to_string();
    let with_version = |mut error: Incompatible| {
        error.theirs = Some(theirs.clone());
        error
    };
    if major(&theirs) != major(VERSION) {
        return Err(with_version(refused(format!(
            "built with contract {theirs}, this host speaks {VERSION}: rebuild the driver with busway-abi {}.x",
            major(VERSION),
        ))));
    }
    let layout = library
        .layout()
        .ok_or_else(|| with_version(refused("it carries no layout of its types, so it can't be checked")))?;
    let ours = <ModuleRef as StableAbi>::LAYOUT;
    if let Err(newer) = fits(ours, layout) {
        if fits(layout, ours).is_err() {
            let detail = newer;
            return Err(with_version(Incompatible {
                reason: format!(
                    "its types differ from contract {VERSION} (it was built with {theirs}): {}",
                    digest(&detail)
                ),
                theirs: None,
                detail,
            }));
        }
    }
    // SAFETY: one of the two layouts is a prefix of the other, checked above; prefix types keep track of how many
    // fields the library has, so fields beyond them are never read.
    let module = unsafe { library.init_root_module_with_unchecked_layout::<ModuleRef>() };
    module.map_err(|error| {
        with_version(Incompatible {
            detail: error.to_string(),
            ..refused(format!("its root module can't be had: {error}"))
        })
    })
}

/// Whether a library of layout `library` has all that one of layout `needed` has.
///
/// The checker remembers every layout it accepts and holds later ones against the union of them, so that two drivers
/// which grew the contract in different ways would depend on who came first. A memory of its own for each question
/// keeps the answer a function of the two; it is leaked, since it holds references into the library.
fn fits(needed: &'static TypeLayout, library: &'static TypeLayout) -> Result<(), String> {
    let globals = Box::leak(Box::new(CheckingGlobals::new()));
    check_layout_compatibility_with_globals(needed, library, globals).map_err(|errors| errors.to_string())
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

/// The checker's last complaint in one line: that is where it says which field of which type.
fn digest(report: &str) -> String {
    let last = report.rfind("Error:").map_or(report, |at| &report[at..]);
    let line: Vec<&str> = last.lines().map(str::trim).filter(|line| !line.is_empty()).take(4).collect();
    let mut line = line.join(" ");
    if let Some((end, _)) = line.char_indices().nth(240) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn digest_takes_the_last_error_and_stays_short() {
        let report =
            "Compared <this>:\n--- Error:\n one\n\nlayout\n Error:too many fields\nExpected:\n 3\nFound:\n 4\n";
        assert_eq!(digest(report), "Error:too many fields Expected: 3 Found:");
        assert!(digest(&"x".repeat(1000)).chars().count() <= 241);
        assert_eq!(digest(""), "");
    }
}
