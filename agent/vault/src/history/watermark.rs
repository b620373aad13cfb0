//! The slashing rules, on the highest that a validator signed. A pure function of that and the candidate.

use holdfast_types::{Epoch, Root, SigningRoot, Slot, ValidatorPublic};
use holdfast_vault_client::AttestationRefusal;

/// What one validator signed last. Targets only rise, so the last attestation is also the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// The highest source.
    pub(crate) source: Epoch,
    /// The highest target.
    pub(crate) target: Epoch,
    /// The highest slot.
    pub(crate) slot: Slot,
    /// What was signed for that target; it may be signed again.
    pub(crate) root: SigningRoot,
}

/// One attestation that somebody wants signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// The validator's group key.
    pub(crate) validator: ValidatorPublic,
    /// Its source.
    pub(crate) source: Epoch,
    /// Its target.
    pub(crate) target: Epoch,
    /// Its slot.
    pub(crate) slot: Slot,
    /// What would be signed.
    pub(crate) root: SigningRoot,
}

/// The watermark after signing, or the rule that forbids it.
///
/// No vote is double since equal targets need equal roots; none surrounds an earlier one since sources never fall; none
/// is surrounded by an earlier one since targets rise.
pub(crate) fn check(before: Option<&Watermark>, candidate: &Candidate) -> Result<Watermark, AttestationRefusal> {
    let Candidate { source, target, slot, root, .. } = *candidate;
    if source > target {
        return Err(AttestationRefusal::SourceAboveTarget { source_epoch: source, target });
    }
    if let Some(before) = before {
        if target == before.target {
            return if root == before.root {
                Ok(*before)
            } else {
                Err(AttestationRefusal::DoubleVote { target, signed: Root(before.root.0) })
            };
        }
        if target < before.target {
            return Err(AttestationRefusal::TargetTooLow { target, highest_target: before.target });
        }
        if source < before.source {
            return Err(AttestationRefusal::SourceTooLow { source_epoch: source, highest_source: before.source });
        }
    }
    let highest_slot = before.map_or(slot, |before| before.slot.max(slot));
    Ok(Watermark { source, target, slot: highest_slot, root })
}
