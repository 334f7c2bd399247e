//! The live view's panes.

pub(super) mod change_log;
pub(super) mod gauges;
pub(super) mod main_table;
pub(super) mod network;
pub(super) mod table_list;
