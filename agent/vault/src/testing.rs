//! A small chain and the attestations on it, for the tests of this crate.

use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, Root, Slot};

/// 2 s slots, 32 to an epoch, from second 1,000 on; a fork at epoch 2.
pub(crate) fn chain() -> ChainSpec {
    ChainSpec {
        genesis_time_s: 1_000,
        genesis_validators_root: Root([7; 32]),
        genesis_fork_version: ForkVersion([0, 0, 0, 1]),
        slot_ms: 2_000,
        slots_per_epoch: 32,
        forks: vec![
            Fork { epoch: Epoch(0), version: ForkVersion([0, 0, 0, 1]) },
            Fork { epoch: Epoch(2), version: ForkVersion([6, 0, 0, 1]) },
        ],
    }
}

/// The attestation of a slot, with the source given and the target that the slot has.
pub(crate) fn attestation(slot: u64, source: u64) -> AttestationData {
    let target = chain().epoch_of(Slot(slot));
    AttestationData {
        slot: Slot(slot),
        index: 0,
        beacon_block_root: Root([1; 32]),
        source: Checkpoint { epoch: Epoch(source), root: Root([2; 32]) },
        target: Checkpoint { epoch: target, root: Root([3; 32]) },
    }
}
