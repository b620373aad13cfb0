//! The lease: how far the vault may sign before the TPM's counter must go up again.
//!
//! A disk can be put back to what it was, a TPM's counter cannot. So each value of the counter stands for some epochs
//! ([`terms`]), one process holds each value, and at the start [`decide`] compares the counter with the record on the disk
//! ([`record`]) and bars whatever may have been signed and forgotten. Which sealed file counts is judged by the same
//! record ([`seal`]). The test `model` searches for ways around it.
//!
//! It does not know watermarks, and it has no clock.
//!
//! **Architecture Invariant:** the process that ticked to a value is the only one that ever writes an open record of that
//! value or signs under it. (A later start may put another sealed file's id into it; that changes nothing of the lease.)

mod counter;
mod decide;
#[cfg(test)]
mod model;
mod record;
mod seal;
mod terms;
#[cfg(test)]
mod tests;

use holdfast_hal::tpm::Tpm;
use holdfast_types::{ChainSpec, Epoch};

use crate::bounds::Reach;
use crate::state::{Disk, StateError};

pub(crate) use counter::{Counter, Place, TickError};
pub(crate) use decide::{Clock, Found, Lift, Start, decide};
pub(crate) use record::{FILE as RECORD_FILE, Record, RecordFound, RecordState};
pub(crate) use seal::{SealedAs, seal_counts};
pub(crate) use terms::{Barred, Terms, Vote, thirty_days};

/// A lease that this process holds. Dropping it is a power cut: only [`Lease::close`] ends it in order.
#[derive(Debug)]
pub(crate) struct Lease {
    terms: Terms,
    counter: Counter,
    /// The value that the record on the disk names.
    held: u64,
    source: Epoch,
    seal: [u8; 32],
}

/// What a tick must know of the present.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present {
    pub(crate) now: Epoch,
    /// The attestation that was asked for last, also one that the lease refused; see [`Terms::highest_source`].
    pub(crate) seen: Option<Vote>,
    /// The highest source that any validator signed, or below which the history's floor bars every source.
    pub(crate) signed_source: Epoch,
}

impl Lease {
    /// Ticks from the value that was decided on, and writes the record: the lease begins. A floor must be in the history
    /// before, on the disk, because the next start may know nothing else of it.
    ///
    /// # Errors
    /// See [`TickError::closes`]. When it closes nothing, call again with the same `counter`.
    pub(crate) fn begin(
        tpm: &mut dyn Tpm,
        disk: &dyn Disk,
        place: &Place<'_>,
        counter: &mut Counter,
        seal: [u8; 32],
        present: &Present,
    ) -> Result<Self, TickError> {
        let mut lease = Self { terms: place.terms, counter: *counter, held: counter.value(), source: Epoch(0), seal };
        let renewed = lease.renew(tpm, disk, place, present);
        *counter = lease.counter;
        renewed.map(|()| lease)
    }

    /// Ticks once more and writes the record, off the signing path. A vault that was off calls it until
    /// [`Lease::renewal_due`] says no: each tick with its record.
    ///
    /// # Errors
    /// See [`TickError::closes`]. When it closes nothing, the lease reaches as far as before; call again.
    pub(crate) fn renew(
        &mut self,
        tpm: &mut dyn Tpm,
        disk: &dyn Disk,
        place: &Place<'_>,
        present: &Present,
    ) -> Result<(), TickError> {
        // A tick whose record cannot be written costs a lease, and two of them make the disk look like an older copy.
        record::write_again(disk).map_err(TickError::Unready)?;
        self.counter.tick(tpm, place, present.now)?;
        let counter = self.counter.value();
        let source = self.terms.highest_source(counter, present.seen, present.signed_source);
        let record = Record { counter, source, state: RecordState::Open, seal: self.seal };
        record.write(disk, place.record_key).map_err(TickError::Unwritten)?;
        self.held = counter;
        self.source = source;
        Ok(())
    }

    /// Whether it is time to renew: in its last epoch, so that the next one begins under the new lease.
    pub(crate) fn renewal_due(&self, now: Epoch) -> bool {
        now >= self.terms.last_epoch(self.held)
    }

    /// Whether what its record bars after a power cut is above all of these: otherwise they are forgotten with an older
    /// history.
    pub(crate) fn covers(&self, marks: Barred) -> bool {
        marks.target <= self.terms.last_epoch(self.held) && marks.source <= self.source
    }

    /// Whether the counter may have a value that no record names yet: a tick was tried, and the TPM did not say.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.counter != Counter { value: self.held, tried: false, ..self.counter }
    }

    /// The counter's value.
    pub(crate) fn counter(&self) -> u64 {
        self.held
    }

    /// How far it reaches.
    pub(crate) fn reach(&self, chain: &ChainSpec) -> Reach {
        let target = self.terms.last_epoch(self.held);
        // Histories that were imported may have brought a higher source into the record than votes of this lease have.
        Reach { target, source: self.source.min(terms::before(target)), slot: terms::last_slot(chain, target) }
    }

    /// Names the sealed file that counts from now on, once the generation counter has gone up.
    ///
    /// # Errors
    /// When the record is not known to be on the disk: the vault must sign nothing more.
    pub(crate) fn sealed_anew(&mut self, disk: &dyn Disk, place: &Place<'_>, seal: [u8; 32]) -> Result<(), StateError> {
        self.seal = seal;
        self.record(RecordState::Open).write(disk, place.record_key)
    }

    /// Ends it in order. Nothing is signed any more, and `digest` is the history's, on the disk as in the memory.
    ///
    /// # Errors
    /// When the record is not known to be on the disk: the next start finds a lease that was cut off.
    pub(crate) fn close(self, disk: &dyn Disk, place: &Place<'_>, digest: [u8; 32]) -> Result<(), StateError> {
        self.record(RecordState::Clean { digest }).write(disk, place.record_key)
    }

    fn record(&self, state: RecordState) -> Record {
        Record { counter: self.held, source: self.source, state, seal: self.seal }
    }
}
