//! Two bounds on what may be signed: the floor below which what was signed is not known, and the reach of the lease.

use holdfast_types::{Epoch, Slot};
use serde::{Deserialize, Serialize};

/// What is barred for every validator, because it may have been signed before. It only ever rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Floor {
    /// The last target that is barred; `None` bars none.
    pub(crate) target: Option<Epoch>,
    /// The lowest source that may be signed.
    pub(crate) source: Epoch,
    /// The last slot of a block that is barred; `None` bars none.
    pub(crate) slot: Option<Slot>,
}

impl Floor {
    /// The floor that bars what either of two bars.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            target: self.target.max(other.target),
            source: self.source.max(other.source),
            slot: self.slot.max(other.slot),
        }
    }
}

/// How far the lease reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The last target.
    pub(crate) target: Epoch,
    /// The highest source.
    pub(crate) source: Epoch,
    /// The last slot of a block.
    pub(crate) slot: Slot,
}
