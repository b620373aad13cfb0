//! Beacon chain time and the facts of a network that it follows from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ForkVersion, Root};

/// A slot of the beacon chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u64);

/// An epoch of the beacon chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Millis(pub u64);

impl Millis {
    /// This time plus a span in milliseconds; stays at the end of time instead of wrapping.
    #[must_use]
    pub const fn plus(self, span_ms: u64) -> Self {
        Self(self.0.saturating_add(span_ms))
    }

    /// The milliseconds since an earlier time; 0 when it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! shown_as_number {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
shown_as_number!(Slot Epoch Millis);

/// A fork and the epoch at which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The first epoch of the fork.
    pub epoch: Epoch,
    /// Its version.
    pub version: ForkVersion,
}

/// What a network fixes once and for all: its time base, its forks and its genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainSpec {
    /// The Unix time of slot 0, in seconds.
    pub genesis_time_s: u64,
    /// The root of the genesis validators, part of every domain.
    pub genesis_validators_root: Root,
    /// The fork version at genesis; names the network in a cluster definition.
    pub genesis_fork_version: ForkVersion,
    /// The length of a slot in milliseconds; never 0.
    pub slot_ms: u64,
    /// The slots of an epoch; never 0.
    pub slots_per_epoch: u64,
    /// The forks in order of their epochs; the first begins at epoch 0.
    pub forks: Vec<Fork>,
}

impl ChainSpec {
    /// The start of a slot.
    #[must_use]
    pub const fn slot_start(&self, slot: Slot) -> Millis {
        Millis(self.genesis_time_s.saturating_mul(1000).saturating_add(slot.0.saturating_mul(self.slot_ms)))
    }

    /// The slot at a time; `None` before genesis.
    #[must_use]
    pub fn slot_at(&self, now: Millis) -> Option<Slot> {
        now.0.checked_sub(self.genesis_time_s.saturating_mul(1000)).map(|since_ms| Slot(since_ms / self.slot_ms))
    }

    /// The epoch of a slot.
    #[must_use]
    pub const fn epoch_of(&self, slot: Slot) -> Epoch {
        Epoch(slot.0 / self.slots_per_epoch)
    }

    /// The first slot of an epoch; the last slot of time when it would not fit.
    #[must_use]
    pub const fn first_slot(&self, epoch: Epoch) -> Slot {
        Slot(epoch.0.saturating_mul(self.slots_per_epoch))
    }

    /// The fork version in force at an epoch.
    #[must_use]
    pub fn fork_version_at(&self, epoch: Epoch) -> ForkVersion {
        self.forks.iter().rev().find(|fork| fork.epoch <= epoch).map_or(self.genesis_fork_version, |fork| fork.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ChainSpec {
        ChainSpec {
            genesis_time_s: 100,
            genesis_validators_root: Root::default(),
            genesis_fork_version: ForkVersion([0; 4]),
            slot_ms: 2000,
            slots_per_epoch: 32,
            forks: vec![
                Fork { epoch: Epoch(0), version: ForkVersion([0; 4]) },
                Fork { epoch: Epoch(5), version: ForkVersion([1, 0, 0, 0]) },
            ],
        }
    }

    #[test]
    fn slots_and_times_agree() {
        let spec = spec();
        assert_eq!(spec.slot_at(Millis(99_999)), None);
        assert_eq!(spec.slot_at(Millis(100_000)), Some(Slot(0)));
        assert_eq!(spec.slot_at(Millis(103_999)), Some(Slot(1)));
        assert_eq!(spec.slot_start(Slot(2)), Millis(104_000));
        assert_eq!(spec.epoch_of(Slot(63)), Epoch(1));
        assert_eq!(spec.first_slot(Epoch(2)), Slot(64));
    }

    #[test]
    fn a_fork_holds_from_its_epoch_on() {
        assert_eq!(spec().fork_version_at(Epoch(4)), ForkVersion([0; 4]));
        assert_eq!(spec().fork_version_at(Epoch(5)), ForkVersion([1, 0, 0, 0]));
    }
}
