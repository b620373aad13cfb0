//! The JSON forms of payloads: what is sent for some kinds, and what is accepted in place of SSZ for the others.

use holdfast_eth::aggregate::{
    AggregateAndProof, Attestation, Phase0AggregateAndProof, Phase0Attestation, Phase0SignedAggregateAndProof,
    SignedAggregateAndProof,
};
use holdfast_eth::sync::{
    ContributionAndProof, SignedContributionAndProof, SyncCommitteeContribution, SyncCommitteeMessage,
};
use holdfast_eth::{BuilderRegistration, SignedRegistration};
use holdfast_types::{Epoch, PartialSignature, Root, Signature, Slot, ValidatorIndex, ValidatorPublic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ssz::{BitList, BitVector, Decode};

use super::{
    BadPayload, PartialAggregate, PartialAttestation, PartialExit, PartialRandao, PartialSelection,
    PartialSyncSelection, check_version,
};
use crate::json::{AttestationDataJson, Hex, Quoted, looks_like_object};

/// Reads JSON after SSZ failed with `err`, which stays the answer when the bytes do not begin like JSON.
pub(super) fn instead<T>(
    bytes: &[u8],
    err: BadPayload,
    read: impl FnOnce(&[u8]) -> Result<T, BadPayload>,
) -> Result<T, BadPayload> {
    if looks_like_object(bytes) { read(bytes) } else { Err(err) }
}

pub(super) fn exit(bytes: &[u8]) -> Result<PartialExit, BadPayload> {
    let json: ExitJson = parse(bytes, "partially signed exit")?;
    Ok(PartialExit {
        epoch: Epoch(json.message.epoch.0),
        validator: ValidatorIndex(json.message.validator_index.0),
        signature: json.signature,
    })
}

pub(super) fn encode_exit(exit: &PartialExit) -> Vec<u8> {
    let message = ExitMessageJson { epoch: Quoted(exit.epoch.0), validator_index: Quoted(exit.validator.0) };
    write(&ExitJson { message, signature: exit.signature })
}

pub(super) fn registration(bytes: &[u8]) -> Result<SignedRegistration, BadPayload> {
    let json: RegistrationJson = parse(bytes, "partially signed registration")?;
    if json.version != 0 {
        return Err(BadPayload::Version(json.version));
    }
    let message = json.registration.message;
    let fee_recipient = message.fee_recipient.0.try_into();
    Ok(SignedRegistration {
        message: BuilderRegistration {
            fee_recipient: fee_recipient
                .map_err(|_| BadPayload::Malformed { what: "partially signed registration", len: bytes.len() })?,
            gas_limit: message.gas_limit.0,
            timestamp_s: message.timestamp.0,
            pubkey: message.pubkey,
        },
        signature: json.registration.signature,
    })
}

pub(super) fn encode_registration(registration: &SignedRegistration) -> Vec<u8> {
    let message = &registration.message;
    write(&RegistrationJson {
        version: 0,
        registration: SignedRegistrationJson {
            message: RegistrationMessageJson {
                fee_recipient: Hex(message.fee_recipient.to_vec()),
                gas_limit: Quoted(message.gas_limit),
                timestamp: Quoted(message.timestamp_s),
                pubkey: message.pubkey,
            },
            signature: registration.signature,
        },
    })
}

pub(super) fn randao(bytes: &[u8]) -> Result<PartialRandao, BadPayload> {
    let json: RandaoJson = parse(bytes, "partial RANDAO reveal")?;
    Ok(PartialRandao { epoch: Epoch(json.epoch.0), signature: json.signature })
}

pub(super) fn encode_randao(randao: &PartialRandao) -> Vec<u8> {
    write(&RandaoJson { epoch: Quoted(randao.epoch.0), signature: randao.signature })
}

pub(super) fn selection(bytes: &[u8]) -> Result<PartialSelection, BadPayload> {
    let json: SelectionJson = parse(bytes, "partial selection proof")?;
    Ok(PartialSelection {
        validator: ValidatorIndex(json.validator_index.0),
        slot: Slot(json.slot.0),
        selection_proof: json.selection_proof,
    })
}

pub(super) fn encode_selection(selection: &PartialSelection) -> Vec<u8> {
    write(&SelectionJson {
        validator_index: Quoted(selection.validator.0),
        slot: Quoted(selection.slot.0),
        selection_proof: selection.selection_proof,
    })
}

pub(super) fn sync_selection(bytes: &[u8]) -> Result<PartialSyncSelection, BadPayload> {
    let json: SyncSelectionJson = parse(bytes, "partial sync selection proof")?;
    Ok(PartialSyncSelection {
        validator: ValidatorIndex(json.validator_index.0),
        slot: Slot(json.slot.0),
        subcommittee: json.subcommittee_index.0,
        selection_proof: json.selection_proof,
    })
}

pub(super) fn encode_sync_selection(selection: &PartialSyncSelection) -> Vec<u8> {
    write(&SyncSelectionJson {
        validator_index: Quoted(selection.validator.0),
        slot: Quoted(selection.slot.0),
        subcommittee_index: Quoted(selection.subcommittee),
        selection_proof: selection.selection_proof,
    })
}

pub(super) fn attestation(bytes: &[u8]) -> Result<PartialAttestation, BadPayload> {
    const WHAT: &str = "partially signed attestation";
    let json: VersionedAttestation = parse(bytes, WHAT)?;
    check_version(json.version)?;
    let attestation = json.attestation.into_electra().ok_or(BadPayload::Malformed { what: WHAT, len: bytes.len() })?;
    let validator = json.validator_index.map(|index| ValidatorIndex(index.0));
    Ok(PartialAttestation::from_container(json.version, validator, &attestation))
}

pub(super) fn aggregate(bytes: &[u8]) -> Result<PartialAggregate, BadPayload> {
    const WHAT: &str = "partially signed aggregate";
    let VersionedAggregate { version, aggregate_and_proof } = parse(bytes, WHAT)?;
    let SignedAggregateJson { message, signature } = aggregate_and_proof;
    let (aggregator_index, selection_proof) = (message.aggregator_index.0, message.selection_proof.0);
    let malformed = || BadPayload::Malformed { what: WHAT, len: bytes.len() };
    match version {
        0..=4 => {
            let aggregate = message.aggregate.into_phase0().ok_or_else(malformed)?;
            let message = Phase0AggregateAndProof { aggregator_index, aggregate, selection_proof };
            let signed = Box::new(Phase0SignedAggregateAndProof { message, signature: signature.0 });
            Ok(PartialAggregate::Phase0 { version: Some(version), signed })
        }
        5..=6 => {
            let aggregate = message.aggregate.into_electra().ok_or_else(malformed)?;
            let message = AggregateAndProof { aggregator_index, aggregate, selection_proof };
            let signed = Box::new(SignedAggregateAndProof { message, signature: signature.0 });
            Ok(PartialAggregate::Electra { version, signed })
        }
        _ => Err(BadPayload::Version(version)),
    }
}

pub(super) fn sync_message(bytes: &[u8]) -> Result<SyncCommitteeMessage, BadPayload> {
    let json: SyncMessageJson = parse(bytes, "sync committee message")?;
    Ok(SyncCommitteeMessage {
        slot: json.slot.0,
        beacon_block_root: json.beacon_block_root.0,
        validator_index: json.validator_index.0,
        signature: json.signature.0,
    })
}

pub(super) fn contribution(bytes: &[u8]) -> Result<SignedContributionAndProof, BadPayload> {
    const WHAT: &str = "signed sync contribution";
    let SignedContributionJson { message, signature } = parse(bytes, WHAT)?;
    let contribution = message.contribution;
    let aggregation_bits = BitVector::from_ssz_bytes(&contribution.aggregation_bits.0)
        .map_err(|_| BadPayload::Malformed { what: WHAT, len: bytes.len() })?;
    Ok(SignedContributionAndProof {
        message: ContributionAndProof {
            aggregator_index: message.aggregator_index.0,
            contribution: SyncCommitteeContribution {
                slot: contribution.slot.0,
                beacon_block_root: contribution.beacon_block_root.0,
                subcommittee_index: contribution.subcommittee_index.0,
                aggregation_bits,
                signature: contribution.signature.0,
            },
            selection_proof: message.selection_proof.0,
        },
        signature: signature.0,
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, BadPayload> {
    serde_json::from_slice(bytes).map_err(|_| BadPayload::Malformed { what, len: bytes.len() })
}

fn write<T: Serialize>(json: &T) -> Vec<u8> {
    serde_json::to_vec(json).expect("structs of strings and numbers are JSON")
}

#[derive(Serialize, Deserialize)]
struct ExitJson {
    message: ExitMessageJson,
    signature: PartialSignature,
}

#[derive(Serialize, Deserialize)]
struct ExitMessageJson {
    epoch: Quoted,
    validator_index: Quoted,
}

#[derive(Serialize, Deserialize)]
struct RegistrationJson {
    version: u64,
    registration: SignedRegistrationJson,
}

#[derive(Serialize, Deserialize)]
struct SignedRegistrationJson {
    message: RegistrationMessageJson,
    signature: Signature,
}

#[derive(Serialize, Deserialize)]
struct RegistrationMessageJson {
    fee_recipient: Hex,
    gas_limit: Quoted,
    timestamp: Quoted,
    pubkey: ValidatorPublic,
}

#[derive(Serialize, Deserialize)]
struct RandaoJson {
    epoch: Quoted,
    signature: PartialSignature,
}

#[derive(Serialize, Deserialize)]
struct SelectionJson {
    validator_index: Quoted,
    slot: Quoted,
    selection_proof: PartialSignature,
}

#[derive(Serialize, Deserialize)]
struct SyncSelectionJson {
    validator_index: Quoted,
    slot: Quoted,
    subcommittee_index: Quoted,
    selection_proof: PartialSignature,
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
    signature: Signature,
    committee_bits: Option<Hex>,
}

#[derive(Deserialize)]
struct VersionedAggregate {
    version: u64,
    aggregate_and_proof: SignedAggregateJson,
}

#[derive(Deserialize)]
struct SignedAggregateJson {
    message: AggregateJson,
    signature: PartialSignature,
}

#[derive(Deserialize)]
struct AggregateJson {
    aggregator_index: Quoted,
    aggregate: AttestationJson,
    selection_proof: Signature,
}

#[derive(Deserialize)]
struct SyncMessageJson {
    slot: Quoted,
    beacon_block_root: Root,
    validator_index: Quoted,
    signature: PartialSignature,
}

#[derive(Deserialize)]
struct SignedContributionJson {
    message: ContributionAndProofJson,
    signature: PartialSignature,
}

#[derive(Deserialize)]
struct ContributionAndProofJson {
    aggregator_index: Quoted,
    contribution: ContributionJson,
    selection_proof: Signature,
}

#[derive(Deserialize)]
struct ContributionJson {
    slot: Quoted,
    beacon_block_root: Root,
    subcommittee_index: Quoted,
    aggregation_bits: Hex,
    signature: Signature,
}

impl AttestationJson {
    fn into_electra(self) -> Option<Attestation> {
        Some(Attestation {
            aggregation_bits: BitList::from_ssz_bytes(&self.aggregation_bits.0).ok()?,
            data: self.data.into(),
            signature: self.signature.0,
            committee_bits: BitVector::from_ssz_bytes(&self.committee_bits?.0).ok()?,
        })
    }

    fn into_phase0(self) -> Option<Phase0Attestation> {
        Some(Phase0Attestation {
            aggregation_bits: BitList::from_ssz_bytes(&self.aggregation_bits.0).ok()?,
            data: self.data.into(),
            signature: self.signature.0,
        })
    }
}
