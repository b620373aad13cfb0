//! Random schedules against a vault: requests that a hostile daemon sends, and everything that can befall a box.
//!
//! What is played is a [`Subject`]; the vault is one. One run begins at a prepared box, goes through some ten actions and
//! ends with a settling phase, in which the vault must sign again or refuse for a reason that it is meant to have. All
//! signatures of a run go to one [`Checker`](crate::checker::Checker), across all reboots and restored disks.
//!
//! Not in the repertoire: a TPM whose state is rolled back together with the disk, which nothing on the box can notice.

mod asks;
mod base;
mod faults;
mod fleet;
mod log;
mod orders;
mod run;
mod settle;
mod stats;

use holdfast_test_operator::Shares;
use holdfast_types::{ChainSpec, Epoch, Millis, PartialSignature, SigningRoot, ValidatorPublic};
use holdfast_vault_client::{Request, Response};

use crate::place::Place;

pub use self::base::Base;
pub use self::fleet::{Plan, play};
pub use self::log::{Failed, Failure};
pub use self::stats::Stats;

/// A program that is played against.
pub trait Subject: Sync {
    /// What runs.
    type Process: Process;

    /// Starts it; `None` when it ends at once.
    fn start(&self, place: Place) -> Option<Self::Process>;

    /// Whether these bytes are this validator's partial signature over this root.
    fn is_signature(&self, validator: ValidatorPublic, root: SigningRoot, signature: &PartialSignature) -> bool;
}

/// A program that runs. Dropped, it was killed.
pub trait Process {
    /// Answers a request.
    fn answer(&mut self, request: Request) -> Response;

    /// Does what is to be done between requests. Whether the program goes on.
    fn maintain(&mut self) -> bool;

    /// Ends in order.
    fn stop(self);
}

/// What all runs have in common.
#[derive(Clone, Debug)]
pub struct World {
    /// The network.
    pub chain: ChainSpec,
    /// The length of a lease in epochs.
    pub lease_epochs: u64,
    /// The shares of the box.
    pub shares: Shares,
    /// Of the operator who owns the box.
    pub operator_seed: u64,
}

impl World {
    fn validators(&self) -> impl Iterator<Item = ValidatorPublic> {
        self.shares.secrets.iter().map(|(validator, _)| *validator)
    }

    /// The epoch at a time; the first before genesis.
    fn epoch_at(&self, now: Millis) -> Epoch {
        self.chain.slot_at(now).map_or(Epoch(0), |slot| self.chain.epoch_of(slot))
    }

    fn epoch_ms(&self) -> u64 {
        self.chain.slot_ms * self.chain.slots_per_epoch
    }
}

#[cfg(test)]
mod tests;
