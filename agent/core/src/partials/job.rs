//! The cryptography of one duty's partial signatures, as work for the worker pool.
//!
//! The strategy lives here and nowhere else: check all new partials of the duty in one batch, combine where enough are
//! good, check all group signatures in one batch. The store only sees verdicts.

use holdfast_bls::{BatchItem, combine, prove_batch, verify_batch};
use holdfast_types::{
    DutyId, OperatorIndex, PartialSignature, Root, SharePublic, Signature, SigningRoot, ValidatorPublic,
};

/// Work for the worker pool: pure, owns what it needs.
#[derive(Clone, Debug)]
pub struct BlsJob {
    pub(super) duty: DutyId,
    pub(super) threshold: usize,
    pub(super) groups: Vec<Group>,
}

/// The partials of one validator that sign one thing.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) validator: ValidatorPublic,
    /// The root of the object, which names the group.
    pub(super) object: Root,
    pub(super) root: SigningRoot,
    /// Whether a group signature is still wanted.
    pub(super) wanted: bool,
    /// Those that earlier jobs found good.
    pub(super) verified: Vec<(OperatorIndex, PartialSignature)>,
    pub(super) fresh: Vec<Fresh>,
}

/// A partial that nobody checked yet.
#[derive(Clone, Debug)]
pub(super) struct Fresh {
    pub(super) operator: OperatorIndex,
    pub(super) public: SharePublic,
    pub(super) signature: PartialSignature,
}

/// What came of a [`BlsJob`].
#[derive(Clone, Debug)]
pub struct BlsDone {
    pub(super) duty: DutyId,
    pub(super) groups: Vec<Verdict>,
}

/// What came of one group.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) validator: ValidatorPublic,
    pub(super) object: Root,
    /// Each fresh partial's operator, and whether its partial is good.
    pub(super) fresh: Vec<(OperatorIndex, bool)>,
    pub(super) combined: Combined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Combined {
    /// Verified under the group key.
    Good(Signature),
    /// Enough good partials, and yet no valid group signature.
    Invalid,
    /// Too few good partials, or none wanted.
    No,
}

impl BlsJob {
    /// The duty that it is for.
    #[must_use]
    pub const fn duty(&self) -> DutyId {
        self.duty
    }

    /// How many signatures it has to check.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.iter().map(|group| group.fresh.len()).sum()
    }

    /// Whether there is nothing to check.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is told when the job came to no end. Nobody is blamed: what it had to check stays unchecked, and the duty goes
    /// on with what comes later.
    #[must_use]
    pub const fn lost(duty: DutyId) -> BlsDone {
        BlsDone { duty, groups: Vec::new() }
    }

    /// Does the work. `seed` is 32 random bytes that no peer can know; they blind the batch checks.
    ///
    /// Takes milliseconds: call it on the worker pool, not in the loop.
    #[must_use]
    pub fn run(self, seed: [u8; 32]) -> BlsDone {
        let items: Vec<BatchItem> = self
            .groups
            .iter()
            .flat_map(|group| {
                group.fresh.iter().map(|fresh| BatchItem::partial(fresh.public, group.root, fresh.signature))
            })
            .collect();
        let mut good = verify_batch(&items, &seed).into_iter();
        let mut groups = Vec::with_capacity(self.groups.len());
        let mut candidates = Vec::new();
        for (at, group) in self.groups.iter().enumerate() {
            // The answers stand in the order of the items.
            let fresh: Vec<(OperatorIndex, bool)> =
                group.fresh.iter().map(|fresh| (fresh.operator, good.next().unwrap_or(false))).collect();
            let combined = if let Some(parts) = enough(group, &fresh, self.threshold) {
                match combine(&parts) {
                    Ok(unproven) => candidates.push((at, (group.validator, group.root, unproven))),
                    Err(error) => {
                        tracing::debug!(duty = %self.duty, %error, "verified partial signatures do not combine");
                    }
                }
                Combined::Invalid
            } else {
                Combined::No
            };
            groups.push(Verdict { validator: group.validator, object: group.object, fresh, combined });
        }
        let (places, unproven): (Vec<usize>, Vec<_>) = candidates.into_iter().unzip();
        for (at, proven) in places.into_iter().zip(prove_batch(&unproven, &seed)) {
            if let Some(signature) = proven {
                groups[at].combined = Combined::Good(signature);
            }
        }
        BlsDone { duty: self.duty, groups }
    }
}

/// Exactly `threshold` good partials by the lowest share indices, when a group signature is wanted and there are enough.
fn enough(
    group: &Group,
    fresh: &[(OperatorIndex, bool)],
    threshold: usize,
) -> Option<Vec<(holdfast_types::ShareIndex, PartialSignature)>> {
    if !group.wanted {
        return None;
    }
    let fresh = group.fresh.iter().zip(fresh).filter(|(_, (_, good))| *good);
    let fresh = fresh.map(|(fresh, _)| (fresh.operator, fresh.signature));
    let mut good: Vec<_> = group.verified.iter().copied().chain(fresh).collect();
    good.sort_unstable_by_key(|(operator, _)| *operator);
    good.truncate(threshold);
    (good.len() == threshold)
        .then(|| good.into_iter().map(|(operator, signature)| (operator.share(), signature)).collect())
}

impl BlsDone {
    /// The duty that it is about.
    #[must_use]
    pub const fn duty(&self) -> DutyId {
        self.duty
    }
}
