//! The privileged helper: a closed list of what needs root, for the daemon's user alone.
//!
//! It is started by the first connection and ends when nobody asks any more, so it keeps nothing and needs no state. It
//! decides nothing either: whether the box may restart now is the daemon's business.

#![forbid(unsafe_code)]

pub mod confine;
#[cfg(feature = "danger_record_reboot")]
mod record;
pub mod serve;

#[cfg(feature = "danger_record_reboot")]
pub use record::RecordReboot;
