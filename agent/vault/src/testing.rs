//! A box in a test: a folder, a simulated TPM, a clock that the test sets, an operator, and vaults on them.

pub(crate) mod images;
pub(crate) mod situations;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_evidence::{Approval, HistoryClaim, NetworkPins, SigningKey};
use holdfast_hal::tpm::Tpm;
use holdfast_hal_sim::SimTpm;
use holdfast_test_operator::{InProcess, Operator, Shares};
use holdfast_types::{
    ChainSpec, Epoch, Fork, ForkVersion, LockHash, Millis, PartialSignature, Root, ShareIndex, Slot, ValidatorPublic,
};
use holdfast_vault_client::{AttestationToSign, ClosedId, Request, Response, SigningRefused, Tier, VaultStatus};

use crate::clock::Clock;
use crate::state::{Disk, StateFolder};
use crate::tier::Machine;
use crate::vault::{Release, Upkeep, Vault};

/// 2 s slots, 32 to an epoch, from second 1,000 on; a fork at epoch 2.
pub(crate) fn chain() -> ChainSpec {
    ChainSpec {
        genesis_time_s: 1_000,
        genesis_validators_root: Root([7; 32]),
        genesis_fork_version: ForkVersion([0x50, 0, 0, 1]),
        slot_ms: 2_000,
        slots_per_epoch: 32,
        forks: vec![
            Fork { epoch: Epoch(0), version: ForkVersion([0x50, 0, 0, 1]) },
            Fork { epoch: Epoch(2), version: ForkVersion([0x56, 0, 0, 1]) },
        ],
    }
}

pub(crate) fn network() -> NetworkPins {
    NetworkPins { chain: chain(), exit_fork_version: ForkVersion([0x53, 0, 0, 1]) }
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

/// A clock that stands still until it is set.
#[derive(Default)]
pub(crate) struct SetClock {
    now_ms: Cell<u64>,
    monotonic_ms: Cell<u64>,
}

impl SetClock {
    pub(crate) fn set(&self, now: Millis) {
        self.now_ms.set(now.0);
    }

    /// The first moment of an epoch.
    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.set(chain().slot_start(chain().first_slot(Epoch(epoch))));
    }

    pub(crate) fn set_ms(&self, now_ms: u64) {
        self.now_ms.set(now_ms);
    }

    pub(crate) fn set_slot(&self, slot: u64) {
        self.set(chain().slot_start(Slot(slot)));
    }

    pub(crate) fn pass(&self, span: Duration) {
        let span_ms = u64::try_from(span.as_millis()).unwrap();
        self.monotonic_ms.set(self.monotonic_ms.get() + span_ms);
    }
}

impl Clock for Rc<SetClock> {
    fn now(&self) -> Millis {
        Millis(self.now_ms.get())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.get())
    }
}

/// A box. Vaults come and go on it.
pub(crate) struct TestBox {
    pub(crate) place: tempfile::TempDir,
    pub(crate) tpm: SimTpm,
    pub(crate) clock: Rc<SetClock>,
    pub(crate) operator: Operator,
    pub(crate) release: Release,
}

impl TestBox {
    /// An empty box in epoch 3.
    pub(crate) fn new() -> Self {
        let key = SigningKey::from_bytes(&[9; 32]).unwrap();
        let approvals = (1..=2).map(|level| Approval::of_image(&key, "test", level, [0; 32])).collect();
        let release = Release { key: key.public(), board: "test".into(), approvals, lease_epochs: 8 };
        let clock = Rc::new(SetClock::default());
        clock.set_slot(100);
        // In memory: no test of a whole vault cuts the power, and each order waits for a disk several times.
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { place, tpm: SimTpm::new(1), clock, operator: Operator::from_seed(1), release }
    }

    /// A box with one share that signs.
    pub(crate) fn with_share() -> (Self, Vault) {
        let mut this = Self::new();
        let mut vault = this.start();
        this.import(&mut vault);
        (this, vault)
    }

    /// Starts a vault on the box, and lets it do what is due.
    pub(crate) fn start(&self) -> Vault {
        let mut vault = self.start_on(Box::new(StateFolder::open(&self.state()).unwrap()), Box::new(self.tpm.clone()));
        settle(&mut vault);
        vault
    }

    /// Starts a vault on this disk and this TPM, which are those of the box with something in between.
    pub(crate) fn start_on(&self, disk: Box<dyn Disk>, tpm: Box<dyn Tpm>) -> Vault {
        let machine = Machine { tier: Tier::C, reason: "a test".into() };
        Vault::open(disk, tpm, Box::new(self.clock.clone()), self.release.clone(), machine).unwrap()
    }

    pub(crate) fn state(&self) -> std::path::PathBuf {
        self.place.path().join("state")
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The epoch by the box's clock.
    pub(crate) fn present(&self) -> Epoch {
        chain().epoch_of(chain().slot_at(self.now()).unwrap())
    }

    /// Owns the box, pins the network and imports one share.
    pub(crate) fn import(&mut self, vault: &mut Vault) {
        let epoch = self.present();
        let mut ask = InProcess(|request| vault.answer(request));
        self.operator.own(&mut ask).unwrap();
        self.operator.set_network(&mut ask, network(), epoch).unwrap();
        self.operator.import(&mut ask, &shares(epoch, HistoryClaim::NeverSigned)).unwrap();
        settle(vault);
    }
}

/// One share of [`VALIDATOR`].
pub(crate) fn shares(epoch: Epoch, history: HistoryClaim) -> Shares {
    Shares {
        lock_hash: LockHash([5; 32]),
        share_index: ShareIndex(1),
        genesis_fork_version: chain().genesis_fork_version,
        epoch,
        history,
        secrets: vec![(VALIDATOR, SECRET)],
    }
}

/// Does all that is due.
pub(crate) fn settle(vault: &mut Vault) {
    for _ in 0..10_000 {
        match vault.maintain() {
            Upkeep::Again(pause) if pause.is_zero() => {}
            Upkeep::Again(_) => return,
            Upkeep::Exit => panic!("the vault gives up"),
        }
    }
    panic!("the vault is never done");
}

pub(crate) fn status(vault: &mut Vault) -> VaultStatus {
    match vault.answer(Request::Status) {
        Response::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn closed(vault: &mut Vault) -> Option<ClosedId> {
    status(vault).closed.map(|closed| closed.id)
}

/// Asks for one attestation of [`VALIDATOR`].
pub(crate) fn sign(vault: &mut Vault, data: AttestationData) -> Result<PartialSignature, SigningRefused> {
    match vault.answer(Request::SignAttestations(vec![AttestationToSign { validator: VALIDATOR, data }])) {
        Response::Signatures(mut answers) => answers.remove(0),
        other => panic!("{other:?}"),
    }
}

pub(crate) const VALIDATOR: ValidatorPublic = ValidatorPublic([4; 48]);
/// The share of [`VALIDATOR`].
pub(crate) const SECRET: [u8; 32] = [7; 32];
