//! The TPM as the vault needs it: seal, unseal, monotonic counters, randomness, platform registers, two signing keys.

use std::fmt;
use std::time::Duration;

use holdfast_types::{P256Public, P256Signature, PolicyDigest};
use zeroize::Zeroizing;

/// The most bytes that one sealed object may carry (TPM 2.0 Library Part 2, `TPM2B_SENSITIVE_DATA`).
pub const SEAL_LEN_MAX: usize = 128;

/// Long enough for a chip to end what it does, short enough for a start.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// One TPM 2.0. All calls block; a chip needs up to about half a second for each.
pub trait Tpm {
    /// What kind of TPM this is; an emulated one proves nothing.
    fn kind(&self) -> TpmKind;

    /// Waits before a command that was refused is asked once more: a busy TPM needs a moment.
    fn wait(&mut self) {
        std::thread::sleep(BUSY_PAUSE);
    }

    /// `len` bytes (at most 32) from the TPM's own generator.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn random(&mut self, len: usize) -> Result<Zeroizing<Vec<u8>>, TpmError>;

    /// The SHA-256 bank's values of platform registers, all of one moment, in the order asked for.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn read_pcrs(&mut self, pcrs: &[PcrIndex]) -> Result<Vec<[u8; 32]>, TpmError>;

    /// The Name of the storage root key: it says which TPM this is, and changes when the TPM is cleared.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn storage_root_name(&mut self) -> Result<TpmName, TpmError>;

    /// The Name of the attestation key: a restricted P-256 signing key in the endorsement hierarchy. It does not change
    /// when the TPM is cleared.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn attestation_key_name(&mut self) -> Result<TpmName, TpmError>;

    /// How often the TPM was reset and restarted: when it changes, the TPM was switched off under us.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn resets(&mut self) -> Result<Resets, TpmError>;

    /// Seals `secret` (at most [`SEAL_LEN_MAX`] bytes) to this TPM, to be opened only by a session whose policy digest
    /// is `policy`. The policy need not be met now.
    ///
    /// # Errors
    /// When the secret is too long, or the TPM does not answer or refuses.
    fn seal(&mut self, secret: &[u8], policy: &PolicyDigest) -> Result<SealedBlob, TpmError>;

    /// Opens what [`Tpm::seal`] made, over a session salted to the storage root key that runs the steps of `policy`.
    ///
    /// # Errors
    /// [`TpmError::OtherTpm`] when another TPM sealed it, [`TpmError::PolicyFailed`] when a step of the policy is not
    /// met.
    fn unseal(&mut self, blob: &SealedBlob, policy: &UnsealPolicy) -> Result<Zeroizing<Vec<u8>>, TpmError>;

    /// Makes the monotonic counter at `index` unless it is there, and brings it to its first value.
    ///
    /// # Errors
    /// When something else is at the index, or the TPM does not answer or refuses.
    fn counter_define(&mut self, index: NvIndex) -> Result<CounterDefined, TpmError>;

    /// The counter at `index`.
    ///
    /// # Errors
    /// [`TpmError::CounterMissing`] when there is none, [`TpmError::NotACounter`] when something else is there.
    fn counter_read(&mut self, index: NvIndex) -> Result<CounterReading, TpmError>;

    /// Adds one to the counter at `index`. Read it back: only that decides whether it happened.
    ///
    /// # Errors
    /// [`TpmError::CounterMissing`] when there is none.
    fn counter_increment(&mut self, index: NvIndex) -> Result<(), TpmError>;

    /// Has the attestation key sign the present values of `pcrs` together with `qualifying`.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn quote(&mut self, pcrs: &[PcrIndex], qualifying: &[u8; 32]) -> Result<Quote, TpmError>;

    /// Has the attestation key certify the counter at `index` together with `qualifying`.
    ///
    /// # Errors
    /// [`TpmError::CounterMissing`] when there is none, [`TpmError::NotACounter`] when something else is there.
    fn certify_counter(&mut self, index: NvIndex, qualifying: &[u8; 32]) -> Result<Statement, TpmError>;

    /// The key that the TPM's maker put in, and his certificate of it if the TPM holds one.
    ///
    /// By the default template for P-256; by that for RSA with 2,048 bits when only that key has a certificate. The first
    /// call may take seconds.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn endorsement_key(&mut self) -> Result<EndorsementKey, TpmError>;

    /// Opens a credential that was made for [`Tpm::endorsement_key`] and the attestation key's Name. `id_object` and
    /// `secret` are what the structures of these names hold (`TPM2_ActivateCredential`).
    ///
    /// # Errors
    /// [`TpmError::NotOurs`] when it is for other keys, or was changed.
    fn activate_credential(&mut self, id_object: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, TpmError>;

    /// The public point of the box key: an unrestricted P-256 signing key without a policy, in the owner hierarchy.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn box_key(&mut self) -> Result<P256Public, TpmError>;

    /// Signs a SHA-256 digest with the box key.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn sign_with_box_key(&mut self, digest: &[u8; 32]) -> Result<P256Signature, TpmError>;
}

/// How often the TPM was switched on (`TPMS_CLOCK_INFO`, Library Part 2, 10.11.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resets {
    /// TPM Resets: a start after power was lost.
    pub resets: u32,
    /// Restarts and resumes since.
    pub restarts: u32,
}

/// What a policy session does before it unseals, in this order.
///
/// `PolicyPCR` over the present values of `pcrs`; `PolicyAuthorize` of `approved` by `signer`; `PolicyNV`: the counter
/// equals `counter_value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsealPolicy {
    /// The registers, in ascending order.
    pub pcrs: Vec<PcrIndex>,
    /// What was approved: the digest after `PolicyPCR` with the approved values.
    pub approved: PolicyDigest,
    /// What else the approval is for (`policyRef`).
    pub policy_ref: Vec<u8>,
    /// Who approves.
    pub signer: P256Public,
    /// The approval: over SHA-256 of `approved` and `policy_ref`.
    pub signature: P256Signature,
    /// The counter that must have one value.
    pub counter: NvIndex,
    /// That value.
    pub counter_value: u64,
}

/// A step of an [`UnsealPolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyStep {
    /// The signature is not the signer's.
    Approval,
    /// The counter has another value.
    Counter,
    /// The steps are met, but the blob wants others: another signer, another `policyRef`, another counter.
    Digest,
    /// The registers do not have the values that were approved.
    Registers,
}

/// A counter as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterReading {
    /// The Name of the index: it tells a counter of ours from anything else at its place.
    pub name: TpmName,
    /// The value.
    pub value: u64,
}

/// A counter that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterDefined {
    /// The counter.
    pub reading: CounterReading,
    /// Whether it was made just now.
    pub created: bool,
}

/// What the attestation key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The marshalled `TPMS_ATTEST`.
    pub message: Vec<u8>,
    /// The signature over its SHA-256.
    pub signature: P256Signature,
    /// The marshalled public area of the attestation key, from which its Name follows.
    pub key: Vec<u8>,
}

/// What the attestation key signed besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The marshalled `TPMS_ATTEST`.
    pub message: Vec<u8>,
    /// The signature over its SHA-256.
    pub signature: P256Signature,
}

/// The key that the TPM's maker put in. It decrypts only what a credential holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndorsementKey {
    /// The marshalled public area.
    pub public: Vec<u8>,
    /// The maker's certificate as it is stored, padding included; `None` when there is none.
    pub certificate: Option<Vec<u8>>,
}

/// Whether the TPM is a part of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TpmKind {
    /// A chip or the firmware's TPM, reached through the kernel's resource manager.
    Device,
    /// Software on the same machine: tier C, for tests and trials only.
    Emulated,
}

/// A platform register, 0 to 23.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PcrIndex(pub u8);

/// The handle of an NV index in the owner's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NvIndex(pub u32);

/// The Name of a TPM object: its name algorithm and the digest of its public area.
#[derive(Clone, PartialEq, Eq)]
pub struct TpmName(pub Vec<u8>);

impl fmt::Debug for TpmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TpmName({self})")
    }
}

impl fmt::Display for TpmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A secret that only one TPM can open. Both parts may be stored in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBlob {
    /// The marshalled public area.
    pub public: Vec<u8>,
    /// The encrypted private area.
    pub private: Vec<u8>,
    /// The Name of the storage root key under which it was sealed.
    pub storage_root: TpmName,
}

/// Why the TPM did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The counter is not there.
    #[error("TPM counter {:#010x} is missing", .0.0)]
    CounterMissing(NvIndex),
    /// The address leads to software, and this build accepts only TPMs that are a part of the machine.
    #[error("the TPM at {address} is emulated: only builds with the feature danger_emulated_tpm accept it")]
    Emulated {
        /// The device or address that was tried.
        address: String,
    },
    /// Something that is not our counter lies at the index.
    #[error(
        "TPM index {at:#010x} holds something that is no counter of this box: start another system on this machine, take it \
         away with `tpm2_nvundefine {at:#010x}`, then try again",
        at = .0.0
    )]
    NotACounter(NvIndex),
    /// The credential is for another endorsement key or another attestation key, or it was changed.
    #[error("the credential is not for this TPM and its attestation key, or was changed: make a new one")]
    NotOurs,
    /// Another TPM sealed the blob, or this one was cleared since.
    #[error("sealed under storage root {sealed}, this TPM has {present}: another machine's TPM, or it was cleared")]
    OtherTpm {
        /// The storage root that the blob names.
        sealed: TpmName,
        /// The storage root of this TPM.
        present: TpmName,
    },
    /// A step of the policy is not met.
    #[error("TPM policy failed: {}", match step {
        PolicyStep::Approval => "the approval is not signed by the key that must sign it",
        PolicyStep::Counter => "the generation counter has another value",
        PolicyStep::Digest => "the secret is sealed to another policy",
        PolicyStep::Registers => "the platform registers do not have the approved values",
    })]
    PolicyFailed {
        /// Which one.
        step: PolicyStep,
    },
    /// The secret does not fit into one sealed object.
    #[error("cannot seal {len} bytes in one TPM object, at most {SEAL_LEN_MAX}")]
    SecretTooLong {
        /// The length asked for, in bytes.
        len: usize,
    },
    /// The address is none that this build knows.
    #[error("no TPM address: {address}; write device:/dev/tpmrm0")]
    UnknownAddress {
        /// What was given.
        address: String,
    },
    /// The TPM is not reachable at all.
    #[error("cannot reach the TPM at {address}")]
    Unreachable {
        /// The device or address that was tried.
        address: String,
        /// What the TPM stack said.
        #[source]
        err: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The TPM answered with an error of its own; may pass (busy, lockout, retry).
    #[error("TPM refused to {operation}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// What the TPM stack said.
        #[source]
        err: Box<dyn std::error::Error + Send + Sync>,
    },
}
