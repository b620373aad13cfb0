//! Consensus containers, domains and signing roots; the typed cluster definition and lock with their hashes.

#![forbid(unsafe_code)]

pub mod aggregate;
mod attestation;
pub mod block;
mod chunks;
mod definition;
mod deposit;
pub mod domain;
mod header;
mod lock;
pub mod networks;
mod registration;
pub mod sync;

pub use attestation::{AttestationData, Checkpoint};
pub use definition::{
    AddressError, AddressText, ClusterDefinition, Creator, DefinitionVersion, HashError, Operator, ValidatorAddresses,
    VersionError,
};
pub use deposit::{DepositData, DepositMessage, GWEI_PER_ETH, withdrawal_credentials};
pub use domain::DomainType;
pub use header::BeaconBlockHeader;
pub use lock::{ClusterLock, DistributedValidator};
pub use networks::NetworkFacts;
pub use registration::{BuilderRegistration, SignedRegistration};
