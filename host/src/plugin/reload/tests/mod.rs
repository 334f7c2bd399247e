//! Orders, and what becomes of them, over words instead of libraries.

mod orders;
mod reads;
mod rig;
mod rollbacks;
mod sights;
