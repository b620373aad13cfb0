//! The modes of a box, as the screen, the LED, the API and the metrics show them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a box is doing as a whole. Exactly one at a time, and only [`Mode::Ready`] signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Waits for pairing or for an operator's decision.
    Maintenance,
    /// Owned, without a cluster.
    Paired,
    /// Has shares; waits for lease, time or history.
    Enrolled,
    /// The beacon node or peers are not there yet.
    Syncing,
    /// Does its duties.
    Ready,
    /// Finishes what is under way and starts nothing new.
    Draining,
    /// Stopped for safety, and says why.
    Halted,
}

impl Mode {
    /// All of them, in the order of a box's life.
    pub const ALL: [Self; 7] =
        [Self::Maintenance, Self::Paired, Self::Enrolled, Self::Syncing, Self::Ready, Self::Draining, Self::Halted];

    /// The word that every surface shows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Paired => "paired",
            Self::Enrolled => "enrolled",
            Self::Syncing => "syncing",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Halted => "halted",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
