//! What the box holds: `Identity`, `Import`, `ImportHistory`, `Retire`, and the two signatures that only an order gets:
//! `Exit` and `Register`.

use std::collections::BTreeSet;

use holdfast_eth::BuilderRegistration;
use holdfast_evidence::order::history_digest;
use holdfast_evidence::{HistoryClaim, IdentityOrder, ImportOrder};
use holdfast_types::{
    AttestationMark, BlockMark, Epoch, HistoryMarks, OPERATORS_MAX, PartialSignature, Slot, ValidatorIndex,
    ValidatorMarks, ValidatorPublic,
};
use holdfast_vault_client::IdentityKey;
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use super::floor::check_ahead;
use super::network::NO_NETWORK;
use super::{Broke, Refusal};
use crate::requests;
use crate::vault::Vault;
use crate::vault::standing::{Owned, Standing};

impl Vault {
    pub(super) fn take_identity(&mut self, identity: &IdentityOrder) -> Result<(), Refusal> {
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        if owned.keys.pins().is_some() && owned.keys.identity().is_some() {
            return Err(Refusal::Import("the box has an identity, and shares under it: retire those first"));
        }
        let secret = self.identity_secret(identity)?;
        self.hold_lease()?;
        let owned = self.owned_mut()?;
        owned.keys.set_identity(&IdentityKey(*secret));
        self.seal_as_it_is()
    }

    fn identity_secret(&mut self, identity: &IdentityOrder) -> Result<Zeroizing<[u8; 32]>, Refusal> {
        let mut secret = Zeroizing::new([0; 32]);
        match identity {
            IdentityOrder::MadeHere => {
                let of_tpm = self.tpm.random(32)?;
                OsRng.fill_bytes(&mut *secret);
                secret.iter_mut().zip(of_tpm.iter()).for_each(|(byte, other)| *byte ^= other);
            }
            IdentityOrder::Imported(envelope) => {
                let key = self.import_key.take().ok_or(Refusal::ImportKey)?;
                let plain = key.open(self.box_name, IdentityOrder::PURPOSE, envelope)?;
                let plain: &[u8; 32] =
                    plain.as_slice().try_into().map_err(|_| Refusal::Import("an identity key has 32 bytes"))?;
                secret.copy_from_slice(plain);
            }
        }
        // The order of secp256k1 is just below 2^256, so only a key that nobody made is refused.
        if *secret == [0; 32] || *secret >= SECP256K1_ORDER {
            return Err(Refusal::Import("it is no secp256k1 key"));
        }
        Ok(secret)
    }

    pub(super) fn import(&mut self, import: &ImportOrder) -> Result<(), Refusal> {
        let network = self.network_for(import.genesis_fork_version)?;
        let present = self.check_present(&network, import.epoch)?;
        self.check_import(import, present)?;
        let key = self.import_key.take().ok_or(Refusal::ImportKey)?;
        let ImportOrder { lock_hash, share_index, genesis_fork_version, history, validators, .. } = import;
        let purpose = ImportOrder::purpose(lock_hash, *share_index, *genesis_fork_version, history, validators);
        let plain = key.open(self.box_name, &purpose, &import.shares)?;
        let (shares, rest) = plain.as_chunks::<32>();
        if shares.len() != validators.len() || !rest.is_empty() {
            return Err(Refusal::Import("there is not one share of 32 bytes for each validator"));
        }
        if shares.iter().any(|share| holdfast_bls::public_of(share).is_err()) {
            return Err(Refusal::Import("a share is no BLS secret key"));
        }
        let is_first = self.standing.network().is_none();
        if is_first {
            self.fix_network(network, import.epoch)?;
        } else {
            self.hold_lease()?;
        }
        let marks = self.marks_of(import, present)?;
        if let Err(error) = self.owned_mut()?.history.merge(&marks) {
            return Err(self.broke(error));
        }
        if let Err(refusal) = self.cover(|validator| validators.contains(validator)) {
            // Terms that are not sealed yet must not stay.
            return Err(if is_first { self.broke(Broke::Uncounted) } else { refusal });
        }
        let owned = self.owned_mut()?;
        owned.keys.take_shares(*lock_hash, *share_index, validators.iter().copied().zip(shares))?;
        self.seal_as_it_is()
    }

    /// What the envelope is not needed for.
    fn check_import(&self, import: &ImportOrder, present: Epoch) -> Result<(), Refusal> {
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        if import.validators.is_empty() {
            return Err(Refusal::Import("it names no validator"));
        }
        if import.share_index.0 == 0 || usize::from(import.share_index.0) > OPERATORS_MAX {
            return Err(Refusal::Import("no operator has such a share index"));
        }
        if let Some(pins) = owned.keys.pins() {
            if (pins.lock_hash, pins.share_index) != (import.lock_hash, import.share_index) {
                return Err(Refusal::Import("the box holds shares of another lock or index: retire those first"));
            }
            if import.validators.iter().any(|validator| pins.validators.contains(validator)) {
                return Err(Refusal::Import("the box holds a share of one of these validators already"));
            }
        }
        let held = owned.keys.pins().map_or(0, |pins| pins.validators.len());
        if held + import.validators.len() > holdfast_vault_client::codec::BATCH_LEN_MAX {
            return Err(Refusal::Import("a box holds at most 1,000 shares"));
        }
        let network = owned.sealed.constants.network.as_ref();
        match &import.history {
            HistoryClaim::Imported(digest) if !owned.history.knows_import(digest) => {
                Err(Refusal::Import("the history that it counts on was not imported: order ImportHistory first"))
            }
            // As far as ticks bring the lease: the record must cover it.
            HistoryClaim::Lost { first } => {
                let epochs = network.map_or(self.release.lease_epochs, |network| network.terms.epochs);
                check_ahead(*first, present, epochs.saturating_mul(2).max(2))
            }
            HistoryClaim::Imported(_) | HistoryClaim::NeverSigned => Ok(()),
        }
    }

    /// What is barred for validators of whom the history is not known. Called once the lease holds.
    fn marks_of(&self, import: &ImportOrder, present: Epoch) -> Result<Vec<ValidatorMarks>, Refusal> {
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        // Of whom it is known here that they signed, that they never did is not believed.
        let signed: BTreeSet<_> = owned.history.page(None, usize::MAX).iter().map(|marks| marks.validator).collect();
        let believed = |validator: &ValidatorPublic| never_leased(owned) && !signed.contains(validator);
        let (first, unknown): (_, Vec<_>) = match import.history {
            HistoryClaim::Imported(_) => return Ok(Vec::new()),
            HistoryClaim::NeverSigned => {
                let unknown = import.validators.iter().filter(|validator| !believed(validator)).collect();
                (Epoch(present.0.saturating_add(2)), unknown)
            }
            HistoryClaim::Lost { first } => (first, import.validators.iter().collect()),
        };
        let network = owned.network().ok_or(Refusal::Network(NO_NETWORK))?;
        let barred = Epoch(first.0.saturating_sub(1));
        let slot = Slot(network.chain.first_slot(first).0.saturating_sub(1));
        // Until then the share may be in use elsewhere. The source of a vote is below its target.
        let source = Epoch(barred.0.saturating_sub(1));
        let attestation = Some(AttestationMark { source, target: barred, root: None });
        let block = Some(BlockMark { slot, root: None });
        Ok(unknown.into_iter().map(|validator| ValidatorMarks { validator: *validator, attestation, block }).collect())
    }

    /// Merges watermarks. Those of the far future would bar their validators until then, so they are refused.
    pub(super) fn import_history(&mut self, marks: &HistoryMarks) -> Result<(), Refusal> {
        let present = self.present(self.now())?;
        let network = self.standing.network().ok_or(Refusal::Network(NO_NETWORK))?;
        if marks.genesis_validators_root != network.chain.genesis_validators_root {
            return Err(Refusal::Network("the history is of another network than the box"));
        }
        let target_max = Epoch(present.0.saturating_add(HISTORY_AHEAD_MAX));
        let slot_max = network.chain.first_slot(Epoch(target_max.0.saturating_add(1)));
        let far = |validator: &ValidatorMarks| {
            validator.attestation.is_some_and(|mark| mark.target > target_max || mark.source > mark.target)
                || validator.block.is_some_and(|mark| mark.slot >= slot_max)
        };
        if marks.validators.iter().any(far) {
            return Err(Refusal::Import("the history reaches into the future: check it, and the box's clock"));
        }
        // The record of a clean stop names what the history was: only a process that has a record of its own changes it.
        self.hold_lease()?;
        if let Err(error) = self.owned_mut()?.history.merge(&marks.validators) {
            return Err(self.broke(error));
        }
        let held = self.owned_mut()?.keys.pins().map(|pins| pins.validators.clone()).unwrap_or_default();
        self.cover(|validator| held.contains(validator))?;
        let noted = self.owned_mut()?.history.note_import(history_digest(marks));
        noted.map_err(|error| self.broke(error))
    }

    pub(super) fn retire(&mut self, validators: &[ValidatorPublic]) -> Result<(), Refusal> {
        let owned = self.standing.owned().ok_or(Refusal::NotOwned)?;
        let held =
            |validator: &&ValidatorPublic| !owned.keys.pins().is_some_and(|pins| pins.validators.contains(*validator));
        if let Some(unknown) = validators.iter().find(held) {
            return Err(Refusal::UnknownValidator(*unknown));
        }
        if validators.is_empty() {
            return Err(Refusal::Import("it names no validator"));
        }
        self.hold_lease()?;
        let owned = self.owned_mut()?;
        owned.keys.retire(validators);
        self.seal_as_it_is()
    }

    pub(super) fn exit(
        &mut self,
        validator: ValidatorPublic,
        index: ValidatorIndex,
        epoch: Epoch,
    ) -> Result<PartialSignature, Refusal> {
        let network = self.standing.network().ok_or(Refusal::Network(NO_NETWORK))?;
        self.signed(requests::exit(&network, self.now(), |validator| self.holds(validator), validator, index, epoch)?)
    }

    pub(super) fn register(
        &mut self,
        validator: ValidatorPublic,
        fee_recipient: [u8; 20],
        gas_limit: u64,
        timestamp_s: u64,
    ) -> Result<PartialSignature, Refusal> {
        let network = self.standing.network().ok_or(Refusal::Network(NO_NETWORK))?;
        let asked = BuilderRegistration { fee_recipient, gas_limit, timestamp_s, pubkey: validator };
        self.signed(requests::registration(&network, self.now(), |validator| self.holds(validator), &asked)?)
    }

    fn holds(&self, validator: &ValidatorPublic) -> bool {
        let pins = self.standing.owned().and_then(|owned| owned.keys.pins());
        pins.is_some_and(|pins| pins.validators.contains(validator))
    }

    fn owned_mut(&mut self) -> Result<&mut Owned, Refusal> {
        match &mut self.standing {
            Standing::Owned(owned) => Ok(owned),
            _ => Err(Refusal::NotOwned),
        }
    }

    fn seal_as_it_is(&mut self) -> Result<(), Refusal> {
        let owned = self.owned_mut()?;
        let (constants, level) = (owned.sealed.constants.clone(), owned.sealed.level);
        self.seal_anew(constants, level)
    }
}

/// Whether this TPM held no lease before that of the network that is fixed now.
fn never_leased(owned: &Owned) -> bool {
    let constants = &owned.sealed.constants;
    let first = constants.network.as_ref().map(|network| network.terms.first_counter);
    first.is_some() && first == constants.fresh_counter
}

/// The order of secp256k1's group (SEC 2, 2.4.1), big-endian.
const SECP256K1_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc,
    0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];
/// What a validator signs at most ahead of the clock.
const HISTORY_AHEAD_MAX: u64 = 1;
