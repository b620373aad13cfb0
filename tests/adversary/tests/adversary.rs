//! The adversary against the real vault: its handler, its files, SQLite, a simulated TPM.
//!
//! `HOLDFAST_ADVERSARY_RUNS` says how many runs are played, `HOLDFAST_ADVERSARY_SEED` plays one again.

use std::collections::BTreeMap;

use holdfast_adversary::driver::{Base, Plan, Process, Subject, World, play};
use holdfast_adversary::place::Place;
use holdfast_bls::{ShareSecret, verify_partial};
use holdfast_evidence::{Approval, HistoryClaim, SigningKey};
use holdfast_test_operator::Shares;
use holdfast_types::{
    ChainSpec, Epoch, Fork, ForkVersion, LockHash, Millis, PartialSignature, Root, ShareIndex, SigningRoot,
    ValidatorPublic,
};
use holdfast_vault::tier::Machine;
use holdfast_vault::vault::{Release, Upkeep, Vault};
use holdfast_vault_client::{Request, Response, Tier};
use nix::libc;
use seccompiler::{BackendError, BpfProgram, SeccompAction, SeccompFilter, apply_filter};

struct RealVault {
    release: Release,
    shares: Vec<(ValidatorPublic, ShareSecret)>,
}

struct Running(Vault);

impl Subject for RealVault {
    type Process = Running;

    fn start(&self, place: Place) -> Option<Running> {
        let machine = Machine { tier: Tier::C, reason: "a test".into() };
        let Place { disk, tpm, clock } = place;
        Vault::open(Box::new(disk), Box::new(tpm), Box::new(clock), self.release.clone(), machine).ok().map(Running)
    }

    /// A message has one signature by a key, so bytes that are not those of ours are none; pairings cost more.
    fn is_signature(&self, validator: ValidatorPublic, root: SigningRoot, signature: &PartialSignature) -> bool {
        let found = self.shares.iter().find(|(known, _)| *known == validator);
        found.is_some_and(|(_, share)| share.sign(root) == *signature)
    }
}

impl Process for Running {
    fn answer(&mut self, request: Request) -> Response {
        self.0.answer(request)
    }

    fn maintain(&mut self) -> bool {
        self.0.maintain() != Upkeep::Exit
    }

    fn stop(self) {
        // Without a record of it, the next start counts as one after a power cut.
        let _ = self.0.stop();
    }
}

fn world() -> World {
    let version = ForkVersion([0x50, 0, 0, 1]);
    World {
        chain: ChainSpec {
            genesis_time_s: 1_600_000_000,
            genesis_validators_root: Root([9; 32]),
            genesis_fork_version: version,
            slot_ms: 12_000,
            slots_per_epoch: 32,
            forks: vec![Fork { epoch: Epoch(0), version }],
        },
        lease_epochs: 4,
        shares: Shares {
            lock_hash: LockHash([5; 32]),
            share_index: ShareIndex(1),
            genesis_fork_version: version,
            epoch: Epoch(0),
            history: HistoryClaim::NeverSigned,
            secrets: (1..=2).map(|number| (ValidatorPublic([number; 48]), [number; 32])).collect(),
        },
        operator_seed: 1,
    }
}

/// Leaves this thread, and those that it makes, without `memfd_secret`: the vaults keep their keys in locked pages then. The
/// kernel takes each secret page from under all cores at once, a quarter of the time of a run, and which memory the keys lie
/// in is no matter of who signs what.
fn forgo_secret_memory() {
    let filter = || -> Result<BpfProgram, BackendError> {
        let refused = BTreeMap::from([(libc::SYS_memfd_secret, Vec::new())]);
        let missing = SeccompAction::Errno(libc::ENOSYS as u32);
        SeccompFilter::new(refused, SeccompAction::Allow, missing, std::env::consts::ARCH.try_into()?)?.try_into()
    };
    let filter = filter().expect("one call is named");
    // A kernel without such filters only plays more slowly.
    let _ = apply_filter(&filter);
}

#[test]
fn no_schedule_makes_the_vault_sign_twice() {
    forgo_secret_memory();
    let world = world();
    let key = SigningKey::from_bytes(&[9; 32]).unwrap();
    let approvals = vec![Approval::of_image(&key, "test", 1, [0; 32])];
    let release = Release { key: key.public(), board: "test".into(), approvals, lease_epochs: world.lease_epochs };
    let shares = world.shares.secrets.iter();
    let shares = shares.map(|(validator, secret)| (*validator, ShareSecret::from_bytes(secret).unwrap())).collect();
    let subject = RealVault { release, shares };
    let base = Base::owned(&subject, &world, Millis(1_700_000_000_000));
    let plan = Plan::of(RUNS);
    let stats = play(&subject, &world, &base, &plan).unwrap_or_else(|failed| panic!("{failed}"));
    println!("{stats}");
    let missed = stats.below(FLOORS);
    assert!(plan.is_replay() || missed.is_empty(), "{}\n{stats}", missed.join("\n"));
}

#[test]
fn what_the_signatures_are_compared_with_fits_the_public_keys() {
    for (validator, secret) in world().shares.secrets {
        let (share, root) =
            (ShareSecret::from_bytes(&secret).unwrap(), SigningRoot(validator.0[..32].try_into().unwrap()));
        verify_partial(&share.public(), root, &share.sign(root)).unwrap();
        assert!(verify_partial(&share.public(), SigningRoot([0xff; 32]), &share.sign(root)).is_err());
    }
}

const RUNS: u64 = 2_000;

/// What must have happened at least, for each thousand runs.
const FLOORS: &[(&str, &str, u64)] = &[
    ("released", "attestations", 2000),
    ("released", "blocks", 150),
    ("released", "harmless", 40),
    ("released", "verified", 60),
    ("refused", "BelowFloor", 600),
    ("refused", "DoubleVote", 300),
    ("refused", "OutOfRange", 600),
    ("refused", "SourceTooLow", 40),
    ("refused", "TargetTooLow", 30),
    ("starts", "history-rolled-back", 80),
    ("starts", "lease-unclean", 800),
    ("starts", "open", 700),
    ("starts", "other-machine", 15),
    ("restored", "mixed disks", 60),
    ("restored", "under the program", 40),
    ("restored", "with a forged record", 20),
    ("restored", "whole disks", 200),
    ("program", "killed", 80),
    ("program", "stopped in order", 400),
    ("cuts", "create", 30),
    ("cuts", "idle", 150),
    ("cuts", "rename", 20),
    ("cuts", "sync of a file", 50),
    ("cuts", "sync of the folder", 15),
    ("cuts", "tick", 40),
    ("cuts", "write", 100),
    ("unsynced", "kept", 500),
    ("unsynced", "lost", 400),
    ("unsynced", "torn", 50),
    ("disk", "failed syncs", 15),
    ("settled", "signs", 600),
    ("settled", "signs after AcceptFloor", 40),
];
