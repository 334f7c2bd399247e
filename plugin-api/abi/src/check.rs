//! Whether a plugin and this contract fit, and the way to its root module.

use crate::incompatible::Incompatible;
use crate::mismatch::{differences, of_checker, Difference, Mismatch};
use crate::{ModuleRef, ABI_STABLE, MODULE_NAME, VERSION};
use abi_stable::{
    abi_stability::abi_checking::{check_layout_compatibility_with_globals, AbiInstabilityErrors, CheckingGlobals},
    library::{AbiHeaderRef, LibraryError},
    type_layout::TypeLayout,
    StableAbi,
};

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
        LibraryError::InvalidAbiHeader(found) => {
            let theirs = format!("{}.{}", found.abi_major, found.abi_minor);
            Incompatible::of(
                format!("built with abi_stable {theirs}, this host with {ABI_STABLE}"),
                Mismatch::new(Difference::AbiStable, "abi_stable", ABI_STABLE, theirs),
            )
        }
        other => Incompatible {
            detail: other.to_string(),
            ..Incompatible::new("its C calling convention differs from the host's")
        },
    })?;
    let name = library.root_mod_consts().name();
    if name.as_str() != MODULE_NAME {
        return Err(Incompatible::of(
            format!("it is a library of {name:?}, not a Busway driver"),
            Mismatch::new(Difference::Library, "the root module", MODULE_NAME, name.as_str()),
        ));
    }
    let theirs = library.version_strings().version.to_string();
    if major(&theirs) != major(VERSION) {
        let reason = format!(
            "built with contract {theirs}, this host speaks {VERSION}: rebuild the driver with busway-abi {}.x",
            major(VERSION),
        );
        let mismatch = Mismatch::new(Difference::Major, "the contract", VERSION, theirs.as_str());
        return Err(Incompatible::of(reason, mismatch).with_version(&theirs));
    }
    compare(<ModuleRef as StableAbi>::LAYOUT, library.layout(), &theirs)?;
    // SAFETY: one of the two layouts is a prefix of the other, checked above; prefix types keep track of how many
    // fields the library has, so fields beyond them are never read.
    let module = unsafe { library.init_root_module_with_unchecked_layout::<ModuleRef>() };
    module.map_err(|error| {
        let failed = Incompatible::new(format!("its root module can't be had: {error}"));
        Incompatible { detail: error.to_string(), ..failed }.with_version(&theirs)
    })
}

/// Whether a library of these layouts, built with contract `theirs`, works with a host of those. [`root_module`] asks
/// this of the contract's own; it is here for tests of what is said of others.
///
/// # Errors
///
/// When neither is a prefix of the other.
#[doc(hidden)]
pub fn compare(
    ours: &'static TypeLayout,
    layout: Option<&'static TypeLayout>,
    theirs: &str,
) -> Result<(), Incompatible> {
    let layout = layout.ok_or_else(|| {
        let mismatch = Mismatch::new(Difference::NoLayout, "the root module", "a layout of all its types", "none");
        let refused = Incompatible::of("it carries no layout of its types, so it can't be checked", mismatch);
        refused.with_version(theirs)
    })?;
    let newer = match fits(ours, layout) {
        Ok(()) => return Ok(()),
        Err(newer) => newer,
    };
    if fits(layout, ours).is_ok() {
        return Ok(());
    }
    let mut all = differences(ours, layout);
    if all.is_empty() {
        all.push(of_checker(&newer));
    }
    Err(Incompatible::of_layouts(all, theirs, &newer.to_string()))
}

/// Whether a library of layout `library` has all that one of layout `needed` has.
///
/// The checker remembers every layout it accepts and holds later ones against the union of them, so that two drivers
/// which grew the contract in different ways would depend on who came first. A memory of its own for each question
/// keeps the answer a function of the two; it is leaked, since it holds references into the library.
fn fits(needed: &'static TypeLayout, library: &'static TypeLayout) -> Result<(), AbiInstabilityErrors> {
    let globals = Box::leak(Box::new(CheckingGlobals::new()));
    check_layout_compatibility_with_globals(needed, library, globals)
}

pub(crate) fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}
