//! secp256k1 signatures of 65 bytes, R, S and V, over a digest (`cluster-files.md` section 1.6).

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use sha3::{Digest, Keccak256};

/// Keccak-256 of the parts one after the other.
pub(crate) fn keccak256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// Signs deterministically (RFC 6979, low S); V is 0 or 1.
pub(crate) fn sign(key: &SigningKey, digest: &[u8; 32]) -> [u8; 65] {
    let (signature, id) = key.sign_prehash_recoverable(digest).expect("a digest of 32 bytes has a signature");
    let mut bytes = [0; 65];
    bytes[..64].copy_from_slice(&signature.to_bytes());
    bytes[64] = id.to_byte();
    bytes
}

/// The key that made a signature; `None` when no key can have made it, or it is not 65 bytes.
pub(crate) fn recover(digest: &[u8; 32], signature: &[u8]) -> Option<VerifyingKey> {
    let (&v, rs) = signature.split_last()?;
    let is_odd = match v {
        0 | 27 => false,
        1 | 28 => true,
        _ => return None,
    };
    let signature = Signature::from_slice(rs).ok()?;
    // The library takes low S only; high S with the other parity is the same signature, and other wallets may make it.
    let (signature, is_odd) = signature.normalize_s().map_or((signature, is_odd), |low| (low, !is_odd));
    VerifyingKey::recover_from_prehash(digest, &signature, RecoveryId::new(is_odd, false)).ok()
}

/// The compressed form of a key.
pub(crate) fn compressed(key: &VerifyingKey) -> [u8; 33] {
    key.to_encoded_point(true).as_bytes().try_into().expect("a compressed point has 33 bytes")
}

/// The account of a key on the execution layer.
pub(crate) fn address(key: &VerifyingKey) -> [u8; 20] {
    let hash = keccak256(&[&key.to_encoded_point(false).as_bytes()[1..]]);
    hash[12..].try_into().expect("32 less 12 is 20")
}
