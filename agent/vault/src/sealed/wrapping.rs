//! The key under which everything is encrypted, and the two halves of it that the TPM keeps.
//!
//! It lives while one file is written or opened, then it is wiped. Where the ciphertexts lie is not its business.

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use hkdf::Hkdf;
use holdfast_evidence::{Approval, approval, policy};
use holdfast_hal::tpm::{PcrIndex, PolicyStep, SealedBlob, Tpm, TpmError, UnsealPolicy};
use holdfast_types::{P256Public, PolicyDigest, ValidatorPublic};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::approvals::{Approvals, Choice, PolicyFault, Registers};
use super::constants::Constants;
use super::counter::{GENERATION_COUNTER, TPM_TRIES, patiently};
use super::error::SealError;
use crate::memory::wipe_stack;

/// 32 bytes from the TPM's randomness and the system's: neither alone decides them.
pub(crate) fn random_secret(tpm: &mut dyn Tpm) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let of_tpm = patiently(tpm, |tpm| tpm.random(32)).map_err(|err| SealError::tpm("give randomness", err))?;
    let mut of_system = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *of_system).map_err(SealError::Random)?;
    let mut secret = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(&*of_system), &of_tpm)
        .expand(b"holdfast vault 2: random", &mut *secret)
        .expect("32 bytes are within HKDF's bound");
    wipe_stack();
    Ok(secret)
}

/// The halves as the TPM keeps them.
pub(super) struct Halves {
    /// Opens for an image that the release key approves.
    pub(super) image: SealedBlob,
    /// Opens for a boot state that the authority approves.
    pub(super) boot_state: SealedBlob,
}

/// What one generation is sealed to, as its file says it.
#[derive(Clone, Copy)]
pub(super) struct SealedTo<'a> {
    pub(super) constants: &'a Constants,
    /// The constants as they lie in the file.
    pub(super) constants_bytes: &'a [u8],
    pub(super) level: u64,
    pub(super) generation: u64,
}

/// The key of one generation. No two items are ever encrypted under the same key.
pub(super) struct WrappingKey(Zeroizing<[u8; 32]>);

/// What is encrypted.
#[derive(Clone, Copy)]
pub(super) enum Item {
    /// Everything secret but the shares.
    Keys,
    /// One share.
    Share(ValidatorPublic),
}

impl WrappingKey {
    /// A new key, its halves sealed. The TPM need not meet the policies now.
    pub(super) fn seal(tpm: &mut dyn Tpm, to: &SealedTo<'_>) -> Result<(Self, Halves), SealError> {
        let [image_policy, boot_state_policy] = to.policies()?;
        let (image, boot_state) = (random_secret(tpm)?, random_secret(tpm)?);
        let halves = Halves {
            image: seal_half(tpm, &image, &image_policy)?,
            boot_state: seal_half(tpm, &boot_state, &boot_state_policy)?,
        };
        Ok((Self::derived(&image, &boot_state, to.constants_bytes), halves))
    }

    /// Has the TPM open both halves.
    pub(super) fn unseal(
        tpm: &mut dyn Tpm,
        to: &SealedTo<'_>,
        halves: &Halves,
        approvals: &Approvals<'_>,
        file: &str,
    ) -> Result<Self, SealError> {
        let image = unseal_half(tpm, &halves.image, &approval::IMAGE_REGISTERS, file, |registers, choice| {
            let approval = approvals.of_image(to.constants, to.level, registers, choice)?;
            Ok(to.unseal_policy(&approval::IMAGE_REGISTERS, approval, to.constants.release))
        })?;
        let boot_state =
            unseal_half(tpm, &halves.boot_state, &approval::FIRMWARE_REGISTERS, file, |registers, choice| {
                let approval = approvals.of_boot_state(to.constants, registers, choice)?;
                Ok(to.unseal_policy(&approval::FIRMWARE_REGISTERS, approval, to.constants.authority))
            })?;
        Ok(Self::derived(&image, &boot_state, to.constants_bytes))
    }

    /// Foreign constants give a key that opens nothing.
    fn derived(image: &[u8; 32], boot_state: &[u8; 32], constants: &[u8]) -> Self {
        let mut both = Zeroizing::new([0; 64]);
        both[..32].copy_from_slice(image);
        both[32..].copy_from_slice(boot_state);
        let salt = Sha256::digest(constants);
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(&salt), &*both)
            .expand(b"holdfast vault 2: wrapping key", &mut *key)
            .expect("32 bytes are within HKDF's bound");
        wipe_stack();
        Self(key)
    }

    /// Encrypts an item in place. Once for each item: its key has one nonce.
    pub(super) fn encrypt(&self, item: Item, associated: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .cipher(item)
            .encrypt_in_place_detached(&Nonce::default(), associated, text)
            .expect("an item is far below the cipher's bound");
        wipe_stack();
        tag.into()
    }

    /// Decrypts an item in place; `false` when it is not what was encrypted under this key with this beside it.
    pub(super) fn decrypt(&self, item: Item, associated: &[u8], tag: &[u8; TAG_LEN], text: &mut [u8]) -> bool {
        let cipher = self.cipher(item);
        let opened =
            cipher.decrypt_in_place_detached(&Nonce::default(), associated, text, Tag::from_slice(tag)).is_ok();
        wipe_stack();
        opened
    }

    /// Each item has a key of its own, and each generation another wrapping key: no nonce is used twice.
    fn cipher(&self, item: Item) -> ChaCha20Poly1305 {
        let name = match &item {
            Item::Keys => [b"keys".as_slice(), &[]],
            Item::Share(validator) => [b"share".as_slice(), &validator.0],
        };
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"holdfast vault 2: item"), &*self.0)
            .expand_multi_info(&name, &mut *key)
            .expect("32 bytes are within HKDF's bound");
        ChaCha20Poly1305::new(Key::from_slice(&*key))
    }
}

impl SealedTo<'_> {
    /// The policies of both halves: the image's, the boot state's.
    fn policies(&self) -> Result<[PolicyDigest; 2], SealError> {
        let Constants { authority, release, board, generation_counter, .. } = self.constants;
        let image = policy::authorized(release, approval::image_ref(board, self.level).as_bytes())
            .map_err(|_| SealError::UnusableKey { whose: "release key" })?;
        let boot_state = policy::authorized(authority, approval::FIRMWARE_REF.as_bytes())
            .map_err(|_| SealError::UnusableKey { whose: "authority" })?;
        Ok([image, boot_state]
            .map(|approved| policy::counter_equals(&approved, &generation_counter.name, self.generation)))
    }

    fn unseal_policy(&self, registers: &[u8], approval: &Approval, signer: P256Public) -> UnsealPolicy {
        UnsealPolicy {
            pcrs: registers.iter().copied().map(PcrIndex).collect(),
            approved: approval.policy,
            policy_ref: approval.policy_ref.clone().into_bytes(),
            signer,
            signature: approval.signature,
            counter: GENERATION_COUNTER,
            counter_value: self.generation,
        }
    }
}

fn seal_half(tpm: &mut dyn Tpm, half: &[u8; 32], policy: &PolicyDigest) -> Result<SealedBlob, SealError> {
    let sealed = patiently(tpm, |tpm| tpm.seal(half, policy)).map_err(|err| SealError::tpm("seal a new key", err))?;
    forget(tpm)?;
    Ok(sealed)
}

/// Opens one half. Registers that were extended after the policy was chosen are looked at again.
fn unseal_half(
    tpm: &mut dyn Tpm,
    half: &SealedBlob,
    registers: &'static [u8],
    file: &str,
    choose: impl Fn(&Registers, Choice) -> Result<UnsealPolicy, PolicyFault>,
) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let damaged = || SealError::Damaged { file: file.to_owned(), part: format!("half for {registers:?}") };
    let mut choice = Choice::LeftToTpm;
    for _ in 0..TPM_TRIES {
        let policy = choose(&Registers::read(tpm)?, choice)?;
        let secret = match patiently(tpm, |tpm| tpm.unseal(half, &policy)) {
            Ok(secret) => secret,
            Err(TpmError::PolicyFailed { step: PolicyStep::Registers }) => continue,
            Err(TpmError::PolicyFailed { step: PolicyStep::Approval }) => {
                choice = Choice::Verified;
                continue;
            }
            Err(TpmError::PolicyFailed { step: PolicyStep::Counter }) => {
                return Err(SealError::RolledBack { file: file.to_owned() });
            }
            // This is the TPM of the constants, so the blob was changed, or what the constants say it is sealed to.
            Err(TpmError::OtherTpm { .. } | TpmError::PolicyFailed { step: PolicyStep::Digest }) => {
                return Err(damaged());
            }
            Err(err) => return Err(SealError::tpm("open what is sealed", err)),
        };
        let mut copy = Zeroizing::new([0; 32]);
        if secret.len() != copy.len() {
            return Err(damaged());
        }
        copy.copy_from_slice(&secret);
        drop(secret);
        forget(tpm)?;
        return Ok(copy);
    }
    Err(PolicyFault::Changing { registers }.into())
}

/// A TPM stack keeps the last command and its answer in a buffer of its own: others overwrite the secret in it.
fn forget(tpm: &mut dyn Tpm) -> Result<(), SealError> {
    patiently(tpm, |tpm| tpm.random(32)).map_err(|err| SealError::tpm("give randomness", err))?;
    wipe_stack();
    Ok(())
}

pub(super) const TAG_LEN: usize = 16;
