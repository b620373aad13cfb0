//! A beacon node on trial, before the configuration names it: what it is, and whether it follows the chain.

use std::time::Instant;

use holdfast_api::BeaconTested;
use holdfast_types::{ForkVersion, Millis};
use reqwest::Url;
use serde::Deserialize;

use super::discover;
use super::http::{CallError, Node};
use super::json::{Data, Syncing};
use super::{BeaconError, Timing};

/// Why a beacon node is not usable.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// What was given is no address of a beacon node.
    #[error("{0} is not the URL of a beacon node: give one such as http://192.168.1.20:5052")]
    Address(&'static str),
    /// It does not answer as a beacon node does.
    #[error("the beacon node cannot be used: check that it runs, and that this box may reach it")]
    Call(#[from] CallError),
    /// No HTTP client can be made for it.
    #[error(transparent)]
    Client(#[from] BeaconError),
    /// It follows another chain.
    #[error(
        "the beacon node follows the network with fork version {found}, the cluster is on {wanted}: choose one of the cluster's network"
    )]
    OtherNetwork {
        /// The node's genesis fork version.
        found: ForkVersion,
        /// The lock's.
        wanted: ForkVersion,
    },
}

/// Asks the node at `url` what it is. `wanted` is the network of the cluster, when there is one.
///
/// # Errors
/// When it does not answer as a beacon node does, or is on another network.
pub async fn try_node(url: &str, wanted: Option<ForkVersion>, now: Millis) -> Result<BeaconTested, TrialError> {
    let url: Url = url.parse().map_err(|_| TrialError::Address("this"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(TrialError::Address("an address without http:// or https:// and a host"));
    }
    let limit = Timing::default().call;
    let node = Node::new(url.clone(), limit).map_err(|err| BeaconError::Client { url, err })?;
    let began = Instant::now();
    let chain = discover::discover(&node).await?.chain;
    let answer_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if let Some(wanted) = wanted.filter(|wanted| *wanted != chain.genesis_fork_version) {
        return Err(TrialError::OtherNetwork { found: chain.genesis_fork_version, wanted });
    }
    let syncing: Data<Syncing> = node.get("/eth/v1/node/syncing").await?;
    let version: Data<NodeVersion> = node.get("/eth/v1/node/version").await?;
    Ok(BeaconTested {
        version: version.data.version.chars().filter(|one| !one.is_control()).take(VERSION_LEN_MAX).collect(),
        genesis_fork_version: chain.genesis_fork_version.to_string(),
        head_lag_slots: chain.slot_at(now).map(|_| syncing.data.sync_distance.0),
        syncing: syncing.data.is_syncing || syncing.data.is_optimistic || syncing.data.el_offline,
        answer_ms,
    })
}

#[derive(Debug, Deserialize)]
struct NodeVersion {
    version: String,
}

/// Longer than what any node calls itself.
const VERSION_LEN_MAX: usize = 128;
