//! A TPM in memory: its own seeds, platform registers, counters and keys, and faults that a test injects.
//!
//! It plays policies as a TPM does, step by step, and its keys are real ones, so whatever verifies a chip's signatures
//! verifies these. It does not model sessions, handles or authorisation, and it is deterministic: equal seeds and equal
//! calls give equal answers.

mod chip;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_hal::tpm::{
    CounterDefined, CounterReading, EndorsementKey, NvIndex, PcrIndex, Quote, Resets, SealedBlob, Statement, Tpm,
    TpmError, TpmKind, TpmName, UnsealPolicy,
};
use holdfast_types::{P256Public, P256Signature, PolicyDigest};
use zeroize::Zeroizing;

use chip::{Chip, Index, State};

/// One simulated TPM. A clone is another handle to the same TPM, so that a test can turn its knobs while the vault owns
/// it, and can start a second vault on it.
#[derive(Clone)]
pub struct SimTpm {
    chip: Arc<Mutex<Chip>>,
}

/// What a TPM remembers, copied: seeds, counters, registers. A copied virtual TPM is restored from one.
#[derive(Clone)]
pub struct Snapshot(State);

/// What a fault can be injected into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Tpm::activate_credential`].
    ActivateCredential,
    /// [`Tpm::attestation_key_name`].
    AttestationKeyName,
    /// [`Tpm::box_key`].
    BoxKey,
    /// [`Tpm::certify_counter`].
    CertifyCounter,
    /// [`Tpm::counter_define`].
    CounterDefine,
    /// [`Tpm::counter_increment`].
    CounterIncrement,
    /// [`Tpm::counter_read`].
    CounterRead,
    /// [`Tpm::endorsement_key`].
    EndorsementKey,
    /// [`Tpm::quote`].
    Quote,
    /// [`Tpm::random`].
    Random,
    /// [`Tpm::read_pcrs`].
    ReadPcrs,
    /// [`Tpm::resets`].
    Resets,
    /// [`Tpm::seal`].
    Seal,
    /// [`Tpm::sign_with_box_key`].
    SignWithBoxKey,
    /// [`Tpm::storage_root_name`].
    StorageRootName,
    /// [`Tpm::unseal`].
    Unseal,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The TPM did it, but the answer is lost: the caller sees a refusal.
    AnswerLost,
    /// The TPM, or somebody on its bus, answers that it did it, but nothing happened.
    Lied,
    /// The TPM refuses and nothing happens.
    Refused,
}

impl SimTpm {
    /// A TPM with this seed. Equal seeds make the same TPM, others another one; registers start at zero.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { chip: Arc::new(Mutex::new(Chip::new(seed))) }
    }

    /// The same TPM, which from now on says that it is a part of the machine.
    #[must_use]
    pub fn as_device(self) -> Self {
        self.chip().kind = TpmKind::Device;
        self
    }

    /// Sets a platform register.
    ///
    /// # Panics
    /// When there is no such register.
    pub fn set_pcr(&self, index: PcrIndex, value: [u8; 32]) {
        self.chip().state.pcrs[usize::from(index.0)] = value;
    }

    /// Puts a counter with this value at `index`, whatever was there: also a smaller one, as after a restored state.
    pub fn set_counter(&self, index: NvIndex, value: u64) {
        self.chip().state.indices.insert(index.0, Index::Counter(value));
    }

    /// Puts a certificate of the endorsement key where its maker would.
    pub fn set_certificate(&self, certificate: Vec<u8>) {
        self.chip().state.certificate = Some(certificate);
    }

    /// Takes away what is at `index`.
    pub fn remove_index(&self, index: NvIndex) {
        self.chip().state.remove(index);
    }

    /// Puts something at `index` that is not a counter.
    pub fn place_ordinary_index(&self, index: NvIndex) {
        self.place(index, Index::Ordinary);
    }

    /// Puts a counter with other attributes than ours at `index`: it counts, but has another Name.
    pub fn place_foreign_counter(&self, index: NvIndex, value: u64) {
        self.place(index, Index::ForeignCounter(value));
    }

    /// Switches the TPM off and on. The registers keep their values, as if the same software had started again.
    pub fn power_cycle(&self) {
        self.chip().state.resets += 1;
    }

    /// Clears the TPM (`TPM2_Clear`): a new storage seed, no counters, resets at zero. Nothing that was sealed opens
    /// any more, and the box key is another one; the attestation key stays.
    pub fn clear(&self) {
        self.chip().state.clear();
    }

    /// Copies what the TPM remembers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.chip().state.clone())
    }

    /// Puts a copy back, also one of another TPM, which this one thereby becomes. Faults stay planned, and the
    /// generator goes on: two runs from one copy do not draw the same bytes.
    pub fn restore(&self, copy: &Snapshot) {
        self.chip().state = copy.0.clone();
    }

    /// Lets the next call of `operation` fail; several for one operation are played in the order they were given.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.chip().faults.push_back((operation, fault));
    }

    fn place(&self, index: NvIndex, what: Index) {
        let mut chip = self.chip();
        chip.state.remove(index);
        chip.state.indices.insert(index.0, what);
    }

    fn chip(&self) -> MutexGuard<'_, Chip> {
        // A test that failed while it held the lock has left the chip whole: no call panics halfway through a change.
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T>(
        &self,
        operation: Operation,
        named: &'static str,
        act: impl FnOnce(&mut Chip) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let mut chip = self.chip();
        match chip.next_fault(operation) {
            None => return act(&mut chip),
            Some(Fault::Lied) => {
                let before = chip.state.clone();
                let answer = act(&mut chip);
                chip.state = before;
                return answer;
            }
            Some(Fault::AnswerLost) => drop(act(&mut chip)?),
            Some(Fault::Refused) => {}
        }
        Err(TpmError::Refused { operation: named, err: "a fault that the test injected".into() })
    }
}

impl Tpm for SimTpm {
    /// Nothing that happens here takes time.
    fn wait(&mut self) {}

    fn kind(&self) -> TpmKind {
        self.chip().kind
    }

    fn random(&mut self, len: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.call(Operation::Random, "give random bytes", |chip| {
            if len > RANDOM_LEN_MAX {
                return Err(TpmError::Refused { operation: "give random bytes", err: "more than 32 asked for".into() });
            }
            Ok(Zeroizing::new(chip.draw()[..len].to_vec()))
        })
    }

    fn read_pcrs(&mut self, pcrs: &[PcrIndex]) -> Result<Vec<[u8; 32]>, TpmError> {
        self.call(Operation::ReadPcrs, "read the platform registers", |chip| {
            pcrs.iter().map(|pcr| chip.state.pcr(*pcr)).collect()
        })
    }

    fn storage_root_name(&mut self) -> Result<TpmName, TpmError> {
        self.call(Operation::StorageRootName, "make the storage root key", |chip| Ok(chip.state.storage_root.clone()))
    }

    fn attestation_key_name(&mut self) -> Result<TpmName, TpmError> {
        self.call(Operation::AttestationKeyName, "make the attestation key", |chip| {
            Ok(chip.state.attestation_key().name.clone())
        })
    }

    fn resets(&mut self) -> Result<Resets, TpmError> {
        self.call(Operation::Resets, "read the clock", |chip| Ok(Resets { resets: chip.state.resets, restarts: 0 }))
    }

    fn seal(&mut self, secret: &[u8], policy: &PolicyDigest) -> Result<SealedBlob, TpmError> {
        self.call(Operation::Seal, "seal", |chip| chip.seal(secret, policy))
    }

    fn unseal(&mut self, blob: &SealedBlob, policy: &UnsealPolicy) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.call(Operation::Unseal, "unseal", |chip| chip.unseal(blob, policy))
    }

    fn counter_define(&mut self, index: NvIndex) -> Result<CounterDefined, TpmError> {
        self.call(Operation::CounterDefine, "define the counter", |chip| chip.state.define(index))
    }

    fn counter_read(&mut self, index: NvIndex) -> Result<CounterReading, TpmError> {
        self.call(Operation::CounterRead, "read the counter", |chip| chip.state.read(index))
    }

    fn counter_increment(&mut self, index: NvIndex) -> Result<(), TpmError> {
        self.call(Operation::CounterIncrement, "increment the counter", |chip| {
            *chip.state.counter(index)? += 1;
            Ok(())
        })
    }

    fn quote(&mut self, pcrs: &[PcrIndex], qualifying: &[u8; 32]) -> Result<Quote, TpmError> {
        self.call(Operation::Quote, "quote", |chip| chip.state.quote(pcrs, qualifying))
    }

    fn certify_counter(&mut self, index: NvIndex, qualifying: &[u8; 32]) -> Result<Statement, TpmError> {
        self.call(Operation::CertifyCounter, "certify the counter", |chip| {
            chip.state.certify_counter(index, qualifying)
        })
    }

    fn endorsement_key(&mut self) -> Result<EndorsementKey, TpmError> {
        self.call(Operation::EndorsementKey, "make the endorsement key", |chip| Ok(chip.state.endorsement_key()))
    }

    fn activate_credential(&mut self, id_object: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.call(Operation::ActivateCredential, "open a credential", |chip| {
            chip.state.activate_credential(id_object, secret)
        })
    }

    fn box_key(&mut self) -> Result<P256Public, TpmError> {
        self.call(Operation::BoxKey, "make the box key", |chip| Ok(chip.state.box_key().public))
    }

    fn sign_with_box_key(&mut self, digest: &[u8; 32]) -> Result<P256Signature, TpmError> {
        self.call(Operation::SignWithBoxKey, "sign with the box key", |chip| {
            Ok(chip.state.box_key().secret.sign_digest(digest))
        })
    }
}

/// As the trait promises.
const RANDOM_LEN_MAX: usize = 32;
