//! The attestation's data: what a validator votes for (consensus-specs phase0, `AttestationData`).

use holdfast_types::{Epoch, Root, Slot};
use serde::{Deserialize, Serialize};

/// An epoch boundary and the block that stands for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch.
    pub epoch: Epoch,
    /// The block root at its start.
    pub root: Root,
}

/// What one attestation says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttestationData {
    /// The slot that is attested.
    pub slot: Slot,
    /// The committee index; 0 since Electra.
    pub index: u64,
    /// The head that the validator sees.
    pub beacon_block_root: Root,
    /// The justified checkpoint it votes from.
    pub source: Checkpoint,
    /// The checkpoint it votes for.
    pub target: Checkpoint,
}
