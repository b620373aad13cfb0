//! The duty node as state machines: inputs in, effects out.
//!
//! No I/O, no clock, no randomness and no secrets: the daemon's edges do all that.

#![forbid(unsafe_code)]

pub mod alarm;
mod consensus;
mod duty;
pub mod io;
mod node;
pub mod partials;
pub mod qbft;
mod readiness;
mod retry;
mod schedule;
mod setup;
mod tracker;

pub use node::{Load, Node};
pub use setup::{Setup, SetupError, ValidatorShares};
