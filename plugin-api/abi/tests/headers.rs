//! What is said of libraries whose header tells already that they don't fit.

use crate::golden;
use crate::mismatch::said;
use abi_stable::library::{AbiHeader, AbiHeaderRef, CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use abi_stable::sabi_types::VersionStrings;
use abi_stable::StableAbi;
use busway_abi::{abi_stable, root_module, Difference, Incompatible, MODULE_NAME};
use std::mem::transmute;

macro_rules! root {
    ($module:ident, $name:expr, $version:expr) => {
        mod $module {
            #![allow(missing_docs, dead_code, unreachable_pub, unknown_lints, non_local_definitions)]
            use super::*;

            #[repr(C)]
            #[derive(StableAbi)]
            #[sabi(kind(Prefix(prefix_ref = OtherRef)))]
            pub struct Other {
                #[sabi(last_prefix_field)]
                pub number: u64,
            }

            impl RootModule for OtherRef {
                abi_stable::declare_root_module_statics! {OtherRef}
                const BASE_NAME: &'static str = $name;
                const NAME: &'static str = $name;
                const VERSION_STRINGS: VersionStrings = VersionStrings::new($version);
            }
        }
    };
}

root!(next, MODULE_NAME, "2.0.0");
root!(older, MODULE_NAME, "0.9.0");
root!(foreign, "paint_filter", "1.0.0");
root!(rude, "two\nlines\u{1b}[2J", "1.0.0");
root!(bare, MODULE_NAME, "1.0.0");

extern "C" fn never() -> RootModuleResult {
    panic!("a library that does not fit is not asked for its module")
}

fn refused(header: &'static AbiHeader) -> Incompatible {
    // SAFETY: a reference to a header is what this type is, transparently.
    let header: AbiHeaderRef = unsafe { transmute(header) };
    // SAFETY: it lives as long as the process.
    match unsafe { root_module(header) } {
        Err(refused) => refused,
        Ok(_) => panic!("it does not fit"),
    }
}

fn library<M: RootModule>(check: CheckTypeLayout) -> Incompatible {
    // SAFETY: `never` answers nothing at all.
    let header: &'static LibHeader = Box::leak(Box::new(unsafe { LibHeader::from_constructor::<M>(never, check) }));
    // SAFETY: that is what a library's header begins with, by its `repr(C)`.
    refused(unsafe { &*(header as *const LibHeader).cast::<AbiHeader>() })
}

#[test]
fn of_another_abi_stable() {
    for (name, minor) in [("abi-stable-newer", 12), ("abi-stable-older", 10)] {
        let mut header = AbiHeader::VALUE;
        header.abi_minor = minor;
        let refused = refused(Box::leak(Box::new(header)));
        assert_eq!(refused.mismatches[0].difference, Difference::AbiStable);
        golden::check(name, &said(&refused));
    }
}

#[test]
fn of_another_major_contract() {
    let next = library::<next::OtherRef>(CheckTypeLayout::Yes);
    assert_eq!(next.mismatches[0].difference, Difference::Major);
    golden::check("major-newer", &said(&next));
    golden::check("major-older", &said(&library::<older::OtherRef>(CheckTypeLayout::Yes)));
}

#[test]
fn of_another_host() {
    let foreign = library::<foreign::OtherRef>(CheckTypeLayout::Yes);
    assert_eq!(foreign.mismatches[0].difference, Difference::Library);
    golden::check("library", &said(&foreign));
    let rude = library::<rude::OtherRef>(CheckTypeLayout::Yes);
    assert_eq!(rude.explanation().lines().nth(2), Some("found:    two lines [2J"), "it starts no line of its own");
}

#[test]
fn without_layout() {
    let bare = library::<bare::OtherRef>(CheckTypeLayout::No);
    assert_eq!(bare.mismatches[0].difference, Difference::NoLayout);
}
