//! The cluster: its lock, its validators, and who this box is in it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Answers `GET /v1/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The cluster; absent while the box has no lock.
    pub lock: Option<LockSummary>,
    /// This box's position in the lock, from 0; absent without a lock or an identity.
    pub operator: Option<u8>,
}

/// What a lock says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockSummary {
    /// The cluster's name.
    pub name: String,
    /// The hash of the lock, `0x` hex.
    pub lock_hash: String,
    /// The network's name, or its genesis fork version when it has none that is known.
    pub network: String,
    /// The operators' ENRs, in their order.
    pub operators: Vec<String>,
    /// How many shares make a signature.
    pub threshold: u64,
    /// How many validators.
    pub validators: usize,
}

/// Answers `PUT /v1/cluster/lock`, whose body is the lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockAccepted {
    /// What was checked and, unless it was a dry run, kept.
    pub lock: LockSummary,
    /// This box's position in it, from 0.
    pub operator: u8,
    /// Whether nothing was kept.
    pub dry_run: bool,
}

/// Answers `GET /v1/identity`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The node record; absent while the vault holds no identity.
    pub enr: Option<String>,
    /// The libp2p peer ID; absent likewise.
    pub peer_id: Option<String>,
}

/// The query of lists that are read page by page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Where the page before ended, as it said; from the start when absent.
    pub cursor: Option<String>,
    /// At most so many, 1 to 500; 100 when absent.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
}

/// Answers `GET /v1/validators`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ValidatorList {
    /// The validators, in the order of the lock.
    pub validators: Vec<Validator>,
    /// Where the next page begins; absent on the last.
    pub cursor: Option<String>,
}

/// One validator of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validator {
    /// The group public key, `0x` hex.
    pub pubkey: String,
    /// Its index on the chain, a decimal string; absent until a beacon node told it.
    pub index: Option<String>,
    /// Its status by the beacon node, such as `active_ongoing`; absent until told.
    pub status: Option<String>,
    /// Whether the vault holds our share of it.
    pub share_held: bool,
    /// Who gets the fees, `0x` hex.
    pub fee_recipient: String,
}
