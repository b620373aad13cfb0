//! By what names a box and its keys are known.

use holdfast_types::{BoxName, P256Public};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use sha2::{Digest, Sha256};

/// The name of the box whose TPM has the attestation key with this Name.
#[must_use]
pub fn box_name(attestation_key_name: &[u8]) -> BoxName {
    BoxName(Sha256::new_with_prefix(b"holdfast box 1").chain_update(attestation_key_name).finalize().into())
}

/// By what an operator calls it: `box-7f3a`. Two boxes may share it by chance; whatever counts goes by the whole name.
#[must_use]
pub fn short_name(box_name: &BoxName) -> String {
    format!("box-{}", start(box_name, 2))
}

/// Under what name it is found in the local network (mDNS).
#[must_use]
pub fn host_name(box_name: &BoxName) -> String {
    format!("{}.local", short_name(box_name))
}

/// By what its certificates name it.
#[must_use]
pub fn common_name(box_name: &BoxName) -> String {
    format!("holdfast box {}", start(box_name, 4))
}

/// The identifier of a key in certificates: the first 160 bits of SHA-256 over the uncompressed point (RFC 7093, method 1).
/// `None` when the bytes are no key.
#[must_use]
pub fn key_id(key: &P256Public) -> Option<[u8; KEY_ID_LEN]> {
    let key = p256::PublicKey::from_sec1_bytes(&key.0).ok()?;
    let digest = Sha256::digest(key.to_encoded_point(false).as_bytes());
    digest[..KEY_ID_LEN].try_into().ok()
}

/// The first bytes of a box's name in hex.
fn start(box_name: &BoxName, len: usize) -> String {
    box_name.0[..len].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The length of a key's identifier.
pub const KEY_ID_LEN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    #[test]
    fn each_name_begins_as_the_box_name_does() {
        let mut name = BoxName([0xee; 32]);
        name.0[..4].copy_from_slice(&[0x7f, 0x3a, 0, 0x1b]);
        assert_eq!(short_name(&name), "box-7f3a");
        assert_eq!(host_name(&name), "box-7f3a.local");
        assert_eq!(common_name(&name), "holdfast box 7f3a001b");
    }

    #[test]
    fn a_key_has_the_identifier_of_its_uncompressed_point() {
        let key = SigningKey::from_bytes(&[1; 32]).unwrap().public();
        // `openssl ec -pubin -pubout -conv_form uncompressed`, its last 65 bytes through `sha256sum`.
        let point = hex::decode(
            "046ff03b949241ce1dadd43519e6960e0a85b41a69a05c328103aa2bce1594ca16\
             3c4f753a55bf01dc53f6c0b0c7eee78b40c6ff7d25a96e2282b989cef71c144a",
        );
        let digest: [u8; 32] = Sha256::digest(point.unwrap()).into();
        assert_eq!(key_id(&key).unwrap(), digest[..20]);
        assert_eq!(key_id(&P256Public([0; 33])), None);
    }

    #[test]
    fn the_name_of_a_box_follows_from_the_name_of_its_attestation_key() {
        // printf 'holdfast box 1\0\13key' | sha256sum
        let name = "fd7685d0c8c7c5de0e18bcd29732ce4668f68304d1cbb3cab040604584fcb28d";
        assert_eq!(box_name(b"\0\x0bkey"), name.parse().unwrap());
        assert_ne!(box_name(b"\0\x0bkez"), name.parse().unwrap());
    }
}
