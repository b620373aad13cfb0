//! `TPM2_MakeCredential` without a TPM (TPM 2.0 Library Part 1, 24 "Credential Protection"): a secret that a TPM gives out
//! only when the endorsement key that it is encrypted to and an attestation key with a certain Name are both in it.
//!
//! That is what ties an attestation key, and all that it signs, to the maker's certificate of the endorsement key.

mod oaep;

use std::fmt;

use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use holdfast_types::P256Public;
use p256::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{PublicKey, SecretKey};
use rand_core::CryptoRngCore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::areas::{self, EndorsementKey};

/// A secret for one TPM and one attestation key, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The encrypted secret and its code: what a `TPM2B_ID_OBJECT` holds.
    pub id_object: Vec<u8>,
    /// The seed of both keys, encrypted to the endorsement key: what a `TPM2B_ENCRYPTED_SECRET` holds.
    pub secret: Vec<u8>,
}

/// Why there is no credential, or it does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The key to encrypt to is none.
    #[error(
        "the endorsement key is none that a credential can be made for: only P-256 and RSA with 2,048 bits are known"
    )]
    Key,
    /// It is for another endorsement key or another attestation key, or it was changed.
    #[error("the credential is for another endorsement key or another attestation key")]
    NotOurs,
}

impl Credential {
    /// Encrypts a secret to the TPM with this endorsement key (a public area), for the attestation key with this Name.
    ///
    /// # Errors
    /// [`CredentialError::Key`].
    pub fn make(
        endorsement_key: &[u8],
        attestation_key_name: &[u8],
        secret: &[u8; 32],
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self, CredentialError> {
        let (seed, encrypted) = match EndorsementKey::from_area(endorsement_key).ok_or(CredentialError::Key)? {
            EndorsementKey::P256(key) => shared_seed(&key, rng)?,
            EndorsementKey::Rsa2048(modulus) => {
                let mut seed = Zeroizing::new([0; 32]);
                rng.fill_bytes(&mut *seed);
                let encrypted = oaep::encrypt(&modulus, &seed, IDENTITY, rng).ok_or(CredentialError::Key)?;
                (seed, encrypted)
            }
        };
        let mut identity = Zeroizing::new([0; IDENTITY_LEN]);
        identity[1] = 32;
        identity[2..].copy_from_slice(secret);
        encrypt_cfb(&storage_key(&seed, attestation_key_name), &mut *identity);
        let code = integrity(&seed, &*identity, attestation_key_name).finalize().into_bytes();
        Ok(Self { id_object: [&[0, 32][..], &code, &*identity].concat(), secret: encrypted })
    }
}

/// The secret half of an endorsement key on P-256: of a TPM that somebody plays. `p256` wipes it when it is dropped.
#[derive(Clone)]
pub struct EndorsementSecret(SecretKey);

impl EndorsementSecret {
    /// The key with this secret, big-endian; `None` when it is zero or not below the order of the group.
    #[must_use]
    pub fn from_bytes(secret: &[u8; 32]) -> Option<Self> {
        SecretKey::from_slice(secret).ok().map(Self)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> EndorsementKey {
        let point = self.0.public_key().to_encoded_point(true);
        EndorsementKey::P256(P256Public::from_slice(point.as_bytes()).expect("a compressed point has 33 bytes"))
    }

    /// What `TPM2_ActivateCredential` gives: the secret, when it is for this key and an attestation key with this Name.
    ///
    /// # Errors
    /// [`CredentialError::NotOurs`].
    pub fn activate(
        &self,
        attestation_key_name: &[u8],
        credential: &Credential,
    ) -> Result<Zeroizing<[u8; 32]>, CredentialError> {
        self.opened(attestation_key_name, credential).ok_or(CredentialError::NotOurs)
    }

    fn opened(&self, attestation_key_name: &[u8], credential: &Credential) -> Option<Zeroizing<[u8; 32]>> {
        let ephemeral = areas::read_point(&credential.secret)?;
        let ephemeral = PublicKey::from_sec1_bytes(&ephemeral.0).ok()?;
        let shared = diffie_hellman(self.0.to_nonzero_scalar(), ephemeral.as_affine());
        let seed = seed_of(shared.raw_secret_bytes(), &ephemeral, &self.0.public_key());
        let (code, identity) = credential.id_object.strip_prefix(&[0, 32])?.split_at_checked(32)?;
        let mut identity = Zeroizing::new(<[u8; IDENTITY_LEN]>::try_from(identity).ok()?);
        integrity(&seed, &*identity, attestation_key_name).verify_slice(code).ok()?;
        decrypt_cfb(&storage_key(&seed, attestation_key_name), &mut *identity);
        let secret = identity.strip_prefix(&[0, 32])?;
        Some(Zeroizing::new(secret.try_into().ok()?))
    }
}

impl fmt::Debug for EndorsementSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndorsementSecret(..)")
    }
}

type Seed = Zeroizing<[u8; 32]>;

/// A seed shared with whoever has the key, and the point from which he computes it (Part 1, C.6.4).
fn shared_seed(key: &P256Public, rng: &mut impl CryptoRngCore) -> Result<(Seed, Vec<u8>), CredentialError> {
    let theirs = PublicKey::from_sec1_bytes(&key.0).map_err(|_| CredentialError::Key)?;
    let ephemeral = SecretKey::random(rng);
    let shared = diffie_hellman(ephemeral.to_nonzero_scalar(), theirs.as_affine());
    let ours = ephemeral.public_key();
    let seed = seed_of(shared.raw_secret_bytes(), &ours, &theirs);
    let ours = P256Public::from_slice(ours.to_encoded_point(true).as_bytes()).ok_or(CredentialError::Key)?;
    Ok((seed, areas::point(&ours).map_err(|_| CredentialError::Key)?))
}

/// `KDFe` (Part 1, 11.4.10.3) for one digest.
fn seed_of(shared: &[u8], ephemeral: &PublicKey, endorsement: &PublicKey) -> Seed {
    let mut hash = Sha256::new_with_prefix(1u32.to_be_bytes()).chain_update(shared).chain_update(IDENTITY);
    for party in [ephemeral, endorsement] {
        hash.update(party.to_encoded_point(false).x().expect("a key is not the point at infinity"));
    }
    Zeroizing::new(hash.finalize().into())
}

/// `KDFa` (Part 1, 11.4.10.2) for one digest, of which the first `bits` count.
fn derived(seed: &Seed, label: &[u8], context: &[u8], bits: u32) -> Zeroizing<[u8; 32]> {
    let mut mac = mac(&**seed);
    for part in [&1u32.to_be_bytes()[..], label, context, &bits.to_be_bytes()] {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn storage_key(seed: &Seed, name: &[u8]) -> Aes128 {
    let key = derived(seed, b"STORAGE\0", name, 128);
    Aes128::new_from_slice(&key[..16]).expect("AES-128 has keys of 16 bytes")
}

fn integrity(seed: &Seed, identity: &[u8], name: &[u8]) -> Hmac<Sha256> {
    let mut mac = mac(&*derived(seed, b"INTEGRITY\0", &[], 256));
    mac.update(identity);
    mac.update(name);
    mac
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// CFB with full blocks and a vector of zeros: each block is masked with the encryption of the one before.
fn encrypt_cfb(cipher: &Aes128, text: &mut [u8]) {
    let mut block = [0; 16];
    for chunk in text.chunks_mut(16) {
        cipher.encrypt_block((&mut block).into());
        chunk.iter_mut().zip(&block).for_each(|(byte, mask)| *byte ^= mask);
        block[..chunk.len()].copy_from_slice(chunk);
    }
}

fn decrypt_cfb(cipher: &Aes128, text: &mut [u8]) {
    let mut block = [0; 16];
    for chunk in text.chunks_mut(16) {
        let mut mask = block;
        cipher.encrypt_block((&mut mask).into());
        block[..chunk.len()].copy_from_slice(chunk);
        chunk.iter_mut().zip(&mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

const IDENTITY: &[u8] = b"IDENTITY\0";
/// A secret of 32 bytes behind its length.
const IDENTITY_LEN: usize = 34;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const SECRET: [u8; 32] = *b"thirty-two bytes that stay here!";

    fn key(seed: u8) -> EndorsementSecret {
        EndorsementSecret::from_bytes(&[seed; 32]).unwrap()
    }

    fn made(seed: u8, name: &[u8]) -> Credential {
        let area = key(seed).public().area().unwrap();
        Credential::make(&area, name, &SECRET, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    #[test]
    fn only_the_key_and_the_name_that_it_is_for_open_it() {
        let credential = made(1, b"name");
        assert_eq!(key(1).activate(b"name", &credential).as_deref(), Ok(&SECRET));
        assert_eq!(key(2).activate(b"name", &credential), Err(CredentialError::NotOurs));
        assert_eq!(key(1).activate(b"Name", &credential), Err(CredentialError::NotOurs));
        assert!(!credential.id_object.windows(8).any(|window| SECRET.starts_with(window)), "in the clear");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let credential = made(1, b"name");
        for at in 0..credential.id_object.len() {
            let mut changed = credential.clone();
            changed.id_object[at] ^= 1;
            assert_eq!(key(1).activate(b"name", &changed), Err(CredentialError::NotOurs), "byte {at}");
        }
        for at in 0..credential.secret.len() {
            let mut changed = credential.clone();
            changed.secret[at] ^= 1;
            assert_eq!(key(1).activate(b"name", &changed), Err(CredentialError::NotOurs), "byte {at} of the seed");
        }
    }

    #[test]
    fn two_of_one_secret_differ() {
        let area = key(1).public().area().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let mut make = || Credential::make(&area, b"name", &SECRET, &mut rng).unwrap();
        let (one, other) = (make(), make());
        assert!(one.id_object != other.id_object && one.secret != other.secret);
        assert_eq!(Credential::make(&area[1..], b"name", &SECRET, &mut rng), Err(CredentialError::Key));
    }

    /// NIST SP 800-38A, F.3.13 (CFB128-AES128.Encrypt), its first block being the vector here: the cipher begins at zero.
    #[test]
    fn the_cipher_is_that_of_the_standard() {
        let bytes = |text: &str| hex::decode(text).unwrap();
        let cipher = Aes128::new_from_slice(&bytes("2b7e151628aed2a6abf7158809cf4f3c")).unwrap();
        // What comes out for a first block of E(0) xor IV is IV itself, so the blocks after it are the standard's.
        let mut first = [0; 16];
        cipher.encrypt_block((&mut first).into());
        first.iter_mut().zip(bytes("000102030405060708090a0b0c0d0e0f")).for_each(|(byte, iv)| *byte ^= iv);
        let plain = bytes("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let mut text = [first.as_slice(), &plain].concat();
        encrypt_cfb(&cipher, &mut text);
        let expected = "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b";
        assert_eq!(hex::encode(&text[16..]), expected);
        decrypt_cfb(&cipher, &mut text);
        assert_eq!(text[16..], plain);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            id_object in proptest::collection::vec(any::<u8>(), 0..100),
            secret in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let credential = Credential { id_object, secret };
            prop_assert!(key(1).activate(b"name", &credential).is_err());
        }
    }
}
