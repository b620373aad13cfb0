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
#[must_use]
pub fn verify(key: &P256Public, message: &[u8], signature: &P256Signature) -> bool {
    let parts = VerifyingKey::from_sec1_bytes(&key.0).and_then(|key| Ok((key, Signature::from_slice(&signature.0)?)));
    parts.is_ok_and(|(key, signature)| key.verify(message, &signature).is_ok())
}
