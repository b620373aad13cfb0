//! The slashing rules, on the highest that a validator signed. Pure functions of that, the bounds and the candidate.

use std::cmp::Ordering;

use holdfast_types::{AttestationMark, BlockMark, Epoch, Root, SigningRoot, Slot, ValidatorMarks, ValidatorPublic};
use holdfast_vault_client::{SigningRefused, SlashingRefusal};

use crate::bounds::{Floor, Reach};

/// What somebody wants signed, of the two kinds that can be slashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// A vote.
    Attestation {
        /// The validator's group key.
        validator: ValidatorPublic,
        /// The vote's source.
        source: Epoch,
        /// The vote's target.
        target: Epoch,
        /// What would be signed.
        root: SigningRoot,
        /// The vote's slot, which no slashing rule looks at: a refusal names it.
        slot: Slot,
    },
    /// A proposal.
    Block {
        /// The validator's group key.
        validator: ValidatorPublic,
        /// The block's slot.
        slot: Slot,
        /// What would be signed.
        root: SigningRoot,
    },
}

impl Candidate {
    pub(super) fn validator(&self) -> ValidatorPublic {
        let (Self::Attestation { validator, .. } | Self::Block { validator, .. }) = *self;
        validator
    }

    pub(super) fn root(&self) -> SigningRoot {
        let (Self::Attestation { root, .. } | Self::Block { root, .. }) = *self;
        root
    }
}

/// The watermarks of a validator that signed nothing.
pub(super) const fn none(validator: ValidatorPublic) -> ValidatorMarks {
    ValidatorMarks { validator, attestation: None, block: None }
}

/// The watermarks of a validator that may have signed all that a floor bars.
pub(super) fn barred(validator: ValidatorPublic, floor: Floor) -> ValidatorMarks {
    let attestation = floor.target.map(|target| AttestationMark { source: floor.source, target, root: None });
    let block = floor.slot.map(|slot| BlockMark { slot, root: None });
    ValidatorMarks { validator, attestation, block }
}

/// The watermarks after signing, or the first rule that forbids it: of the floor, of the lease, of what was signed.
pub(super) fn check(
    floor: &Floor,
    reach: &Reach,
    before: &ValidatorMarks,
    candidate: &Candidate,
) -> Result<ValidatorMarks, SigningRefused> {
    match *candidate {
        Candidate::Attestation { source, target, root, slot, .. } => {
            attestation_above_floor(floor, source, target)?;
            attestation_within_reach(reach, source, target, slot)?;
            let after = attestation_after(before.attestation, AttestationMark { source, target, root: Some(root) })?;
            Ok(ValidatorMarks { attestation: Some(after), ..*before })
        }
        Candidate::Block { slot, root, .. } => {
            if let Some(up_to) = floor.slot.filter(|&barred| slot <= barred) {
                return Err(SlashingRefusal::SlotBelowFloor { up_to }.into());
            }
            if slot > reach.slot {
                let reason = format!("its slot is after {}, the last that the lease reaches", reach.slot);
                return Err(SigningRefused::OutsideLease { what: format!("block of slot {slot}"), reason });
            }
            let after = block_after(before.block, BlockMark { slot, root: Some(root) })?;
            Ok(ValidatorMarks { block: Some(after), ..*before })
        }
    }
}

fn attestation_above_floor(floor: &Floor, source: Epoch, target: Epoch) -> Result<(), SlashingRefusal> {
    if let Some(up_to) = floor.target.filter(|&barred| target <= barred) {
        return Err(SlashingRefusal::BelowFloor { up_to });
    }
    if source < floor.source {
        return Err(SlashingRefusal::SourceTooLow { source_epoch: source, highest_source: floor.source });
    }
    Ok(())
}

fn attestation_within_reach(reach: &Reach, source: Epoch, target: Epoch, slot: Slot) -> Result<(), SigningRefused> {
    let reason = if target > reach.target {
        format!("its target is after epoch {}, the last that the lease reaches", reach.target)
    } else if source > reach.source {
        format!("its source {source} is after epoch {}, the highest source of this lease", reach.source)
    } else {
        return Ok(());
    };
    Err(SigningRefused::OutsideLease { what: format!("attestation for slot {slot}, target epoch {target}"), reason })
}

/// No vote is double since equal targets need equal roots; none surrounds an earlier one since sources never fall; none
/// is surrounded by an earlier one since targets rise.
///
/// A vote that is signed again must reach the highest source like any other: after a merge that source may be of another
/// vote than the root, and EIP-3076 (condition 4) makes no exception for it.
fn attestation_after(
    before: Option<AttestationMark>,
    vote: AttestationMark,
) -> Result<AttestationMark, SlashingRefusal> {
    let AttestationMark { source, target, root } = vote;
    if source > target {
        return Err(SlashingRefusal::SourceAboveTarget { source_epoch: source, target });
    }
    let Some(before) = before else { return Ok(vote) };
    if target == before.target && (before.root.is_none() || root != before.root) {
        return Err(SlashingRefusal::DoubleVote { target, signed: before.root.map(|root| Root(root.0)) });
    }
    if target < before.target {
        return Err(SlashingRefusal::TargetTooLow { target, highest_target: before.target });
    }
    if source < before.source {
        return Err(SlashingRefusal::SourceTooLow { source_epoch: source, highest_source: before.source });
    }
    Ok(vote)
}

/// No proposal is double since slots rise, and equal slots need equal roots.
fn block_after(before: Option<BlockMark>, block: BlockMark) -> Result<BlockMark, SlashingRefusal> {
    let BlockMark { slot, root } = block;
    let Some(before) = before else { return Ok(block) };
    if slot == before.slot && (before.root.is_none() || root != before.root) {
        return Err(SlashingRefusal::DoubleProposal { slot, signed: before.root.map(|root| Root(root.0)) });
    }
    if slot < before.slot {
        return Err(SlashingRefusal::SlotTooLow { slot, highest_slot: before.slot });
    }
    Ok(block)
}

/// The watermarks of a validator of which two histories know something. Neither is lowered.
pub(super) fn merge(one: &ValidatorMarks, two: &ValidatorMarks) -> ValidatorMarks {
    let attestation = match (one.attestation, two.attestation) {
        (Some(one), Some(two)) => {
            let (target, root) = highest((one.target, one.root), (two.target, two.root));
            Some(AttestationMark { source: one.source.max(two.source), target, root })
        }
        (one, two) => one.or(two),
    };
    let block = match (one.block, two.block) {
        (Some(one), Some(two)) => {
            let (slot, root) = highest((one.slot, one.root), (two.slot, two.root));
            Some(BlockMark { slot, root })
        }
        (one, two) => one.or(two),
    };
    ValidatorMarks { validator: one.validator, attestation, block }
}

/// The higher of two with its root. At the same height the root must be the same: otherwise none may be signed again.
fn highest<Height: Ord>(
    one: (Height, Option<SigningRoot>),
    two: (Height, Option<SigningRoot>),
) -> (Height, Option<SigningRoot>) {
    match one.0.cmp(&two.0) {
        Ordering::Less => two,
        Ordering::Greater => one,
        Ordering::Equal => (one.0, if one.1 == two.1 { one.1 } else { None }),
    }
}
