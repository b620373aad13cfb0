//! What is asked of the vault and what it answers.

use std::fmt;

use holdfast_eth::AttestationData;
use holdfast_types::{Epoch, LockHash, PartialSignature, Root, ShareIndex, ValidatorPublic};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// One request. Nothing else can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// What the vault is and holds.
    Status,
    /// The node identity key, which the daemon holds by design.
    IdentityKey,
    /// Partial signatures for a batch of attestations; recorded first, each answered on its own.
    SignAttestations(Vec<AttestationToSign>),
    /// Takes shares in the clear, from the test kit.
    #[cfg(feature = "danger_emulated_tpm")]
    DangerImport(DangerImport),
}

/// The answer to the request of the same name.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// Answers [`Request::Status`].
    Status(VaultStatus),
    /// Answers [`Request::IdentityKey`].
    IdentityKey(IdentityKey),
    /// Answers [`Request::SignAttestations`], in the order of the batch.
    Attestations(Vec<Result<PartialSignature, SigningRefused>>),
    /// Answers `DangerImport`.
    Imported,
    /// The request as a whole was refused.
    Rejected(Rejection),
}

/// One attestation to sign with the share of one validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationToSign {
    /// The validator's group key.
    pub validator: ValidatorPublic,
    /// What to attest.
    pub data: AttestationData,
}

/// What the vault says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultStatus {
    /// The vault's version.
    pub version: String,
    /// The lock that its shares belong to; `None` while it is empty.
    pub lock_hash: Option<LockHash>,
    /// The validators it holds a share of.
    pub validators: Vec<ValidatorPublic>,
    /// The index of its shares; `None` while it is empty.
    pub share_index: Option<ShareIndex>,
    /// Whether the TPM is emulated: tier C.
    pub emulated_tpm: bool,
    /// How the shares are kept out of reach: `memfd_secret` or `mlock`.
    pub memory: String,
    /// Why the vault signs nothing at present, if so.
    pub closed: Option<String>,
}

/// The node identity key.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct IdentityKey(pub [u8; 32]);

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(..)")
    }
}

/// Why one attestation of a batch was not signed. Names the rule and, where there is one, the earlier record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SigningRefused {
    /// The vault holds no share of this validator.
    #[error("no share of validator {0} in this vault")]
    UnknownValidator(ValidatorPublic),
    /// The slashing rules forbid it.
    #[error(transparent)]
    Slashable(#[from] AttestationRefusal),
    /// The data contradicts itself or the clock.
    #[error("attestation for slot {slot}, target epoch {target} is outside what may be signed now: {reason}")]
    OutOfRange {
        /// Its slot.
        slot: u64,
        /// Its target epoch.
        target: u64,
        /// Which bound it breaks.
        reason: String,
    },
}

/// Which slashing rule forbids an attestation, and what was signed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AttestationRefusal {
    /// Another attestation of the same target was signed.
    #[error("double vote: target epoch {target} was signed before with another root {signed}")]
    DoubleVote {
        /// The target.
        target: Epoch,
        /// The root of the data that was signed.
        signed: Root,
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
}

/// Why a request as a whole was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The vault holds nothing yet.
    #[error("the vault is empty: import shares first")]
    Empty,
    /// The vault holds shares already.
    #[error("the vault holds shares already: it takes no second import")]
    NotEmpty,
    /// The vault is closed, for the reason given.
    #[error("the vault signs nothing: {0}")]
    Closed(String),
    /// The bytes are no request.
    #[error("the request is not one that this vault knows: {0}")]
    Malformed(String),
    /// The request names more than the bound allows.
    #[error("the request has {found} entries, at most {allowed} are allowed")]
    TooLarge {
        /// How many there were.
        found: u64,
        /// How many there may be.
        allowed: u64,
    },
}

/// Everything that the test kit hands to an empty vault.
#[cfg(feature = "danger_emulated_tpm")]
#[derive(Serialize, Deserialize)]
pub struct DangerImport {
    /// The lock that the shares belong to.
    pub lock_hash: LockHash,
    /// The network, pinned from now on.
    pub chain: holdfast_types::ChainSpec,
    /// The node identity key.
    pub identity: IdentityKey,
    /// The index of the shares.
    pub share_index: ShareIndex,
    /// One share for each validator.
    pub shares: Vec<DangerShare>,
}

#[cfg(feature = "danger_emulated_tpm")]
impl fmt::Debug for DangerImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DangerImport({} shares of {})", self.shares.len(), self.lock_hash)
    }
}

/// One share in the clear.
#[cfg(feature = "danger_emulated_tpm")]
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct DangerShare {
    /// The validator's group key.
    #[zeroize(skip)]
    pub validator: ValidatorPublic,
    /// The share, big-endian.
    pub secret: [u8; 32],
}

#[cfg(feature = "danger_emulated_tpm")]
impl fmt::Debug for DangerShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DangerShare(of {})", self.validator)
    }
}
