//! Why something sealed does not open, or is not sealed anew; and under which name the vault is closed for it.

use holdfast_hal::tpm::{TpmError, TpmName};
use holdfast_vault_client::ClosedId;

use super::approvals::PolicyFault;
use super::counter::GENERATION_COUNTER;
use crate::keys::KeysError;
use crate::state::StateError;

/// Why something sealed does not open, or is not sealed anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The generation counter is not where it must be. Nothing was taken away.
    #[error(
        "the TPM's generation counter is {found} where {expected} was expected: restart; if the vault stays closed, \
         have the cluster replace this box's shares"
    )]
    CounterMoved {
        /// Where it should be.
        expected: u64,
        /// Where it is.
        found: u64,
    },
    /// A file is not what was written under its name and the constants in it.
    #[error("the {part} in {file} is not what was written: restore it, or have the cluster replace this box's shares")]
    Damaged {
        /// The file's name.
        file: String,
        /// The part.
        part: String,
    },
    /// The keys do not fit into the vault.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The generation counter stayed where it was: what was sealed before is what counts.
    #[error("the TPM does not count the new generation: nothing was changed, try again")]
    NotCounted(#[source] TpmError),
    /// What is sealed was made with another TPM, or this one was cleared.
    #[error(
        "sealed with the {key} {sealed}, this TPM has {present}: put the disk back into its machine, or have the cluster \
         replace this box's shares"
    )]
    OtherMachine {
        /// Which key tells.
        key: &'static str,
        /// Its Name in the file.
        sealed: TpmName,
        /// Its Name in the TPM.
        present: TpmName,
    },
    /// The image or the boot state is not approved.
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    /// The system gives no randomness.
    #[error("the system gives no randomness: restart")]
    Random(#[source] getrandom::Error),
    /// There are files, but none of the generation that the TPM counts.
    #[error(
        "{file} is not of the generation that the TPM counts: the disk is an older copy and stays refused; have the \
         cluster replace this box's shares"
    )]
    RolledBack {
        /// The newest of the files.
        file: String,
    },
    /// The state folder fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// The constants are longer than a file may hold.
    #[error("the constants are {len} bytes, at most {len_max} can be sealed: order a network with fewer forks")]
    TooLong {
        /// How long they are.
        len: usize,
        /// How long they may be.
        len_max: usize,
    },
    /// The TPM does not do its part.
    #[error("the TPM does not {doing}: restart; if it stays, the TPM is to be replaced")]
    Tpm {
        /// What it should do.
        doing: &'static str,
        /// What it said.
        #[source]
        err: TpmError,
    },
    /// The generation counter is gone, or another one is in its place.
    #[error(
        "TPM counter {:#010x} is not the one that was sealed with: what is sealed never opens again, have the cluster \
         replace this box's shares",
        GENERATION_COUNTER.0
    )]
    TpmReplaced,
    /// Whether the new generation counts is not known before the next start.
    #[error("the TPM does not tell whether it counted the new generation: restart")]
    Undecided(#[source] TpmError),
    /// A key to seal under is none.
    #[error("the {whose} is no P-256 key: nothing can be sealed under it")]
    UnusableKey {
        /// Whose key.
        whose: &'static str,
    },
}

impl SealError {
    /// An error of the TPM, told apart by what follows from it.
    pub(super) fn tpm(doing: &'static str, err: TpmError) -> Self {
        match err {
            TpmError::CounterMissing(index) | TpmError::NotACounter(index) if index == GENERATION_COUNTER => {
                Self::TpmReplaced
            }
            err => Self::Tpm { doing, err },
        }
    }

    /// The name under which the vault is closed for it.
    pub(crate) const fn closed_id(&self) -> ClosedId {
        match self {
            Self::CounterMoved { .. } => ClosedId::TpmRolledBack,
            Self::Damaged { .. } | Self::Keys(_) | Self::State(_) | Self::TooLong { .. } | Self::UnusableKey { .. } => {
                ClosedId::SealDamaged
            }
            Self::NotCounted(_) | Self::Random(_) | Self::Tpm { .. } | Self::Undecided(_) => ClosedId::TpmFailed,
            Self::OtherMachine { .. } => ClosedId::OtherMachine,
            Self::Policy(_) => ClosedId::PolicyFailed,
            Self::RolledBack { .. } => ClosedId::HistoryRolledBack,
            Self::TpmReplaced => ClosedId::TpmReplaced,
        }
    }

    /// Whether what was sealed before still counts for certain, so that the vault may go on with it.
    pub(crate) const fn changed_nothing(&self) -> bool {
        !matches!(self, Self::CounterMoved { .. } | Self::Undecided(_))
    }
}
