//! How authorities are named in certificates; boxes and keys have their names from `holdfast-evidence`, as the vault has.

use holdfast_types::P256Public;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::{Digest, Sha256};

/// The short name of an authority: the first bytes of SHA-256 of its compressed key, in hex.
#[must_use]
pub fn authority_id(key: &P256Public) -> String {
    hex::encode(&Sha256::digest(key.0)[..SHORT_LEN])
}

/// The uncompressed point: certificates for TLS take no other form.
pub(super) fn point(key: &P256Public) -> Option<Vec<u8>> {
    let key = p256::PublicKey::from_sec1_bytes(&key.0).ok()?;
    Some(key.to_encoded_point(false).as_bytes().to_vec())
}

const SHORT_LEN: usize = 4;
