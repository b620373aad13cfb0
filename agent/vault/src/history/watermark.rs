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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vote() -> impl Strategy<Value = Candidate> {
        (0..9u64, 0..9u64, 0..3u8).prop_map(|(source, target, root)| Candidate {
            validator: ValidatorPublic([1; 48]),
            source: Epoch(source),
            target: Epoch(target),
            slot: Slot(target * 32),
            root: SigningRoot([root; 32]),
        })
    }

    /// The definition of consensus-specs phase0, `is_slashable_attestation_data`; it shares nothing with the watermarks.
    fn slashable(one: &Candidate, two: &Candidate) -> bool {
        let double = one.target == two.target && (one.root, one.source) != (two.root, two.source);
        let surrounds =
            |outer: &Candidate, inner: &Candidate| outer.source < inner.source && inner.target < outer.target;
        double || surrounds(one, two) || surrounds(two, one)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_two_votes_that_pass_are_slashable(mut votes in proptest::collection::vec(vote(), 1..40)) {
            // A root stands for one content, so the source follows from it.
            votes.iter_mut().for_each(|vote| vote.root.0[1] = u8::try_from(vote.source.0).unwrap());
            let (mut before, mut signed): (_, Vec<Candidate>) = (None, Vec::new());
            for vote in votes {
                if let Ok(after) = check(before.as_ref(), &vote) {
                    for earlier in &signed {
                        prop_assert!(!slashable(earlier, &vote), "{earlier:?} and {vote:?}");
                    }
                    before = Some(after);
                    signed.push(vote);
                }
            }
            let rising = signed.last().is_none_or(|last| signed.iter().all(|vote| vote.slot <= last.slot));
            prop_assert!(rising, "the highest slot fell");
        }
    }
}
