//! What the box is doing, its peers, and what its vault says.

use holdfast_types::{Epoch, Mode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// Answers `GET /v1/version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The agent's version.
    pub version: String,
    /// The kind of board, as releases name it.
    pub board: String,
}

/// Answers `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The box's short name, `box-7f3a`; empty while the vault does not answer.
    pub name: String,
    /// The agent's version.
    pub version: String,
    /// What the box is doing.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// State, reason and remedy in one sentence.
    pub reason: String,
    /// The cluster's name in its lock; empty while there is none.
    pub cluster: String,
    /// The validators of the cluster.
    pub validators: usize,
    /// The cluster's operators, ourselves included.
    pub peers: Vec<PeerStatus>,
    /// What the vault said last; absent while it does not answer.
    pub vault: Option<VaultSummary>,
    /// The assembly path of the BLS library.
    pub bls_path: String,
    /// The box's clock.
    pub now: Timestamp,
    /// Whether the clock was synchronised since the start; before that, dates of certificates are not judged.
    pub clock_synchronised: bool,
    /// What is wrong, worst first.
    pub conditions: Vec<Condition>,
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The stable name.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// Since when.
    pub since: Timestamp,
    /// State and reason in one sentence.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

/// How bad a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it soon.
    Warning,
    /// Duties are missed, or safety is at stake.
    Critical,
}

/// What the vault says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultSummary {
    /// What the seal means on this machine: `A`, `B` or `C`.
    pub tier: String,
    /// Until when it may sign; absent while it holds no lease.
    pub lease: Option<Lease>,
    /// Why it signs nothing at present, if so.
    pub closed: Option<VaultClosed>,
}

/// Until when the vault may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The value of the TPM's counter.
    pub counter: u64,
    /// The last epoch that may be signed at that value.
    #[schema(value_type = u64)]
    pub last_epoch: Epoch,
}

/// Why the vault signs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultClosed {
    /// The reason's stable name.
    pub id: String,
    /// State, reason and remedy in one sentence.
    pub reason: String,
}

/// Answers `GET /v1/peers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerList {
    /// The cluster's operators, ourselves included.
    pub peers: Vec<PeerStatus>,
}

/// One operator as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// The position in the lock, from 0.
    pub operator: u8,
    /// The libp2p peer ID.
    pub peer_id: String,
    /// Whether this is the node itself.
    pub own: bool,
    /// Whether there is a connection.
    pub connected: bool,
    /// The software it says it runs.
    pub version: Option<String>,
}
