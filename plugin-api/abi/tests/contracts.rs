//! Small contracts of the same form as the real one, each with one change: types alone, in one build.

/// Parts as contract 1.0 has them.
macro_rules! plain {
    ($($part:ident)*) => { $(plain!(@ $part);)* };
    (@ module) => {
        module! {
            pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
            pub open: extern "C" fn(request: RStr<'_>, deadline: u64) -> Opened,
            #[sabi(last_prefix_field)]
            pub control: extern "C" fn(op: RStr<'_>) -> Reply,
        }
    };
    (@ reply) => { reply! { pub status: i32, pub body: RString } };
    (@ colour) => { colour! { Red, Green } };
    (@ source) => {
        source! {
            fn tables(&self, request: RStr<'_>) -> Reply;
            fn poll(&self, request: RStr<'_>) -> Reply;
            #[sabi(last_prefix_field)]
            fn control(&self, op: RStr<'_>) -> Reply;
        }
    };
}

macro_rules! module {
    ($($fields:tt)*) => {
        #[repr(C)]
        #[derive(StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = ModuleRef, prefix_fields = ModuleVal)))]
        #[sabi(missing_field(option))]
        pub struct Module { $($fields)* }

        /// The whole contract's layout.
        pub const LAYOUT: &TypeLayout = <ModuleRef as StableAbi>::LAYOUT;
    };
}

macro_rules! reply {
    (repr($($repr:tt)*) $($fields:tt)*) => {
        #[repr($($repr)*)]
        #[derive(StableAbi)]
        pub struct Reply { $($fields)* }
    };
    ($($fields:tt)*) => { reply!(repr(C) $($fields)*); };
}

macro_rules! colour {
    ($($variants:tt)*) => {
        #[repr(u8)]
        #[derive(StableAbi)]
        pub enum Colour { $($variants)* }
    };
}

macro_rules! source {
    ($($methods:tt)*) => {
        #[sabi_trait]
        pub trait Source: Send + Sync { $($methods)* }

        #[repr(C)]
        #[derive(StableAbi)]
        pub struct Opened {
            pub reply: Reply,
            pub source: ROption<Source_TO<'static, RBox<()>>>,
            pub colour: Colour,
        }
    };
}

macro_rules! contracts {
    ($($(#[$doc:meta])* $name:ident { $($parts:tt)* })*) => {
        $($(#[$doc])* pub(crate) mod $name {
            #![allow(missing_docs, dead_code, unused_imports, unreachable_pub, unknown_lints, unused_braces, non_local_definitions, clippy::all)]
            use abi_stable::sabi_trait;
            use abi_stable::std_types::{RBox, ROption, RStr, RString, RVec};
            use abi_stable::type_layout::TypeLayout;
            use abi_stable::StableAbi;
            use busway_abi::abi_stable;
            $($parts)*
        })*
    };
}

contracts! {
    /// As it is.
    plain { plain!(reply colour source module); }

    /// Grown as it may: behind the last ones.
    grown {
        plain!(reply colour);
        source! {
            fn tables(&self, request: RStr<'_>) -> Reply;
            fn poll(&self, request: RStr<'_>) -> Reply;
            #[sabi(last_prefix_field)]
            fn control(&self, op: RStr<'_>) -> Reply;
            fn news(&self) -> u64 { 0 }
        }
        module! {
            pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
            pub open: extern "C" fn(request: RStr<'_>, deadline: u64) -> Opened,
            #[sabi(last_prefix_field)]
            pub control: extern "C" fn(op: RStr<'_>) -> Reply,
            pub news: extern "C" fn() -> u64,
        }
    }

    /// Grown in the module alone.
    grown_module {
        plain!(reply colour source);
        module! {
            pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
            pub open: extern "C" fn(request: RStr<'_>, deadline: u64) -> Opened,
            #[sabi(last_prefix_field)]
            pub control: extern "C" fn(op: RStr<'_>) -> Reply,
            pub other: extern "C" fn() -> u64,
        }
    }

    /// Grown in the trait alone.
    grown_source {
        plain!(reply colour module);
        source! {
            fn tables(&self, request: RStr<'_>) -> Reply;
            fn poll(&self, request: RStr<'_>) -> Reply;
            #[sabi(last_prefix_field)]
            fn control(&self, op: RStr<'_>) -> Reply;
            fn news(&self) -> u64 { 0 }
        }
    }

    field_added {
        plain!(colour source module);
        reply! { pub status: i32, pub place: u64, pub body: RString }
    }

    field_removed {
        plain!(colour source module);
        reply! { pub status: i32 }
    }

    field_type {
        plain!(colour source module);
        reply! { pub status: i32, pub body: RVec<u32> }
    }

    field_renamed {
        plain!(colour source module);
        reply! { pub status: i32, pub text: RString }
    }

    fields_reordered {
        plain!(colour source module);
        reply! { pub body: RString, pub status: i32 }
    }

    function_added {
        plain!(reply colour source);
        module! {
            pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
            pub attach: extern "C" fn(request: RStr<'_>) -> Reply,
            pub open: extern "C" fn(request: RStr<'_>, deadline: u64) -> Opened,
            #[sabi(last_prefix_field)]
            pub control: extern "C" fn(op: RStr<'_>) -> Reply,
        }
    }

    function_removed {
        plain!(reply colour source);
        module! {
            pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
            #[sabi(last_prefix_field)]
            pub open: extern "C" fn(request: RStr<'_>, deadline: u64) -> Opened,
        }
    }

    function_arguments {
        plain!(reply colour source);
        module! {
            pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
            pub open: extern "C" fn(request: RStr<'_>, deadline: u32) -> Opened,
            #[sabi(last_prefix_field)]
            pub control: extern "C" fn(op: RStr<'_>) -> Reply,
        }
    }

    function_parameter_renamed {
        plain!(reply colour source);
        module! {
            pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
            pub open: extern "C" fn(request: RStr<'_>, until: u64) -> Opened,
            #[sabi(last_prefix_field)]
            pub control: extern "C" fn(op: RStr<'_>) -> Reply,
        }
    }

    prefix_moved {
        plain!(reply colour source);
        module! {
            pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
            #[sabi(last_prefix_field)]
            pub open: extern "C" fn(request: RStr<'_>, deadline: u64) -> Opened,
            pub control: extern "C" fn(op: RStr<'_>) -> Reply,
        }
    }

    method_added {
        plain!(reply colour module);
        source! {
            fn tables(&self, request: RStr<'_>) -> Reply;
            fn poll(&self, request: RStr<'_>) -> Reply;
            fn intruder(&self) -> Reply;
            #[sabi(last_prefix_field)]
            fn control(&self, op: RStr<'_>) -> Reply;
        }
    }

    method_arguments {
        plain!(reply colour module);
        source! {
            fn tables(&self, request: RStr<'_>) -> Reply;
            fn poll(&self, request: RStr<'_>, deadline: u64) -> Reply;
            #[sabi(last_prefix_field)]
            fn control(&self, op: RStr<'_>) -> Reply;
        }
    }

    method_returns {
        plain!(reply colour module);
        source! {
            fn tables(&self, request: RStr<'_>) -> RString;
            fn poll(&self, request: RStr<'_>) -> Reply;
            #[sabi(last_prefix_field)]
            fn control(&self, op: RStr<'_>) -> Reply;
        }
    }

    methods_reordered {
        plain!(reply colour module);
        source! {
            fn poll(&self, request: RStr<'_>) -> Reply;
            fn tables(&self, request: RStr<'_>) -> Reply;
            #[sabi(last_prefix_field)]
            fn control(&self, op: RStr<'_>) -> Reply;
        }
    }

    variant_added {
        plain!(reply source module);
        colour! { Red, Green, Blue }
    }

    variant_numbered {
        plain!(reply source module);
        colour! { Red, Green = 7 }
    }

    alignment {
        plain!(colour source module);
        reply! { repr(C, align(64)) pub status: i32, pub body: RString }
    }

    /// What is inside is kept from the checker: only its size tells.
    opaque_four {
        plain!(colour source module);
        reply! { pub status: i32, #[sabi(unsafe_opaque_field)] pub body: [u32; 4] }
    }

    opaque_six {
        plain!(colour source module);
        reply! { pub status: i32, #[sabi(unsafe_opaque_field)] pub body: [u32; 6] }
    }

    /// Sources of it can't be used on other threads.
    demands {
        plain!(reply colour module);
        #[sabi_trait]
        pub trait Source: Send {
            fn tables(&self, request: RStr<'_>) -> Reply;
            fn poll(&self, request: RStr<'_>) -> Reply;
            #[sabi(last_prefix_field)]
            fn control(&self, op: RStr<'_>) -> Reply;
        }

        #[repr(C)]
        #[derive(StableAbi)]
        pub struct Opened {
            pub reply: Reply,
            pub source: ROption<Source_TO<'static, RBox<()>>>,
            pub colour: Colour,
        }
    }

    /// A struct where there was an enum.
    kind {
        plain!(reply source module);
        #[repr(transparent)]
        #[derive(StableAbi)]
        pub struct Colour(pub u8);
    }
}
