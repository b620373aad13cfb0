//! Signed blocks as the Beacon API exchanges them: full with their blobs, or blinded (consensus-specs deneb and electra;
//! builder-specs for the blinded ones).
//!
//! Earlier forks are left out: they are over on every network that a cluster can be made for. Fulu keeps the blocks of
//! electra.

mod body;
mod operations;
mod payload;

use holdfast_types::{Root, Slot};
use ssz::{Decode, Encode};
use ssz_derive::{Decode, Encode};
use ssz_types::typenum::{U4096, U131072, U33554432};
use ssz_types::{FixedVector, VariableList};
use tree_hash::TreeHash;
use tree_hash_derive::TreeHash;

pub use body::{BlindedDenebBody, BlindedElectraBody, DenebBody, ElectraBody};
pub use operations::{
    AttesterSlashing, BlsToExecutionChange, ConsolidationRequest, Deposit, DepositContents, DepositRequest, Eth1Data,
    ExecutionRequests, Header, IndexedAttestation, ProposerSlashing, SignedBlsToExecutionChange, SignedHeader,
    SignedVoluntaryExit, SyncAggregate, VoluntaryExit, WithdrawalRequest,
};
pub use payload::{ExecutionPayload, ExecutionPayloadHeader, Withdrawal};

/// `BeaconBlock` with the body of some fork.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct BeaconBlock<B: Encode + Decode + TreeHash> {
    /// The slot.
    pub slot: u64,
    /// The proposer's index on the chain.
    pub proposer_index: u64,
    /// The root of the parent block.
    pub parent_root: [u8; 32],
    /// The root of the state after the block.
    pub state_root: [u8; 32],
    /// All else.
    pub body: B,
}

/// `SignedBeaconBlock` with the body of some fork.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedBlock<B: Encode + Decode + TreeHash> {
    /// What is signed.
    pub message: BeaconBlock<B>,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `SignedBlockContents`: a full block with the proofs and blobs that its commitments are of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedContents<B: Encode + Decode + TreeHash> {
    /// The block.
    pub signed_block: SignedBlock<B>,
    /// Since fulu one proof per cell of the extended blobs, before one per blob.
    pub kzg_proofs: VariableList<[u8; 48], U33554432>,
    /// The blobs; not part of what is signed.
    pub blobs: VariableList<FixedVector<u8, U131072>, U4096>,
}

/// A signed block of any fork and form that is supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedProposal {
    /// Deneb, full.
    Deneb(Box<SignedContents<DenebBody>>),
    /// Deneb, blinded.
    BlindedDeneb(Box<SignedBlock<BlindedDenebBody>>),
    /// Electra or fulu, full.
    Electra(Box<SignedContents<ElectraBody>>),
    /// Electra or fulu, blinded.
    BlindedElectra(Box<SignedBlock<BlindedElectraBody>>),
}

/// Bytes that are no signed block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A fork that is not supported.
    #[error("blocks of fork version {0} are not supported; deneb 4, electra 5 and fulu 6 are")]
    Fork(u64),
    /// Not the SSZ form.
    #[error("signed block of {len} bytes does not decode: {reason}")]
    Malformed {
        /// How long it is.
        len: usize,
        /// What the decoder says.
        reason: String,
    },
}

impl SignedProposal {
    /// Reads the SSZ form. `version` numbers the fork as `cluster-wire.md` section 8 does.
    ///
    /// # Errors
    ///
    /// [`BlockError`] when the fork is not supported or the bytes are of another form.
    pub fn from_ssz(version: u64, blinded: bool, bytes: &[u8]) -> Result<Self, BlockError> {
        Ok(match (version, blinded) {
            (4, false) => Self::Deneb(boxed(bytes)?),
            (4, true) => Self::BlindedDeneb(boxed(bytes)?),
            (5 | 6, false) => Self::Electra(boxed(bytes)?),
            (5 | 6, true) => Self::BlindedElectra(boxed(bytes)?),
            _ => return Err(BlockError::Fork(version)),
        })
    }

    /// The SSZ form.
    #[must_use]
    pub fn to_ssz(&self) -> Vec<u8> {
        match self {
            Self::Deneb(contents) => contents.as_ssz_bytes(),
            Self::BlindedDeneb(block) => block.as_ssz_bytes(),
            Self::Electra(contents) => contents.as_ssz_bytes(),
            Self::BlindedElectra(block) => block.as_ssz_bytes(),
        }
    }

    /// Whether the execution payload is only named by its header.
    #[must_use]
    pub const fn is_blinded(&self) -> bool {
        matches!(self, Self::BlindedDeneb(_) | Self::BlindedElectra(_))
    }

    /// The slot of the block.
    #[must_use]
    pub fn slot(&self) -> Slot {
        Slot(match self {
            Self::Deneb(contents) => contents.signed_block.message.slot,
            Self::BlindedDeneb(block) => block.message.slot,
            Self::Electra(contents) => contents.signed_block.message.slot,
            Self::BlindedElectra(block) => block.message.slot,
        })
    }

    /// The signature, compressed. Nothing is known of its validity.
    #[must_use]
    pub fn signature(&self) -> &[u8; 96] {
        match self {
            Self::Deneb(contents) => &contents.signed_block.signature,
            Self::BlindedDeneb(block) => &block.signature,
            Self::Electra(contents) => &contents.signed_block.signature,
            Self::BlindedElectra(block) => &block.signature,
        }
    }

    /// The hash-tree root of the block: the object root of its signature. A blinded block has the root of the full one.
    #[must_use]
    pub fn block_root(&self) -> Root {
        let root = match self {
            Self::Deneb(contents) => contents.signed_block.message.tree_hash_root(),
            Self::BlindedDeneb(block) => block.message.tree_hash_root(),
            Self::Electra(contents) => contents.signed_block.message.tree_hash_root(),
            Self::BlindedElectra(block) => block.message.tree_hash_root(),
        };
        Root(root.0)
    }
}

fn boxed<T: Decode>(bytes: &[u8]) -> Result<Box<T>, BlockError> {
    T::from_ssz_bytes(bytes)
        .map(Box::new)
        .map_err(|err| BlockError::Malformed { len: bytes.len(), reason: format!("{err:?}") })
}

#[cfg(test)]
mod tests;
