//! Everything that can go into the node and everything that can come out of it.

use holdfast_eth::AttestationData;
use holdfast_types::{
    DutyId, Epoch, Mode, OperatorIndex, PartialSignature, Root, Signature, Slot, ValidatorIndex, ValidatorPublic,
};
use holdfast_wire::parsigex::PartialSet;
use holdfast_wire::qbft::{ConsensusMsg, Msg, SignedMsg, Value};

use crate::alarm::{Alarm, PeerFault};
use crate::partials::{BlsDone, BlsJob};

/// What wakes the node. The list is closed.
#[derive(Debug)]
pub enum Input {
    /// The time that the node asked for (`Node::next_wake`) has come.
    Wake,
    /// What the beacon node says about itself changed, or was asked again.
    BeaconStatus(BeaconStatus),
    /// The cluster's validators that are active in an epoch. Answers [`Effect::FetchValidators`].
    Validators {
        /// The epoch asked for.
        epoch: Epoch,
        /// The active ones, by their key; `Err` carries the reason.
        result: Result<Vec<(ValidatorPublic, ValidatorIndex)>, BeaconFailure>,
    },
    /// The attester duties of an epoch. Answers [`Effect::FetchAttesterDuties`].
    AttesterDuties {
        /// The epoch asked for.
        epoch: Epoch,
        /// The duties.
        result: Result<AttesterDuties, BeaconFailure>,
    },
    /// The head of the chain moved.
    Head(HeadEvent),
    /// Attestation data. Answers [`Effect::FetchAttestationData`].
    AttestationData {
        /// The slot asked for.
        slot: Slot,
        /// The data.
        result: Result<AttestationData, BeaconFailure>,
    },
    /// A peer has a connection now.
    PeerUp(OperatorIndex),
    /// A peer's last connection is gone.
    PeerDown(OperatorIndex),
    /// A verified consensus message: from a peer, or our own after [`Effect::SignConsensus`].
    Consensus {
        /// Whose stream it came on; our own index for our own messages.
        from: OperatorIndex,
        /// The message.
        message: ConsensusMsg,
    },
    /// Partial signatures from a peer, not verified yet.
    Partials {
        /// Whose stream they came on.
        from: OperatorIndex,
        /// The set.
        set: PartialSet,
    },
    /// The vault's answers. Answers [`Effect::SignAttestations`].
    AttestationsSigned {
        /// The duty.
        duty: DutyId,
        /// A partial signature or the reason of the refusal, per validator.
        results: Vec<(ValidatorPublic, Result<PartialSignature, VaultFailure>)>,
    },
    /// A finished job of the worker pool. Answers [`Effect::Bls`].
    BlsDone(BlsDone),
    /// The beacon node's answer to a submission. Answers [`Effect::SubmitAttestations`].
    Submitted {
        /// The duty.
        duty: DutyId,
        /// Whether it was taken; says nothing about inclusion.
        result: Result<(), BeaconFailure>,
    },
    /// Whether the vault signs changed, or why it does not.
    Vault(VaultState),
    /// The operator, or the system, asked the node to finish.
    Drain,
}

/// Why a beacon node did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BeaconFailure(pub String);

/// Why the vault did not sign, or does not sign at all, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct VaultFailure(pub String);

/// Whether the vault signs. The node agrees with its peers in any case; only its own partial signatures depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultState {
    /// It stopped for safety, and only a start anew brings it back.
    Broken(VaultFailure),
    /// It signs nothing for now.
    Closed(VaultFailure),
    /// It signs.
    Open,
}

/// What the beacon node says about its own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeaconStatus {
    /// Follows the chain.
    Synced,
    /// Is behind, optimistic, or without its execution node; `reason` says which.
    Syncing {
        /// In words for the operator.
        reason: String,
    },
    /// Does not answer.
    Unreachable {
        /// In words for the operator.
        reason: String,
    },
}

/// A move of the chain's head (`head` event of the Beacon API).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadEvent {
    /// The slot of the new head.
    pub slot: Slot,
    /// Its block root.
    pub block: Root,
    /// The root that the duties of this epoch depend on, where the node says so.
    pub current_dependent_root: Option<Root>,
    /// The root that the attester duties of this epoch depend on, where the node says so.
    pub previous_dependent_root: Option<Root>,
}

/// The attester duties of the cluster's validators in one epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttesterDuties {
    /// When this changes, the duties changed too.
    pub dependent_root: Root,
    /// The duties.
    pub duties: Vec<AttesterDuty>,
}

/// One validator's attester duty (Beacon API `duties/attester`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttesterDuty {
    /// The validator's group key.
    pub validator: ValidatorPublic,
    /// Its index.
    pub index: ValidatorIndex,
    /// The slot to attest.
    pub slot: Slot,
    /// Its committee.
    pub committee_index: u64,
    /// The size of the committee.
    pub committee_length: u64,
    /// The committees of the slot.
    pub committees_at_slot: u64,
    /// Its place in the committee.
    pub position: u64,
}

/// What the node wants done. Edges do it, and answer with an [`Input`] where the variant says so.
#[derive(Debug)]
pub enum Effect {
    /// Ask which of the cluster's validators are active. Answer: [`Input::Validators`].
    FetchValidators(Epoch),
    /// Ask for attester duties. Answer: [`Input::AttesterDuties`].
    FetchAttesterDuties {
        /// The epoch.
        epoch: Epoch,
        /// The active validators.
        validators: Vec<ValidatorIndex>,
    },
    /// Ask for the data to attest. Answer: [`Input::AttestationData`].
    FetchAttestationData(Slot),
    /// Sign `msg` with the node key, send it to every peer, and hand it back as [`Input::Consensus`].
    SignConsensus(OutgoingConsensus),
    /// Have the vault sign. Answer: [`Input::AttestationsSigned`].
    SignAttestations {
        /// The duty.
        duty: DutyId,
        /// What to attest, per validator.
        batch: Vec<(ValidatorPublic, AttestationData)>,
    },
    /// Send our partial signatures to every peer.
    SendPartials(PartialSet),
    /// Run on the worker pool. Answer: [`Input::BlsDone`].
    Bls(BlsJob),
    /// Give finished attestations to every beacon node. Answer: [`Input::Submitted`].
    SubmitAttestations {
        /// The duty.
        duty: DutyId,
        /// The attestations.
        attestations: Vec<SingleAttestation>,
    },
    /// The mode or its reason changed.
    Mode {
        /// The new mode.
        mode: Mode,
        /// State, reason and remedy in words for the operator.
        reason: String,
    },
    /// Something became of a duty; for logs, metrics and the duty list.
    Duty(DutyEvent),
    /// A peer did what it must not; for logs and metrics.
    Fault {
        /// The peer.
        peer: OperatorIndex,
        /// What it did; displays as words for the operator.
        fault: PeerFault,
    },
    /// What cannot happen did; for logs, metrics and the operator's eye. Displays as words for the operator.
    Alarm(Alarm),
}

/// A consensus message that only lacks our signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingConsensus {
    /// What it says.
    pub msg: Msg,
    /// Messages of others that justify it.
    pub justification: Vec<SignedMsg>,
    /// The values of every hash in it.
    pub values: Vec<Value>,
}

/// A finished attestation (Electra `SingleAttestation`), with its group signature verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleAttestation {
    /// The attester's committee.
    pub committee_index: u64,
    /// The attester.
    pub attester_index: ValidatorIndex,
    /// What is attested.
    pub data: AttestationData,
    /// The group signature.
    pub signature: Signature,
}

/// A step that a duty took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutyEvent {
    /// The duty.
    pub duty: DutyId,
    /// Milliseconds since the duty's start (for an attester: a third into the slot).
    pub after_ms: i64,
    /// The step.
    pub step: DutyStep,
}

/// The steps of a duty, in their usual order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DutyStep {
    /// The duty began, for so many validators.
    Started {
        /// The cluster's validators with this duty.
        validators: usize,
    },
    /// Our beacon node gave the data to propose.
    DataFetched,
    /// The cluster decided.
    Decided {
        /// In this round.
        round: u64,
    },
    /// It is decided what to sign, and our vault is not asked, for this reason so far.
    Withheld {
        /// In words for the operator.
        why: String,
    },
    /// The vault signed, and refused, so many.
    Signed {
        /// How many partial signatures it made.
        signed: usize,
        /// Why others were refused, if any.
        refused: Vec<String>,
    },
    /// A peer's partial signatures were verified.
    PartialsFrom {
        /// Who signed.
        operator: OperatorIndex,
        /// How many.
        partials: usize,
    },
    /// Group signatures were made for so many validators.
    Combined {
        /// How many so far.
        validators: usize,
    },
    /// A beacon node took so many attestations.
    Broadcast {
        /// How many.
        attestations: usize,
    },
    /// The duty ended without all its validators being broadcast.
    Missed {
        /// How many were not.
        validators: usize,
        /// At which step it hung, in words for the operator.
        why: String,
    },
}
