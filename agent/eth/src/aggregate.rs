//! Attestations with their bits and signature, and the aggregator's proof around them (consensus-specs phase0 and electra).

use holdfast_types::Root;
use ssz_derive::{Decode, Encode};
use ssz_types::typenum::{U64, U2048, U131072};
use ssz_types::{BitList, BitVector};
use tree_hash::TreeHash as _;
use tree_hash_derive::TreeHash;

use crate::attestation::AttestationData;

/// `Attestation` of phase0 up to deneb: of one committee.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct Phase0Attestation {
    /// Which members of the committee attested.
    pub aggregation_bits: BitList<U2048>,
    /// What is attested.
    pub data: AttestationData,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `Attestation` since electra: of any committees of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct Attestation {
    /// Which members of the committees attested, one committee after the other.
    pub aggregation_bits: BitList<U131072>,
    /// What is attested.
    pub data: AttestationData,
    /// The signature, compressed.
    pub signature: [u8; 96],
    /// Which committees took part.
    pub committee_bits: BitVector<U64>,
}

/// `AggregateAndProof` of phase0 up to deneb.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct Phase0AggregateAndProof {
    /// The aggregator's index on the chain.
    pub aggregator_index: u64,
    /// The aggregate.
    pub aggregate: Phase0Attestation,
    /// The proof that the aggregator was selected.
    pub selection_proof: [u8; 96],
}

/// `AggregateAndProof` since electra.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TreeHash)]
pub struct AggregateAndProof {
    /// The aggregator's index on the chain.
    pub aggregator_index: u64,
    /// The aggregate.
    pub aggregate: Attestation,
    /// The proof that the aggregator was selected.
    pub selection_proof: [u8; 96],
}

/// `SignedAggregateAndProof` of phase0 up to deneb.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Phase0SignedAggregateAndProof {
    /// What is signed.
    pub message: Phase0AggregateAndProof,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

/// `SignedAggregateAndProof` since electra.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedAggregateAndProof {
    /// What is signed.
    pub message: AggregateAndProof,
    /// The signature, compressed.
    pub signature: [u8; 96],
}

impl Phase0AggregateAndProof {
    /// The hash-tree root: the object root of the aggregator's signature.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        Root(self.tree_hash_root().0)
    }
}

impl AggregateAndProof {
    /// The hash-tree root: the object root of the aggregator's signature.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        Root(self.tree_hash_root().0)
    }
}
