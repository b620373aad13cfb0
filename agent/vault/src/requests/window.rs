//! What belongs to the present: the vault's own clock bounds what it signs.
//!
//! So nobody can have it sign far into the future, which would bar the validator from its duties until then, nor collect
//! proofs and reveals that show today how its duties will fall.

use holdfast_evidence::NetworkPins;
use holdfast_types::{ChainSpec, Epoch, Millis, Slot};
use holdfast_vault_client::SigningRefused;

/// The present slot by the vault's clock, on one chain.
#[derive(Clone, Copy)]
pub(super) struct Present<'a> {
    chain: &'a ChainSpec,
    slot: Slot,
}

/// Why something is not of the present.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Outside {
    /// There is no present slot.
    #[error("the vault's clock is before genesis")]
    BeforeGenesis,
    /// The epoch is too far from the present one.
    #[error("the vault's clock is in epoch {present}, it signs epochs {first} to {last}")]
    Epoch {
        /// The present one.
        present: Epoch,
        /// The first that may be signed.
        first: Epoch,
        /// The last.
        last: Epoch,
    },
    /// The exit's epoch is too far ahead.
    #[error("the vault's clock is in epoch {present}, the last it signs is {last}")]
    EpochAhead {
        /// The present one.
        present: Epoch,
        /// The last that may be signed.
        last: Epoch,
    },
    /// The gas limit is none that a block can have.
    #[error("a gas limit is from {first} to {last}")]
    GasLimit {
        /// The lowest.
        first: u64,
        /// The highest.
        last: u64,
    },
    /// The slot is ahead of the clock.
    #[error("the vault's clock is at slot {present}, the last it signs is {last}")]
    SlotAhead {
        /// The present one.
        present: Slot,
        /// The last that may be signed.
        last: Slot,
    },
    /// There is no such subcommittee.
    #[error("the last sync subcommittee is {last}")]
    Subcommittee {
        /// The last there is.
        last: u64,
    },
    /// The target is not the epoch of the slot.
    #[error("the slot is in epoch {0}")]
    Target(Epoch),
    /// The time is ahead of the clock.
    #[error("the vault's clock is at {present_s} s, the last time it signs is {last_s} s")]
    TimeAhead {
        /// The present time.
        present_s: u64,
        /// The last that may be signed.
        last_s: u64,
    },
}

impl<'a> Present<'a> {
    pub(super) fn at(network: &'a NetworkPins, now: Millis) -> Result<Self, Outside> {
        let chain = &network.chain;
        chain.slot_at(now).map(|slot| Self { chain, slot }).ok_or(Outside::BeforeGenesis)
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.chain.epoch_of(self.slot)
    }

    /// The slot is at most one ahead of the clock: peers' clocks differ by less.
    pub(super) fn reaches_slot(&self, slot: Slot) -> Result<(), Outside> {
        let last = Slot(self.slot.0.saturating_add(1));
        if slot <= last { Ok(()) } else { Err(Outside::SlotAhead { present: self.slot, last }) }
    }

    /// The epoch is from the one before to the second after: proofs and reveals are made ahead of their epoch, and a duty
    /// at the turn of an epoch may be late.
    pub(super) fn contains_epoch(&self, epoch: Epoch) -> Result<(), Outside> {
        let present = self.epoch();
        let (first, last) = (Epoch(present.0.saturating_sub(1)), self.last_epoch());
        if (first..=last).contains(&epoch) { Ok(()) } else { Err(Outside::Epoch { present, first, last }) }
    }

    /// The epoch of the slot is one of those.
    pub(super) fn contains_epoch_of(&self, slot: Slot) -> Result<(), Outside> {
        self.contains_epoch(self.chain.epoch_of(slot))
    }

    /// The last epoch that is signed ahead of its time.
    pub(super) fn last_epoch(&self) -> Epoch {
        Epoch(self.epoch().0.saturating_add(2))
    }
}

impl Outside {
    /// The refusal of one signature. `what` names it.
    pub(super) fn refuse(&self, what: impl Into<String>) -> SigningRefused {
        SigningRefused::OutOfRange { what: what.into(), reason: self.to_string() }
    }
}
