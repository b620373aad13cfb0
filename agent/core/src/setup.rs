//! What a node knows of its cluster and its chain for as long as it runs, and the times that follow from it.
//!
//! Everything here comes from a verified lock and from the network's constants; nothing of it changes while the node runs.

use std::collections::BTreeMap;

use holdfast_types::{ChainSpec, DutyId, DutyKind, Epoch, Millis, OperatorIndex, SharePublic, Slot, ValidatorPublic};
use holdfast_wire::gate;

use crate::qbft::operators::Operators;

/// What a node is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The chain. Its forks are all there, from phase0 on: the position of a fork is its number on the wire.
    pub chain: ChainSpec,
    /// Which operator we are.
    pub own: OperatorIndex,
    /// How many operators the cluster has.
    pub operators: usize,
    /// How many partial signatures make a group signature.
    pub threshold: usize,
    /// The validators of the lock.
    pub validators: Vec<ValidatorShares>,
    /// When this process started.
    pub boot: Millis,
}

/// A validator of the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatorShares {
    /// The group key.
    pub public: ValidatorPublic,
    /// The public keys of its shares, in the order of the operators.
    pub shares: Vec<SharePublic>,
}

/// Why a node cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The chain has slots or epochs of no length.
    #[error("the chain has slots of {slot_ms} ms and epochs of {slots_per_epoch} slots; neither can be 0")]
    Chain {
        /// The length of a slot.
        slot_ms: u64,
        /// The slots of an epoch.
        slots_per_epoch: u64,
    },
    /// The number of operators is none that a cluster can have.
    #[error("a cluster of {0} operators is not possible: 1 to 32 are")]
    Operators(usize),
    /// We are not in the cluster.
    #[error("operator {own} is not one of the {operators} operators of the cluster, which count from 0")]
    Own {
        /// Who we are said to be.
        own: OperatorIndex,
        /// How many there are.
        operators: usize,
    },
    /// A validator does not have one share for each operator.
    #[error("validator {} has {shares} shares for {operators} operators", validator.short())]
    Shares {
        /// The validator.
        validator: ValidatorPublic,
        /// Its shares.
        shares: usize,
        /// The operators.
        operators: usize,
    },
    /// The threshold cannot be reached, or is none.
    #[error("a threshold of {threshold} does not fit {operators} operators")]
    Threshold {
        /// The threshold.
        threshold: usize,
        /// The operators.
        operators: usize,
    },
}

/// A checked [`Setup`].
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) chain: ChainSpec,
    pub(crate) own: OperatorIndex,
    pub(crate) operators: Operators,
    pub(crate) threshold: usize,
    pub(crate) boot: Millis,
    validators: BTreeMap<ValidatorPublic, Vec<SharePublic>>,
}

impl Cluster {
    pub(crate) fn new(setup: Setup) -> Result<Self, SetupError> {
        let Setup { chain, own, operators: count, threshold, validators, boot } = setup;
        if chain.slot_ms == 0 || chain.slots_per_epoch == 0 {
            return Err(SetupError::Chain { slot_ms: chain.slot_ms, slots_per_epoch: chain.slots_per_epoch });
        }
        let operators = Operators::new(count).ok_or(SetupError::Operators(count))?;
        if !operators.contains(own) {
            return Err(SetupError::Own { own, operators: count });
        }
        if !(1..=count).contains(&threshold) {
            return Err(SetupError::Threshold { threshold, operators: count });
        }
        if let Some(odd) = validators.iter().find(|validator| validator.shares.len() != count) {
            return Err(SetupError::Shares { validator: odd.public, shares: odd.shares.len(), operators: count });
        }
        let validators = validators.into_iter().map(|validator| (validator.public, validator.shares)).collect();
        Ok(Self { chain, own, operators, threshold, boot, validators })
    }

    pub(crate) fn has_validator(&self, validator: &ValidatorPublic) -> bool {
        self.validators.contains_key(validator)
    }

    pub(crate) fn validator_count(&self) -> usize {
        self.validators.len()
    }

    pub(crate) fn share(&self, validator: &ValidatorPublic, operator: OperatorIndex) -> Option<SharePublic> {
        self.validators.get(validator)?.get(usize::from(operator.0)).copied()
    }

    /// All operators, in the order of the lock.
    pub(crate) fn all_operators(&self) -> impl Iterator<Item = OperatorIndex> + use<> {
        (0..self.operators.count()).filter_map(|index| u8::try_from(index).ok()).map(OperatorIndex)
    }

    /// How many operators it takes, ourselves included, to decide and to sign.
    pub(crate) fn needed(&self) -> usize {
        self.threshold.max(self.operators.quorum())
    }

    /// When work on a duty begins (`cluster-wire.md` section 5.1).
    pub(crate) fn duty_start(&self, duty: DutyId) -> Millis {
        let third_ms = self.chain.slot_ms / 3;
        let offset_ms = match duty.kind {
            DutyKind::Attester => third_ms,
            DutyKind::Aggregator | DutyKind::SyncContribution => 2 * self.chain.slot_ms / 3,
            _ => 0,
        };
        self.chain.slot_start(duty.slot).plus(offset_ms)
    }

    /// When a duty expires (5.1); the end of time for the two kinds that never do.
    pub(crate) fn duty_end(&self, duty: DutyId) -> Millis {
        gate::duty_deadline(duty, &self.chain).unwrap_or(Millis(u64::MAX))
    }

    /// Until when a duty's latecomers are waited for: one slot after its start.
    pub(crate) fn patience_end(&self, duty: DutyId) -> Millis {
        self.duty_start(duty).plus(self.chain.slot_ms)
    }

    /// Whether we vote on a duty: not when it began before this boot. Then an earlier run of this node may have voted on
    /// it, and a vote that contradicts it would make us a faulty operator.
    pub(crate) fn takes_part(&self, duty: DutyId) -> bool {
        self.duty_start(duty) >= self.boot
    }

    /// The slot now; slot 0 before genesis.
    pub(crate) fn slot_now(&self, now: Millis) -> Slot {
        self.chain.slot_at(now).unwrap_or_default()
    }

    /// Whether a duty is near enough to be talked about: the gate of section 5.2, which has no lower bound.
    pub(crate) fn passes_gate(&self, duty: DutyId, now: Millis) -> bool {
        gate::duty_in_gate(duty, &self.chain, now)
    }

    /// The number of the fork at an epoch, as version fields on the wire have it (section 8). We know no attestations
    /// of before Electra.
    pub(crate) fn fork_number(&self, epoch: Epoch) -> u64 {
        let begun = self.chain.forks.iter().filter(|fork| fork.epoch <= epoch).count() as u64;
        begun.saturating_sub(1).max(ELECTRA)
    }
}

const ELECTRA: u64 = 5;

#[cfg(test)]
pub(crate) mod tests {
    use holdfast_types::{Fork, ForkVersion, Root};

    use super::*;

    /// Slots of 12 s, epochs of 32, genesis at 1,000 s.
    pub(crate) fn chain() -> ChainSpec {
        let fork = |number: u8| Fork { epoch: Epoch(0), version: ForkVersion([number, 0, 0, 1]) };
        ChainSpec {
            genesis_time_s: 1000,
            genesis_validators_root: Root([9; 32]),
            genesis_fork_version: ForkVersion([0, 0, 0, 1]),
            slot_ms: 12_000,
            slots_per_epoch: 32,
            forks: (0..=6).map(fork).collect(),
        }
    }

    /// Four operators of whom three sign, and validators whose keys are only names.
    pub(crate) fn setup(validators: u8) -> Setup {
        let validator = |number: u8| ValidatorShares {
            public: ValidatorPublic([number; 48]),
            shares: (0..4).map(|operator| SharePublic([number.wrapping_add(100 + operator); 48])).collect(),
        };
        Setup {
            chain: chain(),
            own: OperatorIndex(0),
            operators: 4,
            threshold: 3,
            validators: (1..=validators).map(validator).collect(),
            boot: Millis(1_000_000),
        }
    }

    pub(crate) fn cluster(validators: u8) -> Cluster {
        Cluster::new(setup(validators)).unwrap()
    }

    #[test]
    fn a_setup_that_cannot_be_is_named() {
        let refused = |change: fn(&mut Setup)| {
            let mut setup = setup(1);
            change(&mut setup);
            Cluster::new(setup).unwrap_err().to_string()
        };
        assert!(refused(|setup| setup.chain.slot_ms = 0).contains("slots of 0 ms"));
        assert!(refused(|setup| setup.operators = 33).contains("33 operators"));
        assert!(refused(|setup| setup.own = OperatorIndex(4)).contains("operator 4"));
        assert!(refused(|setup| setup.threshold = 5).contains("threshold of 5"));
        assert!(refused(|setup| setup.validators[0].shares.truncate(3)).contains("3 shares for 4"));
    }

    /// `cluster-wire.md` sections 5.1 and 14.5.
    #[test]
    fn an_attester_duty_starts_after_a_third_and_ends_an_epoch_and_a_margin_later() {
        let cluster = cluster(1);
        let duty = DutyId::attester(Slot(10));
        assert_eq!(cluster.duty_start(duty), Millis(1_000_000 + 120_000 + 4000));
        assert_eq!(cluster.duty_end(duty), Millis(1_000_000 + 120_000 + 384_000 + 1000));
    }

    #[test]
    fn the_fork_number_is_the_position_of_the_fork() {
        let mut setup = setup(1);
        setup.chain.forks[6].epoch = Epoch(7);
        let cluster = Cluster::new(setup).unwrap();
        assert_eq!((cluster.fork_number(Epoch(6)), cluster.fork_number(Epoch(7))), (5, 6));
    }
}
