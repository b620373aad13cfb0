//! The node: takes one input at a time and hands it to the part that it is for.

use holdfast_types::{Millis, Mode};

use crate::io::{Effect, Input};
use crate::readiness::Readiness;
use crate::setup::{Cluster, Setup, SetupError};

/// One operator's node, without I/O, clock, randomness or secrets.
///
/// Every effect that names an answer gets exactly one, however late and also when it failed; without it the node waits.
#[derive(Debug)]
pub struct Node {
    cluster: Cluster,
    readiness: Readiness,
}

impl Node {
    /// A node that knows its cluster and nothing of the world.
    ///
    /// # Errors
    ///
    /// When the setup contradicts itself.
    pub fn new(setup: Setup) -> Result<Self, SetupError> {
        Ok(Self { cluster: Cluster::new(setup)?, readiness: Readiness::new() })
    }

    /// Takes an input and appends what is to be done about it, in the order in which it is to be done.
    pub fn handle(&mut self, _now: Millis, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::BeaconStatus(status) => self.readiness.beacon(status),
            Input::PeerUp(peer) => self.readiness.peer_up(&self.cluster, peer),
            Input::PeerDown(peer) => self.readiness.peer_down(peer),
            Input::Vault(state) => self.readiness.vault(state),
            Input::Drain => self.readiness.drain(),
            _ => {}
        }
        self.readiness.update(&self.cluster, out);
    }

    /// When to hand in [`Input::Wake`], if nothing else comes before. May be past already.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        None
    }

    /// The mode the node is in.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.readiness.mode()
    }

    /// Why it is in that mode, and what to do, in words for the operator.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.readiness.reason()
    }

    /// Whether a drain was asked for and everything under way is finished.
    #[must_use]
    pub fn has_drained(&self) -> bool {
        self.readiness.has_drained()
    }
}
