//! The keys of an open vault, in locked memory, and what they belong to.
//!
//! One stretch of memory holds all of them; it is taken at boot, before the vault gives up the calls that make it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use holdfast_bls::{HashedRoot, InvalidSecret};
use holdfast_hal::tpm::Tpm;
use holdfast_types::{ChainSpec, LockHash, PartialSignature, ShareIndex, SigningRoot, ValidatorPublic};
use holdfast_vault_client::IdentityKey;
use holdfast_vault_client::codec::BATCH_LEN_MAX;
use serde::{Deserialize, Serialize};

use crate::history::Recorded;
use crate::memory::{LockedMemory, MemoryError, wipe_stack};
use crate::sealed::{Item, SealedError, WrappingKey};
use crate::state::StateFolder;
use crate::vault::Share;

/// What the keys belong to, fixed at the import. No secret, but authenticated like one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pins {
    pub(crate) lock_hash: LockHash,
    pub(crate) chain: ChainSpec,
    pub(crate) share_index: ShareIndex,
    pub(crate) validators: BTreeSet<ValidatorPublic>,
}

/// Why the keys do not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// Something sealed does not open.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// The pins are whole, but another version wrote them.
    #[error("the pins were written by another version of the vault: run that version")]
    PinsVersion(#[source] postcard::Error),
    /// There are more shares than this version holds.
    #[error("{found} shares, at most {BATCH_LEN_MAX} are held")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

/// Room for the keys, not filled yet.
pub(crate) struct KeyRoom(LockedMemory);

impl KeyRoom {
    pub(crate) fn allocate() -> Result<Self, MemoryError> {
        LockedMemory::allocate(ROOM_LEN).map(Self)
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        self.0.kind().name()
    }
}

/// The roots of one batch as points of the curve: most often one for the whole batch, so each is hashed once.
#[derive(Default)]
pub(crate) struct HashedRoots(BTreeMap<SigningRoot, HashedRoot>);

impl HashedRoots {
    fn of(&mut self, root: SigningRoot) -> &HashedRoot {
        self.0.entry(root).or_insert_with(|| HashedRoot::new(root))
    }
}

/// All keys of this vault.
pub(crate) struct Keys {
    pins: Pins,
    slots: BTreeMap<ValidatorPublic, usize>,
    memory: LockedMemory,
}

impl Keys {
    /// Has the TPM open the wrapping key and decrypts everything into `room`.
    pub(crate) fn open(room: KeyRoom, tpm: &mut dyn Tpm, state: &StateFolder) -> Result<Self, KeysError> {
        let wrapping = WrappingKey::unseal(tpm, state)?;
        let pins: Pins =
            postcard::from_bytes(&wrapping.load_public(state, Item::Pins)?).map_err(KeysError::PinsVersion)?;
        let mut keys = Self::laid_out(room, pins)?;
        wrapping.load(state, Item::Identity, keys.slot_mut(IDENTITY_SLOT))?;
        for (validator, slot) in keys.slots.clone() {
            wrapping.load(state, Item::Share(validator), keys.slot_mut(slot))?;
        }
        Ok(keys)
    }

    /// Takes new keys into `room`; nothing is on the disk yet. Wants one share of each validator of the pins.
    pub(crate) fn take<'a>(
        room: KeyRoom,
        pins: Pins,
        identity: &IdentityKey,
        shares: impl Iterator<Item = &'a Share>,
    ) -> Result<Self, KeysError> {
        let mut keys = Self::laid_out(room, pins)?;
        keys.slot_mut(IDENTITY_SLOT).copy_from_slice(&identity.0);
        for share in shares {
            let slot = *keys.slots.get(&share.validator).expect("the pins name the validators of the shares");
            keys.slot_mut(slot).copy_from_slice(&*share.secret);
        }
        Ok(keys)
    }

    /// Writes everything under a new wrapping key, that key last: before it is there the vault counts as empty.
    pub(crate) fn store(&self, tpm: &mut dyn Tpm, state: &StateFolder) -> Result<(), SealedError> {
        let wrapping = WrappingKey::random(tpm)?;
        for (validator, slot) in &self.slots {
            wrapping.store(state, Item::Share(*validator), self.slot(*slot))?;
        }
        wrapping.store(state, Item::Identity, self.slot(IDENTITY_SLOT))?;
        let pins = postcard::to_allocvec(&self.pins).expect("the pins have a fixed form");
        wrapping.store(state, Item::Pins, &pins)?;
        wrapping.seal(tpm, state)
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// A copy for the daemon, which holds this key by design.
    pub(crate) fn identity(&self) -> IdentityKey {
        IdentityKey(*self.slot(IDENTITY_SLOT))
    }

    /// Signs what the history has recorded, and nothing else: the root is the proof's own. Fails only for a share that
    /// is not here or no key, which neither the import nor the caller lets through.
    pub(crate) fn sign(&self, proof: Recorded, hashed: &mut HashedRoots) -> Result<PartialSignature, InvalidSecret> {
        let slot = *self.slots.get(proof.validator()).ok_or(InvalidSecret)?;
        let signed = holdfast_bls::sign_with(self.slot(slot), hashed.of(proof.root()));
        wipe_stack();
        signed
    }

    fn laid_out(room: KeyRoom, pins: Pins) -> Result<Self, KeysError> {
        if pins.validators.len() > BATCH_LEN_MAX {
            return Err(KeysError::TooMany { found: pins.validators.len() });
        }
        let slots = pins.validators.iter().copied().zip(FIRST_SHARE_SLOT..).collect();
        Ok(Self { pins, slots, memory: room.0 })
    }

    fn slot(&self, index: usize) -> &[u8; 32] {
        &self.memory.bytes().as_chunks().0[index]
    }

    fn slot_mut(&mut self, index: usize) -> &mut [u8; 32] {
        &mut self.memory.bytes_mut().as_chunks_mut().0[index]
    }
}

const IDENTITY_SLOT: usize = 0;
const FIRST_SHARE_SLOT: usize = 1;
const ROOM_LEN: NonZeroUsize = NonZeroUsize::new((FIRST_SHARE_SLOT + BATCH_LEN_MAX) * 32).expect("it is not zero");
