//! The Beacon API's JSON, as far as it is used: integers are decimal strings, roots and keys are hex with `0x`.

use std::collections::BTreeMap;

use holdfast_core::io::{AttesterDuty, SingleAttestation};
use holdfast_eth::{AttestationData, Checkpoint};
use holdfast_types::{Epoch, ForkVersion, Root, Slot, ValidatorIndex, ValidatorPublic};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A `u64` as the API writes it: a decimal string. Bare numbers are read too, since some nodes write them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal(pub(super) u64);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<'a> {
            Text(#[serde(borrow)] std::borrow::Cow<'a, str>),
            Number(u64),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => Ok(Self(number)),
            Form::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
        }
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// What most answers are wrapped in.
#[derive(Debug, Deserialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

#[derive(Debug, Deserialize)]
pub(super) struct Genesis {
    pub(super) genesis_time: Decimal,
    pub(super) genesis_validators_root: Root,
    pub(super) genesis_fork_version: ForkVersion,
}

#[derive(Debug, Deserialize)]
pub(super) struct ForkEntry {
    pub(super) current_version: ForkVersion,
    pub(super) epoch: Decimal,
}

/// The configuration has about 200 keys of many types; only texts matter here.
pub(super) type Spec = BTreeMap<String, serde_json::Value>;

#[derive(Debug, Deserialize)]
pub(super) struct Syncing {
    pub(super) sync_distance: Decimal,
    pub(super) is_syncing: bool,
    #[serde(default)]
    pub(super) is_optimistic: bool,
    #[serde(default)]
    pub(super) el_offline: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct ValidatorEntry {
    pub(super) index: Decimal,
    #[serde(default)]
    status: String,
    pub(super) validator: ValidatorFields,
}

#[derive(Debug, Deserialize)]
pub(super) struct ValidatorFields {
    pub(super) pubkey: ValidatorPublic,
    pub(super) activation_epoch: Decimal,
    pub(super) exit_epoch: Decimal,
}

impl ValidatorEntry {
    /// Its status, such as `active_ongoing`; empty when what the node says is no word.
    pub(super) fn status(&self) -> &str {
        let is_word =
            self.status.len() <= 32 && self.status.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if is_word { &self.status } else { "" }
    }

    /// Whether the validator has duties in an epoch.
    pub(super) fn is_active_in(&self, epoch: Epoch) -> bool {
        self.validator.activation_epoch.0 <= epoch.0 && epoch.0 < self.validator.exit_epoch.0
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DutiesAnswer {
    pub(super) dependent_root: Root,
    pub(super) data: Vec<DutyEntry>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DutyEntry {
    pubkey: ValidatorPublic,
    validator_index: Decimal,
    committee_index: Decimal,
    committee_length: Decimal,
    committees_at_slot: Decimal,
    validator_committee_index: Decimal,
    slot: Decimal,
}

impl From<DutyEntry> for AttesterDuty {
    fn from(entry: DutyEntry) -> Self {
        Self {
            validator: entry.pubkey,
            index: ValidatorIndex(entry.validator_index.0),
            slot: Slot(entry.slot.0),
            committee_index: entry.committee_index.0,
            committee_length: entry.committee_length.0,
            committees_at_slot: entry.committees_at_slot.0,
            position: entry.validator_committee_index.0,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CheckpointJson {
    epoch: Decimal,
    root: Root,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AttestationDataJson {
    slot: Decimal,
    index: Decimal,
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

impl From<AttestationData> for AttestationDataJson {
    fn from(data: AttestationData) -> Self {
        let checkpoint = |c: Checkpoint| CheckpointJson { epoch: Decimal(c.epoch.0), root: c.root };
        Self {
            slot: Decimal(data.slot.0),
            index: Decimal(data.index),
            beacon_block_root: data.beacon_block_root,
            source: checkpoint(data.source),
            target: checkpoint(data.target),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct SingleAttestationJson {
    committee_index: Decimal,
    attester_index: Decimal,
    data: AttestationDataJson,
    signature: String,
}

impl From<&SingleAttestation> for SingleAttestationJson {
    fn from(attestation: &SingleAttestation) -> Self {
        Self {
            committee_index: Decimal(attestation.committee_index),
            attester_index: Decimal(attestation.attester_index.0),
            data: attestation.data.into(),
            signature: attestation.signature.to_string(),
        }
    }
}

/// A refusal of some entries of a batch; the others were taken.
#[derive(Debug, Deserialize)]
pub(super) struct BatchRefusal {
    pub(super) failures: Vec<EntryRefusal>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EntryRefusal {
    pub(super) message: String,
}

/// The `head` event. Nodes differ in what they add, so what is not needed may be absent.
#[derive(Debug, Deserialize)]
pub(super) struct HeadJson {
    pub(super) slot: Decimal,
    pub(super) block: Root,
    #[serde(default, deserialize_with = "root_or_none")]
    pub(super) current_duty_dependent_root: Option<Root>,
    #[serde(default, deserialize_with = "root_or_none")]
    pub(super) previous_duty_dependent_root: Option<Root>,
}

/// A head without usable roots is still a head.
fn root_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Root>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_text_and_as_numbers_and_written_as_text() {
        assert_eq!(serde_json::from_str::<Decimal>("\"18446744073709551615\"").unwrap(), Decimal(u64::MAX));
        assert_eq!(serde_json::from_str::<Decimal>("7").unwrap(), Decimal(7));
        assert!(serde_json::from_str::<Decimal>("\"-1\"").is_err());
        assert_eq!(serde_json::to_string(&Decimal(7)).unwrap(), "\"7\"");
    }

    #[test]
    fn attestation_data_round_trips() {
        let data = AttestationData { slot: Slot(9), index: 1, ..AttestationData::default() };
        let text = serde_json::to_string(&AttestationDataJson::from(data)).unwrap();
        let back: AttestationDataJson = serde_json::from_str(&text).unwrap();
        assert_eq!(AttestationData::from(back), data);
    }
}
