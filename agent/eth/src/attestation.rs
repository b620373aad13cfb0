//! The attestation's data: what a validator votes for (consensus-specs phase0, `AttestationData`).
//!
//! The SSZ forms are written by hand because the fields carry the names of `holdfast-types`, which knows no SSZ.

use ethereum_hashing::hash32_concat;
use holdfast_types::{Epoch, Root, Slot};
use serde::{Deserialize, Serialize};
use ssz::{Decode, DecodeError, Encode};
use tree_hash::{Hash256, PackedEncoding, TreeHash, TreeHashType};

/// An epoch boundary and the block that stands for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch.
    pub epoch: Epoch,
    /// The block root at its start.
    pub root: Root,
}

/// What one attestation says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttestationData {
    /// The slot that is attested.
    pub slot: Slot,
    /// The committee index; 0 since Electra.
    pub index: u64,
    /// The head that the validator sees.
    pub beacon_block_root: Root,
    /// The justified checkpoint it votes from.
    pub source: Checkpoint,
    /// The checkpoint it votes for.
    pub target: Checkpoint,
}

impl Checkpoint {
    /// The length of the SSZ form in bytes.
    pub const SSZ_LEN: usize = 40;

    /// The SSZ form.
    #[must_use]
    pub fn to_ssz(&self) -> [u8; Self::SSZ_LEN] {
        let mut bytes = [0; Self::SSZ_LEN];
        bytes[..8].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.root.0);
        bytes
    }

    /// The hash-tree root.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        Root(hash32_concat(&uint64_leaf(self.epoch.0), &self.root.0))
    }

    fn from_array(bytes: &[u8; Self::SSZ_LEN]) -> Self {
        let (epoch, root) = bytes.split_first_chunk::<8>().expect("40 bytes begin with 8");
        Self { epoch: Epoch(u64::from_le_bytes(*epoch)), root: Root::from_slice(root).expect("40 less 8 is 32") }
    }
}

impl AttestationData {
    /// The length of the SSZ form in bytes.
    pub const SSZ_LEN: usize = 128;

    /// The SSZ form.
    #[must_use]
    pub fn to_ssz(&self) -> [u8; Self::SSZ_LEN] {
        let mut bytes = [0; Self::SSZ_LEN];
        bytes[..8].copy_from_slice(&self.slot.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.index.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.beacon_block_root.0);
        bytes[48..88].copy_from_slice(&self.source.to_ssz());
        bytes[88..].copy_from_slice(&self.target.to_ssz());
        bytes
    }

    /// Reads the SSZ form; `None` when there are not exactly [`Self::SSZ_LEN`] bytes.
    #[must_use]
    pub fn from_ssz(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::SSZ_LEN] = bytes.try_into().ok()?;
        Some(Self {
            slot: Slot(u64::from_le_bytes(*bytes.first_chunk()?)),
            index: u64::from_le_bytes(bytes[8..16].try_into().ok()?),
            beacon_block_root: Root::from_slice(&bytes[16..48])?,
            source: Checkpoint::from_array(bytes[48..88].try_into().ok()?),
            target: Checkpoint::from_array(bytes[88..].try_into().ok()?),
        })
    }

    /// The hash-tree root: the object root of an attestation's signature.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        let [source, target] = [self.source.hash_tree_root(), self.target.hash_tree_root()];
        let left = hash32_concat(
            &hash32_concat(&uint64_leaf(self.slot.0), &uint64_leaf(self.index)),
            &hash32_concat(&self.beacon_block_root.0, &source.0),
        );
        let zero = [0; 32];
        let right = hash32_concat(&hash32_concat(&target.0, &zero), &hash32_concat(&zero, &zero));
        Root(hash32_concat(&left, &right))
    }
}

/// The hash-tree root of a `uint64`.
pub(crate) fn uint64_leaf(value: u64) -> [u8; 32] {
    let mut leaf = [0; 32];
    leaf[..8].copy_from_slice(&value.to_le_bytes());
    leaf
}

impl Encode for AttestationData {
    fn is_ssz_fixed_len() -> bool {
        true
    }

    fn ssz_fixed_len() -> usize {
        Self::SSZ_LEN
    }

    fn ssz_bytes_len(&self) -> usize {
        Self::SSZ_LEN
    }

    fn ssz_append(&self, buf: &mut Vec<u8>) {
        buf.extend_from_slice(&self.to_ssz());
    }
}

impl Decode for AttestationData {
    fn is_ssz_fixed_len() -> bool {
        true
    }

    fn ssz_fixed_len() -> usize {
        Self::SSZ_LEN
    }

    fn from_ssz_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_ssz(bytes).ok_or(DecodeError::InvalidByteLength { len: bytes.len(), expected: Self::SSZ_LEN })
    }
}

impl TreeHash for AttestationData {
    fn tree_hash_type() -> TreeHashType {
        TreeHashType::Container
    }

    fn tree_hash_packed_encoding(&self) -> PackedEncoding {
        unreachable!("a container is never packed")
    }

    fn tree_hash_packing_factor() -> usize {
        unreachable!("a container is never packed")
    }

    fn tree_hash_root(&self) -> Hash256 {
        Hash256::from(self.hash_tree_root().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> AttestationData {
        AttestationData {
            slot: Slot(1),
            index: 2,
            beacon_block_root: Root([3; 32]),
            source: Checkpoint { epoch: Epoch(4), root: Root([5; 32]) },
            target: Checkpoint { epoch: Epoch(6), root: Root([7; 32]) },
        }
    }

    #[test]
    fn the_ssz_form_round_trips_and_has_one_length_only() {
        let bytes = data().to_ssz();
        assert_eq!(AttestationData::from_ssz(&bytes), Some(data()));
        assert_eq!(AttestationData::from_ssz(&bytes[..127]), None);
        assert_eq!(AttestationData::from_ssz(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn every_field_is_part_of_the_root() {
        let root = data().hash_tree_root();
        let mut others = [data(); 7];
        others[0].slot = Slot(9);
        others[1].index = 9;
        others[2].beacon_block_root = Root([9; 32]);
        others[3].source.epoch = Epoch(9);
        others[4].source.root = Root([9; 32]);
        others[5].target.epoch = Epoch(9);
        others[6].target.root = Root([9; 32]);
        assert!(others.iter().all(|other| other.hash_tree_root() != root));
    }
}
