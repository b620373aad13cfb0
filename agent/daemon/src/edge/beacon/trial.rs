//! One beacon node is tried out, for an operator who wants to know whether it is of use before he names it.

use std::time::{Duration, Instant};

use holdfast_api::BeaconTested;
use holdfast_types::{ForkVersion, Millis};
use reqwest::Url;
use serde::Deserialize;

use super::http::{CallError, Node};
use super::json::{Data, Syncing};
use super::{BeaconError, discover};

/// Why a beacon node is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] BeaconError),
    /// It does not answer as it should.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It follows another network.
    #[error(
        "the cluster is on the network with fork version {expected}, the beacon node follows {found}: name another"
    )]
    OtherNetwork {
        /// Where the cluster is.
        expected: ForkVersion,
        /// Where the node is.
        found: ForkVersion,
    },
    /// The URL is none, or not of the web.
    #[error("a beacon node's URL begins with http:// or https:// and has a host")]
    Url,
}

/// Asks a node what it is; `expected` is the cluster's network, when there is a cluster.
///
/// # Errors
/// Why it is of no use.
pub async fn try_out(url: &str, expected: Option<ForkVersion>, now: Millis) -> Result<BeaconTested, TrialError> {
    let url: Url = url.parse().map_err(|_| TrialError::Url)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(TrialError::Url);
    }
    let node = Node::new(url.clone(), LIMIT).map_err(|err| BeaconError::Client { url, err })?;
    let asked = Instant::now();
    let version: Data<NodeVersion> = node.get("/eth/v1/node/version").await?;
    let answer_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    let chain = discover::discover(&node).await?.chain;
    let found = chain.genesis_fork_version;
    if let Some(expected) = expected.filter(|expected| *expected != found) {
        return Err(TrialError::OtherNetwork { expected, found });
    }
    let syncing = node.get::<Data<Syncing>>("/eth/v1/node/syncing").await?.data;
    Ok(BeaconTested {
        version: version.data.version.chars().filter(|one| !one.is_control()).take(VERSION_LEN_MAX).collect(),
        genesis_fork_version: found.to_string(),
        head_lag_slots: chain.slot_at(now).map(|_| syncing.sync_distance.0),
        syncing: syncing.is_syncing || syncing.is_optimistic || syncing.el_offline,
        answer_ms,
    })
}

#[derive(Debug, Deserialize)]
struct NodeVersion {
    version: String,
}

/// The time limit of a call: as long as the node would have for a question of the duties.
const LIMIT: Duration = Duration::from_secs(2);

/// As much of what a node calls itself as is shown; real ones are shorter.
const VERSION_LEN_MAX: usize = 100;
