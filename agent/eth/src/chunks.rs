//! The merkle building blocks of the cluster files (`cluster-files.md` section 2.2).
//!
//! These follow the hasher that the reference uses, not the SSZ specification: a container is the root of the chunks that
//! its fields produce, and an empty field may produce none. Functions with a limit give `None` when it is exceeded.

use ethereum_hashing::{ZERO_HASHES, hash32_concat};

pub(crate) use crate::attestation::uint64_leaf;

/// A leaf or a node of a merkle tree.
pub(crate) type Chunk = [u8; 32];

/// A boolean as one chunk.
pub(crate) fn boolean(value: bool) -> Chunk {
    uint64_leaf(u64::from(value))
}

/// Up to 32 bytes padded on the right, more as the root of their chunks; no bytes are no chunk.
pub(crate) fn raw(bytes: &[u8]) -> Option<Chunk> {
    (!bytes.is_empty()).then(|| container(&split(bytes)))
}

/// Bytes padded on the left to `len`, then as [`raw`]; nothing becomes zeros.
pub(crate) fn left_padded(bytes: &[u8], len: usize) -> Option<Chunk> {
    let mut padded = vec![0; len.checked_sub(bytes.len())?];
    padded.extend_from_slice(bytes);
    raw(&padded)
}

/// A byte list of at most `max` bytes.
pub(crate) fn bytes_list(bytes: &[u8], max: usize) -> Option<Chunk> {
    (bytes.len() <= max).then(|| mix(merkle(&split(bytes), max.div_ceil(32)), bytes.len()))
}

/// A list of at most `max` items, given by their roots.
pub(crate) fn list(items: &[Chunk], max: usize) -> Option<Chunk> {
    (items.len() <= max).then(|| mix(merkle(items, max), items.len()))
}

/// A list of at most `max` numbers, packed four to a chunk.
pub(crate) fn uint64_list(numbers: &[u64], max: usize) -> Option<Chunk> {
    let packed: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    (numbers.len() <= max).then(|| mix(merkle(&split(&packed), max.div_ceil(4)), numbers.len()))
}

/// A list of at most 32 secp256k1 signatures, given as their concatenation.
pub(crate) fn k1_signature_list(bytes: &[u8]) -> Option<Chunk> {
    let (signatures, rest) = bytes.as_chunks::<65>();
    let roots: Vec<Chunk> = signatures.iter().map(|signature| container(&split(signature))).collect();
    if rest.is_empty() { list(&roots, 32) } else { None }
}

/// The root of the chunks that a container's fields produced.
pub(crate) fn container(chunks: &[Chunk]) -> Chunk {
    merkle(chunks, chunks.len())
}

/// The root of a tree that has room for `limit` chunks.
fn merkle(chunks: &[Chunk], limit: usize) -> Chunk {
    debug_assert!(chunks.len() <= limit, "the callers check their limits");
    let depth = limit.max(1).next_power_of_two().trailing_zeros() as usize;
    let mut level = chunks.to_vec();
    for zero in ZERO_HASHES.iter().take(depth) {
        let above = |pair: &[Chunk]| hash32_concat(&pair[0], pair.get(1).unwrap_or(zero));
        level = level.chunks(2).map(above).collect();
    }
    level.first().copied().unwrap_or(ZERO_HASHES[depth])
}

fn mix(root: Chunk, count: usize) -> Chunk {
    hash32_concat(&root, &uint64_leaf(count as u64))
}

fn split(bytes: &[u8]) -> Vec<Chunk> {
    let padded = |part: &[u8]| {
        let mut chunk = [0; 32];
        chunk[..part.len()].copy_from_slice(part);
        chunk
    };
    bytes.chunks(32).map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Chunk {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn empty_lists_have_the_roots_of_their_depth() {
        let empty_32 = root("f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
        let empty_1024 = root("52e2647abc3d0c9d3be0387f3f0d925422c7a4e98cf4489066f0f43281a899f3");
        assert_eq!(bytes_list(b"", 16), Some(empty_32));
        assert_eq!(bytes_list(b"", 32), Some(empty_32));
        assert_eq!(bytes_list(b"", 1024), Some(empty_1024));
        assert_eq!(k1_signature_list(b""), Some(empty_1024));
        let numbers = root("c9eece3e14d3c3db45c38bbf69a4cb7464981e2506d8424a0ba450dad9b9af30");
        assert_eq!(uint64_list(&[], 256), Some(numbers));
    }

    #[test]
    fn full_lists_and_padded_bytes_have_the_known_roots() {
        let text = root("e2483b93dcd578ee781806dd4532fc42d0fe462ca46e92df1d413e4bb40de7be");
        assert_eq!(bytes_list(b"abft", 256), Some(text));
        let one = root("69ffd2fb3d70fcba3dacb628b3a8c679a7da0e2cd7c9434c15aa79db8ab3f562");
        assert_eq!(k1_signature_list(&[1; 65]), Some(one));
        let two = root("0ad860a58920b1a6147307220f9c2f10ba49db6b18091db2115c93514795d96b");
        assert_eq!(k1_signature_list(&[[1; 65], [2; 65]].concat()), Some(two));
        let zeros = root("db56114e00fdd4c1f85c892bf35ac9a89289aaecb1ebd0a96cde606a748b5d71");
        assert_eq!(left_padded(b"", 65), Some(zeros));
    }

    #[test]
    fn what_exceeds_its_limit_has_no_root() {
        assert_eq!(bytes_list(&[0; 17], 16), None);
        assert_eq!(left_padded(&[0; 66], 65), None);
        assert_eq!(k1_signature_list(&[0; 64]), None);
        assert_eq!(k1_signature_list(&[0; 65 * 33]), None);
        assert_eq!(list(&[[0; 32]; 3], 2), None);
        assert_eq!(uint64_list(&[0; 257], 256), None);
    }
}
