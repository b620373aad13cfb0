//! A machine that plays scripts of faults, for tests.
//!
//! So far it plays a TPM. It is a fake: its secrets are plain memory, and it must never stand in for a real one.

#![forbid(unsafe_code)]

mod tpm;

pub use tpm::{Fault, Operation, SimTpm, Snapshot};
