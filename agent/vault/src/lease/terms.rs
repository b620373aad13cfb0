//! The terms of the lease: which epochs a value of the TPM's counter stands for, and which sources.
//!
//! The terms are sealed with the shares. Nothing that is only on the disk, no clock and no peer enters here.

use holdfast_types::{ChainSpec, Epoch, Slot};
use serde::{Deserialize, Serialize};

use crate::bounds::Floor;

/// `H(N) = E0 + L * (N - N0)`.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    /// `N0`, the counter's value when the terms were made.
    pub(crate) first_counter: u64,
    /// `E0`, the last epoch at that value.
    pub(crate) first_epoch: Epoch,
    /// `L`, the epochs that each value adds; never 0.
    pub(crate) epochs: u64,
}

impl Terms {
    /// `H(N)`: the last epoch that may ever be signed at a value of the counter. It stays at the end of time instead of
    /// wrapping, and below `N0` it is `E0`.
    pub(crate) fn last_epoch(&self, counter: u64) -> Epoch {
        let added = counter.saturating_sub(self.first_counter).saturating_mul(self.epochs);
        Epoch(self.first_epoch.0.saturating_add(added))
    }

    /// Whether the counter may go on from a value: only to within three leases of the present, so that neither restarts
    /// nor a clock that is briefly wrong run the lease far ahead of time.
    pub(crate) fn may_tick(&self, counter: u64, now: Epoch) -> bool {
        now >= self.tick_from(counter)
    }

    /// The first epoch in which the counter may go on from a value.
    pub(crate) fn tick_from(&self, counter: u64) -> Epoch {
        Epoch(self.last_epoch(counter).0.saturating_sub(self.epochs.saturating_mul(2)))
    }

    /// All that can have been signed at a value of the counter or below it, when nothing more is known.
    pub(crate) fn barred_at(&self, counter: u64) -> Barred {
        let target = self.last_epoch(counter);
        Barred { target, source: before(target) }
    }

    /// `S`: the highest source that may be signed at a value of the counter.
    ///
    /// After a power cut no lower source is signed. While the chain justifies every epoch that costs nothing. While it
    /// does not, the source stands still, and a lease that allowed higher ones would bar the validator until it moves.
    ///
    /// `seen` is the attestation that was asked for last, signed or not, and is believed in nothing: whatever it says,
    /// `S` lies between `signed`, the highest source that was signed or is barred below, and the last epoch but one.
    pub(crate) fn highest_source(&self, counter: u64, seen: Option<Vote>, signed: Epoch) -> Epoch {
        let by_time = before(self.last_epoch(counter));
        let stands_still = seen.filter(|seen| seen.target.0.saturating_sub(seen.source.0) > SOURCE_LAG_MAX);
        stands_still.map_or(by_time, |seen| seen.source.min(by_time)).max(signed)
    }
}

/// What is barred because it may have been signed. The caller knows the chain and makes a [`Floor`] of it, with the last
/// slot of the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Barred {
    /// The last target that is barred.
    pub(crate) target: Epoch,
    /// The lowest source that is not.
    pub(crate) source: Epoch,
}

impl Barred {
    /// The floor on this chain.
    pub(crate) fn floor(self, chain: &ChainSpec) -> Floor {
        Floor { target: Some(self.target), source: self.source, slot: Some(last_slot(chain, self.target)) }
    }
}

/// The two epochs of an attestation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vote {
    pub(crate) source: Epoch,
    pub(crate) target: Epoch,
}

/// Thirty days in epochs of a chain: longer off, and an order must confirm the date before the lease catches up.
pub(crate) fn thirty_days(chain: &ChainSpec) -> u64 {
    let epoch_ms = chain.slot_ms.saturating_mul(chain.slots_per_epoch).max(1);
    (THIRTY_DAYS_MS / epoch_ms).max(1)
}

/// The last slot of an epoch.
pub(super) fn last_slot(chain: &ChainSpec, epoch: Epoch) -> Slot {
    Slot(chain.first_slot(epoch).0.saturating_add(chain.slots_per_epoch.saturating_sub(1)))
}

pub(super) fn before(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.saturating_sub(1))
}

/// In a chain that justifies every epoch, a target is one or two epochs above its source.
const SOURCE_LAG_MAX: u64 = 2;
const THIRTY_DAYS_MS: u64 = 30 * 24 * 60 * 60 * 1000;
