//! Orders that say what the box cannot know: `AcceptFloor`, `NewCounter`, `VouchDisk`.

use holdfast_types::Epoch;

use super::Refusal;
use super::network::NO_NETWORK;
use crate::lease::{Barred, Lift, Terms};
use crate::sealed::constants::{Constants, PinnedNetwork};
use crate::sealed::counter::LEASE_COUNTER;
use crate::vault::Vault;
use crate::vault::standing::{Phase, Refused, Standing};

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
        self.end_wait(false);
        match self.phase()? {
            Phase::Open(_) => Ok(()),
            _ => Err(self.not_now()),
        }
    }

    /// New terms from the present counter value on, under a new generation, so that no older disk counts any more.
    /// Everything before the epoch is barred, and so is all that may have been signed under the terms before.
    fn begin_anew(&mut self, epoch: Epoch) -> Result<(), Refusal> {
        self.check_first_epoch(epoch)?;
        let reading = self.tpm.counter_read(LEASE_COUNTER)?;
        let barred = self.barred_by_now(epoch)?;
        let Standing::Owned(owned) = &mut self.standing else { return Err(Refusal::NotOwned) };
        let chain = owned.network().ok_or(Refusal::Network(NO_NETWORK))?.chain;
        let floor = barred.floor(&chain);
        if let Err(error) = owned.history.raise_floor(floor) {
            return Err(self.broke(error));
        }
        let Some(network) = &owned.sealed.constants.network else { return Err(Refusal::Network(NO_NETWORK)) };
        let terms = Terms { first_counter: reading.value, first_epoch: epoch, epochs: network.terms.epochs };
        let network = PinnedNetwork { pins: network.pins.clone(), terms };
        let level = owned.sealed.level;
        owned.sealed.constants.lease_counter.name = reading.name.0;
        let constants: Constants = self.begin_terms(network)?;
        self.seal_anew(constants, level)
    }

    /// What may have been signed until now: all before the epoch, and all that the lease so far allowed.
    fn barred_by_now(&self, epoch: Epoch) -> Result<Barred, Refusal> {
        let target = Epoch(epoch.0.saturating_sub(1));
        // The sources of all that was signed so far are not above the present epoch, which is below `target`.
        let source = Epoch(target.0.saturating_sub(1));
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        let exact = Barred { target: Epoch(0), source: Epoch(0) };
        let before = match &owned.phase {
            Phase::Refused(refused) => refused.floor,
            Phase::Waiting(wait) => wait.floor.unwrap_or(exact),
            Phase::Open(_) => exact,
            Phase::NoNetwork | Phase::Undecided(_) => return Err(self.not_now()),
        };
        Ok(Barred { target: before.target.max(target), source: before.source.max(source) })
    }

    /// Two or more ahead of the vault's clock, since one ahead may have been signed; not so far that a wrong clock would
    /// bar the validators for long.
    pub(super) fn check_first_epoch(&self, epoch: Epoch) -> Result<(), Refusal> {
        let present = self.present(self.now())?;
        let (first, last) = (Epoch(present.0.saturating_add(2)), Epoch(present.0.saturating_add(AHEAD_MAX)));
        if (first..=last).contains(&epoch) { Ok(()) } else { Err(Refusal::Epoch { given: epoch, first, last }) }
    }

    fn phase(&self) -> Result<&Phase, Refusal> {
        match &self.standing {
            Standing::Owned(owned) => Ok(&owned.phase),
            _ => Err(self.not_now()),
        }
    }
}

/// A day on mainnet.
const AHEAD_MAX: u64 = 225;
