//! The duty node as state machines: inputs in, effects out.
//!
//! No I/O, no clock, no randomness and no secrets: the daemon's edges do all that.

#![forbid(unsafe_code)]

pub mod alarm;
mod duty;
pub mod io;
mod node;
pub mod partials;
pub mod qbft;
mod readiness;
mod retry;
mod setup;

pub use duty::attester::DecidedFault;
pub use node::Node;
pub use setup::{Setup, SetupError, ValidatorShares};
