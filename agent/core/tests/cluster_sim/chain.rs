//! A beacon chain of one block a slot, with duties that can be reshuffled by a reorg.

use holdfast_bls::verify_group;
use holdfast_core::io::{AttesterDuty, SingleAttestation};
use holdfast_eth::domain::attestation_signing_root;
use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, Millis, Root, Slot, ValidatorIndex, ValidatorPublic};

pub(crate) struct Chain {
    pub(crate) spec: ChainSpec,
    pub(crate) head: Slot,
    /// The reshuffle, and the first epoch that it is for.
    pub(crate) shuffle: (u64, Epoch),
    validators: Vec<ValidatorPublic>,
}

impl Chain {
    pub(crate) fn new(validators: Vec<ValidatorPublic>) -> Self {
        let fork = |number: u8| Fork { epoch: Epoch(0), version: ForkVersion([number, 0, 0, 1]) };
        let spec = ChainSpec {
            genesis_time_s: 1_000_000,
            genesis_validators_root: Root([9; 32]),
            genesis_fork_version: ForkVersion([0, 0, 0, 1]),
            slot_ms: 12_000,
            slots_per_epoch: 8,
            forks: (0..=6).map(fork).collect(),
        };
        Self { spec, head: Slot(0), shuffle: (0, Epoch(0)), validators }
    }

    /// Blocks come a second into their slot.
    pub(crate) fn block_time(&self, slot: Slot) -> Millis {
        self.spec.slot_start(slot).plus(1000)
    }

    pub(crate) fn block(&self, slot: Slot) -> Root {
        root(1, slot.0)
    }

    pub(crate) fn dependent_root(&self, epoch: Epoch) -> Root {
        root(2 + self.shuffle_of(epoch), epoch.0.saturating_sub(2))
    }

    pub(crate) fn active(&self) -> Vec<(ValidatorPublic, ValidatorIndex)> {
        self.validators
            .iter()
            .enumerate()
            .map(|(index, public)| (*public, ValidatorIndex(100 + index as u64)))
            .collect()
    }

    /// Pairs of validators share a slot, which moves on by one each epoch.
    pub(crate) fn duties(&self, epoch: Epoch) -> Vec<AttesterDuty> {
        let first = self.spec.first_slot(epoch).0;
        let offset = |at: usize| (at as u64 / 2 * 3 + epoch.0 + 4 * self.shuffle_of(epoch)) % self.spec.slots_per_epoch;
        let duty = |(at, (validator, index)): (usize, (ValidatorPublic, ValidatorIndex))| AttesterDuty {
            validator,
            index,
            slot: Slot(first + offset(at)),
            committee_index: 7 + at as u64 % 2,
            committee_length: 128,
            committees_at_slot: 16,
            position: at as u64,
        };
        self.active().into_iter().enumerate().map(duty).collect()
    }

    pub(crate) fn duties_at(&self, slot: Slot) -> Vec<AttesterDuty> {
        self.duties(self.spec.epoch_of(slot)).into_iter().filter(|duty| duty.slot == slot).collect()
    }

    pub(crate) fn data(&self, slot: Slot) -> AttestationData {
        let target = self.spec.epoch_of(slot);
        let source = Epoch(target.0.saturating_sub(1));
        AttestationData {
            slot,
            index: 0,
            beacon_block_root: self.block(self.head.min(slot)),
            source: Checkpoint { epoch: source, root: root(1, self.spec.first_slot(source).0) },
            target: Checkpoint { epoch: target, root: root(1, self.spec.first_slot(target).0) },
        }
    }

    /// Who attested; everything about the attestation must be right.
    pub(crate) fn check(&self, attestation: &SingleAttestation) -> ValidatorPublic {
        let duties = self.duties_at(attestation.data.slot);
        let duty = duties.iter().find(|duty| duty.index == attestation.attester_index);
        let duty = duty.expect("an attestation of a validator that has this duty");
        assert_eq!(duty.committee_index, attestation.committee_index);
        let signing_root = attestation_signing_root(&self.spec, &attestation.data);
        verify_group(&duty.validator, signing_root, &attestation.signature).expect("a valid group signature");
        duty.validator
    }

    fn shuffle_of(&self, epoch: Epoch) -> u64 {
        if epoch >= self.shuffle.1 { self.shuffle.0 } else { 0 }
    }
}

fn root(kind: u64, number: u64) -> Root {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&kind.to_be_bytes());
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Root(bytes)
}
