//! The inside of the simulated TPM: what it remembers, how it seals, and how it plays a policy.
//!
//! It knows nothing of faults but their list; `tpm.rs` plays them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use holdfast_evidence::{Credential, EndorsementSecret, SigningKey, UnusableKey, areas, policy, verify};
use holdfast_hal::tpm::{
    CounterDefined, CounterReading, EndorsementKey, NvIndex, PcrIndex, PolicyStep, Quote, SEAL_LEN_MAX, SealedBlob,
    Statement, TpmError, TpmKind, TpmName, UnsealPolicy,
};
use holdfast_types::{P256Public, PolicyDigest};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Fault, Operation};

pub(super) struct Chip {
    pub(super) kind: TpmKind,
    pub(super) state: State,
    pub(super) faults: VecDeque<(Operation, Fault)>,
    generator: [u8; 32],
    draws: u64,
}

/// What survives a loss of power, and what a copy of the TPM copies.
#[derive(Clone)]
pub(super) struct State {
    pub(super) pcrs: [[u8; 32]; PCR_COUNT],
    pub(super) indices: BTreeMap<u32, Index>,
    pub(super) resets: u32,
    pub(super) storage_root: TpmName,
    storage_seed: [u8; 32],
    endorsement_seed: [u8; 32],
    /// The highest value of any counter that was deleted: new ones start above it (Library Part 1, NV counters).
    deleted_max: u64,
    pub(super) certificate: Option<Vec<u8>>,
    attestation_key: Option<Arc<Key>>,
    box_key: Option<Arc<Key>>,
    endorsement_key: Option<Arc<(EndorsementSecret, Vec<u8>)>>,
}

#[derive(Clone, Copy)]
pub(super) enum Index {
    Counter(u64),
    ForeignCounter(u64),
    Ordinary,
}

pub(super) struct Key {
    pub(super) secret: SigningKey,
    pub(super) public: P256Public,
    pub(super) name: TpmName,
    area: Vec<u8>,
}

impl Chip {
    pub(super) fn new(seed: u64) -> Self {
        let seed = seed.to_be_bytes();
        let storage_seed = hash(&[b"storage seed", &seed]);
        Self {
            kind: TpmKind::Emulated,
            state: State {
                pcrs: [[0; 32]; PCR_COUNT],
                indices: BTreeMap::new(),
                resets: 0,
                storage_root: storage_root(&storage_seed),
                storage_seed,
                endorsement_seed: hash(&[b"endorsement seed", &seed]),
                deleted_max: 0,
                certificate: None,
                attestation_key: None,
                box_key: None,
                endorsement_key: None,
            },
            faults: VecDeque::new(),
            generator: hash(&[b"generator", &seed]),
            draws: 0,
        }
    }

    pub(super) fn next_fault(&mut self, operation: Operation) -> Option<Fault> {
        let at = self.faults.iter().position(|(planned, _)| *planned == operation)?;
        self.faults.remove(at).map(|(_, fault)| fault)
    }

    pub(super) fn draw(&mut self) -> [u8; 32] {
        self.draws += 1;
        hash(&[&self.generator, &self.draws.to_be_bytes()])
    }

    /// The public part is the policy and a nonce; the private part the ciphertext and a tag over everything.
    pub(super) fn seal(&mut self, secret: &[u8], policy: &PolicyDigest) -> Result<SealedBlob, TpmError> {
        if secret.len() > SEAL_LEN_MAX {
            return Err(TpmError::SecretTooLong { len: secret.len() });
        }
        let public = [policy.0, self.draw()].concat();
        let mut private = self.state.xored(&public, secret);
        private.extend_from_slice(&self.state.tag(&public, &private));
        Ok(SealedBlob { public, private, storage_root: self.state.storage_root.clone() })
    }

    pub(super) fn unseal(&mut self, blob: &SealedBlob, policy: &UnsealPolicy) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let present = &self.state.storage_root;
        let other = || TpmError::OtherTpm { sealed: blob.storage_root.clone(), present: present.clone() };
        let (ciphertext, tag) = blob.private.split_last_chunk::<32>().ok_or_else(other)?;
        if blob.storage_root != *present || *tag != self.state.tag(&blob.public, ciphertext) {
            return Err(other());
        }
        if !blob.public.starts_with(&self.play(policy)?.0) {
            return Err(TpmError::PolicyFailed { step: PolicyStep::Digest });
        }
        Ok(Zeroizing::new(self.state.xored(&blob.public, ciphertext)))
    }

    /// The digest of a session that ran all steps of the policy.
    fn play(&mut self, policy: &UnsealPolicy) -> Result<PolicyDigest, TpmError> {
        let failed = |step| TpmError::PolicyFailed { step };
        if self.state.registers(&policy.pcrs)? != policy.approved {
            return Err(failed(PolicyStep::Registers));
        }
        let authorized = Self::authorize(policy).ok_or(failed(PolicyStep::Approval))?;
        let counter = self.state.read(policy.counter)?;
        if counter.value != policy.counter_value {
            return Err(failed(PolicyStep::Counter));
        }
        Ok(policy::counter_equals(&authorized, &counter.name.0, counter.value))
    }

    fn authorize(policy: &UnsealPolicy) -> Option<PolicyDigest> {
        let UnsealPolicy { approved, policy_ref, signer, signature, .. } = policy;
        let known_as = hash(&[&signer.0, &signature.0, &approved.0, policy_ref]);
        let mut known = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(authorized) = known.get(&known_as) {
            return Some(*authorized);
        }
        if !verify(signer, &[&approved.0, policy_ref.as_slice()].concat(), signature) {
            return None;
        }
        let authorized = policy::authorized(signer, policy_ref).ok()?;
        if known.len() == CHECKED_MAX {
            known.clear();
        }
        known.insert(known_as, authorized);
        Some(authorized)
    }
}

/// Approvals whose signatures were found to hold, with what they authorise: true on every TPM, and slow to find out for
/// each of a hundred thousand.
static CHECKED: LazyLock<Mutex<HashMap<[u8; 32], PolicyDigest>>> = LazyLock::new(Mutex::default);
const CHECKED_MAX: usize = 10_000;

impl State {
    pub(super) fn pcr(&self, index: PcrIndex) -> Result<[u8; 32], TpmError> {
        self.pcrs.get(usize::from(index.0)).copied().ok_or_else(|| TpmError::Refused {
            operation: "select a platform register",
            err: format!("there is no register {}", index.0).into(),
        })
    }

    pub(super) fn clear(&mut self) {
        for index in std::mem::take(&mut self.indices).into_values() {
            self.note_deleted(index);
        }
        self.storage_seed = hash(&[b"cleared", &self.storage_seed]);
        self.storage_root = storage_root(&self.storage_seed);
        self.box_key = None;
        self.resets = 0;
    }

    pub(super) fn remove(&mut self, index: NvIndex) {
        if let Some(removed) = self.indices.remove(&index.0) {
            self.note_deleted(removed);
        }
    }

    fn note_deleted(&mut self, index: Index) {
        if let Index::Counter(value) | Index::ForeignCounter(value) = index {
            self.deleted_max = self.deleted_max.max(value);
        }
    }

    pub(super) fn define(&mut self, index: NvIndex) -> Result<CounterDefined, TpmError> {
        let created = !self.indices.contains_key(&index.0);
        if created {
            self.indices.insert(index.0, Index::Counter(self.deleted_max + 1));
        }
        match self.indices.get(&index.0) {
            Some(Index::Counter(_)) => Ok(CounterDefined { reading: self.read(index)?, created }),
            _ => Err(TpmError::NotACounter(index)),
        }
    }

    pub(super) fn read(&self, index: NvIndex) -> Result<CounterReading, TpmError> {
        // As on a chip, the Name of an index says what and where it is, not on which TPM.
        match self.indices.get(&index.0) {
            None => Err(TpmError::CounterMissing(index)),
            Some(Index::Ordinary) => Err(TpmError::NotACounter(index)),
            Some(Index::Counter(value)) => {
                Ok(CounterReading { name: TpmName(areas::counter_name(index.0).to_vec()), value: *value })
            }
            Some(Index::ForeignCounter(value)) => {
                Ok(CounterReading { name: name(&hash(&[b"foreign counter", &index.0.to_be_bytes()])), value: *value })
            }
        }
    }

    pub(super) fn counter(&mut self, index: NvIndex) -> Result<&mut u64, TpmError> {
        match self.indices.get_mut(&index.0) {
            None => Err(TpmError::CounterMissing(index)),
            Some(Index::Ordinary) => Err(TpmError::NotACounter(index)),
            Some(Index::Counter(value) | Index::ForeignCounter(value)) => Ok(value),
        }
    }

    /// The digest after `PolicyPCR` with the present values.
    fn registers(&self, pcrs: &[PcrIndex]) -> Result<PolicyDigest, TpmError> {
        let (registers, values) = self.selected(pcrs)?;
        Ok(policy::pcrs(&registers, &values))
    }

    /// Registers and their values in ascending order, each once: a selection is a set of bits.
    fn selected(&self, pcrs: &[PcrIndex]) -> Result<(Vec<u8>, Vec<[u8; 32]>), TpmError> {
        let mut pcrs = pcrs.to_vec();
        pcrs.sort_unstable();
        pcrs.dedup();
        let values = pcrs.iter().map(|pcr| self.pcr(*pcr)).collect::<Result<_, _>>()?;
        Ok((pcrs.into_iter().map(|pcr| pcr.0).collect(), values))
    }

    /// A `TPMS_ATTEST` with a `TPMS_QUOTE_INFO` (Library Part 2, 10.12), as a chip has it.
    pub(super) fn quote(&mut self, pcrs: &[PcrIndex], qualifying: &[u8; 32]) -> Result<Quote, TpmError> {
        let (registers, values) = self.selected(pcrs)?;
        let mut selection = [0u8; 3];
        registers.iter().for_each(|register| selection[usize::from(register / 8)] |= 1 << (register % 8));
        let about = [&[0, 0, 0, 1][..], &NAME_SHA256, &[3], &selection, &[0, 32], &policy::digest_of(&values)].concat();
        let message = self.statement(KIND_QUOTE, qualifying, &about);
        let key = self.attestation_key();
        Ok(Quote { signature: key.secret.sign(&message), message, key: key.area.clone() })
    }

    /// A `TPMS_ATTEST` with a `TPMS_NV_CERTIFY_INFO`.
    pub(super) fn certify_counter(&mut self, index: NvIndex, qualifying: &[u8; 32]) -> Result<Statement, TpmError> {
        let Some(Index::Counter(_)) = self.indices.get(&index.0) else {
            return Err(self.read(index).err().unwrap_or(TpmError::NotACounter(index)));
        };
        let CounterReading { name, value } = self.read(index)?;
        let about = [&[0, 34][..], &name.0, &[0, 0], &[0, 8], &value.to_be_bytes()].concat();
        let message = self.statement(KIND_NV, qualifying, &about);
        Ok(Statement { signature: self.attestation_key().secret.sign(&message), message })
    }

    /// The clock stands still, and the firmware's version is 1.
    fn statement(&mut self, kind: [u8; 2], qualifying: &[u8; 32], about: &[u8]) -> Vec<u8> {
        let signer = areas::qualified_name(&areas::name(&self.attestation_key().area));
        let (resets, firmware) = (self.resets.to_be_bytes(), 1u64.to_be_bytes());
        let head = [GENERATED.as_slice(), &kind, &[0, 34], &signer, &[0, 32], qualifying];
        [&head.concat()[..], &[0; 8], &resets, &[0; 4], &[1], &firmware, about].concat()
    }

    pub(super) fn endorsement_key(&mut self) -> EndorsementKey {
        EndorsementKey { public: self.endorsement().1.clone(), certificate: self.certificate.clone() }
    }

    pub(super) fn activate_credential(
        &mut self,
        id_object: &[u8],
        secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let credential = Credential { id_object: id_object.to_vec(), secret: secret.to_vec() };
        let name = self.attestation_key().name.clone();
        let opened = self.endorsement().0.activate(&name.0, &credential).map_err(|_| TpmError::NotOurs)?;
        Ok(Zeroizing::new(opened.to_vec()))
    }

    fn endorsement(&mut self) -> Arc<(EndorsementSecret, Vec<u8>)> {
        let seed = &self.endorsement_seed;
        Arc::clone(self.endorsement_key.get_or_insert_with(|| {
            let secret = (0u8..)
                .find_map(|attempt| EndorsementSecret::from_bytes(&hash(&[b"endorsement key", seed, &[attempt]])))
                .expect("all but one of 2^32 hashes are keys");
            let area = secret.public().area().expect("the key was just made");
            Arc::new((secret, area))
        }))
    }

    pub(super) fn attestation_key(&mut self) -> Arc<Key> {
        let seed = &self.endorsement_seed;
        Arc::clone(
            self.attestation_key
                .get_or_insert_with(|| Arc::new(Key::derive(b"attestation key", seed, areas::attestation_area))),
        )
    }

    pub(super) fn box_key(&mut self) -> Arc<Key> {
        let seed = &self.storage_seed;
        Arc::clone(self.box_key.get_or_insert_with(|| Arc::new(Key::derive(b"box key", seed, policy::signer_area))))
    }

    fn xored(&self, public: &[u8], text: &[u8]) -> Vec<u8> {
        let mut out = text.to_vec();
        for (block, chunk) in (0u8..).zip(out.chunks_mut(32)) {
            let key = hash(&[b"key", &self.storage_seed, public, &[block]]);
            chunk.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        }
        out
    }

    fn tag(&self, public: &[u8], ciphertext: &[u8]) -> [u8; 32] {
        hash(&[b"tag", &self.storage_seed, &hash(&[public]), ciphertext])
    }
}

impl Key {
    fn derive(purpose: &[u8], seed: &[u8; 32], area: impl Fn(&P256Public) -> Result<Vec<u8>, UnusableKey>) -> Self {
        let secret = (0u8..)
            .find_map(|attempt| SigningKey::from_bytes(&hash(&[purpose, seed, &[attempt]])).ok())
            .expect("all but one of 2^32 hashes are keys");
        let public = secret.public();
        let area = area(&public).expect("the key was just made");
        Self { name: name(&hash(&[&area])), secret, public, area }
    }
}

fn storage_root(storage_seed: &[u8; 32]) -> TpmName {
    name(&hash(&[b"storage root", storage_seed]))
}

fn name(digest: &[u8; 32]) -> TpmName {
    TpmName([&NAME_SHA256[..], digest].concat())
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

/// A PC client TPM has registers 0 to 23.
const PCR_COUNT: usize = 24;
/// `TPM_ALG_SHA256`, the first two bytes of a Name.
const NAME_SHA256: [u8; 2] = [0x00, 0x0b];
/// `TPM_GENERATED_VALUE`, `TPM_ST_ATTEST_NV` and `TPM_ST_ATTEST_QUOTE`.
const GENERATED: [u8; 4] = *b"\xffTCG";
const KIND_NV: [u8; 2] = [0x80, 0x14];
const KIND_QUOTE: [u8; 2] = [0x80, 0x18];
