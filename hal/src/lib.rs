//! Traits and plain readings for the machine that Holdfast runs on.
//!
//! No policy and no I/O: `hal/tpm` and `hal/linux` touch the machine, `hal/sim` plays one.

#![forbid(unsafe_code)]

pub mod tpm;

pub mod blob;

pub mod process;
