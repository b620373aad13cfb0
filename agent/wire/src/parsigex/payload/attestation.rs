//! The payload of an attester duty (`cluster-wire.md` section 9.3).

use holdfast_eth::AttestationData;
use holdfast_eth::aggregate::Attestation;
use holdfast_types::{PartialSignature, ValidatorIndex};
use ssz::{BitList, BitVector, Decode, Encode};

use super::{BadPayload, check_version, json};

/// A partially signed attestation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialAttestation {
    /// The fork's number (section 8: electra 5, fulu 6).
    pub version: u64,
    /// The attester, where the payload names it.
    pub validator: Option<ValidatorIndex>,
    /// The committee whose bit is set.
    pub committee: Option<u64>,
    /// What is attested.
    pub data: AttestationData,
    /// The partial signature.
    pub signature: PartialSignature,
}

impl PartialAttestation {
    /// The SSZ form with its header: aggregation bits empty and one committee bit, as the reference builds it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut committee_bits = BitVector::new();
        if let Some(committee) = self.committee.and_then(|index| usize::try_from(index).ok()) {
            // A committee beyond 63 has no bit. Only what is signed counts, and the bits are not.
            let _ = committee_bits.set(committee, true);
        }
        let attestation = Attestation {
            aggregation_bits: BitList::with_capacity(0).expect("no bits are within any limit"),
            data: self.data,
            signature: self.signature.0,
            committee_bits,
        };
        let mut bytes = self.version.to_le_bytes().to_vec();
        if let Some(validator) = self.validator {
            bytes.extend_from_slice(&validator.0.to_le_bytes());
        }
        let offset = if self.validator.is_some() { WITH_INDEX_LEN } else { WITHOUT_INDEX_LEN };
        bytes.extend_from_slice(&(offset as u32).to_le_bytes());
        attestation.ssz_append(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        Self::from_ssz(bytes).or_else(|err| json::instead(bytes, err, json::attestation))
    }

    fn from_ssz(bytes: &[u8]) -> Result<Self, BadPayload> {
        let malformed = || BadPayload::Malformed { what: "partially signed attestation", len: bytes.len() };
        let version = u64::from_le_bytes(*bytes.first_chunk().ok_or_else(malformed)?);
        let offset = |at: usize| bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four) as usize);
        let (validator, body) = if offset(WITH_INDEX_LEN - 4) == Some(WITH_INDEX_LEN) {
            let index = bytes.get(8..).and_then(<[u8]>::first_chunk).ok_or_else(malformed)?;
            (Some(ValidatorIndex(u64::from_le_bytes(*index))), &bytes[WITH_INDEX_LEN..])
        } else if offset(WITHOUT_INDEX_LEN - 4) == Some(WITHOUT_INDEX_LEN) {
            (None, &bytes[WITHOUT_INDEX_LEN..])
        } else {
            return Err(malformed());
        };
        check_version(version)?;
        let attestation = Attestation::from_ssz_bytes(body).map_err(|_| malformed())?;
        Ok(Self::from_container(version, validator, &attestation))
    }

    pub(super) fn from_container(version: u64, validator: Option<ValidatorIndex>, attestation: &Attestation) -> Self {
        let mut committees = attestation.committee_bits.iter().enumerate().filter(|(_, set)| *set);
        let committee = match (committees.next(), committees.next()) {
            (Some((index, _)), None) => Some(index as u64),
            _ => None,
        };
        let signature = PartialSignature(attestation.signature);
        Self { version, validator, committee, data: attestation.data, signature }
    }
}

/// Version, validator index, offset.
const WITH_INDEX_LEN: usize = 20;
/// Version, offset.
const WITHOUT_INDEX_LEN: usize = 12;
