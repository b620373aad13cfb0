//! A small chain, the attestations on it and a vault for them, for the tests of this crate.

use std::path::Path;

use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_hal_sim::SimTpm;
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, LockHash, Root, ShareIndex, Slot, ValidatorPublic};
use holdfast_vault_client::{AttestationToSign, IdentityKey};

use crate::state::StateFolder;
use crate::vault::{Import, Share, Vault};

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

/// A vault in slot 100.
pub(crate) fn empty_vault(folder: &Path) -> Vault {
    let clock = || chain().slot_start(Slot(100));
    Vault::open(StateFolder::open(folder).unwrap(), Box::new(SimTpm::new(1)), Box::new(clock)).unwrap()
}

/// One share.
pub(crate) fn import() -> Import {
    Import {
        lock_hash: LockHash([5; 32]),
        chain: chain(),
        identity: IdentityKey([6; 32]),
        share_index: ShareIndex(1),
        shares: vec![Share { validator: VALIDATOR, secret: [7; 32].into() }],
    }
}

/// What [`empty_vault`] signs once it has the share.
pub(crate) fn first_to_sign() -> AttestationToSign {
    AttestationToSign { validator: VALIDATOR, data: attestation(100, 2) }
}

const VALIDATOR: ValidatorPublic = ValidatorPublic([4; 48]);
