//! Orders: who may give them, when they count, and the log of them.
//!
//! An order counts when the box's authority signed it, for this box, for the challenge that the vault gave out last and
//! not more than ten minutes ago; each challenge is good for one order. What an order does is in the files below, one for
//! each matter.
//!
//! An order that changes what is sealed makes a new generation ([`Vault::seal_anew`]). If that fails on the way, nobody
//! knows whether it counts: the vault closes, and its next start says. An order whose outcome is not known must be taken
//! for done.

mod floor;
mod network;
mod owner;
mod shares;

use std::time::Duration;

use holdfast_evidence::{EnvelopeError, Order, OrderError, SignedOrder};
use holdfast_hal::tpm::TpmError;
use holdfast_types::{Challenge, Epoch, P256Public, PartialSignature, ValidatorPublic};
use holdfast_vault_client::{Closed, ClosedId, OrderOutcome, Rejection};
use rand_core::{OsRng, RngCore};

use crate::history::NewEntry;
use crate::lease::TickError;
use crate::sealed::constants::Constants;
use crate::sealed::error::SealError;
use crate::state::StateError;
use crate::vault::standing::{Phase, Standing};
use crate::vault::upkeep::place_of;
use crate::vault::{Vault, in_full};

/// The vault's side of the conversation: the challenge that is out, and how many refusals may still be logged.
#[derive(Default)]
pub(crate) struct Desk {
    challenge: Option<(Challenge, Duration)>,
    refusals: Refusals,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("nobody owns this box: the first order is Own")]
    NotOwned,
    #[error("this box has an authority already: only its Reset or ChangeAuthority changes that")]
    Owned,
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("the order is for another box: this one is {0}")]
    OtherBox(holdfast_types::BoxName),
    #[error("the order answers no challenge of this vault, or an old one: ask for a new challenge and sign again")]
    Challenge,
    #[error("the challenge is older than ten minutes: ask for a new one and sign again")]
    Expired,
    #[error("the vault cannot do this now: {0}")]
    Closed(Closed),
    #[error("the approval does not fit: {0}")]
    Approval(&'static str),
    #[error("no release approval fits this image on this kind of board: install a signed release")]
    Image,
    #[error("epoch {given} is outside {first} to {last}: check the clocks of this machine and of the box")]
    Epoch { given: Epoch, first: Epoch, last: Epoch },
    #[error(transparent)]
    UnsoundNetwork(#[from] crate::requests::UnsoundNetwork),
    #[error("the network cannot be used: {0}")]
    Network(&'static str),
    #[error("the vault has no import key out: ask for evidence of the kind ImportKey first")]
    ImportKey,
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("the import cannot be used: {0}")]
    Import(&'static str),
    #[error("no share of validator {0} in this vault")]
    UnknownValidator(ValidatorPublic),
    #[error("the lease does not reach as far as the history that is to be taken: try again, or order NewCounter")]
    NotCovered,
    #[error("the TPM has not said whether it counted: try again")]
    Unsettled,
    #[error("nothing to lift: {0}")]
    NothingToLift(&'static str),
    #[error(transparent)]
    Signing(#[from] holdfast_vault_client::SigningRefused),
    #[error("the TPM does not do its part")]
    Tpm(#[from] TpmError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Keys(#[from] crate::keys::KeysError),
    #[error("the vault closed while it carried out the order, which may count or not: restart it and look")]
    Unknown(#[source] Broke),
}

/// What broke while an order was carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broke {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    History(#[from] crate::history::HistoryError),
    #[error(transparent)]
    Tick(#[from] TickError),
    #[error("the TPM's counter did not move")]
    Uncounted,
}

impl Vault {
    /// A one-time number for the next order. The one before is void.
    pub(crate) fn challenge(&mut self) -> Result<Challenge, Rejection> {
        let of_tpm = self.tpm.random(32).map_err(|error| Rejection::Tpm(in_full(&error)))?;
        let mut challenge = Challenge::default();
        OsRng.try_fill_bytes(&mut challenge.0).map_err(|error| Rejection::Tpm(error.to_string()))?;
        challenge.0.iter_mut().zip(of_tpm.iter()).for_each(|(byte, other)| *byte ^= other);
        self.desk.challenge = Some((challenge, self.clock.monotonic()));
        Ok(challenge)
    }

    /// Carries out an order, or says why not; both are logged.
    pub(crate) fn order(&mut self, signed: &SignedOrder) -> Result<OrderOutcome, Rejection> {
        let kind = signed.unverified().map_or("unknown", |text| text.order.kind());
        let (ours, done) = match self.accepted(signed) {
            Ok(order) => (true, self.perform(order)),
            Err(refusal) => (false, Err(refusal)),
        };
        let refused = done.as_ref().err().map(|refusal| in_full(refusal));
        match &refused {
            None => tracing::info!(kind, "carried out an order"),
            Some(reason) => tracing::warn!(kind, reason, "refused an order"),
        }
        self.log(kind, signed, refused.clone(), ours);
        match done {
            Ok(outcome) => Ok(outcome),
            Err(refusal) => Err(Rejection::Order { kind: kind.into(), reason: in_full(&refusal) }),
        }
    }

    /// The order, if it counts. The challenge is used up by the first order that its authority signed.
    fn accepted(&mut self, signed: &SignedOrder) -> Result<Order, Refusal> {
        let authority = self.authority_for(signed)?;
        let text = signed.verify(&authority)?;
        if text.to != self.box_name {
            return Err(Refusal::OtherBox(self.box_name));
        }
        let (challenge, since) = self.desk.challenge.ok_or(Refusal::Challenge)?;
        if text.challenge != challenge {
            return Err(Refusal::Challenge);
        }
        self.desk.challenge = None;
        if self.clock.monotonic().saturating_sub(since) > CHALLENGE_MAX {
            return Err(Refusal::Expired);
        }
        Ok(text.order)
    }

    /// Whose signature an order needs. Only `Own` brings its own key, and only to a box that has none.
    fn authority_for(&self, signed: &SignedOrder) -> Result<P256Public, Refusal> {
        let order = signed.unverified()?.order;
        match (&self.standing, &order) {
            (Standing::Unowned { .. }, Order::Own { authority, .. }) => Ok(*authority),
            (Standing::Unowned { .. }, _) => Err(Refusal::NotOwned),
            (_, Order::Own { .. }) => Err(Refusal::Owned),
            // What does not open proves no authority. Whoever could forge it could as well delete it, so the one order
            // that only deletes is taken.
            (Standing::Closed(broken), Order::Reset) => {
                self.standing.authority().ok_or_else(|| Refusal::Closed(broken.closed.clone()))
            }
            (Standing::Closed(broken), _) => Err(Refusal::Closed(broken.closed.clone())),
            _ => self.standing.authority().ok_or(Refusal::NotOwned),
        }
    }

    fn perform(&mut self, order: Order) -> Result<OrderOutcome, Refusal> {
        let done = |()| OrderOutcome::Done;
        match order {
            Order::Own { authority, firmware } => self.own(authority, firmware).map(done),
            Order::ChangeAuthority { authority, firmware } => self.change_authority(authority, firmware).map(done),
            Order::Reset => self.reset().map(done),
            Order::Identity(identity) => self.take_identity(&identity).map(done),
            Order::Import(import) => self.import(&import).map(done),
            Order::ImportHistory(marks) => self.import_history(&marks).map(done),
            Order::Retire(validators) => self.retire(&validators).map(done),
            Order::Exit { validator, validator_index, epoch } => {
                self.exit(validator, validator_index, epoch).map(OrderOutcome::Signed)
            }
            Order::Register { validator, fee_recipient, gas_limit, timestamp_s } => {
                self.register(validator, fee_recipient, gas_limit, timestamp_s).map(OrderOutcome::Signed)
            }
            Order::SetNetwork { network, epoch } => self.set_network(&network, epoch).map(done),
            Order::AcceptFloor { epoch } => self.accept_floor(epoch).map(done),
            Order::VouchDisk => self.vouch_disk().map(done),
            Order::NewCounter { epoch } => self.new_counter(epoch).map(done),
            Order::Downgrade { version } => self.permit_downgrade(&version).map(done),
        }
    }

    /// Seals what is in memory as a new generation. The record of the lease names it, so a copy of the disk that was
    /// made before, and one of an attempt that never ended, are worth nothing from now on.
    pub(crate) fn seal_anew(&mut self, constants: Constants, level: u64) -> Result<(), Refusal> {
        self.hold_lease()?;
        self.sealed_anew(constants, level).map_err(|broke| self.broke(broke))
    }

    fn sealed_anew(&mut self, constants: Constants, level: u64) -> Result<(), Broke> {
        let Standing::Owned(owned) = &mut self.standing else { unreachable!("the callers have an owned vault") };
        let (disk, tpm) = (self.disk.as_ref(), self.tpm.as_mut());
        let born_at = match &owned.phase {
            Phase::Open(lease) => lease.counter(),
            _ => 0,
        };
        owned.sealed = owned.sealed.next(disk, tpm, constants, level, &owned.keys, born_at)?;
        if let Phase::Open(lease) = &mut owned.phase
            && let Some(place) = place_of(&owned.sealed, &owned.keys)
        {
            lease.sealed_anew(disk, &place, owned.sealed.id)?;
        }
        Ok(())
    }

    /// A generation is written only by a process that has ticked to the present counter value itself: so an attempt that
    /// was cut short names another value than the next one, and never counts after it.
    fn hold_lease(&mut self) -> Result<(), Refusal> {
        let Standing::Owned(owned) = &self.standing else { return Err(self.not_now()) };
        match &owned.phase {
            Phase::NoNetwork => return Ok(()),
            Phase::Open(lease) if !lease.is_unsettled() => return Ok(()),
            // The counter may have a value that is not this process's yet.
            Phase::Open(_) => drop(self.renew(None)),
            Phase::Waiting(_) => drop(self.end_wait(true)),
            Phase::Undecided(closed) => return Err(Refusal::Closed(closed.clone())),
            Phase::Refused(refused) => return Err(Refusal::Closed(refused.closed.clone())),
        }
        match &self.standing {
            Standing::Owned(owned) => match &owned.phase {
                Phase::Open(lease) if lease.is_unsettled() => Err(Refusal::Unsettled),
                Phase::Open(_) => Ok(()),
                _ => Err(self.not_now()),
            },
            _ => Err(self.not_now()),
        }
    }

    fn not_now(&self) -> Refusal {
        match self.rejected() {
            Rejection::Closed(closed) => Refusal::Closed(closed),
            _ => Refusal::NotOwned,
        }
    }

    /// The vault closes: nobody knows whether the order counts.
    fn broke(&mut self, broke: impl Into<Broke>) -> Refusal {
        let broke = broke.into();
        let id = match &broke {
            Broke::Seal(error) => error.closed_id(),
            Broke::State(_) | Broke::History(_) => ClosedId::HistoryUnusable,
            Broke::Tick(error) => error.closes().unwrap_or(ClosedId::TpmFailed),
            Broke::Uncounted => ClosedId::TpmFailed,
        };
        self.close(id, &broke);
        Refusal::Unknown(broke)
    }

    /// Signs what an order asks for, under a share that is here.
    fn signed(&self, admitted: crate::requests::Admitted) -> Result<PartialSignature, Refusal> {
        let owned = self.standing.owned().ok_or_else(|| self.not_now())?;
        let validator = *admitted.validator();
        let signed = owned.keys.sign_admitted(vec![Ok(admitted)]).pop();
        signed.and_then(Result::ok).ok_or(Refusal::UnknownValidator(validator))
    }

    /// Orders of the authority are always logged; what others send only so often, because each entry costs a write.
    fn log(&mut self, kind: &str, signed: &SignedOrder, refused: Option<String>, ours: bool) {
        let (at_ms, monotonic) = (self.now().0, self.clock.monotonic());
        if !ours && !self.desk.refusals.take(monotonic) {
            return;
        }
        let Some(history) = self.standing.history_mut() else { return };
        let entry = NewEntry { at_ms, kind: kind.into(), order: signed.digest(), refused };
        if let Err(error) = history.log(entry) {
            self.close(ClosedId::HistoryUnusable, &error);
        }
    }
}

/// A bucket of refusals that may be logged.
struct Refusals {
    left: u32,
    since: Duration,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { left: REFUSALS_AN_HOUR, since: Duration::ZERO }
    }
}

impl Refusals {
    fn take(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= AN_HOUR {
            *self = Self { left: REFUSALS_AN_HOUR, since: now };
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

/// Time enough to look at an order and to enter a passphrase, by the vault's monotonic clock.
const CHALLENGE_MAX: Duration = Duration::from_secs(10 * 60);
const AN_HOUR: Duration = Duration::from_secs(60 * 60);
/// Somebody who mistypes stays below; somebody who floods does not wear out the disk.
const REFUSALS_AN_HOUR: u32 = 100;

#[cfg(test)]
mod tests;
