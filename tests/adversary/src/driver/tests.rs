//! The driver against a stand-in for the vault, a lease and a history of some hundred lines: sound, it signs and is never
//! caught; with any one defence taken away, it is.

mod stand_in;

use holdfast_evidence::HistoryClaim;
use holdfast_test_operator::Shares;
use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion, LockHash, Millis, Root, ShareIndex, ValidatorPublic};

use self::stand_in::{Defence, StandIn};
use super::*;

fn world() -> World {
    World {
        chain: ChainSpec {
            genesis_time_s: 1_600_000_000,
            genesis_validators_root: Root([9; 32]),
            genesis_fork_version: ForkVersion([0; 4]),
            slot_ms: 12_000,
            slots_per_epoch: 32,
            forks: vec![Fork { epoch: Epoch(0), version: ForkVersion([0; 4]) }],
        },
        lease_epochs: 4,
        shares: Shares {
            lock_hash: LockHash::default(),
            share_index: ShareIndex(1),
            genesis_fork_version: ForkVersion([0; 4]),
            epoch: Epoch(0),
            history: HistoryClaim::NeverSigned,
            secrets: (1..=2).map(|number| (ValidatorPublic([number; 48]), [number; 32])).collect(),
        },
        operator_seed: 1,
    }
}

fn play_stand_in(without: Option<Defence>, runs: u64) -> Result<Stats, Box<Failed>> {
    let world = world();
    let now = Millis(1_700_000_000_000);
    let (subject, base) = StandIn::prepared(without, &world, now);
    let must_live = without.is_none();
    let plan = Plan { first_seed: 1, runs, threads: 2, verify_one_in: 1, must_live };
    play(&subject, &world, &base, &plan)
}

#[test]
fn a_sound_stand_in_signs_and_is_never_caught() {
    let stats = play_stand_in(None, 3000).unwrap_or_else(|failed| panic!("{failed}"));
    let missed = stats.below(&[
        ("released", "attestations", 2000),
        ("released", "blocks", 150),
        ("released", "verified", 2000),
        ("refused", "DoubleVote", 200),
        ("refused", "TargetTooLow", 200),
        ("refused", "SourceTooLow", 50),
        ("refused", "OutsideLease", 200),
        ("starts", "open", 500),
        ("starts", "lease-unclean", 500),
        ("starts", "history-rolled-back", 50),
        ("starts", "tpm-replaced", 20),
        ("restored", "whole disks", 150),
        ("restored", "mixed disks", 40),
        ("restored", "under the program", 40),
        ("program", "killed", 80),
        ("program", "stopped in order", 300),
        ("cuts", "idle", 150),
        ("cuts", "rename", 15),
        ("cuts", "sync of a file", 40),
        ("cuts", "sync of the folder", 10),
        ("cuts", "tick", 10),
        ("cuts", "write", 100),
        ("unsynced", "lost", 400),
        ("unsynced", "kept", 400),
        ("unsynced", "torn", 50),
        ("disk", "failed syncs", 20),
        ("ordered", "VouchDisk", 30),
        ("settled", "signs", 500),
    ]);
    assert!(missed.is_empty(), "{}\n{stats}", missed.join("\n"));
}

#[test]
fn without_any_one_defence_it_is_caught() {
    for defence in Defence::ALL {
        let failed = play_stand_in(Some(defence), 20_000).expect_err(&format!("nothing was found without {defence:?}"));
        println!("without {defence:?}: {}", failed.failure);
        assert!(matches!(failed.failure, Failure::Slashable(_)), "{defence:?}: {failed}");
        let again = Plan { first_seed: failed.seed, runs: 1, threads: 1, verify_one_in: 1, must_live: false };
        let (subject, base) = StandIn::prepared(Some(defence), &world(), Millis(1_700_000_000_000));
        let replayed = play(&subject, &world(), &base, &again).expect_err("the same seed fails again");
        assert_eq!(replayed.to_string(), failed.to_string());
    }
}
