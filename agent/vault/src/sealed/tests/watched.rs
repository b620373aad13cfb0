//! A TPM with somebody in front of it, who sees each call before it is made and may let it fail.

use holdfast_hal::tpm::{
    CounterDefined, CounterReading, EndorsementKey, NvIndex, PcrIndex, Quote, Resets, SealedBlob, Statement, Tpm,
    TpmError, TpmKind, TpmName, UnsealPolicy,
};
use holdfast_hal_sim::{Fault, Operation, SimTpm};
use holdfast_types::{P256Public, P256Signature, PolicyDigest};
use zeroize::Zeroizing;

pub(crate) struct Watched<F> {
    tpm: SimTpm,
    watch: F,
}

impl<F: FnMut(Operation, &SimTpm) -> Option<Fault>> Watched<F> {
    pub(crate) fn new(tpm: &SimTpm, watch: F) -> Self {
        Self { tpm: tpm.clone(), watch }
    }

    fn call<T>(
        &mut self,
        operation: Operation,
        act: impl FnOnce(&mut SimTpm) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        match (self.watch)(operation, &self.tpm) {
            None => return act(&mut self.tpm),
            Some(Fault::AnswerLost) => drop(act(&mut self.tpm)?),
            Some(Fault::Lied) => panic!("a lie is for the simulated TPM itself"),
            Some(Fault::Refused) => {}
        }
        Err(TpmError::Refused { operation: "do it", err: "the test lets it fail".into() })
    }
}

impl<F: FnMut(Operation, &SimTpm) -> Option<Fault>> Tpm for Watched<F> {
    fn wait(&mut self) {}

    fn kind(&self) -> TpmKind {
        self.tpm.kind()
    }

    fn random(&mut self, len: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.call(Operation::Random, |tpm| tpm.random(len))
    }

    fn read_pcrs(&mut self, pcrs: &[PcrIndex]) -> Result<Vec<[u8; 32]>, TpmError> {
        self.call(Operation::ReadPcrs, |tpm| tpm.read_pcrs(pcrs))
    }

    fn storage_root_name(&mut self) -> Result<TpmName, TpmError> {
        self.call(Operation::StorageRootName, |tpm| tpm.storage_root_name())
    }

    fn attestation_key_name(&mut self) -> Result<TpmName, TpmError> {
        self.call(Operation::AttestationKeyName, |tpm| tpm.attestation_key_name())
    }

    fn resets(&mut self) -> Result<Resets, TpmError> {
        self.call(Operation::Resets, |tpm| tpm.resets())
    }

    fn seal(&mut self, secret: &[u8], policy: &PolicyDigest) -> Result<SealedBlob, TpmError> {
        self.call(Operation::Seal, |tpm| tpm.seal(secret, policy))
    }

    fn unseal(&mut self, blob: &SealedBlob, policy: &UnsealPolicy) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.call(Operation::Unseal, |tpm| tpm.unseal(blob, policy))
    }

    fn counter_define(&mut self, index: NvIndex) -> Result<CounterDefined, TpmError> {
        self.call(Operation::CounterDefine, |tpm| tpm.counter_define(index))
    }

    fn counter_read(&mut self, index: NvIndex) -> Result<CounterReading, TpmError> {
        self.call(Operation::CounterRead, |tpm| tpm.counter_read(index))
    }

    fn counter_increment(&mut self, index: NvIndex) -> Result<(), TpmError> {
        self.call(Operation::CounterIncrement, |tpm| tpm.counter_increment(index))
    }

    fn quote(&mut self, pcrs: &[PcrIndex], qualifying: &[u8; 32]) -> Result<Quote, TpmError> {
        self.call(Operation::Quote, |tpm| tpm.quote(pcrs, qualifying))
    }

    fn certify_counter(&mut self, index: NvIndex, qualifying: &[u8; 32]) -> Result<Statement, TpmError> {
        self.call(Operation::CertifyCounter, |tpm| tpm.certify_counter(index, qualifying))
    }

    fn endorsement_key(&mut self) -> Result<EndorsementKey, TpmError> {
        self.call(Operation::EndorsementKey, |tpm| tpm.endorsement_key())
    }

    fn activate_credential(&mut self, id_object: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.call(Operation::ActivateCredential, |tpm| tpm.activate_credential(id_object, secret))
    }

    fn box_key(&mut self) -> Result<P256Public, TpmError> {
        self.call(Operation::BoxKey, |tpm| tpm.box_key())
    }

    fn sign_with_box_key(&mut self, digest: &[u8; 32]) -> Result<P256Signature, TpmError> {
        self.call(Operation::SignWithBoxKey, |tpm| tpm.sign_with_box_key(digest))
    }
}
