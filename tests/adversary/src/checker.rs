//! The judge: reads every signature that was ever released and looks for two that make a validator slashable.
//!
//! It goes by the definitions of the consensus specification (phase0, `is_slashable_attestation_data` and
//! `process_proposer_slashing`) and shares no code with the vault. It knows no watermark, no lease and no reboot: whatever a
//! validator signed counts for ever. That a signature is over what it is said to be over is the driver's to see.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_types::{Epoch, SigningRoot, Slot, ValidatorPublic};

/// What a validator signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signed {
    /// An attestation.
    Attestation(Vote),
    /// A block.
    Block(Proposal),
}

/// An attestation, as far as slashing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vote {
    /// The epoch of the source.
    pub source: Epoch,
    /// The epoch of the target.
    pub target: Epoch,
    /// What was signed.
    pub root: SigningRoot,
}

/// A block, as far as slashing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    /// The slot.
    pub slot: Slot,
    /// What was signed.
    pub root: SigningRoot,
}

/// Two signatures of one validator that must not both exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slashable {
    /// Two blocks for one slot.
    DoubleProposal(Proposal, Proposal),
    /// Two attestations for one target.
    DoubleVote(Vote, Vote),
    /// The first surrounds the second.
    Surround(Vote, Vote),
}

/// A finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose.
    pub validator: ValidatorPublic,
    /// What.
    pub pair: Slashable,
}

/// All that was ever signed.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    validators: BTreeMap<ValidatorPublic, Record>,
    released: u64,
}

/// What one validator signed, each thing once.
#[derive(Clone, Debug, Default)]
struct Record {
    votes: Vec<Vote>,
    proposals: BTreeMap<Slot, Proposal>,
}

impl Checker {
    /// Takes note of a released signature.
    ///
    /// # Errors
    /// With the pair when it makes the validator slashable. It is kept all the same.
    pub fn released(&mut self, validator: ValidatorPublic, signed: Signed) -> Result<(), Box<Finding>> {
        self.released += 1;
        let record = self.validators.entry(validator).or_default();
        let found = match signed {
            Signed::Attestation(vote) => record.vote(vote),
            Signed::Block(proposal) => record.propose(proposal),
        };
        found.map_or(Ok(()), |pair| Err(Box::new(Finding { validator, pair })))
    }

    /// How many signatures there were, those released twice counted twice.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.released
    }
}

impl Record {
    fn vote(&mut self, new: Vote) -> Option<Slashable> {
        let mut found = None;
        for &old in &self.votes {
            if old == new {
                return None;
            }
            if found.is_none() {
                found = slashable(old, new);
            }
        }
        self.votes.push(new);
        found
    }

    fn propose(&mut self, new: Proposal) -> Option<Slashable> {
        let first = *self.proposals.entry(new.slot).or_insert(new);
        (first.root != new.root).then_some(Slashable::DoubleProposal(first, new))
    }
}

fn slashable(old: Vote, new: Vote) -> Option<Slashable> {
    if old.target == new.target && old != new {
        Some(Slashable::DoubleVote(old, new))
    } else if surrounds(old, new) {
        Some(Slashable::Surround(old, new))
    } else if surrounds(new, old) {
        Some(Slashable::Surround(new, old))
    } else {
        None
    }
}

fn surrounds(outer: Vote, inner: Vote) -> bool {
    outer.source < inner.source && inner.target < outer.target
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "validator {}: {}", self.validator.short(), self.pair)
    }
}

impl fmt::Display for Slashable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoubleProposal(first, second) => {
                write!(f, "double proposal for slot {}: {} and {}", first.slot, short(first.root), short(second.root))
            }
            Self::DoubleVote(first, second) => write!(f, "double vote: {first} and {second}"),
            Self::Surround(outer, inner) => write!(f, "surround vote: {outer} around {inner}"),
        }
    }
}

impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} ({})", self.source, self.target, short(self.root))
    }
}

fn short(root: SigningRoot) -> String {
    root.to_string()[..10].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn vote(source: u64, target: u64, root: u8) -> Vote {
        Vote { source: Epoch(source), target: Epoch(target), root: SigningRoot([root; 32]) }
    }

    fn proposal(slot: u64, root: u8) -> Proposal {
        Proposal { slot: Slot(slot), root: SigningRoot([root; 32]) }
    }

    fn judge(signed: &[Signed]) -> Option<Slashable> {
        let mut checker = Checker::default();
        signed
            .iter()
            .find_map(|signed| checker.released(ValidatorPublic([1; 48]), *signed).err().map(|found| found.pair))
    }

    #[test]
    fn each_planted_pair_is_found_whichever_was_first() {
        let cases = [
            (vote(1, 5, 1), vote(1, 5, 2)),
            (vote(1, 5, 1), vote(2, 5, 1)),
            (vote(2, 5, 1), vote(3, 4, 2)),
            (vote(0, 9, 1), vote(8, 8, 2)),
        ];
        for (one, other) in cases {
            for [first, second] in [[one, other], [other, one]] {
                let harmless = [vote(0, 0, 9), vote(0, 1, 9), vote(9, 12, 9)].map(Signed::Attestation);
                let all =
                    [&harmless[..2], &[Signed::Attestation(first)], &harmless[2..], &[Signed::Attestation(second)]];
                let found = judge(&all.concat()).unwrap();
                let wanted = if one.target == other.target {
                    Slashable::DoubleVote(first, second)
                } else {
                    Slashable::Surround(one, other)
                };
                assert_eq!(found, wanted);
            }
        }
        let (first, second) = (proposal(7, 1), proposal(7, 2));
        assert_eq!(
            judge(&[Signed::Block(first), Signed::Block(proposal(8, 1)), Signed::Block(second)]),
            Some(Slashable::DoubleProposal(first, second))
        );
    }

    #[test]
    fn what_is_allowed_is_not_found() {
        let votes = [(3, 5, 1), (3, 5, 1), (3, 4, 2), (3, 6, 3), (4, 7, 4), (4, 7, 4), (2, 2, 5)];
        let votes = votes.map(|(source, target, root)| Signed::Attestation(vote(source, target, root)));
        let blocks = [(7, 1), (8, 1), (7, 1), (6, 2)].map(|(slot, root)| Signed::Block(proposal(slot, root)));
        assert_eq!(judge(&[&votes[..], &blocks[..]].concat()), None);
    }

    #[test]
    fn one_validator_is_no_other() {
        let mut checker = Checker::default();
        for number in 0..10 {
            let signed = Signed::Attestation(vote(1, 5, number));
            checker.released(ValidatorPublic([number; 48]), signed).unwrap();
        }
        assert_eq!(checker.count(), 10);
        let again = checker.released(ValidatorPublic([3; 48]), Signed::Attestation(vote(1, 5, 4)));
        assert_eq!(again.unwrap_err().validator, ValidatorPublic([3; 48]));
    }

    #[test]
    fn random_votes_are_judged_as_each_pair_by_the_definition_is() {
        let mut rng = Rng::new(7);
        let mut verdicts = [0, 0];
        for _ in 0..3000 {
            let votes: Vec<Vote> = (0..rng.between(2, 5))
                .map(|_| {
                    let source = rng.below(8);
                    vote(source, source + rng.below(6), u8::try_from(rng.below(2)).unwrap())
                })
                .collect();
            let pairs =
                votes.iter().enumerate().flat_map(|(at, one)| votes[..at].iter().map(move |other| (one, other)));
            // consensus-specs phase0, `is_slashable_attestation_data`, asked both ways round.
            let spec = |(a, b): (&Vote, &Vote)| {
                (a != b && a.target == b.target)
                    || (a.source < b.source && b.target < a.target)
                    || (b.source < a.source && a.target < b.target)
            };
            let expected = pairs.into_iter().any(spec);
            let signed: Vec<Signed> = votes.iter().copied().map(Signed::Attestation).collect();
            assert_eq!(judge(&signed).is_some(), expected, "{votes:?}");
            verdicts[usize::from(expected)] += 1;
        }
        assert!(verdicts.iter().all(|times| *times > 500), "{verdicts:?}");
    }
}
