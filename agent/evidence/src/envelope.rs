//! The envelope in which shares and identity keys travel from the operator's machine to the vault: HPKE (RFC 9180),
//! base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305. What carries it sees ciphertext only.
//!
//! It does not say who sealed it: the order around it is signed.

#[cfg(test)]
mod tests;

use std::fmt;

use holdfast_types::{BoxName, ImportKey};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// What was encrypted to one one-time key of a vault.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The key it is encrypted to.
    pub to: ImportKey,
    encapsulated: ImportKey,
    ciphertext: Vec<u8>,
}

/// Why an envelope does not open, or is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It is for another box, another key or another order, or it was changed.
    #[error("the envelope is not for this box, key and order, or was changed: ask the box for a new import key")]
    NotOurs,
}

/// The secret half of a one-time key of a vault. Wiped when it is dropped.
pub struct ImportSecret {
    secret: <X25519HkdfSha256 as Kem>::PrivateKey,
    public: ImportKey,
}

impl ImportSecret {
    /// A new key.
    pub fn random(rng: &mut impl CryptoRngCore) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        let (secret, public) = X25519HkdfSha256::derive_keypair(&*seed);
        let public = ImportKey::from_slice(&public.to_bytes()).expect("an X25519 key has 32 bytes");
        Self { secret, public }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> ImportKey {
        self.public
    }

    /// Opens what was sealed to this key, for this box and this `purpose`.
    ///
    /// # Errors
    /// [`EnvelopeError::NotOurs`].
    pub fn open(&self, to: BoxName, purpose: &[u8], envelope: &Envelope) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        if envelope.to != self.public {
            return Err(EnvelopeError::NotOurs);
        }
        self.open_with(&info(to), purpose, envelope)
    }

    fn open_with(&self, info: &[u8], aad: &[u8], envelope: &Envelope) -> Result<Zeroizing<Vec<u8>>, EnvelopeError> {
        let Envelope { encapsulated, ciphertext, .. } = envelope;
        <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&encapsulated.0)
            .and_then(|encapsulated| {
                hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
                    &OpModeR::Base,
                    &self.secret,
                    &encapsulated,
                    info,
                    ciphertext,
                    aad,
                )
            })
            .map(Zeroizing::new)
            .map_err(|_| EnvelopeError::NotOurs)
    }
}

impl Envelope {
    /// Seals `plain` to a box's one-time key. `purpose` is bound in: what the order says about the content.
    ///
    /// # Errors
    /// [`EnvelopeError::NotOurs`] when the key is no key.
    pub fn seal(
        to: BoxName,
        key: ImportKey,
        purpose: &[u8],
        plain: &[u8],
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self, EnvelopeError> {
        let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&key.0).map_err(|_| EnvelopeError::NotOurs)?;
        let (encapsulated, ciphertext) = hpke::single_shot_seal::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256, _>(
            &OpModeS::Base,
            &public,
            &info(to),
            plain,
            purpose,
            &mut Passed(rng),
        )
        .map_err(|_| EnvelopeError::NotOurs)?;
        let encapsulated = ImportKey::from_slice(&encapsulated.to_bytes()).expect("an X25519 key has 32 bytes");
        Ok(Self { to: key, encapsulated, ciphertext })
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} bytes to {})", self.ciphertext.len(), self.to)
    }
}

impl fmt::Debug for ImportSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImportSecret(of {})", self.public)
    }
}

/// The caller's generator in the form of the version of `rand_core` that `hpke` wants.
struct Passed<'a, R>(&'a mut R);

impl<R: CryptoRngCore> hpke::rand_core::RngCore for Passed<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

impl<R: CryptoRngCore> hpke::rand_core::CryptoRng for Passed<'_, R> {}

fn info(to: BoxName) -> Vec<u8> {
    [b"holdfast import 1".as_slice(), &to.0].concat()
}

/// `hpke` keeps its secret keys in this type, and leaves off the feature that wipes it on drop: our manifest turns it
/// on.
const _: fn() = || {
    const fn wiped<T: Zeroize>() {}
    wiped::<x25519_dalek::StaticSecret>();
};
