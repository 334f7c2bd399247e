//! What a plugin file exports.

use crate::{HostObject, Opened, Reply};
use abi_stable::{
    library::RootModule, package_version_strings, sabi_types::VersionStrings, std_types::RStr, StableAbi,
};

/// The functions of a driver. A prefix type: later contracts append fields behind `last_prefix_field` with
/// `#[sabi(missing_field(option))]`.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = ModuleRef, prefix_fields = ModuleVal)))]
#[sabi(missing_field(option))]
pub struct Module {
    /// What the driver says of itself. No outside effect, and the same answer each time:
    ///
    /// ```json
    /// {"id": "files", "version": "1.2.0", "contract": "1.0.0", "sdk": "busway-plugin-api 0.1.0",
    ///  "description": "…", "overlap": "beside",
    ///  "options": [{"name": "path", "type": "string", "required": true, "secret": false, "default": null,
    ///               "description": "…", "schema": {}}],
    ///  "tables": [{"name": "t", "description": "…", "key": ["id"],
    ///              "columns": [{"name": "id", "type": "int64", "nullable": false, "description": "…"}]}],
    ///  "actions": [{"name": "kill", "description": "…", "args": [{"name": "pid", "description": "…"}]}],
    ///  "state": {"version": 2, "reads": [1, 2]}}
    /// ```
    ///
    /// `overlap` is `beside` when two sources of one datasource may be open at once, `exclusive` when a source holds
    /// something (a port, a lock) that it gives up in `pause`. `id` and `version` repeat the note's.
    pub describe: extern "C" fn() -> Reply,
    /// Called once, before the first `open`: `{"generation": 3, "log_filter": "info,my_driver=debug"}`, and the host
    /// object to which records logged outside any source go.
    pub attach: extern "C" fn(host: HostObject, request: RStr<'_>) -> Reply,
    /// Opens a source in standby: it may read its data, but has no effect outside and may not rely on its publications
    /// being seen until `activate`.
    ///
    /// ```json
    /// {"datasource": "web", "generation": 3, "options": {"path": "/srv"}}
    /// ```
    ///
    /// Options are validated by the driver: unknown, missing and ill-typed ones are all reported at once
    /// ([`Status::INVALID`](crate::Status::INVALID) with `problems`).
    pub open: extern "C" fn(request: RStr<'_>, host: HostObject) -> Opened,
    /// Which log records cross: `target=level` pairs and a default level, separated by commas. May change at any time.
    pub set_log_filter: extern "C" fn(filter: RStr<'_>) -> Reply,
    /// Misbehaves on request, so that the host can see its guards work. `{"panic": true}` panics inside the driver and
    /// must come back as [`Status::PANICKED`](crate::Status::PANICKED).
    pub self_test: extern "C" fn(which: RStr<'_>) -> Reply,
    /// Anything later contracts add without a field of its own.
    #[sabi(last_prefix_field)]
    pub control: extern "C" fn(op: RStr<'_>, json: RStr<'_>) -> Reply,
}

impl RootModule for ModuleRef {
    abi_stable::declare_root_module_statics! {ModuleRef}
    const BASE_NAME: &'static str = "busway_driver";
    const NAME: &'static str = "busway_driver";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}
