//! The lease from start to end: what the counter and the record allow, renewals off the signing path, the clean stop.

use std::time::Duration;

use holdfast_evidence::Approval;
use holdfast_hal::tpm::TpmError;
use holdfast_types::Epoch;
use holdfast_vault_client::{Closed, ClosedId, Rejection};

use super::standing::{Owned, Phase, Refused, Standing, Wait};
use super::{Vault, in_full};
use crate::lease::{self, Barred, CounterFound, Lease, Lift, Place, Start, TickError};
use crate::state::{Disk, StateError};

/// What the loop does after [`Vault::maintain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Comes again after this time at the latest.
    Again(Duration),
    /// Ends the process without a clean stop: the TPM was switched off under it.
    Exit,
}

impl Vault {
    /// Keeps the lease up. Called between requests, often.
    pub fn maintain(&mut self) -> Upkeep {
        if self.tpm_was_reset() {
            tracing::error!("the TPM was reset while the vault ran: ending without a clean stop");
            return Upkeep::Exit;
        }
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return Upkeep::Again(IDLE) };
        let Some(epoch) = owned.epoch_at(now) else { return Upkeep::Again(IDLE) };
        match &owned.phase {
            Phase::NoNetwork | Phase::Refused(_) => Upkeep::Again(IDLE),
            Phase::Undecided(_) => {
                self.begin_lease();
                Upkeep::Again(RETRY)
            }
            Phase::Waiting(wait) if epoch < wait.until => Upkeep::Again(LOOK),
            Phase::Waiting(_) => {
                self.end_wait(true);
                Upkeep::Again(Duration::ZERO)
            }
            Phase::Open(lease) if lease.renewal_due(epoch) => self.renew(None),
            Phase::Open(_) => Upkeep::Again(LOOK),
        }
    }

    /// Ends in order: what may be signed next is exactly known at the next start.
    ///
    /// # Errors
    /// When the record of it may not be on the disk; the next start then counts as one after a power cut.
    pub fn stop(self) -> Result<(), StateError> {
        let Standing::Owned(owned) = self.standing else { return Ok(()) };
        let Owned { keys, history, phase: Phase::Open(lease), .. } = *owned else { return Ok(()) };
        lease.close(self.disk.as_ref(), keys.mac_key(), history.digest())
    }

    /// Decides by counter and record what an owned vault may do, and begins the lease where it may at once.
    pub(super) fn begin_lease(&mut self) {
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return };
        let Some(network) = &owned.sealed.constants.network else { return };
        let (terms, epoch) = (network.terms, owned.epoch_at(now).unwrap_or_default());
        let pin = &owned.sealed.constants.lease_counter;
        let counter = match self.tpm.counter_read(pin.index()) {
            Ok(reading) if reading.name.0 == pin.name => CounterFound::Value(reading.value),
            Ok(_) | Err(TpmError::CounterMissing(_) | TpmError::NotACounter(_)) => CounterFound::NotOurs,
            Err(error) => {
                let reason = in_full(&error);
                owned.phase = Phase::Undecided(Closed { id: ClosedId::TpmFailed, reason });
                return;
            }
        };
        let record = match lease::read_record(self.disk.as_ref(), owned.keys.mac_key()) {
            Ok(record) => record,
            Err(error) => {
                self.close(ClosedId::HistoryUnusable, &error);
                return;
            }
        };
        let (sealed, digest) = (&owned.sealed, owned.history.digest());
        let start = lease::decide(&terms, counter, &record, &digest, epoch, catch_up_max(owned));
        if let CounterFound::Value(value) = counter
            && !lease::seal_counts(&record, &sealed.id, &sealed.parent, sealed.born_at, value)
        {
            owned.phase = Phase::Refused(never_in_force());
            return;
        }
        let CounterFound::Value(counter) = counter else {
            owned.phase = refused(start, 0);
            return;
        };
        owned.phase = match start {
            Start::Begin => {
                owned.phase = Phase::Waiting(Wait { id: ClosedId::LeaseAhead, until: Epoch(0), floor: None, counter });
                return self.end_wait(true);
            }
            Start::WaitForTime { until } => Phase::Waiting(Wait { id: ClosedId::LeaseAhead, until, floor: None, counter }),
            Start::WaitForFloor { until, floor } => {
                Phase::Waiting(Wait { id: ClosedId::LeaseUnclean, until, floor: Some(floor), counter })
            }
            start @ Start::Refuse { .. } => refused(start, counter),
        };
    }

    /// Ticks and opens, with the floor that was waited for, or without it because the operator vouches for the disk.
    pub(crate) fn end_wait(&mut self, with_floor: bool) {
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return };
        let Phase::Waiting(wait) = &owned.phase else { return };
        let (counter, floor) = (wait.counter, wait.floor.filter(|_| with_floor));
        if let Some(floor) = floor.and_then(|barred| owned.floor_of(&barred))
            && let Err(error) = owned.history.raise_floor(floor)
        {
            self.close(ClosedId::HistoryUnusable, &error);
            return;
        }
        let epoch = owned.epoch_at(now).unwrap_or_default();
        let seen = owned.history.latest();
        let Some(place) = place(owned) else { return };
        match Lease::tick(self.tpm.as_mut(), self.disk.as_ref(), &place, counter, seen, epoch) {
            Ok(lease) => {
                tracing::info!(counter = lease.counter(), last_epoch = %lease.last_epoch(), "the lease begins");
                owned.phase = Phase::Open(lease);
            }
            Err(error) => self.tick_failed(&error),
        }
    }

    /// Renews a running lease; `wanted` is an attestation that needs a higher source than the lease allows.
    pub(super) fn renew(&mut self, wanted: Option<(Epoch, Epoch)>) -> Upkeep {
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return Upkeep::Again(IDLE) };
        let epoch = owned.epoch_at(now).unwrap_or_default();
        let seen = wanted.or_else(|| owned.history.latest());
        let Owned { sealed, keys, phase, .. } = owned.as_mut();
        let Phase::Open(lease) = phase else { return Upkeep::Again(IDLE) };
        if !lease.may_renew(epoch) {
            return Upkeep::Again(LOOK);
        }
        let Some(place) = place_of(sealed, keys) else { return Upkeep::Again(IDLE) };
        match lease.renew(self.tpm.as_mut(), self.disk.as_ref(), &place, seen, epoch) {
            Ok(()) => {
                tracing::debug!(counter = lease.counter(), last_epoch = %lease.last_epoch(), "the lease was renewed");
                Upkeep::Again(Duration::ZERO)
            }
            Err(error) => {
                self.tick_failed(&error);
                Upkeep::Again(RETRY)
            }
        }
    }

    /// What a failed tick means: to be tried again, or refused, or closed.
    fn tick_failed(&mut self, error: &TickError) {
        let reason = in_full(error);
        let Standing::Owned(owned) = &mut self.standing else { return };
        match error {
            TickError::NotDone(_) => tracing::warn!(reason, "the TPM's counter did not move, trying again"),
            TickError::NotWritten(_) => {
                self.close(ClosedId::HistoryUnusable, error);
            }
            TickError::RolledBack { .. } | TickError::Jumped { .. } | TickError::NotOurs(_) => {
                let id = if matches!(error, TickError::NotOurs(_)) { ClosedId::TpmReplaced } else { ClosedId::TpmRolledBack };
                let floor = lease_floor(owned);
                let closed = Closed { id, reason: format!("{reason}: order NewCounter once you know why") };
                tracing::error!(%closed, "the vault signs nothing until an order lifts it");
                owned.phase = Phase::Refused(Refused { closed, floor, lift: Some(Lift::NewCounter) });
            }
        }
    }

    fn tpm_was_reset(&mut self) -> bool {
        let since = self.clock.monotonic().saturating_sub(self.looked_at_resets);
        if since < RESETS_EVERY {
            return false;
        }
        self.looked_at_resets = self.clock.monotonic();
        match self.tpm.resets() {
            Ok(resets) => resets != self.resets,
            Err(error) => {
                tracing::warn!(%error, "the TPM does not say how often it was reset");
                false
            }
        }
    }

    /// Seals anew to the level of the image that runs.
    pub(super) fn raise_level(&mut self) -> Result<(), Rejection> {
        let Standing::Owned(owned) = &self.standing else { return Err(self.rejected()) };
        let level = owned.sealed.level;
        let refused = |reason: String| Rejection::Order { kind: "RaiseLevel".into(), reason };
        match self.image_level {
            Some(own) if own > level => {
                let constants = owned.sealed.constants.clone();
                self.seal_anew(constants, own).map_err(|error| refused(in_full(&error)))
            }
            Some(own) => Err(refused(format!("this image is of level {own}, and the box is sealed to level {level}"))),
            None => Err(refused("no approval of the release key fits this image: install a signed release".into())),
        }
    }

    /// Keeps an approval of the box's authority; the TPM judges it at the next boot.
    pub(super) fn approve_firmware(&mut self, approval: Approval) -> Result<(), Rejection> {
        let refused = |reason: &str| Rejection::Order { kind: "ApproveFirmware".into(), reason: reason.into() };
        let authority = self.standing.authority().ok_or_else(|| refused("nobody owns this box: pair it first"))?;
        if approval.policy_ref != holdfast_evidence::approval::FIRMWARE_REF || approval.verify(&authority).is_err() {
            return Err(refused("the approval is not the authority's for a boot state of this box"));
        }
        keep_approval(self.disk.as_ref(), approval)
            .map_err(|error| Rejection::Closed(self.close(ClosedId::HistoryUnusable, &error)))
    }
}

/// The approvals of boot states that were handed over. A file that makes no sense holds none: the TPM refuses then, and
/// names the register.
pub(crate) fn firmware_approvals(disk: &dyn Disk) -> Vec<Approval> {
    match disk.read(FIRMWARE_FILE) {
        Ok(Some(bytes)) => postcard::from_bytes(&bytes).unwrap_or_default(),
        Ok(None) => Vec::new(),
        Err(error) => {
            tracing::warn!(%error, "cannot read the approvals of boot states");
            Vec::new()
        }
    }
}

/// Puts an approval in front of those that are there.
pub(crate) fn keep_approval(disk: &dyn Disk, approval: Approval) -> Result<(), StateError> {
    let mut kept = firmware_approvals(disk);
    kept.retain(|other| *other != approval);
    kept.insert(0, approval);
    kept.truncate(FIRMWARE_APPROVALS_MAX);
    disk.replace(FIRMWARE_FILE, &postcard::to_allocvec(&kept).expect("approvals have a fixed form"))
}

/// The longest time that a lease catches up by itself.
fn catch_up_max(owned: &Owned) -> u64 {
    let Some(network) = owned.network() else { return 0 };
    let epoch_ms = network.chain.slot_ms.saturating_mul(network.chain.slots_per_epoch).max(1);
    CATCH_UP_MAX_MS / epoch_ms
}

/// The bar that nothing signed under the present lease is above.
fn lease_floor(owned: &Owned) -> Barred {
    match &owned.phase {
        Phase::Open(lease) => Barred { target: lease.last_epoch(), source: lease.source_max() },
        _ => Barred { target: Epoch(0), source: Epoch(0) },
    }
}

fn never_in_force() -> Refused {
    let reason = "the sealed keys on this disk were never in force: the disk is an older copy; have the cluster replace \
                  this box's shares";
    let closed = Closed { id: ClosedId::HistoryRolledBack, reason: reason.into() };
    Refused { closed, floor: Barred { target: Epoch(0), source: Epoch(0) }, lift: None }
}

fn refused(start: Start, counter: u64) -> Phase {
    let Start::Refuse { id, floor, lift } = start else { unreachable!("only refusals have no counter") };
    let reason = match id {
        ClosedId::HistoryLost => {
            "what this box signed is not known: its record is missing or damaged; order AcceptFloor with an epoch two or \
             more ahead, and it signs from then on"
                .into()
        }
        ClosedId::HistoryRolledBack => format!(
            "the disk is older than the TPM's counter ({counter}): it was restored from a copy; order AcceptFloor with an \
             epoch two or more ahead, and it signs from then on"
        ),
        ClosedId::TpmRolledBack => format!(
            "the TPM's counter ({counter}) is lower than it was: its state was restored; order NewCounter with an epoch \
             two or more ahead"
        ),
        ClosedId::TpmReplaced => "the TPM's counter is gone or not the one of this box: order NewCounter with an epoch two \
                                  or more ahead"
            .into(),
        _ => "the box was off for more than 30 days, or its clock is wrong: check the clock, then order AcceptFloor with \
              an epoch two or more ahead"
            .into(),
    };
    Phase::Refused(Refused { closed: Closed { id, reason }, floor, lift: Some(lift) })
}

fn place(owned: &Owned) -> Option<Place<'_>> {
    place_of(&owned.sealed, &owned.keys)
}

/// Where the lease's counter and record are.
pub(crate) fn place_of<'a>(sealed: &'a crate::sealed::Sealed, keys: &'a crate::keys::Keys) -> Option<Place<'a>> {
    let network = sealed.constants.network.as_ref()?;
    let pin = &sealed.constants.lease_counter;
    Some(Place {
        terms: network.terms,
        counter: pin.index(),
        counter_name: &pin.name,
        mac_key: keys.mac_key(),
        seal: sealed.id,
    })
}

/// Nothing to do.
const IDLE: Duration = Duration::from_secs(60);
/// How often the clock is looked at: the shortest slots of a test chain are a second.
const LOOK: Duration = Duration::from_millis(500);
/// After the TPM failed.
const RETRY: Duration = Duration::from_secs(1);
/// How often the TPM is asked whether it was reset.
const RESETS_EVERY: Duration = Duration::from_secs(60);
const CATCH_UP_MAX_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
pub(crate) const FIRMWARE_FILE: &str = "firmware-approvals";
/// The present boot state, some from before in case an update is taken back, and those to come.
const FIRMWARE_APPROVALS_MAX: usize = 8;
