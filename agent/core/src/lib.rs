//! The duty node as state machines: inputs in, effects out.
//!
//! No I/O, no clock, no randomness and no secrets: the daemon's edges do all that.

#![forbid(unsafe_code)]

pub mod io;
pub mod partials;
