//! `hashProto`: the hash of a canonical message (`cluster-wire.md` section 3.1).

use sha2::{Digest, Sha256};

/// The hash of a message's canonical bytes: their binary SHA-256 Merkle root, without the length.
///
/// Fewer than 33 bytes therefore hash to themselves, padded with zeros.
#[must_use]
pub fn hash_canonical(bytes: &[u8]) -> [u8; 32] {
    if bytes.len() <= 32 {
        let mut root = [0; 32];
        root[..bytes.len()].copy_from_slice(bytes);
        return root;
    }
    let mut level: Vec<[u8; 32]> = bytes.chunks(64).map(first_level).collect();
    let mut zero = pair(&[0; 32], &[0; 32]);
    while level.len() > 1 {
        level = level.chunks(2).map(|two| pair(&two[0], two.get(1).unwrap_or(&zero))).collect();
        zero = pair(&zero, &zero);
    }
    level[0]
}

fn first_level(piece: &[u8]) -> [u8; 32] {
    let mut padded = [0; 64];
    padded[..piece.len()].copy_from_slice(piece);
    Sha256::digest(padded).into()
}

fn pair(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto;

    /// `cluster-wire.md` section 14.1, raw bytes 01, 02, …
    #[test]
    fn raw_bytes_hash_as_specified() {
        let known = [
            (32, "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"),
            (33, "aa5a00f9223c8c444d33da8b3677b3ee50480d14d4da7cd7447ad69db255e1d5"),
            (64, "20a7ec84684f7fe124cb3727d049734ab0b7da2f52fcafbcef989ecfd91e870b"),
            (65, "166e935a40a8493747d225cbc3b8c4aa12410a9dc8eebf700dd7a4d88e92620e"),
            (97, "93015f18a71d68219b0f8d180e09a2ff1ed1dec15375c2a54044c2191490fbbb"),
        ];
        for (len, hash) in known {
            let bytes: Vec<u8> = (1..=len).collect();
            assert_eq!(hex::encode(hash_canonical(&bytes)), hash, "{len} bytes");
        }
        assert_eq!(hash_canonical(&[]), [0; 32]);
    }

    /// `cluster-wire.md` section 14.1, messages.
    #[test]
    fn small_messages_hash_to_themselves() {
        let peer = |signature: &[u8]| proto::PriorityMsg {
            peer_id: "peer1".to_owned(),
            signature: signature.to_vec(),
            ..Default::default()
        };
        let result = proto::PriorityResult { msgs: vec![peer(&[])], topics: vec![] };
        let known = [
            (peer(&[]).encode_to_vec(), "1a05706565723100000000000000000000000000000000000000000000000000"),
            (
                peer(&[0xde, 0xad, 0xbe, 0xef]).encode_to_vec(),
                "1a0570656572312204deadbeef00000000000000000000000000000000000000",
            ),
            (result.encode_to_vec(), "0a071a0570656572310000000000000000000000000000000000000000000000"),
        ];
        for (bytes, hash) in known {
            assert_eq!(hex::encode(hash_canonical(&bytes)), hash);
        }
    }
}
