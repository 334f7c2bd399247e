//! The structs of the [Arrow C data interface](https://arrow.apache.org/docs/format/CDataInterface.html), field for field.

use abi_stable::StableAbi;
use core::ffi::c_void;
use std::os::raw::c_char;

/// A table's columns: names, types, flags. Owned: dropping it calls `release`.
///
/// For a table the format is `+s`, a struct whose children are the columns.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct ArrowSchema {
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
    pub children: *mut *mut ArrowSchema,
    /// The dictionary's value type, or null.
    #[sabi(unsafe_opaque_field)]
    pub dictionary: *mut ArrowSchema,
    /// Frees what the producer allocated; none once released.
    #[sabi(unsafe_opaque_field)]
    pub release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    /// The producer's own.
    pub private_data: *mut c_void,
}

/// One batch of rows. Owned: dropping it calls `release`.
#[repr(C)]
#[derive(Debug, StableAbi)]
pub struct ArrowArray {
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
    pub children: *mut *mut ArrowArray,
    /// The dictionary's values, or null.
    #[sabi(unsafe_opaque_field)]
    pub dictionary: *mut ArrowArray,
    /// Frees what the producer allocated; none once released.
    #[sabi(unsafe_opaque_field)]
    pub release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    /// The producer's own.
    pub private_data: *mut c_void,
}

macro_rules! owned {
    ($name:ident, { $($field:ident: $zero:expr),* $(,)? }) => {
        impl $name {
            /// One that holds nothing and is already released.
            pub const fn empty() -> Self {
                Self { $($field: $zero),* }
            }

            /// Whether it was released, or never held anything.
            pub const fn is_released(&self) -> bool {
                self.release.is_none()
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                if let Some(release) = self.release {
                    // SAFETY: the interface demands that the consumer call `release` once with the base structure's
                    // own address; `release` sets itself to none, and a moved struct is forgotten by Rust's moves.
                    unsafe { release(self) }
                }
            }
        }

        // SAFETY: the interface has the structures and their buffers usable and releasable on any thread, one at a
        // time; nothing in them is tied to the thread that made them.
        unsafe impl Send for $name {}
    };
}

owned!(ArrowSchema, {
    format: core::ptr::null(),
    name: core::ptr::null(),
    metadata: core::ptr::null(),
    flags: 0,
    n_children: 0,
    children: core::ptr::null_mut(),
    dictionary: core::ptr::null_mut(),
    release: None,
    private_data: core::ptr::null_mut(),
});

owned!(ArrowArray, {
    length: 0,
    null_count: 0,
    offset: 0,
    n_buffers: 0,
    n_children: 0,
    buffers: core::ptr::null_mut(),
    children: core::ptr::null_mut(),
    dictionary: core::ptr::null_mut(),
    release: None,
    private_data: core::ptr::null_mut(),
});
