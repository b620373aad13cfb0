//! The nouns of Holdfast: slots, epochs, duties, ids and units.
//!
//! No logic beyond arithmetic and text forms, and no I/O. Words follow the glossary of the project.

#![forbid(unsafe_code)]

mod bytes;
mod duty;
mod mode;
mod time;

pub use bytes::{
    ForkVersion, LockHash, ParseHexError, PartialSignature, Root, SharePublic, Signature, SigningRoot, ValidatorPublic,
};
pub use duty::{DutyId, DutyKind, OPERATORS_MAX, OperatorIndex, ShareIndex, UnknownDutyKind, ValidatorIndex};
pub use mode::Mode;
pub use time::{ChainSpec, Epoch, Fork, Millis, Slot};
