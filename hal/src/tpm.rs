//! The TPM as the vault needs it: seal, unseal, one monotonic counter, randomness, platform registers.

use std::fmt;

use zeroize::Zeroizing;

/// The most bytes that one sealed object may carry (TPM 2.0 Library Part 2, `TPM2B_SENSITIVE_DATA`).
pub const SEAL_LEN_MAX: usize = 128;

/// One TPM 2.0. All calls block; a chip needs up to about half a second for each.
pub trait Tpm {
    /// What kind of TPM this is; an emulated one proves nothing.
    fn kind(&self) -> TpmKind;

    /// `len` bytes (at most 32) from the TPM's own generator.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn random(&mut self, len: usize) -> Result<Zeroizing<Vec<u8>>, TpmError>;

    /// The SHA-256 bank's value of a platform register.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn read_pcr(&mut self, index: PcrIndex) -> Result<[u8; 32], TpmError>;

    /// The Name of the storage root key: it says which TPM this is, and changes when the TPM is cleared.
    ///
    /// # Errors
    /// When the TPM does not answer or refuses.
    fn storage_root_name(&mut self) -> Result<TpmName, TpmError>;

    /// Seals `secret` (at most [`SEAL_LEN_MAX`] bytes) to this TPM and to the present values of `pcrs`.
    ///
    /// # Errors
    /// When the secret is too long, or the TPM does not answer or refuses.
    fn seal(&mut self, secret: &[u8], pcrs: &[PcrIndex]) -> Result<SealedBlob, TpmError>;

    /// Opens what [`Tpm::seal`] made, over a session salted to the storage root key.
    ///
    /// # Errors
    /// [`TpmError::OtherTpm`] when another TPM sealed it, [`TpmError::PolicyFailed`] when a register has another value.
    fn unseal(&mut self, blob: &SealedBlob) -> Result<Zeroizing<Vec<u8>>, TpmError>;

    /// Makes the monotonic counter at `index` unless it is there, and brings it to its first value.
    ///
    /// # Errors
    /// When something else is at the index, or the TPM does not answer or refuses.
    fn counter_define(&mut self, index: NvIndex) -> Result<(), TpmError>;

    /// The value of the counter at `index`.
    ///
    /// # Errors
    /// [`TpmError::CounterMissing`] when there is none.
    fn counter_read(&mut self, index: NvIndex) -> Result<u64, TpmError>;

    /// Adds one to the counter at `index`. Read it back: only that decides whether it happened.
    ///
    /// # Errors
    /// [`TpmError::CounterMissing`] when there is none.
    fn counter_increment(&mut self, index: NvIndex) -> Result<(), TpmError>;
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
    /// The platform registers whose values the blob is bound to.
    pub pcrs: Vec<PcrIndex>,
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
    #[error("TPM index {:#010x} is not a monotonic counter of ours", .0.0)]
    NotACounter(NvIndex),
    /// Another TPM sealed the blob, or this one was cleared since.
    #[error("sealed under storage root {sealed}, this TPM has {present}: another machine's TPM, or it was cleared")]
    OtherTpm {
        /// The storage root that the blob names.
        sealed: TpmName,
        /// The storage root of this TPM.
        present: TpmName,
    },
    /// A platform register does not have the value that the blob was sealed to.
    #[error("TPM policy failed: a platform register changed since the secret was sealed")]
    PolicyFailed,
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
