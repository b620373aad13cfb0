//! Traits and plain readings for the machine that Holdfast runs on.
//!
//! No policy and no I/O: `hal/tpm` and `hal/linux` touch the machine, `hal/sim` plays one.

#![forbid(unsafe_code)]

pub mod tpm;

pub mod blob;

pub mod restart;

pub mod process;

pub mod board;

pub mod machine;

pub mod storage;

pub mod latency;

pub mod memory;

pub mod cpu;

pub mod power;

pub mod clock;

pub mod chip;

pub mod link;

pub mod system;
