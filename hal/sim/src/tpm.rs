//! A TPM in memory: its own seed, platform registers, counters, and faults that a test injects.
//!
//! Its seal is real enough to test with: the ciphertext is bound to the seed and to the registers, so another `SimTpm`
//! refuses it whatever its labels say. It does not model sessions, handles or authorisation.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_hal::tpm::{NvIndex, PcrIndex, SEAL_LEN_MAX, SealedBlob, Tpm, TpmError, TpmKind, TpmName};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// One simulated TPM. A clone is another handle to the same TPM, so that a test can turn its knobs while the vault owns
/// it, and can start a second vault on it.
#[derive(Clone)]
pub struct SimTpm {
    chip: Arc<Mutex<Chip>>,
}

/// What a fault can be injected into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Tpm::counter_define`].
    CounterDefine,
    /// [`Tpm::counter_increment`].
    CounterIncrement,
    /// [`Tpm::counter_read`].
    CounterRead,
    /// [`Tpm::random`].
    Random,
    /// [`Tpm::read_pcr`].
    ReadPcr,
    /// [`Tpm::seal`].
    Seal,
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
    /// The TPM refuses and nothing happens.
    Refused,
}

impl SimTpm {
    /// A TPM with this seed. Equal seeds make the same TPM, others another one; registers start at zero.
    pub fn new(seed: u64) -> Self {
        let chip = Chip {
            seed: hash(&[b"chip", &seed.to_be_bytes()]),
            draws: 0,
            pcrs: [[0; 32]; PCR_COUNT],
            indices: BTreeMap::new(),
            faults: VecDeque::new(),
        };
        Self { chip: Arc::new(Mutex::new(chip)) }
    }

    /// Sets a platform register.
    ///
    /// # Panics
    /// When there is no such register.
    pub fn set_pcr(&self, index: PcrIndex, value: [u8; 32]) {
        self.chip().pcrs[usize::from(index.0)] = value;
    }

    /// Puts a counter with this value at `index`, whatever was there: also a smaller one, as after a restored state.
    pub fn set_counter(&self, index: NvIndex, value: u64) {
        self.chip().indices.insert(index.0, Index::Counter(value));
    }

    /// Takes away what is at `index`.
    pub fn remove_index(&self, index: NvIndex) {
        self.chip().indices.remove(&index.0);
    }

    /// Puts something at `index` that is not a counter.
    pub fn place_ordinary_index(&self, index: NvIndex) {
        self.chip().indices.insert(index.0, Index::Ordinary);
    }

    /// Clears the TPM (`TPM2_Clear`): a new storage seed, no counters. Nothing that was sealed opens any more.
    pub fn clear(&self) {
        let mut chip = self.chip();
        chip.seed = hash(&[b"cleared", &chip.seed]);
        chip.indices.clear();
    }

    /// Lets the next call of `operation` fail; several for one operation are played in the order they were given.
    pub fn fail_next(&self, operation: Operation, fault: Fault) {
        self.chip().faults.push_back((operation, fault));
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
        let Some(at) = chip.faults.iter().position(|(planned, _)| *planned == operation) else {
            return act(&mut chip);
        };
        let fault = chip.faults.remove(at).map(|(_, fault)| fault);
        if fault == Some(Fault::AnswerLost) {
            act(&mut chip)?;
        }
        Err(TpmError::Refused { operation: named, err: "a fault that the test injected".into() })
    }
}

impl Tpm for SimTpm {
    fn kind(&self) -> TpmKind {
        TpmKind::Emulated
    }

    fn random(&mut self, len: usize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.call(Operation::Random, "give random bytes", |chip| {
            if len > RANDOM_LEN_MAX {
                return Err(TpmError::Refused { operation: "give random bytes", err: "more than 32 asked for".into() });
            }
            Ok(Zeroizing::new(chip.draw()[..len].to_vec()))
        })
    }

    fn read_pcr(&mut self, index: PcrIndex) -> Result<[u8; 32], TpmError> {
        self.call(Operation::ReadPcr, "read a platform register", |chip| {
            chip.pcrs.get(usize::from(index.0)).copied().ok_or_else(|| no_register(index))
        })
    }

    fn storage_root_name(&mut self) -> Result<TpmName, TpmError> {
        self.call(Operation::StorageRootName, "make the storage root key", |chip| Ok(chip.storage_root()))
    }

    fn seal(&mut self, secret: &[u8], pcrs: &[PcrIndex]) -> Result<SealedBlob, TpmError> {
        self.call(Operation::Seal, "seal", |chip| {
            if secret.len() > SEAL_LEN_MAX {
                return Err(TpmError::SecretTooLong { len: secret.len() });
            }
            let mut pcrs = pcrs.to_vec();
            pcrs.sort_unstable();
            pcrs.dedup();
            let public = [chip.policy(&pcrs)?, chip.draw()].concat();
            let mut private = chip.xored(&public, secret);
            private.extend_from_slice(&chip.tag(&public, &private));
            Ok(SealedBlob { public, private, pcrs, storage_root: chip.storage_root() })
        })
    }

    fn unseal(&mut self, blob: &SealedBlob) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.call(Operation::Unseal, "unseal", |chip| {
            let present = chip.storage_root();
            let other = || TpmError::OtherTpm { sealed: blob.storage_root.clone(), present: present.clone() };
            let (ciphertext, tag) = blob.private.split_last_chunk::<32>().ok_or_else(other)?;
            if blob.storage_root != present || *tag != chip.tag(&blob.public, ciphertext) {
                return Err(other());
            }
            if !blob.public.starts_with(&chip.policy(&blob.pcrs)?) {
                return Err(TpmError::PolicyFailed);
            }
            Ok(Zeroizing::new(chip.xored(&blob.public, ciphertext)))
        })
    }

    fn counter_define(&mut self, index: NvIndex) -> Result<(), TpmError> {
        self.call(Operation::CounterDefine, "define the counter", |chip| {
            match chip.indices.entry(index.0).or_insert(Index::Counter(1)) {
                Index::Counter(_) => Ok(()),
                Index::Ordinary => Err(TpmError::NotACounter(index)),
            }
        })
    }

    fn counter_read(&mut self, index: NvIndex) -> Result<u64, TpmError> {
        self.call(Operation::CounterRead, "read the counter", |chip| chip.counter(index).copied())
    }

    fn counter_increment(&mut self, index: NvIndex) -> Result<(), TpmError> {
        self.call(Operation::CounterIncrement, "increment the counter", |chip| {
            *chip.counter(index)? += 1;
            Ok(())
        })
    }
}

struct Chip {
    seed: [u8; 32],
    draws: u64,
    pcrs: [[u8; 32]; PCR_COUNT],
    indices: BTreeMap<u32, Index>,
    faults: VecDeque<(Operation, Fault)>,
}

enum Index {
    Counter(u64),
    Ordinary,
}

impl Chip {
    fn draw(&mut self) -> [u8; 32] {
        self.draws += 1;
        hash(&[b"draw", &self.seed, &self.draws.to_be_bytes()])
    }

    fn storage_root(&self) -> TpmName {
        TpmName([&NAME_SHA256[..], &hash(&[b"storage root", &self.seed])].concat())
    }

    fn policy(&self, pcrs: &[PcrIndex]) -> Result<[u8; 32], TpmError> {
        let mut digest = Sha256::new();
        for pcr in pcrs {
            digest.update([pcr.0]);
            digest.update(self.pcrs.get(usize::from(pcr.0)).ok_or_else(|| no_register(*pcr))?);
        }
        Ok(digest.finalize().into())
    }

    fn xored(&self, public: &[u8], text: &[u8]) -> Vec<u8> {
        let mut out = text.to_vec();
        for (block, chunk) in (0u8..).zip(out.chunks_mut(32)) {
            let key = hash(&[b"key", &self.seed, public, &[block]]);
            chunk.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        }
        out
    }

    fn tag(&self, public: &[u8], ciphertext: &[u8]) -> [u8; 32] {
        hash(&[b"tag", &self.seed, &hash(&[public]), ciphertext])
    }

    fn counter(&mut self, index: NvIndex) -> Result<&mut u64, TpmError> {
        match self.indices.get_mut(&index.0) {
            None => Err(TpmError::CounterMissing(index)),
            Some(Index::Ordinary) => Err(TpmError::NotACounter(index)),
            Some(Index::Counter(value)) => Ok(value),
        }
    }
}

fn no_register(index: PcrIndex) -> TpmError {
    TpmError::Refused {
        operation: "select a platform register",
        err: format!("there is no register {}", index.0).into(),
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

/// A PC client TPM has registers 0 to 23.
const PCR_COUNT: usize = 24;
/// As the trait promises.
const RANDOM_LEN_MAX: usize = 32;
/// `TPM_ALG_SHA256`, the first two bytes of a Name.
const NAME_SHA256: [u8; 2] = [0x00, 0x0b];

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTER: NvIndex = NvIndex(0x0180_0010);
    const REGISTERS: [PcrIndex; 2] = [PcrIndex(11), PcrIndex(7)];
    const SECRET: [u8; 48] = [0xa5; 48];

    #[test]
    fn the_same_tpm_opens_what_it_sealed_also_after_storage() {
        let mut tpm = SimTpm::new(1);
        let blob = tpm.seal(&SECRET, &REGISTERS).unwrap();
        let stored = SealedBlob::from_bytes(&blob.to_bytes()).unwrap();
        assert!(!blob.private.windows(8).any(|window| window == &SECRET[..8]));
        assert_eq!(tpm.clone().unseal(&stored).unwrap().as_slice(), SECRET);
    }

    #[test]
    fn another_tpm_refuses_even_under_a_forged_label() {
        let mut blob = SimTpm::new(1).seal(&SECRET, &REGISTERS).unwrap();
        let mut other = SimTpm::new(2);
        assert!(matches!(other.unseal(&blob), Err(TpmError::OtherTpm { .. })));
        blob.storage_root = other.storage_root_name().unwrap();
        assert!(matches!(other.unseal(&blob), Err(TpmError::OtherTpm { .. })));
    }

    #[test]
    fn a_cleared_tpm_is_another_one() {
        let mut tpm = SimTpm::new(1);
        let blob = tpm.seal(&SECRET, &[]).unwrap();
        tpm.clear();
        assert!(matches!(tpm.unseal(&blob), Err(TpmError::OtherTpm { .. })));
    }

    #[test]
    fn a_changed_register_refuses_until_it_is_back() {
        let mut tpm = SimTpm::new(1);
        let blob = tpm.seal(&SECRET, &REGISTERS).unwrap();
        tpm.set_pcr(PcrIndex(7), [1; 32]);
        assert!(matches!(tpm.unseal(&blob), Err(TpmError::PolicyFailed)));
        tpm.set_pcr(PcrIndex(7), [0; 32]);
        tpm.set_pcr(PcrIndex(4), [1; 32]);
        assert_eq!(tpm.unseal(&blob).unwrap().as_slice(), SECRET);
    }

    #[test]
    fn a_counter_counts_and_what_is_no_counter_is_named() {
        let mut tpm = SimTpm::new(1);
        assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
        tpm.counter_define(COUNTER).unwrap();
        tpm.counter_increment(COUNTER).unwrap();
        tpm.counter_define(COUNTER).unwrap();
        assert_eq!(tpm.counter_read(COUNTER).unwrap(), 2);
        tpm.place_ordinary_index(COUNTER);
        assert!(matches!(tpm.counter_define(COUNTER), Err(TpmError::NotACounter(COUNTER))));
        tpm.remove_index(COUNTER);
        assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    }

    #[test]
    fn faults_are_played_once_and_a_lost_answer_still_happened() {
        let mut tpm = SimTpm::new(1);
        tpm.set_counter(COUNTER, 7);
        tpm.fail_next(Operation::CounterIncrement, Fault::Refused);
        tpm.fail_next(Operation::CounterIncrement, Fault::AnswerLost);
        assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::Refused { .. })));
        assert_eq!(tpm.counter_read(COUNTER).unwrap(), 7);
        assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::Refused { .. })));
        assert_eq!(tpm.counter_read(COUNTER).unwrap(), 8);
        tpm.counter_increment(COUNTER).unwrap();
        assert_eq!(tpm.counter_read(COUNTER).unwrap(), 9);
    }

    #[test]
    fn random_bytes_differ_and_too_many_are_refused() {
        let mut tpm = SimTpm::new(1);
        assert_ne!(tpm.random(32).unwrap(), tpm.random(32).unwrap());
        assert!(tpm.random(33).is_err());
    }

    #[test]
    fn a_secret_that_is_too_long_is_refused() {
        let refused = SimTpm::new(1).seal(&[0; SEAL_LEN_MAX + 1], &[]);
        assert!(matches!(refused, Err(TpmError::SecretTooLong { len: 129 })));
    }
}
