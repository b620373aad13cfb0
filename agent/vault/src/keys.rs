//! The keys of an open vault, in locked memory, and what the shares belong to.
//!
//! One stretch of memory holds all of them; it is taken at boot, before the vault gives up the calls that make it, and
//! handed on when the keys are wiped. How they get on the disk is not its business.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use holdfast_bls::{HashedRoot, sign_many};
use holdfast_types::{LockHash, PartialSignature, ShareIndex, SigningRoot, ValidatorPublic};
use holdfast_vault_client::codec::BATCH_LEN_MAX;
use holdfast_vault_client::{IdentityKey, SigningRefused};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::history::Recorded;
use crate::memory::{LockedMemory, MemoryError, wipe_stack};
use crate::requests::Admitted;

/// What the shares belong to. No secret, but authenticated like one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pins {
    /// The lock that all of them are from.
    pub(crate) lock_hash: LockHash,
    /// Their index in that lock.
    pub(crate) share_index: ShareIndex,
    /// Whose shares they are; never empty.
    pub(crate) validators: BTreeSet<ValidatorPublic>,
}

/// Why shares are not taken. None of them was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysError {
    /// A share of this validator is here, or came twice.
    #[error("there is a share of validator {0} already: retire it first")]
    Held(ValidatorPublic),
    /// The shares that are here belong elsewhere.
    #[error("the vault holds shares with index {share_index} of lock {lock_hash}: retire them first")]
    OtherLock {
        /// Their lock.
        lock_hash: LockHash,
        /// Their index.
        share_index: ShareIndex,
    },
    /// There are more shares than the room holds.
    #[error("{found} shares, at most {BATCH_LEN_MAX} are held in one vault")]
    TooMany {
        /// How many there would be.
        found: usize,
    },
}

/// Room for the keys, not filled; all zero.
pub(crate) struct KeyRoom(LockedMemory);

impl KeyRoom {
    pub(crate) fn allocate() -> Result<Self, MemoryError> {
        LockedMemory::allocate(ROOM_LEN).map(Self)
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        self.0.kind().name()
    }
}

/// What was signed, or why not, in the order that was asked for.
pub(crate) type Signatures = Vec<Result<PartialSignature, SigningRefused>>;

/// All keys of this vault.
pub(crate) struct Keys {
    pins: Option<Pins>,
    slots: BTreeMap<ValidatorPublic, usize>,
    has_identity: bool,
    memory: LockedMemory,
}

impl Keys {
    /// The keys of a new owner: the MAC key of the lease record and nothing else.
    pub(crate) fn empty(room: KeyRoom, mac_key: &[u8; 32]) -> Self {
        let mut keys = Self { pins: None, slots: BTreeMap::new(), has_identity: false, memory: room.0 };
        keys.slot_mut(MAC_SLOT).copy_from_slice(mac_key);
        keys
    }

    /// Takes shares of one lock beside those that are here.
    ///
    /// # Errors
    /// [`KeysError`]; then none was taken.
    pub(crate) fn take_shares<'a>(
        &mut self,
        lock_hash: LockHash,
        share_index: ShareIndex,
        shares: impl Iterator<Item = (ValidatorPublic, &'a [u8; 32])>,
    ) -> Result<(), KeysError> {
        let mut taken = BTreeMap::new();
        for (validator, secret) in shares.take(BATCH_LEN_MAX + 1) {
            if self.slots.contains_key(&validator) || taken.insert(validator, secret).is_some() {
                return Err(KeysError::Held(validator));
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        self.admit(lock_hash, share_index, taken.keys().copied().collect())?;
        for (validator, secret) in taken {
            let place = self.share_mut(&validator).expect("each share was given a slot");
            place.copy_from_slice(secret);
        }
        Ok(())
    }

    /// Wipes the shares of these validators; those of others stay.
    pub(crate) fn retire(&mut self, validators: &[ValidatorPublic]) {
        for validator in validators {
            if let Some(slot) = self.slots.remove(validator) {
                self.slot_mut(slot).zeroize();
            }
        }
        if let Some(pins) = &mut self.pins {
            pins.validators.retain(|validator| self.slots.contains_key(validator));
        }
        self.pins.take_if(|pins| pins.validators.is_empty());
    }

    /// Gives the box its node identity, in the place of the one before.
    pub(crate) fn set_identity(&mut self, identity: &IdentityKey) {
        self.slot_mut(IDENTITY_SLOT).copy_from_slice(&identity.0);
        self.has_identity = true;
    }

    /// A copy for the daemon, which holds this key by design; `None` when there is none yet.
    pub(crate) fn identity(&self) -> Option<IdentityKey> {
        self.has_identity.then(|| IdentityKey(*self.slot(IDENTITY_SLOT)))
    }

    /// The key of the MAC over the record of the lease.
    pub(crate) fn mac_key(&self) -> &[u8; 32] {
        self.slot(MAC_SLOT)
    }

    /// What the shares belong to; `None` when there are none.
    pub(crate) fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// Signs what the history has recorded; what was refused stays refused. Refuses itself only for a share that is not here or
    /// no key, which neither the import nor the caller lets through.
    pub(crate) fn sign(&self, recorded: Vec<Result<Recorded, SigningRefused>>) -> Signatures {
        self.sign_roots(recorded.into_iter().map(|proof| proof.map(|proof| (*proof.validator(), proof.root()))))
    }

    /// Signs what cannot be slashed and was admitted. Refuses as [`Keys::sign`] does.
    pub(crate) fn sign_admitted(&self, admitted: Vec<Result<Admitted, SigningRefused>>) -> Signatures {
        self.sign_roots(admitted.into_iter().map(|proof| proof.map(|proof| (*proof.validator(), proof.root()))))
    }

    /// Wipes everything and gives the room back.
    pub(crate) fn wipe(mut self) -> KeyRoom {
        self.memory.bytes_mut().zeroize();
        KeyRoom(self.memory)
    }

    /// Whose shares are here, with the shares, in the order of [`Pins::validators`].
    pub(crate) fn shares(&self) -> impl Iterator<Item = (&ValidatorPublic, &[u8; 32])> {
        self.slots.iter().map(|(validator, slot)| (validator, self.slot(*slot)))
    }

    /// Everything secret but the shares, as it is sealed; [`Keys::set_secrets`] takes it back.
    pub(crate) fn secrets(&self) -> Zeroizing<[u8; SECRETS_LEN]> {
        let mut secrets = Zeroizing::new([0; SECRETS_LEN]);
        secrets[..32].copy_from_slice(self.slot(MAC_SLOT));
        secrets[32..64].copy_from_slice(self.slot(IDENTITY_SLOT));
        secrets[64] = u8::from(self.has_identity);
        secrets
    }

    pub(crate) fn set_secrets(&mut self, secrets: &[u8; SECRETS_LEN]) {
        self.slot_mut(MAC_SLOT).copy_from_slice(&secrets[..32]);
        self.slot_mut(IDENTITY_SLOT).copy_from_slice(&secrets[32..64]);
        self.has_identity = secrets[64] == 1;
    }

    /// Slots for shares, without the shares: [`Keys::share_mut`] has the place of each.
    pub(crate) fn admit(
        &mut self,
        lock_hash: LockHash,
        share_index: ShareIndex,
        validators: BTreeSet<ValidatorPublic>,
    ) -> Result<(), KeysError> {
        if let Some(pins) = &self.pins
            && (pins.lock_hash, pins.share_index) != (lock_hash, share_index)
        {
            return Err(KeysError::OtherLock { lock_hash: pins.lock_hash, share_index: pins.share_index });
        }
        let found = self.slots.len() + validators.len();
        if found > BATCH_LEN_MAX {
            return Err(KeysError::TooMany { found });
        }
        let used: BTreeSet<usize> = self.slots.values().copied().collect();
        let free = (FIRST_SHARE_SLOT..SLOTS).filter(|slot| !used.contains(slot));
        self.slots.extend(validators.iter().copied().zip(free));
        let pins = self.pins.get_or_insert_with(|| Pins { lock_hash, share_index, validators: BTreeSet::new() });
        pins.validators.extend(validators);
        Ok(())
    }

    /// The place of a share that was admitted.
    pub(crate) fn share_mut(&mut self, validator: &ValidatorPublic) -> Option<&mut [u8; 32]> {
        let slot = *self.slots.get(validator)?;
        Some(self.slot_mut(slot))
    }

    /// Signs each root with all shares that are to sign it at once: most often one root is asked for the whole batch.
    fn sign_roots(
        &self,
        asked: impl Iterator<Item = Result<(ValidatorPublic, SigningRoot), SigningRefused>>,
    ) -> Signatures {
        let mut by_root: BTreeMap<SigningRoot, (Vec<usize>, Vec<&[u8; 32]>)> = BTreeMap::new();
        let mut answers = Signatures::new();
        for (at, asked) in asked.enumerate() {
            answers.push(asked.and_then(|(validator, root)| {
                if let Some(slot) = self.slots.get(&validator) {
                    let (places, shares) = by_root.entry(root).or_default();
                    places.push(at);
                    shares.push(self.slot(*slot));
                }
                // Until it is signed below.
                Err(SigningRefused::UnknownValidator(validator))
            }));
        }
        for (root, (places, shares)) in by_root {
            for (at, signed) in places.into_iter().zip(sign_many(&shares, &HashedRoot::new(root))) {
                if let Ok(signature) = signed {
                    answers[at] = Ok(signature);
                }
            }
        }
        wipe_stack();
        answers
    }

    fn slot(&self, index: usize) -> &[u8; 32] {
        &self.memory.bytes().as_chunks().0[index]
    }

    fn slot_mut(&mut self, index: usize) -> &mut [u8; 32] {
        &mut self.memory.bytes_mut().as_chunks_mut().0[index]
    }
}

/// The MAC key, the identity, and whether there is one.
pub(crate) const SECRETS_LEN: usize = 65;
const IDENTITY_SLOT: usize = 0;
const MAC_SLOT: usize = 1;
const FIRST_SHARE_SLOT: usize = 2;
const SLOTS: usize = FIRST_SHARE_SLOT + BATCH_LEN_MAX;
const ROOM_LEN: NonZeroUsize = NonZeroUsize::new(SLOTS * 32).expect("it is not zero");

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: LockHash = LockHash([1; 32]);
    const INDEX: ShareIndex = ShareIndex(2);

    fn validator(number: u8) -> ValidatorPublic {
        ValidatorPublic([number; 48])
    }

    fn empty() -> Keys {
        Keys::empty(KeyRoom::allocate().unwrap(), &[0x3c; 32])
    }

    fn take(keys: &mut Keys, numbers: &[u8]) -> Result<(), KeysError> {
        let shares: Vec<_> = numbers.iter().map(|number| (validator(*number), [*number; 32])).collect();
        keys.take_shares(LOCK, INDEX, shares.iter().map(|(validator, share)| (*validator, share)))
    }

    fn held(keys: &Keys) -> Vec<(ValidatorPublic, [u8; 32])> {
        keys.shares().map(|(validator, share)| (*validator, *share)).collect()
    }

    fn expected(numbers: &[u8]) -> Vec<(ValidatorPublic, [u8; 32])> {
        numbers.iter().map(|number| (validator(*number), [*number; 32])).collect()
    }

    #[test]
    fn shares_come_and_go_and_their_slots_are_wiped_and_used_again() {
        let mut keys = empty();
        assert_eq!(keys.pins(), None);
        take(&mut keys, &[1, 2, 3]).unwrap();
        keys.retire(&[validator(2), validator(9)]);
        assert_eq!(held(&keys), expected(&[1, 3]));
        assert!(!keys.memory.bytes().windows(32).any(|window| window == [2; 32]), "a retired share stays in memory");
        take(&mut keys, &[4, 5]).unwrap();
        assert_eq!(held(&keys), expected(&[1, 3, 4, 5]));
        let validators = [1, 3, 4, 5].map(validator).into();
        assert_eq!(keys.pins(), Some(&Pins { lock_hash: LOCK, share_index: INDEX, validators }));
        keys.retire(&[1, 3, 4, 5].map(validator));
        assert_eq!(keys.pins(), None);
        assert_eq!(*keys.mac_key(), [0x3c; 32]);
    }

    #[test]
    fn shares_that_do_not_fit_are_refused_together() {
        let mut keys = empty();
        take(&mut keys, &[1]).unwrap();
        assert_eq!(take(&mut keys, &[2, 1]), Err(KeysError::Held(validator(1))));
        assert_eq!(take(&mut keys, &[2, 2]), Err(KeysError::Held(validator(2))));
        let other = [(validator(3), &[3; 32])];
        let elsewhere = KeysError::OtherLock { lock_hash: LOCK, share_index: INDEX };
        assert_eq!(keys.take_shares(LockHash([2; 32]), INDEX, other.into_iter()), Err(elsewhere));
        assert_eq!(keys.take_shares(LOCK, ShareIndex(3), other.into_iter()), Err(elsewhere));
        let many = (0..BATCH_LEN_MAX).map(|number| {
            let mut validator = [0xee; 48];
            validator[..8].copy_from_slice(&number.to_be_bytes());
            (ValidatorPublic(validator), &[4; 32])
        });
        assert_eq!(keys.take_shares(LOCK, INDEX, many), Err(KeysError::TooMany { found: BATCH_LEN_MAX + 1 }));
        assert_eq!(held(&keys), expected(&[1]));
        take(&mut keys, &[]).unwrap();
        assert_eq!(held(&keys), expected(&[1]));
    }

    #[test]
    fn no_shares_leave_no_pins() {
        let mut keys = empty();
        take(&mut keys, &[]).unwrap();
        assert_eq!(keys.pins(), None);
    }

    #[test]
    fn secrets_are_taken_back_as_they_were() {
        let mut keys = empty();
        assert!(keys.identity().is_none());
        let without = keys.secrets();
        keys.set_identity(&IdentityKey([0x5a; 32]));
        let mut other = empty();
        other.set_secrets(&keys.secrets());
        assert_eq!(other.identity().unwrap().0, [0x5a; 32]);
        assert_eq!(*other.mac_key(), [0x3c; 32]);
        other.set_secrets(&without);
        assert!(other.identity().is_none());
    }

    #[test]
    fn what_is_wiped_is_zero() {
        let mut keys = empty();
        keys.set_identity(&IdentityKey([0x5a; 32]));
        take(&mut keys, &[1, 2]).unwrap();
        let room = keys.wipe();
        assert!(room.0.bytes().iter().all(|byte| *byte == 0));
    }
}
