//! What a partial signature signs, by kind of duty (`cluster-wire.md` sections 9.2 and 9.3).

mod json;

use holdfast_eth::AttestationData;
use holdfast_eth::aggregate::Attestation;
use holdfast_types::{DutyKind, PartialSignature, ValidatorIndex};
use ssz::{BitList, BitVector, Decode, Encode};

/// What a partial signature signs, by kind of duty. Kinds that the node does not do yet are carried undecoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "attestations are by far the most common; a box for each would be waste")]
pub enum Payload {
    /// Duty type 2 (section 9.3), Electra and later.
    Attestation(PartialAttestation),
    /// Any other kind: the bytes as they came.
    Other(Vec<u8>),
}

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

/// What is wrong with a payload. Each is a peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// A kind of duty for which running nodes exchange no partial signatures.
    #[error("nodes exchange no partial signatures for the duty {0}")]
    NotExchanged(DutyKind),
    /// A fork that the node does not know, or whose form it no longer takes.
    #[error("payload is of fork version {0}, whose form is not supported here")]
    Version(u64),
    /// Neither of the forms that the kind has.
    #[error("payload of {len} bytes is no {what}")]
    Malformed {
        /// What it should be.
        what: &'static str,
        /// How long it is.
        len: usize,
    },
    /// Nothing is signed.
    #[error("signature in the payload is all zero")]
    ZeroSignature,
}

impl Payload {
    pub(crate) fn decode(kind: DutyKind, bytes: &[u8]) -> Result<Self, BadPayload> {
        match kind {
            DutyKind::Attester => PartialAttestation::decode(bytes).map(Self::Attestation),
            DutyKind::Signature | DutyKind::BuilderProposer | DutyKind::InfoSync => Err(BadPayload::NotExchanged(kind)),
            _ => Ok(Self::Other(bytes.to_vec())),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Attestation(attestation) => attestation.encode(),
            Self::Other(bytes) => bytes.clone(),
        }
    }

    /// The partial signature itself.
    #[must_use]
    pub fn signature(&self) -> PartialSignature {
        match self {
            Self::Attestation(attestation) => attestation.signature,
            Self::Other(_) => PartialSignature::default(),
        }
    }
}

impl PartialAttestation {
    /// The SSZ form with its header: aggregation bits empty and one committee bit, as the reference builds it.
    fn encode(&self) -> Vec<u8> {
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

    fn decode(bytes: &[u8]) -> Result<Self, BadPayload> {
        let decoded = Self::from_ssz(bytes).or_else(|err| match json::attestation(bytes) {
            Some(decoded) => decoded,
            None => Err(err),
        })?;
        if decoded.signature == PartialSignature::default() {
            return Err(BadPayload::ZeroSignature);
        }
        Ok(decoded)
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

    fn from_container(version: u64, validator: Option<ValidatorIndex>, attestation: &Attestation) -> Self {
        let mut committees = attestation.committee_bits.iter().enumerate().filter(|(_, set)| *set);
        let committee = match (committees.next(), committees.next()) {
            (Some((index, _)), None) => Some(index as u64),
            _ => None,
        };
        let signature = PartialSignature(attestation.signature);
        Self { version, validator, committee, data: attestation.data, signature }
    }
}

/// Electra and fulu, which share their form. Earlier forks are over on every network that a cluster can be made for.
fn check_version(version: u64) -> Result<(), BadPayload> {
    if (5..=6).contains(&version) { Ok(()) } else { Err(BadPayload::Version(version)) }
}

/// Version, validator index, offset.
const WITH_INDEX_LEN: usize = 20;
/// Version, offset.
const WITHOUT_INDEX_LEN: usize = 12;

#[cfg(test)]
mod tests;
