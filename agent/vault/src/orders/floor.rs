//! Orders that say what the box cannot know: `AcceptFloor`, `NewCounter`, `VouchDisk`.

use holdfast_types::{Epoch, ValidatorPublic};
use holdfast_vault_client::ClosedId;

use super::Refusal;
use super::network::NO_NETWORK;
use crate::lease::{Barred, Lift, Terms};
use crate::sealed::constants::{Constants, PinnedNetwork};
use crate::sealed::counter::LEASE_COUNTER;
use crate::vault::Vault;
use crate::vault::standing::{Owned, Phase, Refused, Standing, Wait};

impl Vault {
    /// The history is older than what was signed, or gone, and the operator says from when on it does not matter.
    pub(super) fn accept_floor(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        match self.phase()? {
            Phase::Refused(refused) if refused.lift == Some(Lift::AcceptFloor) => {}
            Phase::Refused(refused) => return Err(Refusal::Closed(refused.closed.clone())),
            Phase::Undecided(closed) => return Err(Refusal::Closed(closed.clone())),
            Phase::Waiting(_) => {
                return Err(Refusal::NothingToLift("the vault signs again by itself, its status says from when on"));
            }
            Phase::NoNetwork | Phase::Open(_) => {
                return Err(Refusal::NothingToLift("the vault knows what it signed"));
            }
        }
        self.check_first_epoch(epoch)?;
        self.begin_anew(epoch)
    }

    /// A new lease on this TPM's counter, which is made anew when it is gone.
    pub(super) fn new_counter(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        match self.phase()? {
            Phase::NoNetwork => return Err(Refusal::NothingToLift("there is no lease yet")),
            Phase::Refused(refused) if refused.lift.is_none() => {
                return Err(Refusal::Closed(refused.closed.clone()));
            }
            _ => {}
        }
        self.check_first_epoch(epoch)?;
        self.tpm.counter_define(LEASE_COUNTER)?;
        self.begin_anew(epoch)
    }

    /// This disk was not restored: what it says of the last epochs is right.
    pub(super) fn vouch_disk(&mut self) -> Result<(), Refusal> {
        match self.phase()? {
            Phase::Waiting(wait) if wait.floor.is_some() => {}
            Phase::Refused(Refused { closed, .. }) | Phase::Undecided(closed) => {
                return Err(Refusal::Closed(closed.clone()));
            }
            _ => return Err(Refusal::NothingToLift("the vault does not wait because of an end without order")),
        }
        if self.waits_for_time() {
            return Ok(());
        }
        self.end_wait(false);
        match self.phase()? {
            Phase::Open(_) => Ok(()),
            _ => Err(self.not_now()),
        }
    }

    /// A lease that was cut off far ahead of time begins no sooner for being known: then only the floor goes, and it
    /// waits as after an end in order.
    fn waits_for_time(&mut self) -> bool {
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return false };
        let epoch = owned.epoch_at(now).unwrap_or_default();
        let (Phase::Waiting(wait), Some(network)) = (&mut owned.phase, &owned.sealed.constants.network) else {
            return false;
        };
        let until = network.terms.tick_from(wait.counter.value());
        if epoch < until {
            *wait = Wait { id: ClosedId::LeaseAhead, until, floor: None, ..*wait };
        }
        epoch < until
    }

    /// New terms from the present counter value on, under a new generation, so that no older disk counts any more.
    /// Everything before the epoch is barred, and so is all that may have been signed under the terms before.
    fn begin_anew(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        let reading = self.tpm.counter_read(LEASE_COUNTER)?;
        let Standing::Owned(owned) = &mut self.standing else { return Err(Refusal::NotOwned) };
        let Some(pinned) = owned.sealed.constants.network.clone() else { return Err(Refusal::Network(NO_NETWORK)) };
        let chain = owned.network().ok_or(Refusal::Network(NO_NETWORK))?.chain;
        let Ok(unknown) = unknown_by_now(owned, &pinned.terms, reading.value) else { return Err(self.not_now()) };
        let barred = barred_before(epoch, unknown);
        // The record goes with the tick, and with it what it says of the terms before. Only where the history is exactly
        // known it is the other way round: while the record names it, it stays as it is.
        if unknown.is_some()
            && let Err(error) = owned.history.raise_floor(barred.floor(&chain))
        {
            return Err(self.broke(error));
        }
        // After a power cut all up to the end of a lease is barred. Votes that are beyond it would be forgotten with an
        // older history, so the new terms begin where the last of them is.
        let held = owned.keys.pins().map(|pins| &pins.validators);
        let (_, target, slot) = owned.history.highest_of(|validator| held.is_some_and(|held| held.contains(validator)));
        let known =
            [epoch, barred.target, target, chain.epoch_of(slot), owned.history.floor().target.unwrap_or_default()];
        let first_epoch = known.into_iter().max().unwrap_or(epoch);
        let terms = Terms { first_counter: reading.value, first_epoch, epochs: pinned.terms.epochs };
        let level = owned.sealed.level;
        owned.sealed.constants.lease_counter.name = reading.name.0;
        let constants: Constants = self.begin_terms(PinnedNetwork { pins: pinned.pins, terms })?;
        let raised = match self.standing.history_mut() {
            Some(history) => history.raise_floor(barred.floor(&chain)),
            None => return Err(self.not_now()),
        };
        raised.map_err(|error| self.broke(error))?;
        self.seal_anew(constants, level)
    }

    /// Ticks until the record of the lease covers what the history knows of these validators: after a power cut only the
    /// record says what is barred, because the history may be an older one then.
    pub(super) fn cover(&mut self, wanted: impl Fn(&ValidatorPublic) -> bool) -> Result<(), Refusal> {
        loop {
            let Standing::Owned(owned) = &self.standing else { return Err(self.not_now()) };
            let (Phase::Open(lease), Some(network)) = (&owned.phase, owned.network()) else {
                return Err(self.not_now());
            };
            let (source, target, slot) = owned.history.highest_of(&wanted);
            if lease.covers(Barred { target: target.max(network.chain.epoch_of(slot)), source }) {
                return Ok(());
            }
            let before = lease.counter();
            self.renew(None);
            match &self.standing {
                Standing::Owned(owned) if matches!(&owned.phase, Phase::Open(lease) if lease.counter() > before) => {}
                _ => return Err(Refusal::NotCovered),
            }
        }
    }

    /// Two or more ahead of the vault's clock, since one ahead may have been signed; not so far that a wrong clock would
    /// bar the validators for long.
    fn check_first_epoch(&self, epoch: Epoch) -> Result<(), Refusal> {
        check_ahead(epoch, self.present(self.now())?, AHEAD_MAX)
    }

    fn phase(&self) -> Result<&Phase, Refusal> {
        match &self.standing {
            Standing::Owned(owned) => Ok(&owned.phase),
            _ => Err(self.not_now()),
        }
    }
}

/// What may have been signed and is not known, all in all; `None` when everything is known. Fails while it cannot be told.
fn unknown_by_now(owned: &Owned, terms: &Terms, counter: u64) -> Result<Option<Barred>, Undecided> {
    let (known_at, unknown) = match &owned.phase {
        Phase::Refused(refused) => (None, Some(refused.floor)),
        Phase::Waiting(wait) => (Some(wait.counter.value()), wait.floor),
        Phase::Open(lease) => (Some(lease.counter()), None),
        Phase::NoNetwork | Phase::Undecided(_) => return Err(Undecided),
    };
    if known_at == Some(counter) {
        return Ok(unknown);
    }
    // Whoever brought the counter to this value may have signed up to where it reaches.
    let reached = terms.barred_at(counter);
    let unknown = unknown.unwrap_or(reached);
    Ok(Some(Barred { target: unknown.target.max(reached.target), source: unknown.source.max(reached.source) }))
}

/// The lease is not decided on.
struct Undecided;

/// All before the epoch, and what is not known.
fn barred_before(epoch: Epoch, unknown: Option<Barred>) -> Barred {
    let target = Epoch(epoch.0.saturating_sub(1));
    // The sources of all that was signed so far are not above the present epoch, which is below `target`.
    let source = Epoch(target.0.saturating_sub(1));
    unknown.map_or(Barred { target, source }, |unknown| Barred {
        target: unknown.target.max(target),
        source: unknown.source.max(source),
    })
}

/// Two or more ahead of the present, since one ahead may have been signed, and not further than is allowed.
pub(super) fn check_ahead(epoch: Epoch, present: Epoch, ahead_max: u64) -> Result<(), Refusal> {
    let (first, last) = (Epoch(present.0.saturating_add(2)), Epoch(present.0.saturating_add(ahead_max)));
    if (first..=last).contains(&epoch) { Ok(()) } else { Err(Refusal::Epoch { given: epoch, first, last }) }
}

/// A day on mainnet.
const AHEAD_MAX: u64 = 225;
