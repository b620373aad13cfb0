//! What one batch costs the disk: the duties of a slot are one transaction and one sync, however many they are.

#![expect(clippy::unwrap_used, reason = "every function here is a part of a test")]

use holdfast_adversary::disk::{OpKind, SimDisk};
use holdfast_adversary::place::{Place, SimClock};
use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_evidence::{Approval, HistoryClaim, NetworkPins, SigningKey};
use holdfast_hal_sim::SimTpm;
use holdfast_test_operator::{InProcess, Operator, Shares};
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, LockHash, Root, ShareIndex, Slot, ValidatorPublic};
use holdfast_vault::clock::Clock as _;
use holdfast_vault::tier::Machine;
use holdfast_vault::vault::{Release, Vault};
use holdfast_vault_client::{AttestationToSign, Request, Response, Tier};

#[test]
fn a_thousand_attestations_of_one_slot_are_one_transaction_and_one_sync() {
    let (disk, clock) = (SimDisk::new(), SimClock::default());
    let mut vault = signing(&disk, &clock);
    // The first transaction after a start makes the log of writes, and syncs the folder for it.
    attest(&mut vault, &clock, 1);
    let before = disk.tally();
    attest(&mut vault, &clock, SHARES);
    let after = disk.tally();
    let asked = |kind| after.asked_for(kind) - before.asked_for(kind);
    // Each transaction is synced on its own, so one sync is one transaction.
    assert_eq!(asked(OpKind::SyncFile), 1);
    assert!(asked(OpKind::Write) > 0, "nothing was recorded");
    for none in OpKind::ALL.into_iter().filter(|kind| ![OpKind::SyncFile, OpKind::Write].contains(kind)) {
        assert_eq!(asked(none), 0, "{}", none.name());
    }
}

/// Has the first `count` validators attest in the next epoch.
fn attest(vault: &mut Vault, clock: &SimClock, count: u16) {
    let chain = chain();
    clock.pass(chain.slot_ms * chain.slots_per_epoch);
    let slot = chain.slot_at(clock.now()).unwrap();
    let target = chain.epoch_of(slot);
    let checkpoint = |epoch| Checkpoint { epoch, root: Root([2; 32]) };
    let (source, target) = (checkpoint(Epoch(target.0 - 1)), checkpoint(target));
    let data = AttestationData { slot, index: 0, beacon_block_root: Root([1; 32]), source, target };
    let batch = (1..=count).map(|number| AttestationToSign { validator: validator(number), data }).collect();
    let Response::Signatures(answers) = vault.answer(Request::SignAttestations(batch)) else { panic!("no answers") };
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), usize::from(count), "{:?}", answers[0]);
}

/// A vault with its shares, which signs.
fn signing(disk: &SimDisk, clock: &SimClock) -> Vault {
    let key = SigningKey::from_bytes(&[9; 32]).unwrap();
    let approvals = vec![Approval::of_image(&key, "test", 1, [0; 32])];
    let release = Release { key: key.public(), board: "test".into(), approvals, lease_epochs: 8 };
    let machine = Machine { tier: Tier::C, reason: "a test".into() };
    let chain = chain();
    clock.set(chain.slot_start(Slot(3_200)));
    let epoch = Epoch(100);
    let Place { disk, tpm, clock } = Place::new(disk, &SimTpm::new(1), clock);
    let mut vault = Vault::open(Box::new(disk), Box::new(tpm), Box::new(clock), release, machine).unwrap();
    let mut ask = InProcess(|request| vault.answer(request));
    let mut operator = Operator::from_seed(1);
    operator.own(&mut ask).unwrap();
    let exit_fork_version = chain.genesis_fork_version;
    let shares = Shares {
        lock_hash: LockHash([5; 32]),
        share_index: ShareIndex(1),
        genesis_fork_version: chain.genesis_fork_version,
        epoch,
        history: HistoryClaim::NeverSigned,
        secrets: (1..=SHARES).map(|number| (validator(number), secret(number))).collect(),
    };
    operator.set_network(&mut ask, NetworkPins { chain, exit_fork_version }, epoch).unwrap();
    operator.import(&mut ask, &shares).unwrap();
    vault
}

fn validator(number: u16) -> ValidatorPublic {
    let mut bytes = [0; 48];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    ValidatorPublic(bytes)
}

fn secret(number: u16) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[30..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn chain() -> ChainSpec {
    let version = ForkVersion([0x50, 0, 0, 1]);
    ChainSpec {
        genesis_time_s: 1_600_000_000,
        genesis_validators_root: Root([9; 32]),
        genesis_fork_version: version,
        slot_ms: 12_000,
        slots_per_epoch: 32,
        forks: vec![Fork { epoch: Epoch(0), version }],
    }
}

/// As many as one vault holds.
const SHARES: u16 = 1_000;
