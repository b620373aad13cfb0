//! The captured vectors and the cluster that they are of.

#![allow(dead_code, reason = "each test uses a part of this")]

use std::path::PathBuf;

use holdfast_types::{
    ChainSpec, Epoch, Fork, ForkVersion, OperatorIndex, Root, ShareIndex, SharePublic, ValidatorPublic,
};
use holdfast_wire::k1::NodePublic;
use serde_json::Value;

/// The folder of the vectors.
pub(crate) fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// A file of captured frames. One that is missing fails the test.
pub(crate) fn load(name: &str) -> Value {
    let path = vectors().join("wire").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("cannot read {}: {err}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The list under a name.
pub(crate) fn list<'a>(json: &'a Value, name: &str) -> &'a [Value] {
    json[name].as_array().unwrap_or_else(|| panic!("{name} is no list"))
}

/// The bytes that stand as hex under a name.
pub(crate) fn bytes(json: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(json, name).trim_start_matches("0x")).unwrap()
}

/// The text under a name.
pub(crate) fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("{name} is no text"))
}

/// The number under a name.
pub(crate) fn number(json: &Value, name: &str) -> u64 {
    json[name].as_u64().unwrap_or_else(|| panic!("{name} is no number"))
}

/// The cluster that the frames are of.
pub(crate) struct Cluster {
    /// The nodes' keys, in the order of the lock.
    pub(crate) keys: Vec<NodePublic>,
    /// The chain as the nodes saw it.
    pub(crate) spec: ChainSpec,
    /// The fork version of everything that was signed.
    pub(crate) version: ForkVersion,
    /// The validators with their public shares.
    pub(crate) validators: Vec<(ValidatorPublic, Vec<SharePublic>)>,
}

impl Cluster {
    /// Reads `peers.json`.
    pub(crate) fn load() -> Self {
        let json = load("peers.json");
        let network = &json["network"];
        let version = text(network, "fork_version_used_for_domains").parse().unwrap();
        let spec = ChainSpec {
            genesis_time_s: number(network, "genesis_time"),
            genesis_validators_root: text(network, "genesis_validators_root").parse::<Root>().unwrap(),
            genesis_fork_version: ForkVersion::default(),
            slot_ms: 1000 * number(network, "slot_seconds"),
            slots_per_epoch: number(network, "slots_per_epoch"),
            forks: vec![Fork { epoch: Epoch(0), version }],
        };
        let keys: Vec<NodePublic> = list(&json, "peers")
            .iter()
            .map(|peer| NodePublic::from_slice(&bytes(peer, "public_key")).unwrap())
            .collect();
        for (key, peer) in keys.iter().zip(list(&json, "peers")) {
            assert_eq!(key.peer_id(), text(peer, "peer_id"));
        }
        let validators = list(&json, "validators").iter().map(|validator| {
            let shares = list(validator, "public_shares").iter().map(|share| share.as_str().unwrap().parse().unwrap());
            (text(validator, "public_key").parse().unwrap(), shares.collect())
        });
        Self { keys, spec, version, validators: validators.collect() }
    }

    /// The public share of a validator; `None` when there is none.
    pub(crate) fn share(&self, validator: &ValidatorPublic, share: ShareIndex) -> Option<SharePublic> {
        let (_, shares) = self.validators.iter().find(|(key, _)| key == validator)?;
        shares.get(usize::from(share.operator().map(|OperatorIndex(index)| index)?)).copied()
    }
}
