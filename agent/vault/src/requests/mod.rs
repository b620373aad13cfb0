//! From a typed request to what may be signed: every object root, domain and epoch is computed here, from the network that
//! is built in or pinned, and held against the vault's own clock.
//!
//! Pure. It knows neither the slashing history nor the lease nor a key: what can be slashed leaves as a [`Candidate`] for
//! the history, what cannot as an [`Admitted`]; that the lease is open is checked by whoever holds it.
//!
//! **Architecture Invariant:** the three opaque roots (sync message, aggregate, contribution) are hashed together with the
//! domain of their own request only, so none can equal a root of anything else.

mod harmless;
mod network;
mod ordered;
mod slashable;
mod window;

use holdfast_types::{SigningRoot, ValidatorPublic};
use holdfast_vault_client::{Rejection, SigningRefused, codec::BATCH_LEN_MAX};

use crate::history::Candidate;
pub(crate) use harmless::{aggregate, contribution, randao, selection, sync_message, sync_selection};
pub(crate) use network::{UnsoundNetwork, check_network};
pub(crate) use ordered::{exit, registration};
pub(crate) use slashable::{Triage, attestations, block};

/// A signing root of a kind that cannot be slashed, within its window and under its own domain. Made only here.
#[derive(Debug)]
pub(crate) struct Admitted {
    validator: ValidatorPublic,
    root: SigningRoot,
}

impl Admitted {
    /// Whose share signs.
    pub(crate) fn validator(&self) -> &ValidatorPublic {
        &self.validator
    }

    /// What it signs.
    pub(crate) fn root(&self) -> SigningRoot {
        self.root
    }
}

/// One answer for each entry of a batch, in its order.
pub(crate) type Answers = Vec<Result<Admitted, SigningRefused>>;

/// Looks at each entry, unless there are more than a batch may have.
fn each<T, O>(batch: &[T], look: impl FnMut(&T) -> O) -> Result<Vec<O>, Rejection> {
    if batch.len() > BATCH_LEN_MAX {
        return Err(Rejection::TooLarge { found: batch.len() as u64, allowed: BATCH_LEN_MAX as u64 });
    }
    Ok(batch.iter().map(look).collect())
}

fn held(validator: ValidatorPublic, holds: impl Fn(&ValidatorPublic) -> bool) -> Result<(), SigningRefused> {
    if holds(&validator) { Ok(()) } else { Err(SigningRefused::UnknownValidator(validator)) }
}

#[cfg(test)]
mod tests;
