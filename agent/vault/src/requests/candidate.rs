//! What can be slashed and may be signed once the history has recorded it.

use holdfast_types::{Epoch, SigningRoot, Slot, ValidatorPublic};

/// A message whose data is sound and of the present. Whether it contradicts an earlier one, only the history knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// An attestation.
    Attestation {
        /// Whose.
        validator: ValidatorPublic,
        /// The source's epoch.
        source: Epoch,
        /// The target's epoch, which is that of the slot.
        target: Epoch,
        /// What would be signed.
        root: SigningRoot,
        /// The slot.
        slot: Slot,
    },
    /// A block.
    Block {
        /// Whose.
        validator: ValidatorPublic,
        /// The slot.
        slot: Slot,
        /// What would be signed.
        root: SigningRoot,
    },
}
