//! JSON in the style of the Beacon API: numbers as decimal strings, bytes as hex with `0x`.

use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_types::{Epoch, Root, Slot};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A number that is written as a decimal string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted(pub(crate) u64);

impl Serialize for Quoted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quoted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// Whether bytes may be JSON: after white space they begin an object.
pub(crate) fn looks_like_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct CheckpointJson {
    epoch: Quoted,
    root: Root,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct AttestationDataJson {
    slot: Quoted,
    index: Quoted,
    beacon_block_root: Root,
    source: CheckpointJson,
    target: CheckpointJson,
}

impl From<CheckpointJson> for Checkpoint {
    fn from(json: CheckpointJson) -> Self {
        Self { epoch: Epoch(json.epoch.0), root: json.root }
    }
}

impl From<AttestationDataJson> for AttestationData {
    fn from(json: AttestationDataJson) -> Self {
        Self {
            slot: Slot(json.slot.0),
            index: json.index.0,
            beacon_block_root: json.beacon_block_root,
            source: json.source.into(),
            target: json.target.into(),
        }
    }
}

/// Bytes of any length, as hex with `0x`.
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| D::Error::custom("hex without 0x"))?;
        hex::decode(digits).map(Self).map_err(D::Error::custom)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{}", hex::encode(&self.0)))
    }
}
