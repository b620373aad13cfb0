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

#[cfg(test)]
mod tests {
    use ssz::Decode;

    use super::*;
    use crate::block::{DenebBody, SignedContents};

    /// The captured deneb blocks with the root that was signed for each.
    fn captured() -> Vec<(SignedContents<DenebBody>, Root)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/wire/parsigex.json");
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let proposals = json["messages"].as_array().unwrap().iter().filter(|message| message["duty"]["type"] == 1);
        let block = |message: &serde_json::Value| {
            let frame = hex::decode(message["frame"].as_str().unwrap()).unwrap();
            // Version 4, full, offset 13; before it the payload's length, a varint of two bytes, and a tag.
            let at = frame.windows(13).position(|window| window == [4, 0, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0]).unwrap();
            let len = usize::from(frame[at - 2] & 0x7f) + (usize::from(frame[at - 1]) << 7);
            let partial = message["set"].as_object().unwrap().values().next().unwrap();
            let block = SignedContents::from_ssz_bytes(&frame[at + 13..at + len]).unwrap();
            (block, partial["object_root"].as_str().unwrap().parse().unwrap())
        };
        proposals.map(block).collect()
    }

    fn header_of(contents: &SignedContents<DenebBody>) -> BeaconBlockHeader {
        let block = &contents.signed_block.message;
        BeaconBlockHeader {
            slot: Slot(block.slot),
            proposer_index: block.proposer_index,
            parent_root: Root(block.parent_root),
            state_root: Root(block.state_root),
            body_root: Root(block.body.tree_hash_root().0),
        }
    }

    #[test]
    fn a_header_has_the_root_of_its_block() {
        let captured = captured();
        assert_eq!(captured.len(), 2, "blocks in the vectors");
        for (block, root) in captured {
            assert_eq!(header_of(&block).hash_tree_root(), root);
        }
    }

    #[test]
    fn every_field_is_part_of_the_root() {
        let header = header_of(&captured()[0].0);
        let other = Root([0xee; 32]);
        let changed = [
            BeaconBlockHeader { slot: Slot(header.slot.0 + 1), ..header },
            BeaconBlockHeader { proposer_index: header.proposer_index + 1, ..header },
            BeaconBlockHeader { parent_root: other, ..header },
            BeaconBlockHeader { state_root: other, ..header },
            BeaconBlockHeader { body_root: other, ..header },
        ];
        for (at, changed) in changed.iter().enumerate() {
            assert_ne!(changed.hash_tree_root(), header.hash_tree_root(), "field {at}");
        }
    }
}
