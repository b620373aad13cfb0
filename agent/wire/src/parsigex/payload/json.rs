//! The JSON forms of payloads: what is sent for some kinds, and what is accepted in place of SSZ for the others.

use holdfast_eth::aggregate::Attestation;
use holdfast_types::ValidatorIndex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ssz::{BitList, BitVector, Decode};

use super::{BadPayload, PartialAttestation, check_version};
use crate::json::{AttestationDataJson, Hex, Quoted, looks_like_object};

/// Reads an attestation when the bytes may be JSON.
pub(super) fn attestation(bytes: &[u8]) -> Option<Result<PartialAttestation, BadPayload>> {
    let json: VersionedAttestation = match object(bytes, "partially signed attestation")? {
        Ok(json) => json,
        Err(err) => return Some(Err(err)),
    };
    let malformed = BadPayload::Malformed { what: "partially signed attestation", len: bytes.len() };
    Some(check_version(json.version).and_then(|()| {
        let attestation = json.attestation.into_container().ok_or(malformed)?;
        let validator = json.validator_index.map(|index| ValidatorIndex(index.0));
        Ok(PartialAttestation::from_container(json.version, validator, &attestation))
    }))
}

/// Reads a JSON object; `None` when the bytes do not begin like one.
fn object<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Option<Result<T, BadPayload>> {
    looks_like_object(bytes)
        .then(|| serde_json::from_slice(bytes).map_err(|_| BadPayload::Malformed { what, len: bytes.len() }))
}

#[derive(Deserialize)]
struct VersionedAttestation {
    version: u64,
    validator_index: Option<Quoted>,
    attestation: AttestationJson,
}

#[derive(Deserialize)]
struct AttestationJson {
    aggregation_bits: Hex,
    data: AttestationDataJson,
    signature: Hex,
    committee_bits: Hex,
}

impl AttestationJson {
    fn into_container(self) -> Option<Attestation> {
        Some(Attestation {
            aggregation_bits: BitList::from_ssz_bytes(&self.aggregation_bits.0).ok()?,
            data: self.data.into(),
            signature: self.signature.0.try_into().ok()?,
            committee_bits: BitVector::from_ssz_bytes(&self.committee_bits.0).ok()?,
        })
    }
}
