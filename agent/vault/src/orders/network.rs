//! Which network the box signs for: `SetNetwork`, and the first `Import`.

use holdfast_evidence::NetworkPins;
use holdfast_types::{ChainSpec, Epoch, ForkVersion, Millis};

use super::{Broke, Refusal};
use crate::lease::{Counter, Lease, Terms};
use crate::requests;
use crate::sealed::constants::{Constants, PinnedNetwork};
use crate::sealed::counter::LEASE_COUNTER;
use crate::vault::Vault;
use crate::vault::standing::{Phase, Standing, epoch_at, network_in_force};
use crate::vault::upkeep::{place_of, present};

impl Vault {
    /// Pins a network that is not built in, or adds forks to the one that is pinned.
    pub(super) fn set_network(&mut self, network: &NetworkPins, epoch: Epoch) -> Result<(), Refusal> {
        requests::check_network(network)?;
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        let (constants, level) = (owned.sealed.constants.clone(), owned.sealed.level);
        match &constants.network {
            Some(pinned) if extends(&pinned.pins, network) => {
                let network = Some(PinnedNetwork { pins: network.clone(), terms: pinned.terms });
                self.seal_anew(Constants { network, ..constants }, level)
            }
            Some(_) => Err(Refusal::Network("another one is fixed: reset the box to change it")),
            None => {
                let constants = self.fix_network(network.clone(), epoch)?;
                self.seal_anew(constants, level)
            }
        }
    }

    /// Begins the lease of a box whose network is not fixed yet: this process ticks, and the caller seals the constants.
    pub(super) fn fix_network(&mut self, network: NetworkPins, epoch: Epoch) -> Result<Constants, Refusal> {
        self.check_present(&network, epoch)?;
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        let pin = &owned.sealed.constants.lease_counter;
        let reading = self.tpm.counter_read(LEASE_COUNTER)?;
        if reading.name.0 != pin.name {
            return Err(Refusal::Network("the TPM's counter is not the one of this box: reset the box"));
        }
        let terms = Terms { first_counter: reading.value, first_epoch: epoch, epochs: self.release.lease_epochs };
        self.begin_terms(PinnedNetwork { pins: network, terms })
    }

    /// The present epoch by the vault's clock, if the operator's clock agrees.
    pub(super) fn check_present(&self, network: &NetworkPins, epoch: Epoch) -> Result<Epoch, Refusal> {
        let present = epoch_at(&network_in_force(network), self.now());
        let (first, last) = (Epoch(present.0.saturating_sub(1)), Epoch(present.0.saturating_add(1)));
        if (first..=last).contains(&epoch) { Ok(present) } else { Err(Refusal::Epoch { given: epoch, first, last }) }
    }

    /// Ticks under new terms. What is on the disk still has the old ones, or none, until the caller seals; so if the tick
    /// fails, nothing may go on under them.
    ///
    /// This tick may run ahead of time, by one lease: the operator said from when on the vault signs.
    pub(super) fn begin_terms(&mut self, network: PinnedNetwork) -> Result<Constants, Refusal> {
        let now = self.now();
        let Standing::Owned(owned) = &mut self.standing else { return Err(Refusal::NotOwned) };
        owned.sealed.constants.network = Some(network);
        let constants = owned.sealed.constants.clone();
        let mut present = present(owned, None, now);
        let Some(place) = place_of(&owned.sealed, &owned.keys) else { unreachable!("the network is set above") };
        let (disk, tpm) = (self.disk.as_ref(), self.tpm.as_mut());
        let mut counter = None;
        for _ in 0..TICK_TRIES {
            if counter.is_none() {
                counter = Counter::read(tpm, &place).ok().flatten();
            }
            let Some(counter) = &mut counter else { continue };
            present.now = present.now.max(place.terms.tick_from(counter.value()));
            match Lease::begin(tpm, disk, &place, counter, owned.sealed.id, &present) {
                Ok(lease) => {
                    owned.phase = Phase::Open(lease);
                    return Ok(constants);
                }
                Err(error) if error.closes().is_none() => tracing::warn!(%error, "the new lease does not begin yet"),
                Err(error) => return Err(self.broke(error)),
            }
        }
        Err(self.broke(Broke::Uncounted))
    }

    /// The network that an import is for: built in, or the one that is pinned.
    pub(super) fn network_for(&self, genesis_fork_version: ForkVersion) -> Result<NetworkPins, Refusal> {
        let pinned = self.standing.owned().and_then(|owned| owned.sealed.constants.network.as_ref());
        if let Some(pinned) = pinned {
            if pinned.pins.chain.genesis_fork_version != genesis_fork_version {
                return Err(Refusal::Network("the lock is of another network than the box"));
            }
            return Ok(pinned.pins.clone());
        }
        holdfast_eth::networks::public(genesis_fork_version)
            .map(|public| NetworkPins { chain: public.chain, exit_fork_version: public.exit_fork_version })
            .ok_or(Refusal::Network("it is not built in: pin it with SetNetwork first"))
    }

    /// The present epoch of the network that is fixed.
    pub(super) fn present(&self, now: Millis) -> Result<Epoch, Refusal> {
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        owned.epoch_at(now).ok_or(Refusal::Network(NO_NETWORK))
    }
}

/// Whether a network is the pinned one with more forks behind those that it had.
fn extends(pinned: &NetworkPins, network: &NetworkPins) -> bool {
    let (old, new) = (&pinned.chain, &network.chain);
    let alike = ChainSpec { forks: old.forks.clone(), ..new.clone() } == *old;
    alike && pinned.exit_fork_version == network.exit_fork_version && new.forks.starts_with(&old.forks)
}

/// For a TPM that is busy.
const TICK_TRIES: usize = 3;
/// No order can be carried out before there is one.
pub(super) const NO_NETWORK: &str = "none is fixed: import a cluster or order SetNetwork first";
