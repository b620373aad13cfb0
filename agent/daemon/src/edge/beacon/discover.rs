//! What the network is, as a beacon node tells it: asked once at start.

use std::collections::BTreeMap;

use holdfast_types::{ChainSpec, Epoch, Fork, ForkVersion};

use super::http::{CallError, Node};
use super::json::{Data, ForkEntry, Genesis, Spec};

/// Longer slots than on any network: what is beyond is a mistake, and would make times overflow.
const SLOT_MS_MAX: u64 = 60_000;

/// More slots of an epoch than on any network.
const SLOTS_PER_EPOCH_MAX: u64 = 1024;

/// The network, and how the Beacon API calls its forks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its time base, forks and genesis.
    pub chain: ChainSpec,
    fork_names: BTreeMap<ForkVersion, String>,
}

impl Network {
    /// The name of the fork at an epoch, for the header `Eth-Consensus-Version`.
    #[must_use]
    pub fn fork_name_at(&self, epoch: Epoch) -> &str {
        self.fork_names.get(&self.chain.fork_version_at(epoch)).map_or("fulu", String::as_str)
    }
}

pub(super) async fn discover(node: &Node) -> Result<Network, CallError> {
    const SPEC: &str = "/eth/v1/config/spec";
    let genesis: Data<Genesis> = node.get("/eth/v1/beacon/genesis").await?;
    let spec: Data<Spec> = node.get(SPEC).await?;
    let schedule: Data<Vec<ForkEntry>> = node.get("/eth/v1/config/fork_schedule").await?;
    let mut forks: Vec<Fork> =
        schedule.data.iter().map(|fork| Fork { epoch: Epoch(fork.epoch.0), version: fork.current_version }).collect();
    // Stable: forks of one epoch stay in the node's order, of which the last is in force.
    forks.sort_by_key(|fork| fork.epoch);
    let slot_ms = match number(&spec.data, "SLOT_DURATION_MS") {
        Some(slot_ms) => slot_ms,
        None => number(&spec.data, "SECONDS_PER_SLOT").unwrap_or(0).saturating_mul(1000),
    };
    let slots_per_epoch = number(&spec.data, "SLOTS_PER_EPOCH").unwrap_or(0);
    if !(1..=SLOT_MS_MAX).contains(&slot_ms) || !(1..=SLOTS_PER_EPOCH_MAX).contains(&slots_per_epoch) {
        let what = format!("slots of {slot_ms} ms, {slots_per_epoch} of them in an epoch");
        return Err(node.garbled(SPEC, &what));
    }
    if forks.first().is_none_or(|fork| fork.epoch != Epoch(0)) {
        return Err(node.garbled("/eth/v1/config/fork_schedule", &"no fork begins at epoch 0"));
    }
    let chain = ChainSpec {
        genesis_time_s: genesis.data.genesis_time.0,
        genesis_validators_root: genesis.data.genesis_validators_root,
        genesis_fork_version: genesis.data.genesis_fork_version,
        slot_ms,
        slots_per_epoch,
        forks,
    };
    Ok(Network { chain, fork_names: fork_names(&spec.data) })
}

fn number(spec: &Spec, key: &str) -> Option<u64> {
    match spec.get(key)? {
        serde_json::Value::String(text) => text.parse().ok(),
        serde_json::Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

/// `FULU_FORK_VERSION: 0x06…` makes `0x06…` the fork `fulu`.
fn fork_names(spec: &Spec) -> BTreeMap<ForkVersion, String> {
    spec.iter()
        .filter_map(|(key, value)| {
            let name = key.strip_suffix("_FORK_VERSION").filter(|name| *name != "GENESIS")?;
            Some((value.as_str()?.parse().ok()?, name.to_ascii_lowercase()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_are_named_by_their_version() {
        let spec: Spec = serde_json::from_str(
            r#"{"FULU_FORK_VERSION": "0x06000000", "GENESIS_FORK_VERSION": "0x00000000", "BLOB_SCHEDULE": [], "SLOTS_PER_EPOCH": "32"}"#,
        )
        .unwrap();
        assert_eq!(fork_names(&spec), BTreeMap::from([(ForkVersion([6, 0, 0, 0]), "fulu".to_owned())]));
        assert_eq!(number(&spec, "SLOTS_PER_EPOCH"), Some(32));
    }
}
