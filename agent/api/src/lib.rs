//! Requests, responses and errors of the management API. For now the read-only part that the loopback listener serves.

#![forbid(unsafe_code)]

use holdfast_types::{Epoch, Mode, Slot};
use serde::{Deserialize, Serialize};

/// Answers `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// What the box is doing.
    pub mode: Mode,
    /// State, reason and remedy in one sentence.
    pub reason: String,
    /// The cluster's name in its lock.
    pub cluster: String,
    /// The validators of the cluster.
    pub validators: usize,
    /// The cluster's operators, ourselves included.
    pub peers: Vec<PeerStatus>,
    /// What the vault said last; absent while it does not answer.
    pub vault: Option<VaultSummary>,
    /// The assembly path of the BLS library.
    pub bls_path: String,
}

/// What the vault says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// The value of the TPM's counter.
    pub counter: u64,
    /// The last epoch that may be signed at that value.
    pub last_epoch: Epoch,
}

/// Why the vault signs nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultClosed {
    /// The reason's stable name.
    pub id: String,
    /// State, reason and remedy in one sentence.
    pub reason: String,
}

/// One operator as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Answers `GET /v1/duties?after=SEQ`: the duties that changed since, oldest change first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DutyList {
    /// The duties.
    pub duties: Vec<DutyRecord>,
    /// Give this as `after` next time.
    pub next: u64,
}

/// What became of one duty on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DutyRecord {
    /// The slot.
    pub slot: Slot,
    /// The kind of duty, by its name in the wire protocol.
    pub kind: String,
    /// The cluster's validators with this duty.
    pub validators: usize,
    /// The round in which the cluster decided.
    pub decided_round: Option<u64>,
    /// When it was decided, in ms after the duty's start.
    pub decided_ms: Option<i64>,
    /// Why our vault was not asked yet, or never, after it was decided what to sign.
    pub withheld: Option<String>,
    /// How many partial signatures our vault made.
    pub signed: usize,
    /// Why the vault refused others.
    pub refused: Vec<String>,
    /// Whose partial signatures were verified here, by operator.
    pub partials_from: Vec<u8>,
    /// For how many validators there is a group signature.
    pub combined: usize,
    /// How many attestations a beacon node took from us.
    pub broadcast: usize,
    /// When the first of them was taken, in ms after the duty's start.
    pub broadcast_ms: Option<i64>,
    /// Why validators were missed, if any.
    pub missed: Option<String>,
}
