//! The SSZ forms of payloads (`cluster-wire.md` section 9.2). Where a kind has one, it is tried before JSON.

use holdfast_eth::aggregate::{Phase0SignedAggregateAndProof, SignedAggregateAndProof};
use holdfast_eth::block::SignedProposal;
use holdfast_eth::sync::{SignedContributionAndProof, SyncCommitteeMessage};
use holdfast_types::{Epoch, PartialSignature, ValidatorIndex};
use ssz::{Decode, Encode};

use super::{BadPayload, PartialAggregate, PartialExit, PartialProposal, json};

/// A block behind its header of 13 bytes. Its JSON form, which nobody is known to send, is not read.
pub(super) fn proposal(bytes: &[u8]) -> Result<PartialProposal, BadPayload> {
    let malformed = || BadPayload::Malformed { what: "partially signed block", len: bytes.len() };
    let (version, rest) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
    let (blinded, rest) = rest.split_first().ok_or_else(malformed)?;
    let offset = u32::from_le_bytes(*rest.first_chunk().ok_or_else(malformed)?) as usize;
    let object = bytes.get(offset..).filter(|_| offset >= PROPOSAL_HEADER_LEN).ok_or_else(malformed)?;
    let version = u64::from_le_bytes(*version);
    Ok(PartialProposal { version, proposal: SignedProposal::from_ssz(version, *blinded == 1, object)? })
}

pub(super) fn encode_proposal(proposal: &PartialProposal) -> Vec<u8> {
    let mut bytes = proposal.version.to_le_bytes().to_vec();
    bytes.push(u8::from(proposal.proposal.is_blinded()));
    bytes.extend_from_slice(&(PROPOSAL_HEADER_LEN as u32).to_le_bytes());
    bytes.extend_from_slice(&proposal.proposal.to_ssz());
    bytes
}

/// An aggregate: the bare form of phase0 is tried first, then the one with a header, then JSON.
pub(super) fn aggregate(bytes: &[u8]) -> Result<PartialAggregate, BadPayload> {
    if let Ok(signed) = Phase0SignedAggregateAndProof::from_ssz_bytes(bytes) {
        return Ok(PartialAggregate::Phase0 { version: None, signed: Box::new(signed) });
    }
    versioned_aggregate(bytes).or_else(|err| json::instead(bytes, err, json::aggregate))
}

fn versioned_aggregate(bytes: &[u8]) -> Result<PartialAggregate, BadPayload> {
    let malformed = || BadPayload::Malformed { what: "partially signed aggregate", len: bytes.len() };
    let (version, rest) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
    let offset = u32::from_le_bytes(*rest.first_chunk().ok_or_else(malformed)?) as usize;
    let object = bytes.get(offset..).filter(|_| offset >= AGGREGATE_HEADER_LEN).ok_or_else(malformed)?;
    match u64::from_le_bytes(*version) {
        version @ 0..=4 => Phase0SignedAggregateAndProof::from_ssz_bytes(object)
            .map(|signed| PartialAggregate::Phase0 { version: Some(version), signed: Box::new(signed) }),
        version @ 5..=6 => SignedAggregateAndProof::from_ssz_bytes(object)
            .map(|signed| PartialAggregate::Electra { version, signed: Box::new(signed) }),
        version => return Err(BadPayload::Version(version)),
    }
    .map_err(|_| malformed())
}

pub(super) fn encode_aggregate(aggregate: &PartialAggregate) -> Vec<u8> {
    let (version, object) = match aggregate {
        PartialAggregate::Phase0 { version: None, signed } => return signed.as_ssz_bytes(),
        PartialAggregate::Phase0 { version: Some(version), signed } => (*version, signed.as_ssz_bytes()),
        PartialAggregate::Electra { version, signed } => (*version, signed.as_ssz_bytes()),
    };
    let mut bytes = version.to_le_bytes().to_vec();
    bytes.extend_from_slice(&(AGGREGATE_HEADER_LEN as u32).to_le_bytes());
    bytes.extend_from_slice(&object);
    bytes
}

pub(super) fn sync_message(bytes: &[u8]) -> Result<SyncCommitteeMessage, BadPayload> {
    let malformed = BadPayload::Malformed { what: "sync committee message", len: bytes.len() };
    SyncCommitteeMessage::from_ssz_bytes(bytes).or_else(|_| json::instead(bytes, malformed, json::sync_message))
}

pub(super) fn contribution(bytes: &[u8]) -> Result<SignedContributionAndProof, BadPayload> {
    let malformed = BadPayload::Malformed { what: "signed sync contribution", len: bytes.len() };
    SignedContributionAndProof::from_ssz_bytes(bytes).or_else(|_| json::instead(bytes, malformed, json::contribution))
}

/// Exits are sent as JSON, but their SSZ form is taken too.
pub(super) fn exit(bytes: &[u8]) -> Option<PartialExit> {
    let bytes: &[u8; 112] = bytes.try_into().ok()?;
    let (epoch, rest) = bytes.split_first_chunk()?;
    let (validator, signature) = rest.split_first_chunk()?;
    Some(PartialExit {
        epoch: Epoch(u64::from_le_bytes(*epoch)),
        validator: ValidatorIndex(u64::from_le_bytes(*validator)),
        signature: PartialSignature::from_slice(signature)?,
    })
}

/// Version, blinded, offset.
const PROPOSAL_HEADER_LEN: usize = 13;
/// Version, offset.
const AGGREGATE_HEADER_LEN: usize = 12;
