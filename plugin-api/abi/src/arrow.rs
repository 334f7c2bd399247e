//! The structs of the [Arrow C data interface](https://arrow.apache.org/docs/format/CDataInterface.html), field for
//! field, and owners over them that release what they hold.
//!
//! The layout check compares sizes of `children`, `dictionary` and `release`, not what they point to: those are fixed by
//! the interface's own specification.

use abi_stable::StableAbi;
use core::ffi::c_void;
use std::os::raw::c_char;

/// `struct ArrowSchema`. Plain data: nothing is released when it goes.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct RawSchema {
    /// The type, in Arrow's format strings.
    pub format: *const c_char,
    /// The column's name, or null.
    pub name: *const c_char,
    /// Key and value pairs in Arrow's binary form, or null.
    pub metadata: *const c_char,
    /// Bits: 1 ordered dictionary, 2 nullable, 4 sorted map keys.
    pub flags: i64,
    /// How many children.
    pub n_children: i64,
    /// The children, or null when there are none.
    #[sabi(unsafe_opaque_field)]
    pub children: *mut *mut RawSchema,
    /// The dictionary's value type, or null.
    #[sabi(unsafe_opaque_field)]
    pub dictionary: *mut RawSchema,
    /// Frees what the producer allocated; none once released.
    #[sabi(unsafe_opaque_field)]
    pub release: Option<unsafe extern "C" fn(*mut RawSchema)>,
    /// The producer's own.
    pub private_data: *mut c_void,
}

/// `struct ArrowArray`. Plain data: nothing is released when it goes.
#[repr(C)]
#[derive(Debug, Clone, Copy, StableAbi)]
pub struct RawArray {
    /// How many rows, from `offset` on.
    pub length: i64,
    /// How many nulls, -1 when not counted.
    pub null_count: i64,
    /// Where the rows begin in the buffers.
    pub offset: i64,
    /// How many buffers.
    pub n_buffers: i64,
    /// How many children.
    pub n_children: i64,
    /// The buffers; a single one may be null where the format allows.
    pub buffers: *mut *const c_void,
    /// The children, or null when there are none.
    #[sabi(unsafe_opaque_field)]
    pub children: *mut *mut RawArray,
    /// The dictionary's values, or null.
    #[sabi(unsafe_opaque_field)]
    pub dictionary: *mut RawArray,
    /// Frees what the producer allocated; none once released.
    #[sabi(unsafe_opaque_field)]
    pub release: Option<unsafe extern "C" fn(*mut RawArray)>,
    /// The producer's own.
    pub private_data: *mut c_void,
}

macro_rules! owner {
    ($(#[$doc:meta])* $name:ident, $raw:ident) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Debug, StableAbi)]
        pub struct $name($raw);

        impl $name {
            /// Takes ownership.
            ///
            /// # Safety
            ///
            /// The structure keeps the C data interface's promises, may be released on any thread, and nobody else
            /// releases it.
            pub const unsafe fn from_raw(raw: $raw) -> Self {
                Self(raw)
            }

            /// Gives up ownership: whoever takes the structure releases it.
            pub fn into_raw(self) -> $raw {
                core::mem::ManuallyDrop::new(self).0
            }

            /// A look at the structure.
            pub const fn as_raw(&self) -> &$raw {
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                if let Some(release) = self.0.release {
                    // SAFETY: `from_raw` promised a structure of the interface that only this owner releases; the
                    // interface has the consumer call `release` once, with the base structure's address.
                    unsafe { release(&mut self.0) }
                }
            }
        }

        // SAFETY: `from_raw` promised that the structure may be used and released on any thread; the owner lets one
        // thread at a time do so.
        unsafe impl Send for $name {}
    };
}

owner!(
    /// A table's columns: names, types, flags. For a table the format is `+s`, a struct whose children are the columns.
    ArrowSchema,
    RawSchema
);
owner!(
    /// One batch of rows.
    ArrowArray,
    RawArray
);
