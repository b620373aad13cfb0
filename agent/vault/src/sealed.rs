//! What lies on the disk in ciphertext: one key sealed to the TPM, and everything else under that key.
//!
//! For now the TPM binds the key to the registers 7 and 11 as they are at the import. The two halves, under the release
//! key and under the box's authority, come into [`WrappingKey::seal`] and [`WrappingKey::unseal`]; nothing else knows
//! where the key comes from.

use std::time::Duration;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use hkdf::Hkdf;
use holdfast_hal::blob::BlobError;
use holdfast_hal::tpm::{PcrIndex, SealedBlob, Tpm, TpmError};
use holdfast_types::ValidatorPublic;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::memory::wipe_stack;
use crate::state::{StateError, StateFolder};

/// Why something sealed does not open, or is not made.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// A file that the others need is gone.
    #[error("{file} is missing from the state folder: restore it, or have the cluster replace this box's shares")]
    Missing {
        /// The file's name.
        file: String,
    },
    /// A file is not what was written under its name and this key.
    #[error("{file} was changed since it was written: restore it, or have the cluster replace this box's shares")]
    Changed {
        /// The file's name.
        file: String,
    },
    /// The sealed key has not the form that it was written in.
    #[error(
        "{WRAPPING_FILE} was changed since it was written: restore it, or have the cluster replace this box's shares"
    )]
    BlobForm(#[source] BlobError),
    /// The TPM does not open the sealed key.
    #[error("the TPM does not open {WRAPPING_FILE}")]
    Unseal(#[source] TpmError),
    /// The TPM does not seal a new key.
    #[error("the TPM does not seal a new key")]
    Seal(#[source] TpmError),
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random(#[source] getrandom::Error),
    /// The state folder fails.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The key under which everything is encrypted. It lives from the unseal to the last file, then it is wiped.
pub(crate) struct WrappingKey(Zeroizing<[u8; 32]>);

impl WrappingKey {
    /// A new key from the TPM's randomness and the system's: neither alone decides it.
    pub(crate) fn random(tpm: &mut dyn Tpm) -> Result<Self, SealedError> {
        let of_tpm = tpm.random(32).map_err(SealedError::Seal)?;
        let mut of_system = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *of_system).map_err(SealedError::Random)?;
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(&*of_system), &of_tpm)
            .expand(b"holdfast vault 1: wrapping key", &mut *key)
            .expect("32 bytes are within HKDF's bound");
        wipe_stack();
        Ok(Self(key))
    }

    /// Whether a key was sealed here: the file is the last that an import writes, so without it the vault is empty.
    pub(crate) fn exists(state: &StateFolder) -> Result<bool, SealedError> {
        Ok(state.read(WRAPPING_FILE)?.is_some())
    }

    /// Seals the key to the TPM and writes it. Whatever it encrypts must be on the disk before.
    pub(crate) fn seal(&self, tpm: &mut dyn Tpm, state: &StateFolder) -> Result<(), SealedError> {
        let blob = tpm.seal(&*self.0, &SEALED_TO).map_err(SealedError::Seal)?;
        Ok(state.replace(WRAPPING_FILE, &blob.to_bytes())?)
    }

    /// Has the TPM open the key.
    pub(crate) fn unseal(tpm: &mut dyn Tpm, state: &StateFolder) -> Result<Self, SealedError> {
        let file = state.read(WRAPPING_FILE)?.ok_or_else(|| SealedError::Missing { file: WRAPPING_FILE.into() })?;
        let blob = SealedBlob::from_bytes(&file).map_err(SealedError::BlobForm)?;
        let secret = patiently(|| tpm.unseal(&blob)).map_err(SealedError::Unseal)?;
        let mut key = Zeroizing::new([0; 32]);
        if secret.len() != key.len() {
            return Err(SealedError::Changed { file: WRAPPING_FILE.into() });
        }
        key.copy_from_slice(&secret);
        drop(secret);
        // A TPM stack keeps its last answer in a buffer of its own: another answer overwrites the key in it.
        tpm.random(32).map_err(SealedError::Unseal)?;
        wipe_stack();
        Ok(Self(key))
    }

    /// Encrypts one item and writes its file.
    pub(crate) fn store(&self, state: &StateFolder, item: Item, plain: &[u8]) -> Result<(), SealedError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(SealedError::Random)?;
        let mut text = Zeroizing::new(plain.to_vec());
        let name = item.file_name();
        let tag = self
            .cipher(&name)
            .encrypt_in_place_detached(Nonce::from_slice(&nonce), name.as_bytes(), &mut text)
            .expect("an item is far below the cipher's bound");
        wipe_stack();
        Ok(state.replace(&name, &[MAGIC, &nonce, &tag[..], &text].concat())?)
    }

    /// Decrypts one item of a length known before into `place`, without a copy elsewhere.
    pub(crate) fn load(&self, state: &StateFolder, item: Item, place: &mut [u8]) -> Result<(), SealedError> {
        let name = item.file_name();
        let file = state.read(&name)?.ok_or_else(|| SealedError::Missing { file: name.clone() })?;
        let opened = match parts(&file) {
            Some((nonce, tag, text)) if text.len() == place.len() => {
                place.copy_from_slice(text);
                self.cipher(&name).decrypt_in_place_detached(nonce, name.as_bytes(), place, tag).is_ok()
            }
            _ => false,
        };
        wipe_stack();
        if opened { Ok(()) } else { Err(SealedError::Changed { file: name }) }
    }

    /// As [`WrappingKey::load`], for an item that is no secret and has any length.
    pub(crate) fn load_public(&self, state: &StateFolder, item: Item) -> Result<Vec<u8>, SealedError> {
        let name = item.file_name();
        let file = state.read(&name)?.ok_or_else(|| SealedError::Missing { file: name.clone() })?;
        let Some((_, _, text)) = parts(&file) else { return Err(SealedError::Changed { file: name }) };
        let mut plain = vec![0; text.len()];
        self.load(state, item, &mut plain)?;
        Ok(plain)
    }

    /// Each file has a key of its own, so that no two of them can ever share a nonce.
    fn cipher(&self, name: &str) -> ChaCha20Poly1305 {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"holdfast vault 1: file"), &*self.0)
            .expand(name.as_bytes(), &mut *key)
            .expect("32 bytes are within HKDF's bound");
        ChaCha20Poly1305::new(Key::from_slice(&*key))
    }
}

/// What is encrypted, one file each. The name is authenticated: no file passes for another.
#[derive(Clone, Copy)]
pub(crate) enum Item {
    /// The node identity key.
    Identity,
    /// What the shares belong to.
    Pins,
    /// One share.
    Share(ValidatorPublic),
}

impl Item {
    fn file_name(self) -> String {
        match self {
            Self::Identity => "identity.aead".into(),
            Self::Pins => "pins.aead".into(),
            Self::Share(validator) => format!("share-{validator}.aead"),
        }
    }
}

fn parts(file: &[u8]) -> Option<(&Nonce, &Tag, &[u8])> {
    let (nonce, rest) = file.strip_prefix(MAGIC)?.split_at_checked(NONCE_LEN)?;
    let (tag, text) = rest.split_at_checked(TAG_LEN)?;
    Some((Nonce::from_slice(nonce), Tag::from_slice(tag), text))
}

/// Repeats what the TPM refused, which may be for the moment only.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, TpmError>) -> Result<T, TpmError> {
    for _ in 1..TPM_TRIES {
        match ask() {
            Err(TpmError::Refused { operation, err }) => {
                tracing::warn!(operation, error = %err, "the TPM refused, trying again");
                std::thread::sleep(TPM_PAUSE);
            }
            decided => return decided,
        }
    }
    ask()
}

const WRAPPING_FILE: &str = "wrapping-key.tpm";
/// The boot state and the software, as they are when the key is sealed.
const SEALED_TO: [PcrIndex; 2] = [PcrIndex(7), PcrIndex(11)];
/// The version of the file format.
const MAGIC: &[u8] = b"HFV1";
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
/// For a TPM that is busy; what ends a policy session at boot is repeated below this already.
const TPM_TRIES: usize = 3;
const TPM_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::fs;

    use holdfast_hal_sim::{Fault, Operation, SimTpm};

    use super::*;

    const VALIDATOR: ValidatorPublic = ValidatorPublic([3; 48]);

    fn folder() -> (tempfile::TempDir, StateFolder) {
        let place = tempfile::tempdir().unwrap();
        let state = StateFolder::open(place.path()).unwrap();
        (place, state)
    }

    #[test]
    fn what_was_stored_opens_with_the_same_tpm_only() {
        let (_place, state) = folder();
        let mut tpm = SimTpm::new(1);
        let key = WrappingKey::random(&mut tpm).unwrap();
        key.store(&state, Item::Share(VALIDATOR), &[9; 32]).unwrap();
        assert!(!WrappingKey::exists(&state).unwrap());
        key.seal(&mut tpm, &state).unwrap();
        assert!(WrappingKey::exists(&state).unwrap());

        let again = WrappingKey::unseal(&mut tpm, &state).unwrap();
        let mut place = [0; 32];
        again.load(&state, Item::Share(VALIDATOR), &mut place).unwrap();
        assert_eq!(place, [9; 32]);

        let refused = WrappingKey::unseal(&mut SimTpm::new(2), &state).err().unwrap();
        assert!(matches!(refused, SealedError::Unseal(TpmError::OtherTpm { .. })), "{refused:?}");
        tpm.set_pcr(PcrIndex(7), [1; 32]);
        let refused = WrappingKey::unseal(&mut tpm, &state).err().unwrap();
        assert!(matches!(refused, SealedError::Unseal(TpmError::PolicyFailed)), "{refused:?}");
    }

    #[test]
    fn two_keys_and_two_files_never_look_alike() {
        let (_place, state) = folder();
        let mut tpm = SimTpm::new(1);
        let (one, two) = (WrappingKey::random(&mut tpm).unwrap(), WrappingKey::random(&mut tpm).unwrap());
        assert_ne!(*one.0, *two.0);
        one.store(&state, Item::Identity, &[9; 32]).unwrap();
        let first = state.read("identity.aead").unwrap();
        one.store(&state, Item::Identity, &[9; 32]).unwrap();
        assert_ne!(state.read("identity.aead").unwrap(), first, "a nonce was used twice");
        let refused = two.load(&state, Item::Identity, &mut [0; 32]).unwrap_err();
        assert!(matches!(refused, SealedError::Changed { .. }));
    }

    #[test]
    fn every_byte_of_every_file_counts() {
        let (_place, state) = folder();
        let mut tpm = SimTpm::new(1);
        let key = WrappingKey::random(&mut tpm).unwrap();
        key.store(&state, Item::Identity, &[9; 32]).unwrap();
        let whole = state.read("identity.aead").unwrap().unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(state.file("identity.aead"), &changed).unwrap();
            assert!(key.load(&state, Item::Identity, &mut [0; 32]).is_err(), "byte {at} does not count");
            fs::write(state.file("identity.aead"), &whole[..at]).unwrap();
            assert!(key.load(&state, Item::Identity, &mut [0; 32]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_file_does_not_pass_for_another() {
        let (_place, state) = folder();
        let key = WrappingKey::random(&mut SimTpm::new(1)).unwrap();
        key.store(&state, Item::Share(VALIDATOR), &[9; 32]).unwrap();
        fs::copy(state.file(&Item::Share(VALIDATOR).file_name()), state.file("identity.aead")).unwrap();
        let refused = key.load(&state, Item::Identity, &mut [0; 32]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "identity.aead was changed since it was written: restore it, or have the cluster replace this box's shares"
        );
        let missing = key.load(&state, Item::Pins, &mut []).unwrap_err();
        assert!(matches!(missing, SealedError::Missing { .. }));
    }

    #[test]
    fn a_changed_blob_is_refused() {
        let (_place, state) = folder();
        let mut tpm = SimTpm::new(1);
        WrappingKey::random(&mut tpm).unwrap().seal(&mut tpm, &state).unwrap();
        let whole = state.read(WRAPPING_FILE).unwrap().unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(state.file(WRAPPING_FILE), &changed).unwrap();
            assert!(WrappingKey::unseal(&mut tpm, &state).is_err(), "byte {at} does not count");
        }
    }

    #[test]
    fn a_busy_tpm_is_asked_again_and_a_dead_one_is_named() {
        let (_place, state) = folder();
        let mut tpm = SimTpm::new(1);
        WrappingKey::random(&mut tpm).unwrap().seal(&mut tpm, &state).unwrap();
        tpm.fail_next(Operation::Unseal, Fault::Refused);
        assert!(WrappingKey::unseal(&mut tpm, &state).is_ok());
        (0..TPM_TRIES).for_each(|_| tpm.fail_next(Operation::Unseal, Fault::Refused));
        assert!(matches!(WrappingKey::unseal(&mut tpm, &state), Err(SealedError::Unseal(_))));
    }
}
