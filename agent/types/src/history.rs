//! Slashing history as watermarks: the highest that a validator signed. All that passes between boxes and files.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Root, SigningRoot, Slot, ValidatorPublic};

/// The watermarks of some validators of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryMarks {
    /// The network: one genesis, one history.
    pub genesis_validators_root: Root,
    /// In ascending order of their keys, each key once.
    pub validators: Vec<ValidatorMarks>,
}

/// The highest that one validator signed, by its group key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorMarks {
    /// The validator.
    pub validator: ValidatorPublic,
    /// Its attestations; `None` when it signed none.
    pub attestation: Option<AttestationMark>,
    /// Its blocks; `None` when it signed none.
    pub block: Option<BlockMark>,
}

/// The highest source and the highest target of all attestations that a validator signed, not always of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationMark {
    /// The highest source.
    pub source: Epoch,
    /// The highest target.
    pub target: Epoch,
    /// What was signed for that target, which may be signed again; `None` when it is not known.
    pub root: Option<SigningRoot>,
}

/// The highest block that a validator signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMark {
    /// Its slot.
    pub slot: Slot,
    /// What was signed for that slot, which may be signed again; `None` when it is not known.
    pub root: Option<SigningRoot>,
}
