//! Cluster definition and lock files, ENRs, keystores, slashing history files: parse, verify, write, create.
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

mod keystore;

mod eip3076;

mod create;
mod deposit_file;
mod node_dir;

pub use create::{CreateError, CreateParams, CreatedCluster, CreatedNode, create, default_threshold};
pub use definition::{DefinitionError, SignaturePart, VerifiedDefinition};
pub use deposit_file::{DepositFile, deposit_files};
pub use eip3076::{
    ClusterHistory, HISTORY_BYTES_MAX, HISTORY_ENTRIES_MAX, HistoryFileError, HistoryLimits, history_of_cluster,
    read_history, write_history,
};
pub use enr::{Enr, EnrError};
pub use identity::{KeyFileError, NodeKey};
pub use json::{
    AmountsError, DEFINITION_BYTES_MAX, FileError, LOCK_BYTES_MAX, read_definition, read_lock, write_definition,
    write_lock,
};
pub use keystore::{Keystore, KeystoreCost, KeystoreError};
pub use lock::{LockError, LockedValidator, VerifiedLock};
pub use network::{Network, Networks};
pub use node_dir::{NodeDirError, read_keystores, write_node_dirs};

/// What a cluster is made of and for, for those who know the encodings by this crate only.
pub use holdfast_eth::{AddressError, NetworkFacts, ValidatorAddresses, networks::all as public_networks};
