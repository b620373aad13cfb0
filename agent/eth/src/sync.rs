//! What the sync committee signs (consensus-specs altair).

use holdfast_types::Root;
use ssz_derive::{Decode, Encode};
use ssz_types::BitVector;
use ssz_types::typenum::U128;
use tree_hash::TreeHash as _;
use tree_hash_derive::TreeHash;

/// `SyncCommitteeMessage`. What is signed is the block root itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SyncCommitteeMessage {
    /// The slot.
    pub slot: u64,
    /// The head that the validator sees.
    pub beacon_block_root: [u8; 32],
    /// The validator's index on the chain.
    pub validator_index: u64,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `SyncCommitteeContribution`: the messages of one subcommittee, aggregated.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct SyncCommitteeContribution {
    /// The slot.
    pub slot: u64,
    /// The head that the messages name.
    pub beacon_block_root: [u8; 32],
    /// The subcommittee.
    pub subcommittee_index: u64,
    /// Which of its members take part.
    pub aggregation_bits: BitVector<U128>,
    /// Their aggregated signature, compressed.
    pub signature: [u8; 96],
}

/// `ContributionAndProof`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct ContributionAndProof {
    /// The contributor's index on the chain.
    pub aggregator_index: u64,
    /// The contribution.
    pub contribution: SyncCommitteeContribution,
    /// The proof that the contributor was selected.
    pub selection_proof: [u8; 96],
}

/// `SignedContributionAndProof`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedContributionAndProof {
    /// What is signed.
    pub message: ContributionAndProof,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

impl ContributionAndProof {
    /// The hash-tree root: the object root of the contributor's signature.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        Root(self.tree_hash_root().0)
    }
}
