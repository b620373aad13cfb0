//! What is asked of the vault and what it answers.

use std::fmt;

use holdfast_eth::{AttestationData, BeaconBlockHeader};
use holdfast_evidence::{Approval, Credential, Evidence, EvidenceKind, LoggedOrder, SignedOrder, Tier};
use holdfast_types::{
    BoxName, Challenge, Epoch, HistoryMarks, LockHash, P256Public, PartialSignature, Root, ShareIndex, Slot,
    ValidatorPublic,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// One request. Nothing else can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// What the vault is and holds.
    Status,
    /// The watermarks, some validators at a time.
    HistoryBackup {
        /// Those whose keys follow this one; from the first on when there is none.
        after: Option<ValidatorPublic>,
    },
    /// The node identity key, which the daemon holds by design.
    IdentityKey,
    /// A certificate of the box key for the daemon's TLS key.
    CertifyTlsKey {
        /// The daemon's key.
        key: P256Public,
    },
    /// Something that the TPM signs about this box.
    Evidence {
        /// About what.
        kind: EvidenceKind,
        /// The asker's nonce.
        nonce: [u8; 32],
    },
    /// Seals anew, to the level of the image that runs.
    RaiseLevel,
    /// Keeps an approval of a boot state; the TPM judges it at the next boot.
    ApproveFirmware(Approval),
    /// Partial signatures for a batch of attestations; recorded first, each answered on its own.
    SignAttestations(Vec<AttestationToSign>),
    /// A partial signature for a block; recorded first.
    SignBlock(BlockToSign),
    /// RANDAO reveals.
    SignRandao {
        /// The epoch.
        epoch: Epoch,
        /// Whose.
        validators: Vec<ValidatorPublic>,
    },
    /// Proofs of having been selected as aggregator.
    SignSelection {
        /// The slot.
        slot: Slot,
        /// Whose.
        validators: Vec<ValidatorPublic>,
    },
    /// Proofs of having been selected as sync contributor.
    SignSyncSelection {
        /// The slot.
        slot: Slot,
        /// Whose, and in which subcommittee.
        selections: Vec<(ValidatorPublic, u64)>,
    },
    /// Sync committee messages: the object root is that of a block.
    SignSyncMessage {
        /// The slot.
        slot: Slot,
        /// The block's root.
        block_root: Root,
        /// Whose.
        validators: Vec<ValidatorPublic>,
    },
    /// Aggregates with their proofs, by their object roots.
    SignAggregate(Vec<RootToSign>),
    /// Sync contributions with their proofs, by their object roots.
    SignContribution(Vec<RootToSign>),
    /// A one-time number for an order.
    Challenge,
    /// An order of the authority.
    Order(SignedOrder),
    /// The log of orders and refusals, some entries at a time.
    OrderLog {
        /// Those after this number; from the first that is kept on when it is 0.
        after: u64,
    },
    /// Opens a credential: the TPM gives out what is in it only when it is for its own endorsement key and for the
    /// attestation key of this box.
    ActivateCredential(Credential),
}

/// The answer to the request of the same name.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// Answers [`Request::Status`].
    Status(Box<VaultStatus>),
    /// Answers [`Request::HistoryBackup`]: at most [`HISTORY_PAGE_LEN`](crate::codec::HISTORY_PAGE_LEN) validators.
    History(HistoryMarks),
    /// Answers [`Request::IdentityKey`].
    IdentityKey(IdentityKey),
    /// Answers [`Request::CertifyTlsKey`]: an X.509 certificate in DER for a week, signed by the box key.
    TlsCertificate(Vec<u8>),
    /// Answers [`Request::Evidence`].
    Evidence(Box<Evidence>),
    /// Answers [`Request::RaiseLevel`] and [`Request::ApproveFirmware`].
    Done,
    /// Answers every request for signatures, in the order of the batch.
    Signatures(Vec<Result<PartialSignature, SigningRefused>>),
    /// Answers [`Request::Challenge`].
    Challenge(Challenge),
    /// Answers [`Request::Order`].
    OrderDone(OrderOutcome),
    /// Answers [`Request::OrderLog`].
    OrderLog(Vec<LoggedOrder>),
    /// The request as a whole was refused.
    Rejected(Rejection),
    /// Answers [`Request::ActivateCredential`].
    Activated([u8; 32]),
}

/// One attestation to sign with the share of one validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationToSign {
    /// The validator's group key.
    pub validator: ValidatorPublic,
    /// What to attest.
    pub data: AttestationData,
}

/// One block to sign with the share of one validator. The vault computes its root from the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockToSign {
    /// The validator's group key.
    pub validator: ValidatorPublic,
    /// The block's header.
    pub header: BeaconBlockHeader,
}

/// An object root under the one domain that its request stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootToSign {
    /// The validator's group key.
    pub validator: ValidatorPublic,
    /// The slot of the object: its epoch decides the fork.
    pub slot: Slot,
    /// The object's hash-tree root.
    pub root: Root,
}

/// What an order brought about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderOutcome {
    /// It was carried out.
    Done,
    /// It was carried out, and a partial signature is its result: `Exit` and `Register`.
    Signed(PartialSignature),
}

/// What the vault says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultStatus {
    /// The vault's version.
    pub version: String,
    /// The box; orders name it.
    pub box_name: BoxName,
    /// The authority; `None` while nobody owns the box.
    pub authority: Option<P256Public>,
    /// The lock that its shares belong to; `None` while it holds none.
    pub lock_hash: Option<LockHash>,
    /// The validators it holds a share of.
    pub validators: Vec<ValidatorPublic>,
    /// The index of its shares; `None` while it holds none.
    pub share_index: Option<ShareIndex>,
    /// What the seal means here.
    pub tier: Tier,
    /// Why it is no better tier, in words.
    pub tier_reason: String,
    /// How the shares are kept out of reach: `memfd_secret` or `mlock`.
    pub memory: String,
    /// The generation of what is sealed; `None` while nothing is.
    pub generation: Option<u64>,
    /// The level it is sealed to; `None` while nothing is.
    pub level: Option<u64>,
    /// The lease; `None` while there is none.
    pub lease: Option<LeaseStatus>,
    /// How many orders and refusals were logged.
    pub orders_logged: u64,
    /// The head of their hash chain.
    pub orders_head: [u8; 32],
    /// Why the vault signs nothing at present, if so.
    pub closed: Option<Closed>,
}

/// Until when the vault may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// The value of the TPM's counter.
    pub counter: u64,
    /// The last epoch that may be signed at that value.
    pub last_epoch: Epoch,
    /// The first epoch that may be signed.
    pub first_epoch: Epoch,
}

/// Why the vault signs nothing: what is wrong, and what helps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The reason's stable name.
    pub id: ClosedId,
    /// State, reason, remedy, in words.
    pub reason: String,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.reason)
    }
}

/// The reasons why a vault signs nothing. Their names never change once released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClosedId {
    /// The lease is brought up to the present after the box was off.
    CatchingUp,
    /// The history is not there, or not what the lease says it was.
    HistoryLost,
    /// The disk is older than the TPM's counters say.
    HistoryRolledBack,
    /// The history cannot be written or read.
    HistoryUnusable,
    /// The counter ran ahead of time; signing goes on by itself.
    LeaseAhead,
    /// The vault did not end in order; signing goes on by itself.
    LeaseUnclean,
    /// The box has an authority, and no shares yet.
    NoShares,
    /// Nobody owns the box.
    NotOwned,
    /// What is sealed was made with another TPM.
    OtherMachine,
    /// The boot state or the software is not approved.
    PolicyFailed,
    /// A sealed file is not what was written.
    SealDamaged,
    /// The TPM does not answer.
    TpmFailed,
    /// A counter of the TPM is not ours, or gone.
    TpmReplaced,
    /// A counter of the TPM is lower than it was.
    TpmRolledBack,
}

impl ClosedId {
    /// The name, as the API and the log have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CatchingUp => "catching-up",
            Self::HistoryLost => "history-lost",
            Self::HistoryRolledBack => "history-rolled-back",
            Self::HistoryUnusable => "history-unusable",
            Self::LeaseAhead => "lease-ahead",
            Self::LeaseUnclean => "lease-unclean",
            Self::NoShares => "no-shares",
            Self::NotOwned => "not-owned",
            Self::OtherMachine => "other-machine",
            Self::PolicyFailed => "policy-failed",
            Self::SealDamaged => "seal-damaged",
            Self::TpmFailed => "tpm-failed",
            Self::TpmReplaced => "tpm-replaced",
            Self::TpmRolledBack => "tpm-rolled-back",
        }
    }
}

impl fmt::Display for ClosedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The node identity key.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct IdentityKey(pub [u8; 32]);

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(..)")
    }
}

/// Why one signature of a batch was not made. Names the rule and, where there is one, the earlier record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SigningRefused {
    /// The vault holds no share of this validator.
    #[error("no share of validator {0} in this vault")]
    UnknownValidator(ValidatorPublic),
    /// The slashing rules forbid it.
    #[error(transparent)]
    Slashable(#[from] SlashingRefusal),
    /// The data contradicts itself or the clock.
    #[error("{what} is outside what may be signed now: {reason}")]
    OutOfRange {
        /// What was to be signed: `attestation for slot 5, target epoch 0`.
        what: String,
        /// Which bound it breaks.
        reason: String,
    },
    /// The lease does not reach so far.
    #[error("{what} is outside the lease: {reason}")]
    OutsideLease {
        /// What was to be signed.
        what: String,
        /// Which bound it breaks.
        reason: String,
    },
}

/// Which slashing rule forbids a signature, and what was signed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SlashingRefusal {
    /// Another attestation of the same target was signed.
    #[error("double vote: target epoch {target} was signed before with {}", other_root(signed))]
    DoubleVote {
        /// The target.
        target: Epoch,
        /// The signing root of what was signed; `None` when it is not known.
        signed: Option<Root>,
    },
    /// The target is not above the highest that was signed.
    #[error("target epoch {target} is below {highest_target}, the highest that was signed")]
    TargetTooLow {
        /// The target asked for.
        target: Epoch,
        /// The highest signed.
        highest_target: Epoch,
    },
    /// The source is below the highest that was signed: it would surround an earlier vote.
    #[error("surround vote: source epoch {source_epoch} is below {highest_source}, the highest that was signed")]
    SourceTooLow {
        /// The source asked for.
        source_epoch: Epoch,
        /// The highest signed.
        highest_source: Epoch,
    },
    /// The source is above the target.
    #[error("source epoch {source_epoch} is above target epoch {target}")]
    SourceAboveTarget {
        /// The source asked for.
        source_epoch: Epoch,
        /// The target asked for.
        target: Epoch,
    },
    /// Another block of the same slot was signed.
    #[error("double proposal: slot {slot} was signed before with {}", other_root(signed))]
    DoubleProposal {
        /// The slot.
        slot: Slot,
        /// The signing root of what was signed; `None` when it is not known.
        signed: Option<Root>,
    },
    /// The slot is not above the highest of a signed block.
    #[error("block slot {slot} is below {highest_slot}, the highest that was signed")]
    SlotTooLow {
        /// The slot asked for.
        slot: Slot,
        /// The highest signed.
        highest_slot: Slot,
    },
    /// What may have been signed before is not known up to here.
    #[error("below the floor: nothing up to epoch {up_to} is signed, because what was signed up to there is not known")]
    BelowFloor {
        /// The last epoch that is barred.
        up_to: Epoch,
    },
    /// Which blocks may have been signed before is not known up to here.
    #[error("below the floor: no block up to slot {up_to} is signed, because what was signed up to there is not known")]
    SlotBelowFloor {
        /// The last slot that is barred.
        up_to: Slot,
    },
}

fn other_root(signed: &Option<Root>) -> String {
    signed.map_or_else(|| "a root that is not known".into(), |root| format!("another root {root}"))
}

/// Why a request as a whole was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The vault signs nothing at present.
    #[error("the vault signs nothing: {0}")]
    Closed(Closed),
    /// The bytes are no request.
    #[error("the request is not one that this vault knows: {0}")]
    Malformed(String),
    /// The vault has no node identity yet.
    #[error("the vault has no node identity yet: order one")]
    NoIdentity,
    /// The order was not carried out.
    #[error("order {kind} refused: {reason}")]
    Order {
        /// Its kind.
        kind: String,
        /// Why, and what helps.
        reason: String,
    },
    /// The request names more than the bound allows.
    #[error("the request has {found} entries, at most {allowed} are allowed")]
    TooLarge {
        /// How many there were.
        found: u64,
        /// How many there may be.
        allowed: u64,
    },
    /// The TPM did not do its part.
    #[error("the TPM did not do what the request needs: {0}")]
    Tpm(String),
    /// The TPM does not open the credential.
    #[error("the TPM does not open the credential: it is for another box, or was changed; make a new one")]
    Credential,
}
