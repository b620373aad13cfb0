//! What a program finds on the simulated box: its door to the disk, a TPM on the same power line, a clock that may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_hal::tpm::{
    CounterDefined, CounterReading, EndorsementKey, NvIndex, PcrIndex, Quote, Resets, SealedBlob, Statement, Tpm,
    TpmError, TpmKind, TpmName, UnsealPolicy,
};
use holdfast_hal_sim::SimTpm;
use holdfast_types::{Millis, P256Public, P256Signature, PolicyDigest};
use holdfast_vault::clock::Clock;
use zeroize::Zeroizing;

use crate::disk::{Door, SimDisk, StateDoor, Tick};

/// What a program is started with.
pub struct Place {
    /// The state folder.
    pub disk: StateDoor,
    /// The TPM.
    pub tpm: PoweredTpm,
    /// The clock.
    pub clock: SimClock,
}

/// A TPM that is out of reach when the power is away, or the program that holds it is dead. A cut may fall on a tick.
pub struct PoweredTpm {
    tpm: SimTpm,
    door: Door,
}

/// The box's clocks. A clone shows the same time.
#[derive(Clone, Debug, Default)]
pub struct SimClock {
    wall_ms: Arc<AtomicU64>,
    monotonic_ms: Arc<AtomicU64>,
}

impl Place {
    /// For a program that starts now.
    #[must_use]
    pub fn new(disk: &SimDisk, tpm: &SimTpm, clock: &SimClock) -> Self {
        let tpm = PoweredTpm { tpm: tpm.clone(), door: disk.door() };
        Self { disk: StateDoor::open(disk), tpm, clock: clock.clone() }
    }
}

impl SimClock {
    /// Sets the wall clock.
    pub fn set(&self, now: Millis) {
        self.wall_ms.store(now.0, Ordering::Relaxed);
    }

    /// Lets time pass.
    pub fn pass(&self, ms: u64) {
        self.set(self.now().plus(ms));
        self.monotonic_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        Millis(self.wall_ms.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::Relaxed))
    }
}

impl PoweredTpm {
    fn reach(&mut self) -> Result<&mut SimTpm, TpmError> {
        self.door.with(|_| Ok(())).map_err(|_| gone())?;
        Ok(&mut self.tpm)
    }

    fn tick<T>(&mut self, act: impl FnOnce(&mut SimTpm) -> Result<T, TpmError>) -> Result<T, TpmError> {
        let tick = self.door.with(|platter| Ok(platter.tick())).map_err(|_| gone())?;
        match tick {
            Tick::Done => act(&mut self.tpm),
            Tick::Cut { after: false } => Err(gone()),
            Tick::Cut { after: true } => act(&mut self.tpm).and_then(|_| Err(gone())),
        }
    }
}

fn gone() -> TpmError {
    TpmError::Refused { operation: "answer", err: "the power is away".into() }
}

impl Tpm for PoweredTpm {
    fn wait(&mut self) {
        self.tpm.wait();
    }

    fn kind(&self) -> TpmKind {
        self.tpm.kind()
    }

    fn random(&mut self, len: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.reach()?.random(len)
    }

    fn read_pcrs(&mut self, pcrs: &[PcrIndex]) -> Result<Vec<[u8; 32]>, TpmError> {
        self.reach()?.read_pcrs(pcrs)
    }

    fn storage_root_name(&mut self) -> Result<TpmName, TpmError> {
        self.reach()?.storage_root_name()
    }

    fn attestation_key_name(&mut self) -> Result<TpmName, TpmError> {
        self.reach()?.attestation_key_name()
    }

    fn resets(&mut self) -> Result<Resets, TpmError> {
        self.reach()?.resets()
    }

    fn seal(&mut self, secret: &[u8], policy: &PolicyDigest) -> Result<SealedBlob, TpmError> {
        self.reach()?.seal(secret, policy)
    }

    fn unseal(&mut self, blob: &SealedBlob, policy: &UnsealPolicy) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.reach()?.unseal(blob, policy)
    }

    fn counter_define(&mut self, index: NvIndex) -> Result<CounterDefined, TpmError> {
        self.tick(|tpm| tpm.counter_define(index))
    }

    fn counter_read(&mut self, index: NvIndex) -> Result<CounterReading, TpmError> {
        self.reach()?.counter_read(index)
    }

    fn counter_increment(&mut self, index: NvIndex) -> Result<(), TpmError> {
        self.tick(|tpm| tpm.counter_increment(index))
    }

    fn quote(&mut self, pcrs: &[PcrIndex], qualifying: &[u8; 32]) -> Result<Quote, TpmError> {
        self.reach()?.quote(pcrs, qualifying)
    }

    fn certify_counter(&mut self, index: NvIndex, qualifying: &[u8; 32]) -> Result<Statement, TpmError> {
        self.reach()?.certify_counter(index, qualifying)
    }

    fn endorsement_key(&mut self) -> Result<EndorsementKey, TpmError> {
        self.reach()?.endorsement_key()
    }

    fn activate_credential(&mut self, id_object: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.reach()?.activate_credential(id_object, secret)
    }

    fn box_key(&mut self) -> Result<P256Public, TpmError> {
        self.reach()?.box_key()
    }

    fn sign_with_box_key(&mut self, digest: &[u8; 32]) -> Result<P256Signature, TpmError> {
        self.reach()?.sign_with_box_key(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, OpKind};

    const COUNTER: NvIndex = NvIndex(0x0180_4801);

    #[test]
    fn a_cut_falls_before_a_tick_or_after_it_and_a_dead_program_ticks_no_more() {
        for (after, ticks) in [(false, 0), (true, 1)] {
            let (disk, mut tpm, clock) = (SimDisk::new(), SimTpm::new(1), SimClock::default());
            let mut place = Place::new(&disk, &tpm, &clock);
            place.tpm.counter_define(COUNTER).unwrap();
            let before = tpm.counter_read(COUNTER).unwrap().value;
            disk.plan(0, Fault::Cut { after });
            assert!(place.tpm.counter_increment(COUNTER).is_err());
            assert!(place.tpm.counter_read(COUNTER).is_err() && place.tpm.counter_increment(COUNTER).is_err());
            assert_eq!(tpm.counter_read(COUNTER).unwrap().value, before + ticks);
            assert_eq!(disk.tally().cuts_at(OpKind::Tick), 1);
            disk.reboot(1);
            assert!(place.tpm.counter_increment(COUNTER).is_err());
            assert!(Place::new(&disk, &tpm, &clock).tpm.counter_increment(COUNTER).is_ok());
        }
    }

    #[test]
    fn the_wall_clock_can_be_set_and_the_other_one_cannot() {
        let clock = SimClock::default();
        clock.pass(5000);
        clock.set(Millis(100));
        clock.clone().pass(1);
        assert_eq!((clock.now(), clock.monotonic()), (Millis(101), Duration::from_millis(5001)));
    }
}
