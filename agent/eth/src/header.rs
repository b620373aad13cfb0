//! The header of a block: it has the block's own hash-tree root (consensus-specs phase0, `BeaconBlockHeader`).

use holdfast_types::{Root, Slot};
use serde::{Deserialize, Serialize};
use tree_hash::{TreeHash, merkle_root};

/// What a block's root is computed from, without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconBlockHeader {
    /// The slot.
    pub slot: Slot,
    /// The proposer's index.
    pub proposer_index: u64,
    /// The root of the block before.
    pub parent_root: Root,
    /// The root of the state after.
    pub state_root: Root,
    /// The root of the body.
    pub body_root: Root,
}

impl BeaconBlockHeader {
    /// The root of this header, which is that of its block.
    #[must_use]
    pub fn hash_tree_root(&self) -> Root {
        let leaves = [
            self.slot.0.tree_hash_root().0,
            self.proposer_index.tree_hash_root().0,
            self.parent_root.0,
            self.state_root.0,
            self.body_root.0,
        ];
        Root(merkle_root(&leaves.concat(), 8).0)
    }
}
