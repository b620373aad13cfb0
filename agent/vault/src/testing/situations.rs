//! A box in each situation that a vault can be found in: its standing, and how it got there.

use std::fs;
use std::path::Path;

use holdfast_hal::tpm::{NvIndex, PcrIndex, Tpm as _};
use holdfast_hal_sim::{Fault, Operation, SimTpm};

use super::*;
use crate::sealed::counter::{GENERATION_COUNTER, LEASE_COUNTER};

/// The situations, from an empty box to one that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Situation {
    /// Nobody owns it.
    Empty,
    /// It has an authority and no network.
    Owned,
    /// Its network is fixed, and it has no shares.
    WithoutShares,
    /// It signs.
    Open,
    /// It ran while it was cut off from its time, so that its lease is behind.
    CatchingUp,
    /// It was killed.
    Killed,
    /// It was restarted so often that its lease is ahead of time.
    Ahead,
    /// The TPM has counted on without the disk.
    DiskBehind,
    /// The record of the lease is gone.
    RecordGone,
    /// It was off for more than thirty days.
    LongOff,
    /// The TPM's counter is lower than it was.
    CounterBehind,
    /// The TPM's counter is gone.
    CounterGone,
    /// Its sealed file is one that was never in force.
    NeverInForce,
    /// Its disk is one of before the shares were retired.
    OlderSeal,
    /// The firmware measures something that nobody approved.
    OtherFirmware,
    /// A bit of the sealed file is another.
    SealDamaged,
    /// The disk is in another machine.
    OtherMachine,
    /// The history is no database.
    HistoryDamaged,
    /// The TPM gave no counter value yet.
    Undecided,
    /// The TPM did not answer at the start.
    TpmSilent,
}

impl Situation {
    pub(crate) const ALL: [Self; 20] = [
        Self::Empty,
        Self::Owned,
        Self::WithoutShares,
        Self::Open,
        Self::CatchingUp,
        Self::Killed,
        Self::Ahead,
        Self::DiskBehind,
        Self::RecordGone,
        Self::LongOff,
        Self::CounterBehind,
        Self::CounterGone,
        Self::NeverInForce,
        Self::OlderSeal,
        Self::OtherFirmware,
        Self::SealDamaged,
        Self::OtherMachine,
        Self::HistoryDamaged,
        Self::Undecided,
        Self::TpmSilent,
    ];

    /// What the status says then.
    pub(crate) fn closed(self) -> Option<ClosedId> {
        Some(match self {
            Self::Open => return None,
            Self::Empty => ClosedId::NotOwned,
            Self::Owned | Self::WithoutShares => ClosedId::NoShares,
            Self::CatchingUp | Self::LongOff => ClosedId::CatchingUp,
            Self::Killed => ClosedId::LeaseUnclean,
            Self::Ahead => ClosedId::LeaseAhead,
            Self::DiskBehind | Self::NeverInForce | Self::OlderSeal => ClosedId::HistoryRolledBack,
            Self::RecordGone => ClosedId::HistoryLost,
            Self::CounterBehind => ClosedId::TpmRolledBack,
            Self::CounterGone => ClosedId::TpmReplaced,
            Self::OtherFirmware => ClosedId::PolicyFailed,
            Self::SealDamaged => ClosedId::SealDamaged,
            Self::OtherMachine => ClosedId::OtherMachine,
            Self::HistoryDamaged => ClosedId::HistoryLost,
            Self::Undecided | Self::TpmSilent => ClosedId::TpmFailed,
        })
    }

    /// A box in it. Its shares, where it had any, are those of [`TestBox::with_share`].
    pub(crate) fn set_up(self) -> (TestBox, Vault) {
        let (place, mut vault) = match self {
            Self::Empty => {
                let place = TestBox::new();
                let vault = place.start();
                (place, vault)
            }
            Self::Owned | Self::WithoutShares => without_shares(self == Self::WithoutShares),
            _ => self.had_shares(),
        };
        assert_eq!(closed(&mut vault), self.closed(), "{self:?}");
        (place, vault)
    }

    fn had_shares(self) -> (TestBox, Vault) {
        let (place, vault) = TestBox::with_share();
        match self {
            Self::CatchingUp => {
                place.clock.set_epoch(40);
                return (place, vault);
            }
            Self::Killed => drop(vault),
            Self::Ahead => {
                vault.stop().unwrap();
                (0..3).for_each(|_| place.start().stop().unwrap());
            }
            Self::NeverInForce => {
                vault.stop().unwrap();
                mix_two_futures(&place);
            }
            Self::OlderSeal => {
                let mut vault = vault;
                let older = copy_of(&place.state());
                place.operator.retire(&mut InProcess(|request| vault.answer(request)), vec![VALIDATOR]).unwrap();
                vault.stop().unwrap();
                copy(older.path(), &place.state());
            }
            Self::Open => return (place, vault),
            _ => {
                vault.stop().unwrap();
                return self.befallen(place);
            }
        }
        let vault = place.start();
        (place, vault)
    }

    /// What can happen to a box that is off.
    fn befallen(self, mut place: TestBox) -> (TestBox, Vault) {
        let lease = counter(&place, LEASE_COUNTER).unwrap();
        match self {
            Self::DiskBehind => place.tpm.set_counter(LEASE_COUNTER, lease + 5),
            Self::CounterBehind => place.tpm.set_counter(LEASE_COUNTER, lease - 1),
            Self::CounterGone => place.tpm.remove_index(LEASE_COUNTER),
            Self::RecordGone => fs::remove_file(place.state().join(crate::lease::RECORD_FILE)).unwrap(),
            Self::LongOff => place.clock.set_epoch(50_000),
            Self::OtherFirmware => place.tpm.set_pcr(PcrIndex(7), [1; 32]),
            Self::OtherMachine => place.tpm = SimTpm::new(2),
            Self::HistoryDamaged => fs::write(place.state().join("history.sqlite"), [1; 8_192]).unwrap(),
            Self::SealDamaged => {
                let (path, mut bytes) = sealed_file(&place);
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(path, bytes).unwrap();
            }
            // The first reading, which this fault lets through, is that of the generation; the others are of the lease.
            Self::Undecided => plan_readings(&place, [Fault::Lied, Fault::Refused, Fault::Refused]),
            // A start tries three times.
            Self::TpmSilent => plan_readings(&place, [Fault::Refused; 3]),
            other => unreachable!("{other:?} does not befall a box that is off"),
        }
        let vault = place.start();
        (place, vault)
    }
}

fn plan_readings(place: &TestBox, faults: [Fault; 3]) {
    faults.into_iter().for_each(|fault| place.tpm.fail_next(Operation::CounterRead, fault));
}

fn without_shares(with_network: bool) -> (TestBox, Vault) {
    let mut place = TestBox::new();
    let mut vault = place.start();
    let mut ask = InProcess(|request| vault.answer(request));
    place.operator.own(&mut ask).unwrap();
    if with_network {
        place.operator.set_network(&mut ask, network(), Epoch(3)).unwrap();
    }
    settle(&mut vault);
    (place, vault)
}

/// Puts the sealed file of one future of a box under the record of another.
fn mix_two_futures(place: &TestBox) {
    let (past, tpm) = (copy_of(&place.state()), place.tpm.snapshot());
    let future = || {
        let mut vault = place.start();
        place.operator.make_identity(&mut InProcess(|request| vault.answer(request))).unwrap();
        vault.stop().unwrap();
        sealed_file(place)
    };
    let (path, bytes) = future();
    place.tpm.restore(&tpm);
    copy(past.path(), &place.state());
    let (other_path, other_bytes) = future();
    assert!(path == other_path && bytes != other_bytes, "two files of one generation");
    fs::write(path, bytes).unwrap();
}

/// The one sealed file of a box.
fn sealed_file(place: &TestBox) -> (std::path::PathBuf, Vec<u8>) {
    let paths = fs::read_dir(place.state()).unwrap().map(|entry| entry.unwrap().path());
    let is_sealed = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("sealed-");
    let [path] = <[_; 1]>::try_from(paths.filter(is_sealed).collect::<Vec<_>>()).unwrap();
    let bytes = fs::read(&path).unwrap();
    (path, bytes)
}

/// The value of a counter; `None` when there is none.
pub(crate) fn counter(place: &TestBox, index: NvIndex) -> Option<u64> {
    place.tpm.clone().counter_read(index).ok().map(|reading| reading.value)
}

/// Lease and generation.
pub(crate) fn counters(place: &TestBox) -> [Option<u64>; 2] {
    [LEASE_COUNTER, GENERATION_COUNTER].map(|index| counter(place, index))
}

/// A copy of a folder.
pub(crate) fn copy_of(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(from, to.path());
    to
}

/// Puts a copy of a folder in the place of another.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
