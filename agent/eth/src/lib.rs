//! Consensus containers, domains and signing roots; the typed cluster definition and lock with their hashes.

#![forbid(unsafe_code)]

mod attestation;
pub mod domain;

pub use attestation::{AttestationData, Checkpoint};
pub use domain::DomainType;
