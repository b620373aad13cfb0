//! The slashing history: the highest that each validator signed, and the only place where a proof of it is made.
//!
//! The copy in memory decides; the disk is written before it, and read only at start. So rows that are swapped under a
//! running vault change nothing. One batch is one transaction, synced before [`History::check_and_record`] returns.
//!
//! An error of the database, be it a full disk, a corrupt page or a failed fsync, ends the history: after a failed fsync
//! nobody knows what the disk holds, so no later call is answered and the vault stays closed until it starts anew. The
//! start writes and syncs once more what it finds, since a record that reads well may be in the kernel's memory only.
//! After that it is safe whatever it found: nothing of the failed batch was released.
//!
//! What a disk of yesterday looks like from here is the lease's business, not this one's.

mod store;
mod watermark;

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_types::{SigningRoot, ValidatorPublic};
use holdfast_vault_client::AttestationRefusal;

use self::store::Store;
pub(crate) use self::watermark::{Candidate, Watermark};

pub use self::store::HistoryError;

/// The history of all validators that this vault ever signed for, by their group keys.
pub(crate) struct History {
    store: Store,
    marks: BTreeMap<ValidatorPublic, Watermark>,
    failed: bool,
}

/// The history has recorded this signing root for this validator, and the record is on the disk. Made only by
/// [`History::check_and_record`].
#[derive(Debug)]
pub(crate) struct Recorded {
    validator: ValidatorPublic,
    root: SigningRoot,
}

impl Recorded {
    pub(crate) fn validator(&self) -> &ValidatorPublic {
        &self.validator
    }

    pub(crate) fn root(&self) -> SigningRoot {
        self.root
    }
}

impl History {
    /// Opens the history of a vault without shares; makes it when there is none.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, HistoryError> {
        Self::load(Store::open_or_create(path)?)
    }

    /// Opens the history of a vault that holds shares: it must be there.
    pub(crate) fn open(path: &Path) -> Result<Self, HistoryError> {
        Self::load(Store::open(path)?)
    }

    fn load(store: Store) -> Result<Self, HistoryError> {
        let marks = store.load()?;
        Ok(Self { store, marks, failed: false })
    }

    /// Checks each candidate against what was signed before, those earlier in the batch included, and records the safe
    /// ones. When it returns, their records survive a power cut; each proof lets its root be signed once.
    ///
    /// # Errors
    /// When the records may not be on the disk. Nothing of the batch may be signed then, nor anything after it.
    pub(crate) fn check_and_record(
        &mut self,
        batch: &[Candidate],
    ) -> Result<Vec<Result<Recorded, AttestationRefusal>>, HistoryError> {
        if self.failed {
            return Err(HistoryError::FailedBefore);
        }
        let mut raised = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(batch.len());
        for candidate in batch {
            let Candidate { validator, root, .. } = *candidate;
            let before = raised.get(&validator).or_else(|| self.marks.get(&validator));
            verdicts.push(match watermark::check(before, candidate) {
                Ok(after) => {
                    if before != Some(&after) {
                        raised.insert(validator, after);
                    }
                    Ok(Recorded { validator, root })
                }
                Err(refusal) => Err(refusal),
            });
        }
        self.record(raised)?;
        Ok(verdicts)
    }

    fn record(&mut self, raised: BTreeMap<ValidatorPublic, Watermark>) -> Result<(), HistoryError> {
        if raised.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.store.save(&raised) {
            self.failed = true;
            return Err(error);
        }
        self.marks.extend(raised);
        Ok(())
    }
}

#[cfg(test)]
impl History {
    /// Lets every later write fail.
    pub(crate) fn break_writes(&self) {
        self.store.forbid_writes();
    }
}

#[cfg(test)]
mod tests;
