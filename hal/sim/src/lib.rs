//! A machine that plays scripts of faults, for tests.
//!
//! It plays a TPM, and a machine whose readings change by a script. It is a fake: its secrets are plain memory, and it must
//! never stand in for a real one.

#![forbid(unsafe_code)]

mod machine;
mod script;
mod tpm;

pub use machine::{SimMachine, sound};
pub use script::Script;
pub use tpm::{Fault, Operation, SimTpm, Snapshot};
