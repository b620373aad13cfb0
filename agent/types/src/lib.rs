//! The nouns of Holdfast: slots, epochs, duties, ids and units.
//!
//! No logic beyond arithmetic and text forms, and no I/O. Words follow the glossary of the project.

#![forbid(unsafe_code)]

mod bytes;
mod duty;
mod history;
mod mode;
mod time;

pub use bytes::{
    BoxName, Challenge, ForkVersion, HistoryDigest, ImportKey, LockHash, P256Public, P256Signature, ParseHexError,
    PartialSignature, PolicyDigest, Root, SharePublic, Signature, SigningRoot, ValidatorPublic,
};
pub use duty::{DutyId, DutyKind, OPERATORS_MAX, OperatorIndex, ShareIndex, UnknownDutyKind, ValidatorIndex};
pub use history::{AttestationMark, BlockMark, HistoryMarks, ValidatorMarks};
pub use mode::Mode;
pub use time::{ChainSpec, Epoch, Fork, Millis, Slot};
