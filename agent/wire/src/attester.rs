//! The value of an attester duty (`cluster-wire.md` section 8.1).

use holdfast_eth::AttestationData;
use holdfast_types::{Slot, ValidatorIndex, ValidatorPublic};
use serde::Deserialize;

use crate::json::{AttestationDataJson, Quoted, looks_like_object};

/// What one validator is to attest, with the duty that it does so by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttesterValue {
    /// What to attest.
    pub data: AttestationData,
    /// The validator's duty.
    pub duty: AttesterDuty,
}

/// A validator's place in the committees of a slot, as the Beacon API gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttesterDuty {
    /// The validator's group key.
    pub validator: ValidatorPublic,
    /// The slot.
    pub slot: Slot,
    /// Its index on the chain.
    pub validator_index: ValidatorIndex,
    /// Its committee.
    pub committee_index: u64,
    /// The members of that committee.
    pub committee_length: u64,
    /// The committees of the slot.
    pub committees_at_slot: u64,
    /// Its position in the committee.
    pub validator_committee_index: u64,
}

/// Bytes that are no attester value. A peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAttesterValue {
    /// Neither SSZ nor JSON.
    #[error("attester value of {0} bytes is neither its SSZ form nor JSON")]
    NotSsz(usize),
    /// JSON of something else.
    #[error("attester value is JSON of another form: {0}")]
    Json(String),
}

impl AttesterValue {
    /// The length of the SSZ form in bytes.
    pub const SSZ_LEN: usize = 232;

    /// The SSZ form, which is the one that is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::SSZ_LEN);
        bytes.extend_from_slice(&(DATA_AT as u32).to_le_bytes());
        bytes.extend_from_slice(&(DUTY_AT as u32).to_le_bytes());
        bytes.extend_from_slice(&self.data.to_ssz());
        let duty = &self.duty;
        bytes.extend_from_slice(&duty.validator.0);
        for number in [
            duty.slot.0,
            duty.validator_index.0,
            duty.committee_index,
            duty.committee_length,
            duty.committees_at_slot,
            duty.validator_committee_index,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// Reads the SSZ form or, failing that, JSON.
    ///
    /// # Errors
    ///
    /// [`BadAttesterValue`] when the bytes are neither.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadAttesterValue> {
        if let Some(value) = Self::from_ssz(bytes) {
            return Ok(value);
        }
        if !looks_like_object(bytes) {
            return Err(BadAttesterValue::NotSsz(bytes.len()));
        }
        let json: ValueJson = serde_json::from_slice(bytes).map_err(|err| BadAttesterValue::Json(err.to_string()))?;
        Ok(json.into())
    }

    /// The offsets need not be the usual ones, and bytes after the duty are ignored, as by the reference.
    fn from_ssz(bytes: &[u8]) -> Option<Self> {
        let offset = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(|four| u32::from_le_bytes(four) as usize);
        let (data_at, duty_at) = (offset(0)?, offset(4)?);
        if data_at < DATA_AT {
            return None;
        }
        let data = AttestationData::from_ssz(bytes.get(data_at..duty_at)?)?;
        let (validator, rest) = bytes.get(duty_at..)?.split_first_chunk::<48>()?;
        let number = |index: usize| rest.get(8 * index..8 * index + 8)?.try_into().ok().map(u64::from_le_bytes);
        let duty = AttesterDuty {
            validator: ValidatorPublic(*validator),
            slot: Slot(number(0)?),
            validator_index: ValidatorIndex(number(1)?),
            committee_index: number(2)?,
            committee_length: number(3)?,
            committees_at_slot: number(4)?,
            validator_committee_index: number(5)?,
        };
        Some(Self { data, duty })
    }
}

#[derive(Deserialize)]
struct ValueJson {
    attestation_data: AttestationDataJson,
    attestation_duty: DutyJson,
}

#[derive(Deserialize)]
struct DutyJson {
    pubkey: ValidatorPublic,
    slot: Quoted,
    validator_index: Quoted,
    committee_index: Quoted,
    committee_length: Quoted,
    committees_at_slot: Quoted,
    validator_committee_index: Quoted,
}

impl From<ValueJson> for AttesterValue {
    fn from(json: ValueJson) -> Self {
        let duty = json.attestation_duty;
        Self {
            data: json.attestation_data.into(),
            duty: AttesterDuty {
                validator: duty.pubkey,
                slot: Slot(duty.slot.0),
                validator_index: ValidatorIndex(duty.validator_index.0),
                committee_index: duty.committee_index.0,
                committee_length: duty.committee_length.0,
                committees_at_slot: duty.committees_at_slot.0,
                validator_committee_index: duty.validator_committee_index.0,
            },
        }
    }
}

const DATA_AT: usize = 8;
const DUTY_AT: usize = DATA_AT + AttestationData::SSZ_LEN;

#[cfg(test)]
pub(crate) mod tests {
    use holdfast_eth::Checkpoint;
    use holdfast_types::Epoch;

    use super::*;

    /// The value of `cluster-wire.md` section 14.2.
    pub(crate) fn golden() -> AttesterValue {
        let root = |text: &str| text.parse().unwrap();
        AttesterValue {
            data: AttestationData {
                slot: Slot(514_638_103_004_729),
                index: 541_534_746_216_824,
                beacon_block_root: root("511455780875d64ee2d3d0d0de6bf8f9b44ce85ff044c6b1f83b8e883bbf857a"),
                source: Checkpoint {
                    epoch: Epoch(8_680_519_444_419_779),
                    root: root("67cfe242cf3ccc4ea3ae5e88526a9f4a578bcb9ef2d4a65314768d6d299761ea"),
                },
                target: Checkpoint {
                    epoch: Epoch(7_188_671_451_061_252),
                    root: root("ddcdd01d756bce6c512c3801aacaeedfad5b506664e8c0e4a771ece0b8b7c196"),
                },
            },
            duty: AttesterDuty {
                validator: "a5512e043e9b9aa687907adf5dba61350991daef80dd5c470c90650aaf7b5fd9\
                            0022215ae7966bb600191b1825f88d42"
                    .parse()
                    .unwrap(),
                slot: Slot(6_297_973_871_790_195),
                validator_index: ValidatorIndex(5_837_491_528_443_234),
                committee_index: 3_686_642_976_763_210,
                committee_length: 256,
                committees_at_slot: 256,
                validator_committee_index: 224,
            },
        }
    }

    #[test]
    fn the_ssz_form_round_trips() {
        let bytes = golden().encode();
        assert_eq!(bytes.len(), AttesterValue::SSZ_LEN);
        assert_eq!(AttesterValue::decode(&bytes), Ok(golden()));
        assert_eq!(AttesterValue::decode(&[&bytes[..], &[1, 2]].concat()), Ok(golden()), "more is ignored");
        for len in 0..bytes.len() {
            assert_eq!(AttesterValue::decode(&bytes[..len]), Err(BadAttesterValue::NotSsz(len)));
        }
    }

    #[test]
    fn json_is_read_when_the_bytes_are_no_ssz() {
        let text = golden_json();
        assert_eq!(AttesterValue::decode(text.as_bytes()), Ok(golden()));
        assert_eq!(AttesterValue::decode(format!(" \n{text}").as_bytes()), Ok(golden()));
        let wrong = text.replacen("\"256\"", "256", 1);
        assert!(matches!(AttesterValue::decode(wrong.as_bytes()), Err(BadAttesterValue::Json(_))));
    }

    fn golden_json() -> String {
        let AttesterValue { data, duty } = golden();
        format!(
            r#"{{"attestation_data":{{"slot":"{}","index":"{}","beacon_block_root":"{}",
            "source":{{"epoch":"{}","root":"{}"}},"target":{{"epoch":"{}","root":"{}"}}}},
            "attestation_duty":{{"pubkey":"{}","slot":"{}","validator_index":"{}","committee_index":"{}",
            "committee_length":"{}","committees_at_slot":"{}","validator_committee_index":"{}"}}}}"#,
            data.slot,
            data.index,
            data.beacon_block_root,
            data.source.epoch,
            data.source.root,
            data.target.epoch,
            data.target.root,
            duty.validator,
            duty.slot,
            duty.validator_index,
            duty.committee_index,
            duty.committee_length,
            duty.committees_at_slot,
            duty.validator_committee_index,
        )
    }
}
