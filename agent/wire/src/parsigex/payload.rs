//! What a partial signature signs, by kind of duty (`cluster-wire.md` sections 9.2 to 9.4).

mod attestation;
mod json;
mod signed;
mod ssz_forms;

use holdfast_eth::SignedRegistration;
use holdfast_eth::aggregate::{Phase0SignedAggregateAndProof, SignedAggregateAndProof};
use holdfast_eth::block::{BlockError, SignedProposal};
use holdfast_eth::sync::{SignedContributionAndProof, SyncCommitteeMessage};
use holdfast_types::{DutyKind, Epoch, PartialSignature, Slot, ValidatorIndex};

pub use attestation::PartialAttestation;
pub use signed::{Signed, SignedAt};

/// What a partial signature signs, by kind of duty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Duty type 1: a block with its fork's number.
    Proposal(PartialProposal),
    /// Duty type 2 (section 9.3), Electra and later.
    Attestation(PartialAttestation),
    /// Duty type 4.
    Exit(PartialExit),
    /// Duty type 6. Running nodes do not send it.
    Registration(Box<SignedRegistration>),
    /// Duty type 7.
    Randao(PartialRandao),
    /// Duty type 8.
    Selection(PartialSelection),
    /// Duty type 9.
    Aggregate(PartialAggregate),
    /// Duty type 10.
    SyncMessage(Box<SyncCommitteeMessage>),
    /// Duty type 11.
    SyncSelection(PartialSyncSelection),
    /// Duty type 12.
    Contribution(Box<SignedContributionAndProof>),
}

/// A partially signed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialProposal {
    /// The fork's number (section 8: deneb 4, electra 5, fulu 6).
    pub version: u64,
    /// The block and its partial signature.
    pub proposal: SignedProposal,
}

/// A partially signed exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialExit {
    /// The first epoch in which it may be included.
    pub epoch: Epoch,
    /// Who leaves.
    pub validator: ValidatorIndex,
    /// The partial signature.
    pub signature: PartialSignature,
}

/// A partial RANDAO reveal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialRandao {
    /// The epoch that is signed.
    pub epoch: Epoch,
    /// The partial signature.
    pub signature: PartialSignature,
}

/// A partial proof of the selection as aggregator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialSelection {
    /// Who is selected.
    pub validator: ValidatorIndex,
    /// The slot that is signed.
    pub slot: Slot,
    /// The partial signature.
    pub selection_proof: PartialSignature,
}

/// A partial proof of the selection as sync contributor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialSyncSelection {
    /// Who is selected.
    pub validator: ValidatorIndex,
    /// The slot that is signed.
    pub slot: Slot,
    /// The subcommittee that is signed.
    pub subcommittee: u64,
    /// The partial signature.
    pub selection_proof: PartialSignature,
}

/// A partially signed aggregate with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartialAggregate {
    /// Of a fork up to deneb.
    Phase0 {
        /// The fork's number, 0 to 4; `None` for the bare form that names none.
        version: Option<u64>,
        /// The aggregate and its partial signature.
        signed: Box<Phase0SignedAggregateAndProof>,
    },
    /// Electra and later.
    Electra {
        /// The fork's number, 5 or 6.
        version: u64,
        /// The aggregate and its partial signature.
        signed: Box<SignedAggregateAndProof>,
    },
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
    /// Not a block.
    #[error("payload is no signed block")]
    Block(#[from] BlockError),
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
        let payload = match kind {
            DutyKind::Proposer => Self::Proposal(ssz_forms::proposal(bytes)?),
            DutyKind::Attester => Self::Attestation(PartialAttestation::decode(bytes)?),
            DutyKind::Exit => Self::Exit(json::exit(bytes).or_else(|err| ssz_forms::exit(bytes).ok_or(err))?),
            DutyKind::BuilderRegistration => Self::Registration(Box::new(json::registration(bytes)?)),
            DutyKind::Randao => Self::Randao(json::randao(bytes)?),
            DutyKind::PrepareAggregator => Self::Selection(json::selection(bytes)?),
            DutyKind::Aggregator => Self::Aggregate(ssz_forms::aggregate(bytes)?),
            DutyKind::SyncMessage => Self::SyncMessage(Box::new(ssz_forms::sync_message(bytes)?)),
            DutyKind::PrepareSyncContribution => Self::SyncSelection(json::sync_selection(bytes)?),
            DutyKind::SyncContribution => Self::Contribution(Box::new(ssz_forms::contribution(bytes)?)),
            DutyKind::Signature | DutyKind::BuilderProposer | DutyKind::InfoSync => {
                return Err(BadPayload::NotExchanged(kind));
            }
        };
        if payload.signature() == PartialSignature::default() {
            return Err(BadPayload::ZeroSignature);
        }
        Ok(payload)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Proposal(proposal) => ssz_forms::encode_proposal(proposal),
            Self::Attestation(attestation) => attestation.encode(),
            Self::Exit(exit) => json::encode_exit(exit),
            Self::Registration(registration) => json::encode_registration(registration),
            Self::Randao(randao) => json::encode_randao(randao),
            Self::Selection(selection) => json::encode_selection(selection),
            Self::Aggregate(aggregate) => ssz_forms::encode_aggregate(aggregate),
            Self::SyncMessage(message) => ssz::Encode::as_ssz_bytes(&**message),
            Self::SyncSelection(selection) => json::encode_sync_selection(selection),
            Self::Contribution(contribution) => ssz::Encode::as_ssz_bytes(&**contribution),
        }
    }

    /// The partial signature itself.
    #[must_use]
    pub fn signature(&self) -> PartialSignature {
        match self {
            Self::Proposal(proposal) => PartialSignature(*proposal.proposal.signature()),
            Self::Attestation(attestation) => attestation.signature,
            Self::Exit(exit) => exit.signature,
            Self::Registration(registration) => PartialSignature(registration.signature.0),
            Self::Randao(randao) => randao.signature,
            Self::Selection(selection) => selection.selection_proof,
            Self::Aggregate(PartialAggregate::Phase0 { signed, .. }) => PartialSignature(signed.signature),
            Self::Aggregate(PartialAggregate::Electra { signed, .. }) => PartialSignature(signed.signature),
            Self::SyncMessage(message) => PartialSignature(message.signature),
            Self::SyncSelection(selection) => selection.selection_proof,
            Self::Contribution(contribution) => PartialSignature(contribution.signature),
        }
    }
}

/// Electra and fulu, which share the form of their attestations. Earlier forks are over on every network that a cluster
/// can be made for.
fn check_version(version: u64) -> Result<(), BadPayload> {
    if (5..=6).contains(&version) { Ok(()) } else { Err(BadPayload::Version(version)) }
}

#[cfg(test)]
mod tests;
