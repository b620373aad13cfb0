//! How authorities, boxes and keys are named in certificates.

use holdfast_types::{BoxName, P256Public};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::{Digest, Sha256};

/// The short name of an authority: the first bytes of SHA-256 of its compressed key, in hex.
#[must_use]
pub fn authority_id(key: &P256Public) -> String {
    hex::encode(&Sha256::digest(key.0)[..SHORT_LEN])
}

/// By what a box's certificates name it. The vault writes the same name into the leaf.
#[must_use]
pub fn box_common_name(name: &BoxName) -> String {
    format!("holdfast box {}", hex::encode(&name.0[..SHORT_LEN]))
}

/// The identifier of a key in certificates: the first 160 bits of SHA-256 over the uncompressed point (RFC 7093, method 1).
/// `None` when the bytes are no key.
#[must_use]
pub fn key_id(key: &P256Public) -> Option<[u8; 20]> {
    let hash = Sha256::digest(point(key)?);
    Some(hash[..20].try_into().expect("a hash has 32 bytes"))
}

/// The uncompressed point: certificates for TLS take no other form.
pub(super) fn point(key: &P256Public) -> Option<Vec<u8>> {
    let key = p256::PublicKey::from_sec1_bytes(&key.0).ok()?;
    Some(key.to_encoded_point(false).as_bytes().to_vec())
}

const SHORT_LEN: usize = 4;
