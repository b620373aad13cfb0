//! Cluster definition and lock files, ENRs, keystores: parse, verify, write, create.
//!
//! A file that was read is a plain [`ClusterLock`](holdfast_eth::ClusterLock) of which nothing is known;
//! [`VerifiedLock`] is the proof that everything in it holds, and only the check makes it. Contract signatures (ERC-1271)
//! would need an execution node and are refused. No network and no randomness of its own: it is passed in.

#![forbid(unsafe_code)]

mod network;

mod go_json;
mod json;

mod eip712;
mod enr;
mod identity;
mod k1;

mod definition;
mod lock;

pub use definition::{DefinitionError, SignaturePart, VerifiedDefinition};
pub use enr::{Enr, EnrError};
pub use identity::{KeyFileError, NodeKey};
pub use json::{
    AmountsError, DEFINITION_BYTES_MAX, FileError, LOCK_BYTES_MAX, read_definition, read_lock, write_definition,
    write_lock,
};
pub use lock::{LockError, LockedValidator, VerifiedLock};
pub use network::{Network, Networks};
