//! ECDSA on P-256 with SHA-256: the one kind of signature that a TPM checks and an operator makes.

use std::fmt;

use holdfast_types::{P256Public, P256Signature};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey as Secret, VerifyingKey};
use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};

/// A secret key: the operator's authority, or the release key. `p256` wipes it when it is dropped.
pub struct SigningKey(Secret);

/// Bytes that are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 key")]
pub struct UnusableKey;

impl SigningKey {
    /// A new key.
    pub fn random(rng: &mut impl CryptoRngCore) -> Self {
        Self(Secret::random(rng))
    }

    /// The key with this secret, big-endian.
    ///
    /// # Errors
    /// [`UnusableKey`] when it is zero or not below the order of the group.
    pub fn from_bytes(secret: &[u8; 32]) -> Result<Self, UnusableKey> {
        Secret::from_slice(secret).map(Self).map_err(|_| UnusableKey)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> P256Public {
        let point = self.0.verifying_key().to_encoded_point(true);
        P256Public::from_slice(point.as_bytes()).expect("a compressed point has 33 bytes")
    }

    /// Signs SHA-256 of the message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> P256Signature {
        self.sign_digest(&Sha256::digest(message).into())
    }

    /// Signs a SHA-256 digest, as a TPM does. The nonce follows from key and digest (RFC 6979): no generator is needed.
    #[must_use]
    pub fn sign_digest(&self, digest: &[u8; 32]) -> P256Signature {
        let signature: Signature = self.0.sign_prehash(digest).expect("32 bytes are a SHA-256 digest");
        P256Signature(signature.to_bytes().into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Whether `signature` is the key's over SHA-256 of the message. Bytes that are no key or no signature are not.
///
/// Either `s` counts, as with a TPM, so whoever has one signature can make a second over the same message. Nothing may
/// be known, or counted, by a signature.
#[must_use]
pub fn verify(key: &P256Public, message: &[u8], signature: &P256Signature) -> bool {
    let parts = VerifyingKey::from_sec1_bytes(&key.0).and_then(|key| Ok((key, Signature::from_slice(&signature.0)?)));
    parts.is_ok_and(|(key, signature)| key.verify(message, &signature).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6979, A.2.5: P-256, SHA-256, message "sample". Its `s` is in the upper half.
    const SECRET: &str = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
    const PUBLIC: &str = "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
    const SIGNATURE: &str = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
                             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    fn signature() -> P256Signature {
        SIGNATURE.parse().unwrap()
    }

    #[test]
    fn signs_and_verifies_as_rfc_6979_does() {
        let key = SigningKey::from_bytes(&bytes(SECRET)).unwrap();
        assert_eq!(key.public(), PUBLIC.parse().unwrap());
        assert_eq!(key.sign(b"sample"), signature());
        assert_eq!(key.sign_digest(&Sha256::digest(b"sample").into()), signature());
        assert!(verify(&key.public(), b"sample", &signature()));
        assert!(!verify(&key.public(), b"Sample", &signature()));
    }

    #[test]
    fn the_other_s_counts_as_well() {
        let lower = Signature::from_slice(&signature().0).unwrap().normalize_s().unwrap();
        let lower = P256Signature(lower.to_bytes().into());
        assert_ne!(lower, signature());
        assert!(verify(&PUBLIC.parse().unwrap(), b"sample", &lower));
    }

    #[test]
    fn every_changed_byte_of_key_or_signature_fails() {
        let public: P256Public = PUBLIC.parse().unwrap();
        for (at, bit) in (0..P256Signature::LEN).flat_map(|at| [(at, 1), (at, 0x80)]) {
            let mut changed = signature();
            changed.0[at] ^= bit;
            assert!(!verify(&public, b"sample", &changed), "signature byte {at}");
        }
        for at in 0..P256Public::LEN {
            let mut changed = public;
            changed.0[at] ^= 1;
            assert!(!verify(&changed, b"sample", &signature()), "key byte {at}");
        }
    }

    #[test]
    fn what_is_no_key_or_no_signature_verifies_nothing() {
        let public: P256Public = PUBLIC.parse().unwrap();
        for unusable in [[0; 64], [0xff; 64]] {
            assert!(!verify(&public, b"sample", &P256Signature(unusable)));
        }
        for unusable in [[0; 33], [0xff; 33], [2; 33]] {
            assert!(!verify(&P256Public(unusable), b"sample", &signature()), "{unusable:?}");
        }
        for unusable in [[0; 32], [0xff; 32], bytes(ORDER)] {
            assert_eq!(SigningKey::from_bytes(&unusable).err(), Some(UnusableKey));
        }
    }

    #[test]
    fn a_secret_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", SigningKey::from_bytes(&bytes(SECRET)).unwrap()), "SigningKey(..)");
    }
}
