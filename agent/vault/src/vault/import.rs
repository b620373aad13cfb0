//! Taking shares into an empty vault.
//!
//! From the socket this is reached only in builds with `danger_emulated_tpm`, with shares in the clear. The operator's
//! import, encrypted to the vault and ordered by the authority, will end here too.

use std::collections::BTreeSet;

use holdfast_types::{ChainSpec, LockHash, OPERATORS_MAX, ShareIndex, ValidatorPublic};
use holdfast_vault_client::codec::BATCH_LEN_MAX;
use holdfast_vault_client::{IdentityKey, Rejection};
use zeroize::Zeroizing;

use super::{Standing, Vault, in_full};
use crate::keys::{Keys, Pins};

/// Everything that an empty vault takes.
pub struct Import {
    /// The lock that the shares belong to.
    pub lock_hash: LockHash,
    /// The network, pinned from now on.
    pub chain: ChainSpec,
    /// The node identity key.
    pub identity: IdentityKey,
    /// The index of the shares.
    pub share_index: ShareIndex,
    /// One share for each validator.
    pub shares: Vec<Share>,
}

/// One share in the clear.
pub struct Share {
    /// The validator's group key.
    pub validator: ValidatorPublic,
    /// The share, big-endian.
    pub secret: Zeroizing<[u8; 32]>,
}

#[cfg(feature = "danger_emulated_tpm")]
impl From<holdfast_vault_client::DangerImport> for Import {
    fn from(import: holdfast_vault_client::DangerImport) -> Self {
        let share = |share: &holdfast_vault_client::DangerShare| Share {
            validator: share.validator,
            secret: Zeroizing::new(share.secret),
        };
        Self {
            lock_hash: import.lock_hash,
            chain: import.chain,
            identity: import.identity,
            share_index: import.share_index,
            shares: import.shares.iter().map(share).collect(),
        }
    }
}

impl Vault {
    /// Checks, keeps and writes the shares. When the disk or the TPM fails halfway, the vault closes: only a start anew
    /// tells whether the import counts.
    ///
    /// # Errors
    /// When the vault is not empty, the import makes no sense as a whole, or it could not be written.
    pub fn import(&mut self, import: &Import) -> Result<(), Rejection> {
        match &self.standing {
            Standing::Open { .. } => return Err(Rejection::NotEmpty),
            Standing::Closed { reason, .. } => return Err(Rejection::Closed(reason.clone())),
            Standing::Empty { .. } => {}
        }
        let pins = checked(import)?;
        let under_way = Standing::Closed { reason: "an import is under way".into(), keys: None };
        let Standing::Empty { room, history } = std::mem::replace(&mut self.standing, under_way) else {
            unreachable!("checked above")
        };
        let stored = Keys::take(room, pins, &import.identity, import.shares.iter()).and_then(|keys| {
            keys.store(self.tpm.as_mut(), &self.state)?;
            Ok(keys)
        });
        match stored {
            Ok(keys) => {
                tracing::warn!(lock = %import.lock_hash, shares = import.shares.len(), "took shares");
                self.standing = Standing::Open { keys, history };
                Ok(())
            }
            Err(error) => {
                let reason = format!("the import failed, restart the vault and try again: {}", in_full(&error));
                tracing::error!(reason, "the vault is closed: it signs nothing");
                self.standing = Standing::Closed { reason: reason.clone(), keys: None };
                Err(Rejection::Closed(reason))
            }
        }
    }
}

/// The pins of an import that makes sense as a whole.
fn checked(import: &Import) -> Result<Pins, Rejection> {
    let malformed = |reason: &str| Err(Rejection::Malformed(reason.into()));
    let found = import.shares.len();
    if found > BATCH_LEN_MAX {
        return Err(Rejection::TooLarge { found: found as u64, allowed: BATCH_LEN_MAX as u64 });
    }
    if import.shares.is_empty() {
        return malformed("an import needs at least one share");
    }
    let validators: BTreeSet<_> = import.shares.iter().map(|share| share.validator).collect();
    if validators.len() < found {
        return malformed("two shares of one validator");
    }
    if import.shares.iter().any(|share| holdfast_bls::public_of(&share.secret).is_err()) {
        return malformed("a share that is no BLS secret key");
    }
    if import.share_index.0 == 0 || usize::from(import.share_index.0) > OPERATORS_MAX {
        return malformed("a share index that no operator has");
    }
    if !sound(&import.chain) {
        return malformed("a network without slots, or whose forks are not in order from epoch 0 on");
    }
    Ok(Pins { lock_hash: import.lock_hash, chain: import.chain.clone(), share_index: import.share_index, validators })
}

fn sound(chain: &ChainSpec) -> bool {
    let forks = &chain.forks;
    chain.slot_ms > 0
        && chain.slots_per_epoch > 0
        && forks.len() <= FORKS_MAX
        && forks.first().is_some_and(|fork| fork.epoch.0 == 0)
        && forks.is_sorted_by_key(|fork| fork.epoch)
}

/// Mainnet has had seven in six years; the pins stay far below the bound of a file.
const FORKS_MAX: usize = 64;
