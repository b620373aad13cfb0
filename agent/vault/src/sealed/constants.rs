//! What never changes under one owner: who decides, which machine this is, which counters it counts with.
//!
//! They lie in the clear beside what is sealed, and nothing signs them: they salt the wrapping key, so that foreign ones
//! open nothing. Their form is postcard's; the salt is over the bytes as they lie there, so there is nothing to normalise.

use holdfast_evidence::NetworkPins;
use holdfast_hal::tpm::{NvIndex, Tpm, TpmError, TpmName};
use holdfast_types::P256Public;
use holdfast_vault_client::Tier;
use serde::{Deserialize, Serialize};

use crate::lease::Terms;

use super::counter::{GENERATION_COUNTER, LEASE_COUNTER, patiently};
use super::error::SealError;

/// The constants of one owner on one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Constants {
    /// Who orders, and approves boot states.
    pub(crate) authority: P256Public,
    /// Who approves images.
    pub(crate) release: P256Public,
    /// The kind of board that the images are for.
    pub(crate) board: String,
    /// The Name of the TPM's storage root key.
    pub(crate) storage_root: Vec<u8>,
    /// The Name of the TPM's attestation key.
    pub(crate) attestation_key: Vec<u8>,
    /// The counter of the lease. Only pinned here: the lease judges it.
    pub(crate) lease_counter: CounterPin,
    /// The counter of the generations.
    pub(crate) generation_counter: CounterPin,
    /// What the seal means on this machine.
    pub(crate) tier: Tier,
    /// The lease counter's value when it was made for this owner; `None` when it was there already.
    pub(crate) fresh_counter: Option<u64>,
    /// The network, once one is fixed.
    pub(crate) network: Option<PinnedNetwork>,
}

/// A counter of the TPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CounterPin {
    /// Where it is.
    pub(crate) index: u32,
    /// Its Name: a counter that was made anew has the same, but a value above all that were before.
    pub(crate) name: Vec<u8>,
}

/// A network, and the lease under which is signed for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PinnedNetwork {
    /// The facts that signing goes by.
    pub(crate) pins: NetworkPins,
    /// The lease.
    pub(crate) terms: Terms,
}

/// What the owner and the image say, where the rest of the constants comes from the TPM.
pub(crate) struct Owner<'a> {
    pub(crate) authority: P256Public,
    pub(crate) release: P256Public,
    pub(crate) board: &'a str,
    pub(crate) tier: Tier,
}

impl Constants {
    /// The constants of a new owner on the machine with this TPM. Makes the counters unless they are there.
    ///
    /// # Errors
    /// When the TPM does not answer, or something else is in a counter's place.
    pub(crate) fn of_machine(tpm: &mut dyn Tpm, owner: &Owner<'_>) -> Result<Self, SealError> {
        let storage_root = ask(tpm, "name its storage root key", |tpm| tpm.storage_root_name())?;
        let attestation_key = ask(tpm, "name its attestation key", |tpm| tpm.attestation_key_name())?;
        let generation = ask(tpm, "make the generation counter", |tpm| tpm.counter_define(GENERATION_COUNTER))?;
        let lease = ask(tpm, "make the lease counter", |tpm| tpm.counter_define(LEASE_COUNTER))?;
        Ok(Self {
            authority: owner.authority,
            release: owner.release,
            board: owner.board.to_owned(),
            storage_root: storage_root.0,
            attestation_key: attestation_key.0,
            fresh_counter: lease.created.then_some(lease.reading.value),
            lease_counter: CounterPin::of(LEASE_COUNTER, &lease.reading.name),
            generation_counter: CounterPin::of(GENERATION_COUNTER, &generation.reading.name),
            tier: owner.tier,
            network: None,
        })
    }

    /// Whether this is the machine on which they were fixed.
    pub(super) fn check_machine(&self, tpm: &mut dyn Tpm) -> Result<(), SealError> {
        let present = ask(tpm, "name its storage root key", |tpm| tpm.storage_root_name())?;
        if present.0 != self.storage_root {
            return Err(other_machine("storage root key", &self.storage_root, present));
        }
        let present = ask(tpm, "name its attestation key", |tpm| tpm.attestation_key_name())?;
        if present.0 != self.attestation_key {
            return Err(other_machine("attestation key", &self.attestation_key, present));
        }
        Ok(())
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(self).expect("constants have a fixed form")
    }

    /// Reads what [`Constants::to_bytes`] wrote, without anything behind it. The caller bounds the length.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(bytes) {
            Ok((constants, [])) => Some(constants),
            _ => None,
        }
    }
}

impl CounterPin {
    fn of(index: NvIndex, name: &TpmName) -> Self {
        Self { index: index.0, name: name.0.clone() }
    }

    /// Whether a counter that was found at `index` is the pinned one.
    pub(super) fn is(&self, index: NvIndex, name: &TpmName) -> bool {
        self.index == index.0 && self.name == name.0
    }
}

fn other_machine(key: &'static str, sealed: &[u8], present: TpmName) -> SealError {
    SealError::OtherMachine { key, sealed: TpmName(sealed.to_vec()), present }
}

fn ask<T>(
    tpm: &mut dyn Tpm,
    what: &'static str,
    call: impl FnMut(&mut dyn Tpm) -> Result<T, TpmError>,
) -> Result<T, SealError> {
    patiently(tpm, call).map_err(|err| SealError::tpm(what, err))
}
