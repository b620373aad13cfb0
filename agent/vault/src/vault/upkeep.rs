//! The lease from start to end: what the counter and the record allow, renewals off the signing path, the clean stop.

use std::error::Error;
use std::time::Duration;

use holdfast_evidence::approval::FIRMWARE_REGISTERS;
use holdfast_evidence::{Approval, policy};
use holdfast_hal::tpm::{NvIndex, PcrIndex, TpmError};
use holdfast_types::{Epoch, Millis, P256Public, PolicyDigest};
use holdfast_vault_client::{Closed, ClosedId, Rejection};

use super::standing::{Owned, Phase, Refused, Standing, Wait};
use super::{Vault, in_full};
use crate::keys::Keys;
use crate::lease::{
    self, Barred, Counter, Lease, Lift, Place, RECORD_FILE, Record, RecordFound, SealedAs, Start, TickError, Vote,
};
use crate::sealed::Sealed;
use crate::sealed::counter::patiently;
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
        // Whatever there is nothing to do for now, an order may begin a lease before the next look.
        let Standing::Owned(owned) = &mut self.standing else { return Upkeep::Again(LOOK) };
        let Some(epoch) = owned.epoch_at(now) else { return Upkeep::Again(LOOK) };
        match &owned.phase {
            // It was refused for what the clock said, and the clock says something else now.
            Phase::Refused(refused)
                if refused.closed.id == ClosedId::CatchingUp && !owned.is_long_behind(refused.floor.target, epoch) =>
            {
                self.begin_lease();
                Upkeep::Again(RETRY)
            }
            Phase::NoNetwork | Phase::Refused(_) => Upkeep::Again(LOOK),
            Phase::Undecided(_) => {
                self.begin_lease();
                Upkeep::Again(RETRY)
            }
            Phase::Waiting(wait) if epoch < wait.until => Upkeep::Again(LOOK),
            Phase::Waiting(_) => self.end_wait(true),
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
        let Owned { sealed, keys, history, phase: Phase::Open(lease), .. } = *owned else { return Ok(()) };
        let Some(place) = place_of(&sealed, &keys) else { return Ok(()) };
        lease.close(self.disk.as_ref(), &place, history.marks_digest())
    }

    /// Decides by counter and record what an owned vault may do, and begins the lease where it may at once.
    pub(super) fn begin_lease(&mut self) {
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return };
        let Some(place) = place_of(&owned.sealed, &owned.keys) else { return };
        let mut record = match RecordFound::read(self.disk.as_ref(), place.record_key) {
            Ok(record) => record,
            Err(error) => {
                owned.phase = undecided(ClosedId::HistoryUnusable, &error, READ_AGAIN);
                return;
            }
        };
        let counter = match Counter::read(self.tpm.as_mut(), &place) {
            Ok(counter) => counter,
            Err(error) => {
                owned.phase = undecided(ClosedId::TpmFailed, &error, ASKED_AGAIN);
                return;
            }
        };
        if let (Some(counter), RecordFound::Found(found)) = (&counter, &record) {
            let Sealed { id, parent, born_at, .. } = owned.sealed;
            if !lease::seal_counts(&record, &SealedAs { id, parent, born_at }, counter.value()) {
                owned.phase = Phase::Refused(never_in_force());
                return;
            }
            // Before the tick, or a cut after it would leave a record that names nothing that counts.
            if found.seal != id
                && let Err(error) = (Record { seal: id, ..found.clone() }).write(self.disk.as_ref(), place.record_key)
            {
                self.close(ClosedId::HistoryUnusable, &error);
                return;
            }
        }
        // A box with a record has a log at least. Without any the history was lost: the record of a lease that was cut off
        // would pass it for all there was, and an operator might vouch for it.
        if let (Some(counter), RecordFound::Found(found)) = (&counter, &record)
            && owned.history.is_blank()
            && found.counter <= counter.value()
        {
            if let Err(error) = self.disk.remove(RECORD_FILE) {
                self.close(ClosedId::HistoryUnusable, &error);
                return;
            }
            record = RecordFound::Missing;
        }
        let clock = lease::Clock {
            now: owned.epoch_at(now).unwrap_or_default(),
            behind_max: owned.network().map_or(0, |network| lease::thirty_days(&network.chain)),
        };
        let digest = owned.history.marks_digest();
        let found = lease::Found { counter: counter.map(|counter| counter.value()), record: &record, digest: &digest };
        let (id, until, floor) = match (lease::decide(&place.terms, &found, &clock), counter) {
            (Start::Refuse { id, floor, lift }, _) => {
                owned.phase = Phase::Refused(refused(id, floor, lift));
                return;
            }
            (Start::Begin { floor }, _) => (ClosedId::TpmFailed, Epoch(0), floor),
            (Start::WaitForFloor { until, floor }, _) => (ClosedId::LeaseUnclean, until, Some(floor)),
            (Start::WaitForTime { until }, _) => (ClosedId::LeaseAhead, until, None),
        };
        let counter = counter.expect("without a counter the decision is to refuse");
        owned.phase = Phase::Waiting(Wait { id, until, floor, counter });
        if until == Epoch(0) {
            self.end_wait(true);
        }
    }

    /// Ticks and opens, with the floor that was waited for, or without it because the operator vouches for the disk.
    pub(crate) fn end_wait(&mut self, with_floor: bool) -> Upkeep {
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return Upkeep::Again(LOOK) };
        let Phase::Waiting(Wait { floor, counter, .. }) = owned.phase else { return Upkeep::Again(LOOK) };
        let Some(network) = owned.network() else { return Upkeep::Again(LOOK) };
        if let Some(barred) = floor.filter(|_| with_floor)
            && let Err(error) = owned.history.raise_floor(barred.floor(&network.chain))
        {
            self.close(ClosedId::HistoryUnusable, &error);
            return Upkeep::Again(LOOK);
        }
        let present = present(owned, None, now);
        let Owned { sealed, keys, phase, .. } = owned.as_mut();
        let Some(place) = place_of(sealed, keys) else { return Upkeep::Again(LOOK) };
        let mut counter = counter;
        match Lease::begin(self.tpm.as_mut(), self.disk.as_ref(), &place, &mut counter, sealed.id, &present) {
            Ok(lease) => {
                tracing::info!(counter = lease.counter(), "the lease begins");
                *phase = Phase::Open(lease);
                Upkeep::Again(Duration::ZERO)
            }
            Err(error) => {
                // Whether a tick was tried must be known at the next try.
                if let Phase::Waiting(wait) = phase {
                    wait.counter = counter;
                }
                self.tick_failed(&error)
            }
        }
    }

    /// Renews a running lease; `wanted` is an attestation that needs a higher source than the lease allows.
    pub(crate) fn renew(&mut self, wanted: Option<Vote>) -> Upkeep {
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return Upkeep::Again(IDLE) };
        if owned.is_stranded(now) {
            return Upkeep::Again(LOOK);
        }
        let present = present(owned, wanted, now);
        let Owned { sealed, keys, phase, .. } = owned.as_mut();
        let Phase::Open(lease) = phase else { return Upkeep::Again(IDLE) };
        let Some(place) = place_of(sealed, keys) else { return Upkeep::Again(IDLE) };
        match lease.renew(self.tpm.as_mut(), self.disk.as_ref(), &place, &present) {
            Ok(()) => {
                tracing::debug!(counter = lease.counter(), "the lease was renewed");
                Upkeep::Again(Duration::ZERO)
            }
            Err(error) => self.tick_failed(&error),
        }
    }

    /// What a failed tick means: to be tried again, or refused, or closed, or the end of the process.
    fn tick_failed(&mut self, error: &TickError) -> Upkeep {
        let Standing::Owned(owned) = &mut self.standing else { return Upkeep::Again(IDLE) };
        match (error, error.closes()) {
            (TickError::Reset, _) => return Upkeep::Exit,
            (TickError::Ahead { .. }, _) => {}
            (_, None) => tracing::warn!(%error, "the lease is not renewed yet"),
            (TickError::Unwritten(_), Some(id)) => {
                self.close(id, error);
            }
            (_, Some(id)) => {
                let closed = Closed { id, reason: format!("{}; then order NewCounter", in_full(error)) };
                tracing::error!(%closed, "the vault signs nothing until an order lifts it");
                let reached = match &owned.phase {
                    Phase::Open(lease) => lease.counter(),
                    Phase::Waiting(wait) => wait.counter.value(),
                    _ => return Upkeep::Again(IDLE),
                };
                let Some(network) = &owned.sealed.constants.network else { return Upkeep::Again(IDLE) };
                // Whoever brought it to a higher value may have signed there.
                let reached =
                    if let TickError::RolledBack { found, .. } = error { reached.max(*found) } else { reached };
                let floor = network.terms.barred_at(reached);
                owned.phase = Phase::Refused(Refused { closed, floor, lift: Some(Lift::NewCounter) });
            }
        }
        Upkeep::Again(RETRY)
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
        match self.image_level() {
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
        let present = self.present_boot_state().map_err(|error| Rejection::Tpm(in_full(&error)))?;
        keep_approval(self.disk.as_ref(), approval, &[authority], &present)
            .map_err(|error| Rejection::Closed(self.close(ClosedId::HistoryUnusable, &error)))
    }

    /// The digest that an approval of the present boot state has.
    pub(crate) fn present_boot_state(&mut self) -> Result<PolicyDigest, TpmError> {
        let registers = FIRMWARE_REGISTERS.map(PcrIndex);
        let values = patiently(self.tpm.as_mut(), |tpm| tpm.read_pcrs(&registers))?;
        Ok(policy::pcrs(&FIRMWARE_REGISTERS, &values))
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

/// Puts an approval in front of those that are there. `signers` are those whose approvals the next start may need, that of
/// `approval` among them; `present` is the digest of the boot state that the box is in.
///
/// Whoever hands over old approvals again, or one in the other form that its signature has, takes no place from the one
/// that the box would start with: one of each signer for each boot state is enough, and those for the present one stay.
pub(crate) fn keep_approval(
    disk: &dyn Disk,
    approval: Approval,
    signers: &[P256Public],
    present: &PolicyDigest,
) -> Result<(), StateError> {
    let mut kept = firmware_approvals(disk);
    let by = |signer: &P256Public, one: &Approval| one.verify(signer).is_ok();
    kept.retain(|other| {
        other.policy != approval.policy || !signers.iter().any(|signer| by(signer, other) && by(signer, &approval))
    });
    kept.insert(0, approval);
    while kept.len() > FIRMWARE_APPROVALS_MAX {
        let needed = |one: &Approval| one.policy == *present && signers.iter().any(|signer| by(signer, one));
        // The new one is in front, and no more of the others are needed than there are signers.
        let oldest = kept.iter().rposition(|one| !needed(one)).unwrap_or(kept.len() - 1);
        kept.remove(oldest);
    }
    disk.replace(FIRMWARE_FILE, &postcard::to_allocvec(&kept).expect("approvals have a fixed form"))
}

/// What a tick must know of the present.
pub(crate) fn present(owned: &Owned, wanted: Option<Vote>, now: Millis) -> lease::Present {
    let seen = wanted.or_else(|| owned.history.latest().map(|(source, target)| Vote { source, target }));
    let now = owned.epoch_at(now).unwrap_or_default();
    lease::Present { now, seen, signed_source: owned.history.highest_source() }
}

fn undecided(id: ClosedId, error: &dyn Error, remedy: &str) -> Phase {
    Phase::Undecided(Closed { id, reason: format!("{}; {remedy}", in_full(error)) })
}

fn never_in_force() -> Refused {
    let reason = "the sealed keys on this disk were never in force: the disk is an older copy; have the cluster replace \
                  this box's shares";
    let closed = Closed { id: ClosedId::HistoryRolledBack, reason: reason.into() };
    Refused { closed, floor: Barred { target: Epoch(0), source: Epoch(0) }, lift: None }
}

fn refused(id: ClosedId, floor: Barred, lift: Lift) -> Refused {
    let reason = match id {
        ClosedId::HistoryLost => "what this box signed is not known, its record is missing or does not fit",
        ClosedId::HistoryRolledBack => "the disk is older than the TPM's counter: it was restored from a copy",
        ClosedId::TpmRolledBack => "the TPM's counter is lower than it was: its state was restored from a copy",
        ClosedId::TpmReplaced => "the TPM's counter is gone, or not the one of this box",
        _ => "the box was off for more than 30 days, or its clock is wrong: check the clock",
    };
    let order = match lift {
        Lift::AcceptFloor => "AcceptFloor",
        Lift::NewCounter => "NewCounter",
    };
    let reason = format!("{reason}; order {order} with an epoch two or more ahead, and it signs from there on");
    Refused { closed: Closed { id, reason }, floor, lift: Some(lift) }
}

/// Where the lease's counter and record are; `None` while no network is fixed.
pub(crate) fn place_of<'a>(sealed: &'a Sealed, keys: &'a Keys) -> Option<Place<'a>> {
    let network = sealed.constants.network.as_ref()?;
    let pin = &sealed.constants.lease_counter;
    Some(Place { terms: network.terms, index: NvIndex(pin.index), name: &pin.name, record_key: keys.mac_key() })
}

/// What is said of a TPM that does not say where its counter is, or does not count.
pub(super) const ASKED_AGAIN: &str =
    "it is asked again by itself; if it stays, reboot, and if that does not help, replace the TPM";
/// What is said of a record that cannot be read.
const READ_AGAIN: &str = "it is read again by itself; if it stays, the disk is to be replaced";
/// Nothing to do.
const IDLE: Duration = Duration::from_secs(60);
/// How often the clock is looked at: the shortest slots of a test chain are a second.
const LOOK: Duration = Duration::from_millis(500);
/// After the TPM failed.
const RETRY: Duration = Duration::from_secs(1);
/// How often the TPM is asked whether it was reset.
const RESETS_EVERY: Duration = Duration::from_secs(60);
pub(crate) const FIRMWARE_FILE: &str = "firmware-approvals";
/// The present boot state, some from before in case an update is taken back, and those to come.
const FIRMWARE_APPROVALS_MAX: usize = 8;
