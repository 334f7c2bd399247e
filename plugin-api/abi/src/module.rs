//! What a plugin file exports.

use crate::{HostObject, Opened, Reply};
use abi_stable::{
    library::{__call_root_module_loader, CheckTypeLayout, LibHeader, RootModule, RootModuleResult},
    package_version_strings,
    prefix_type::PrefixTypeTrait,
    sabi_types::VersionStrings,
    std_types::RStr,
    StableAbi,
};

/// The functions of a driver. A prefix type: later contracts append fields behind `last_prefix_field`, which are absent
/// in older drivers. Make one with [`Module::new`].
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ModuleRef, prefix_fields = ModuleVal)))]
#[sabi(missing_field(option))]
#[non_exhaustive]
pub struct Module {
    /// What the driver says of itself, to `{"host_contract": "1.0.0"}`. No outside effect, and the same answer each time:
    ///
    /// ```json
    /// {"id": "files", "version": "1.2.0", "contract": "1.0.0", "sdk": "busway-plugin-api 0.1.0",
    ///  "description": "…", "overlap": "beside",
    ///  "options": [{"name": "path", "type": "string", "required": true, "secret": false, "default": null,
    ///               "description": "…", "schema": {}}],
    ///  "tables": [{"name": "t", "description": "…", "key": ["id"], "topic": "tenant",
    ///              "columns": [{"name": "id", "type": "l", "nullable": false, "description": "…", "children": []}]}],
    ///  "actions": [{"name": "kill", "description": "…",
    ///               "args": [{"name": "pid", "description": "…", "required": true}]}],
    ///  "state": {"version": 2, "reads": [1, 2]}}
    /// ```
    ///
    /// * `overlap`: `beside` when two sources of one datasource may be open at once; `exclusive` when a source holds
    ///   something (a port, a lock) that it gives up in `pause`: then the next one is opened only after the pause. A
    ///   reader takes a word it does not know for `exclusive`.
    /// * An option's `type` is `string`, `integer`, `number`, `boolean`, `array`, `object` or `any`; a reader takes a
    ///   word it does not know for `any`. `schema` is the option's JSON Schema.
    /// * A column's `type` is its Arrow C format string (`l` int64, `u` UTF-8, `tsu:UTC` …), with `children` for nested
    ///   ones.
    /// * A table with `"lazy": true` costs much to read: a host that knows the word polls it only while somebody
    ///   subscribes to it. Of one with `"pushed": true` clients may write rows through the host, which holds them to the
    ///   columns and the key; its polls answer `published`. Both are false when absent, and not true together.
    /// * `id` and `version` repeat the note's.
    pub describe: extern "C" fn(request: RStr<'_>) -> Reply,
    /// Called once for each generation before its first `open`, so perhaps again for the same mapped copy, and never
    /// twice at once: `{"generation": 3, "log_filter": "info,my_driver=debug"}`. The host object takes the records
    /// logged outside any source, in place of the one given before; its other methods answer
    /// [`Status::REFUSED`](crate::Status::REFUSED).
    pub attach: extern "C" fn(host: HostObject, request: RStr<'_>) -> Reply,
    /// Opens a source in standby: it may read its data, but has no effect outside until `activate`.
    ///
    /// ```json
    /// {"call": 17, "datasource": "web", "generation": 3, "options": {"path": "/srv"}}
    /// ```
    ///
    /// Options are validated by the driver: unknown, missing and ill-typed ones are all reported at once
    /// ([`Status::INVALID`](crate::Status::INVALID) with `problems`). It is cancelled by the host object's `cancelled`
    /// flag alone: there is no source yet. A source that comes with a status other than OK is dropped unclosed.
    pub open: extern "C" fn(request: RStr<'_>, host: HostObject) -> Opened,
    /// Which log records cross, at any time: `{"filter": "info,my_driver=debug"}`, a default level and `target=level`
    /// pairs, separated by commas.
    pub set_log_filter: extern "C" fn(request: RStr<'_>) -> Reply,
    /// Misbehaves on request, so that the host can see the guards work. `{"panic": true}` panics inside the driver and
    /// must come back as [`Status::PANICKED`](crate::Status::PANICKED).
    pub self_test: extern "C" fn(request: RStr<'_>) -> Reply,
    /// Anything later contracts add without a field of its own.
    #[sabi(last_prefix_field)]
    pub control: extern "C" fn(op: RStr<'_>, json: RStr<'_>) -> Reply,
}

impl Module {
    /// The functions that every driver has. What later contracts add is set behind this, each with a method of its own,
    /// so that a driver's source goes on compiling.
    pub const fn new(
        describe: extern "C" fn(RStr<'_>) -> Reply,
        attach: extern "C" fn(HostObject, RStr<'_>) -> Reply,
        open: extern "C" fn(RStr<'_>, HostObject) -> Opened,
        set_log_filter: extern "C" fn(RStr<'_>) -> Reply,
        self_test: extern "C" fn(RStr<'_>) -> Reply,
        control: extern "C" fn(RStr<'_>, RStr<'_>) -> Reply,
    ) -> Self {
        Self { describe, attach, open, set_log_filter, self_test, control }
    }
}

/// A library's way to its [`Module`].
pub trait Root {
    /// Called once. A panic in it is caught and refused.
    fn module() -> Module;
}

/// The static that a plugin exports under the name [`ROOT_SYMBOL`](crate::ROOT_SYMBOL).
pub const fn header<R: Root>() -> LibHeader {
    // SAFETY: `construct` answers nothing but a `PrefixRef` made of a `ModuleRef`.
    unsafe { LibHeader::from_constructor::<ModuleRef>(construct::<R>, CheckTypeLayout::Yes) }
}

extern "C" fn construct<R: Root>() -> RootModuleResult {
    __call_root_module_loader(|| R::module().leak_into_prefix())
}

impl RootModule for ModuleRef {
    abi_stable::declare_root_module_statics! {ModuleRef}
    const BASE_NAME: &'static str = "busway_driver";
    const NAME: &'static str = crate::MODULE_NAME;
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
