//! The configuration: one document. What its values must be, the box checks; unknown fields are refused.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Timestamp;

/// The configuration of a box.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Configuration {
    /// What peers show as this node's name; at most 32 bytes.
    pub nickname: String,
    /// A network that is not built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<CustomNetwork>,
    /// The beacon nodes, at most 8; without one the box waits.
    pub beacon_nodes: Vec<BeaconNode>,
    /// The p2p side.
    pub peers: PeerSettings,
    /// The management API.
    pub api: ApiSettings,
    /// Metrics and liveness.
    pub metrics: MetricsSettings,
}

/// A network that is not built in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomNetwork {
    /// Its name.
    pub name: String,
    /// Its chain ID.
    pub chain_id: u64,
    /// Its genesis fork version, `0x` hex.
    pub genesis_fork_version: String,
    /// When it began, in seconds since 1970.
    pub genesis_time: u64,
}

/// A beacon node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BeaconNode {
    /// By what conditions and tables name it.
    pub name: String,
    /// `http://` or `https://`; it may carry a token, so it is shown to admins only and never logged.
    pub url: String,
}

/// The p2p side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PeerSettings {
    /// Where peers can reach this node, as multiaddresses.
    pub listen: Vec<String>,
    /// Where this node can reach its peers.
    pub addresses: Vec<PeerAddress>,
}

/// Where one peer is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerAddress {
    /// Its position in the lock, from 0.
    #[schema(maximum = 255)]
    pub operator: u8,
    /// Its multiaddresses, at most 16.
    pub addresses: Vec<String>,
}

/// The management API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiSettings {
    /// Where it listens, ADDRESS:PORT.
    pub listen: String,
    /// Whether the box is announced in the local network (mDNS).
    pub announce: bool,
}

/// Metrics and liveness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// Where they are served, ADDRESS:PORT. Without certificates this is a loopback address.
    pub listen: String,
    /// Whether they are served over TLS, to whoever shows a client certificate as at the API; a reader's is enough.
    pub certificates: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self { listen: vec!["/ip4/0.0.0.0/tcp/3610".to_owned()], addresses: Vec::new() }
    }
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self { listen: "0.0.0.0:4443".to_owned(), announce: true }
    }
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { listen: "127.0.0.1:3620".to_owned(), certificates: false }
    }
}

/// The query of `PUT /v1/configuration` and `PUT /v1/cluster/lock`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DryRunQuery {
    /// Checks and shows the difference, and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answers `PUT /v1/configuration` and `POST /v1/configuration/confirmation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationChange {
    /// What changes, a line each.
    pub changes: Vec<FieldChange>,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The `ETag` of what holds now.
    pub etag: String,
    /// Until when the change must be confirmed, or it is taken back: for one that may cost the operator his access.
    pub confirm_by: Option<Timestamp>,
}

/// A field that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// The field, as a JSON pointer (RFC 6901).
    pub field: String,
    /// What it was, as JSON; absent when it is new.
    pub before: Option<String>,
    /// What it will be, as JSON; absent when it is gone.
    pub after: Option<String>,
}

/// Answers `GET /v1/configuration/history`: what was applied, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationHistory {
    /// At most 20.
    pub entries: Vec<ConfigurationEntry>,
}

/// A configuration that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationEntry {
    /// Its `ETag`.
    pub etag: String,
    /// When it was applied.
    pub at: Timestamp,
    /// By whom: the subject of the certificate, or `box` when a change was taken back.
    pub by: String,
    /// What it changed.
    pub changes: Vec<FieldChange>,
}

/// The body of `POST /v1/beacon-nodes/tests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BeaconTest {
    /// The node's URL.
    #[schema(pattern = "^https?://")]
    pub url: String,
}

/// Answers `POST /v1/beacon-nodes/tests` when the node is usable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BeaconTested {
    /// The software it says it runs.
    pub version: String,
    /// The network, by its genesis fork version, `0x` hex.
    pub genesis_fork_version: String,
    /// How many slots its head is behind the present one; absent before genesis.
    pub head_lag_slots: Option<u64>,
    /// Whether it says that it is still syncing.
    pub syncing: bool,
    /// How long it took to answer, in milliseconds.
    pub answer_ms: u64,
}
