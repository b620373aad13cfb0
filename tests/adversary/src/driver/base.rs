//! The box that every run begins with: owned, with shares, stopped in order.

use holdfast_evidence::{HistoryClaim, NetworkPins};
use holdfast_hal_sim::SimTpm;
use holdfast_test_operator::{InProcess, Operator};
use holdfast_types::{ForkVersion, Millis};

use super::{Process, Subject, World};
use crate::disk::{SimDisk, Snapshot};
use crate::place::{Place, SimClock};

/// A box at one moment.
#[derive(Clone)]
pub struct Base {
    /// Its disk.
    pub disk: Snapshot,
    /// Its TPM.
    pub tpm: holdfast_hal_sim::Snapshot,
    /// The time.
    pub now: Millis,
}

impl Base {
    /// A box that its operator took over and gave the shares of `world`, which never signed.
    ///
    /// # Panics
    /// When the subject does not do what an operator orders.
    pub fn owned(subject: &impl Subject, world: &World, now: Millis) -> Self {
        let (disk, tpm, clock) = (SimDisk::new(), SimTpm::new(TPM_SEED), SimClock::default());
        clock.set(now);
        let mut operator = Operator::from_seed(world.operator_seed);
        let start = || subject.start(Place::new(&disk, &tpm, &clock)).expect("an empty box starts");
        let mut process = start();
        operator.own(&mut InProcess(|request| process.answer(request))).expect("an empty box is owned");
        process.stop();
        tpm.power_cycle();
        let mut process = start();
        let mut vault = InProcess(|request| process.answer(request));
        let epoch = world.epoch_at(now);
        let network = NetworkPins { chain: world.chain.clone(), exit_fork_version: ForkVersion([3, 0, 0, 0]) };
        operator.set_network(&mut vault, network, epoch).expect("a network is pinned");
        let mut shares = world.shares.clone();
        (shares.epoch, shares.history) = (epoch, HistoryClaim::NeverSigned);
        operator.import(&mut vault, &shares).expect("shares are imported");
        for _ in 0..MAINTENANCE {
            assert!(process.maintain(), "an owned box runs on");
        }
        process.stop();
        Self { disk: disk.snapshot(), tpm: tpm.snapshot(), now }
    }
}

/// Any.
const TPM_SEED: u64 = 1;
/// Enough to bring a new lease up.
const MAINTENANCE: u32 = 8;
