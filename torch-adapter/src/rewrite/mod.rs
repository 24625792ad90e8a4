//! From a plan to a new archive, and from a training archive back to a float one.
//!
//! ```text
//! Plan ──▶ one wrap per site (naive, qat, dorefa) ──editor──▶ changes per object ───texts───▶ texts and classes
//!                                                     └──────▶ new attributes ──────────────▶ pickle splices, records
//! ```
//!
//! Each folder uses those before it: `edit` collects changes, `emit` makes them for one site, `apply`, `freeze`, `observe` and `exchange`
//! for a whole plan. `measured` reads what an archive that observes has seen.

pub(crate) mod apply;
mod buffers;
pub(crate) mod edit;
pub(crate) mod emit;
pub(crate) mod exchange;
pub(crate) mod freeze;
mod measured;
pub(crate) mod observe;
mod thaw;
pub(crate) mod weights;
