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
//! Each transaction leaves the digest of all that is then on the disk. Bytes that change there, or pages that are lost,
//! are noticed at the next start. A whole disk of yesterday is not: that is the lease's business.
//!
//! The floor, the imports that were made and the log of orders lie here too, because they share the discipline.

mod log;
mod store;
mod watermark;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use holdfast_types::{Epoch, HistoryDigest, SigningRoot, Slot, ValidatorMarks, ValidatorPublic};
use holdfast_vault_client::{LoggedOrder, SigningRefused};
use sha2::{Digest, Sha256};

use self::log::LogEnd;
use self::store::{Change, Store};
use crate::bounds::{Floor, Reach};
use crate::state::Database;

pub(crate) use self::log::NewEntry;
pub(crate) use self::store::HistoryError;
pub(crate) use self::watermark::Candidate;

/// The history of all validators that this vault ever signed for, by their group keys.
pub(crate) struct History {
    store: Store,
    contents: Contents,
    /// Whether the database failed. A cell, because a log that cannot be read ends the history as well.
    failed: Cell<bool>,
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
    /// Opens the history; makes it when there is none. Whether one should have been there, the lease's record says.
    pub(crate) fn open_or_create(database: &Database) -> Result<Self, HistoryError> {
        Self::load(Store::open_or_create(database)?)
    }

    fn load(store: Store) -> Result<Self, HistoryError> {
        let contents = store.load()?;
        Ok(Self { store, contents, failed: Cell::new(false) })
    }

    /// Checks each candidate against the floor, the lease and what was signed before, those earlier in the batch
    /// included, and records the safe ones. When it returns, their records survive a power cut; each proof lets its root
    /// be signed once.
    ///
    /// # Errors
    /// When the records may not be on the disk. Nothing of the batch may be signed then, nor anything after it.
    pub(crate) fn check_and_record(
        &mut self,
        reach: &Reach,
        batch: &[Candidate],
    ) -> Result<Vec<Result<Recorded, SigningRefused>>, HistoryError> {
        self.not_failed()?;
        let mut raised = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(batch.len());
        for candidate in batch {
            let validator = candidate.validator();
            let before = raised.get(&validator).copied().unwrap_or_else(|| self.contents.marks_of(validator));
            verdicts.push(watermark::check(&self.contents.floor, reach, &before, candidate).map(|after| {
                if after != before {
                    raised.insert(validator, after);
                }
                Recorded { validator, root: candidate.root() }
            }));
        }
        self.save_marks(raised)?;
        Ok(verdicts)
    }

    /// Takes over what another history knows. Nothing is lowered; it is taken whole or not at all.
    pub(crate) fn merge(&mut self, marks: &[ValidatorMarks]) -> Result<(), HistoryError> {
        self.not_failed()?;
        let mut raised = BTreeMap::new();
        for theirs in marks {
            let before = raised.get(&theirs.validator).copied();
            let before = before.unwrap_or_else(|| self.contents.marks_of(theirs.validator));
            let after = watermark::merge(&before, theirs);
            if after != before {
                raised.insert(theirs.validator, after);
            }
        }
        self.save_marks(raised)
    }

    fn save_marks(&mut self, raised: BTreeMap<ValidatorPublic, ValidatorMarks>) -> Result<(), HistoryError> {
        if raised.is_empty() {
            return Ok(());
        }
        let mut after = self.contents.clone();
        after.marks.extend(&raised);
        self.save(after, &Change::Marks(raised.into_values().collect()))
    }

    /// The floor.
    pub(crate) fn floor(&self) -> Floor {
        self.contents.floor
    }

    /// Bars what `floor` bars, beside what is barred already.
    pub(crate) fn raise_floor(&mut self, floor: Floor) -> Result<(), HistoryError> {
        self.not_failed()?;
        let floor = self.contents.floor.max(floor);
        if floor == self.contents.floor {
            return Ok(());
        }
        let after = Contents { floor, ..self.contents.clone() };
        self.save(after, &Change::Floor)
    }

    /// The watermarks of up to `len` validators whose keys follow `after`, in order.
    pub(crate) fn page(&self, after: Option<ValidatorPublic>, len: usize) -> Vec<ValidatorMarks> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.contents.marks.range((start, Bound::Unbounded)).take(len).map(|(_, marks)| *marks).collect()
    }

    /// What up to `len` validators whose keys follow `after` may have signed, in order: those of whom there are
    /// watermarks, and those of whom a share is here. Another box takes it for all that there is to know, so what is
    /// barred here by `floor` or by the history's own is in it.
    pub(crate) fn backup(
        &self,
        after: Option<ValidatorPublic>,
        len: usize,
        held: &BTreeSet<ValidatorPublic>,
        floor: Floor,
    ) -> Vec<ValidatorMarks> {
        let floor = self.contents.floor.max(floor);
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut page: BTreeMap<_, _> =
            self.contents.marks.range(range).take(len).map(|(key, marks)| (*key, *marks)).collect();
        if floor != Floor::default() {
            page.extend(
                held.range(range)
                    .filter(|held| !self.contents.marks.contains_key(held))
                    .map(|held| (*held, watermark::none(*held))),
            );
        }
        page.into_values()
            .take(len)
            .map(|marks| watermark::merge(&marks, &watermark::barred(marks.validator, floor)))
            .collect()
    }

    /// Source and target of the attestation with the highest target that is known here.
    pub(crate) fn latest(&self) -> Option<(Epoch, Epoch)> {
        let attestations = self.contents.marks.values().filter_map(|marks| marks.attestation);
        attestations.map(|mark| (mark.target, mark.source)).max().map(|(target, source)| (source, target))
    }

    /// The highest source that is known here of any validator, or below which the floor bars every source.
    pub(crate) fn highest_source(&self) -> Epoch {
        let attestations = self.contents.marks.values().filter_map(|marks| marks.attestation);
        attestations.map(|mark| mark.source).max().unwrap_or_default().max(self.contents.floor.source)
    }

    /// The highest source, target and slot that are known here of these validators.
    pub(crate) fn highest_of(&self, wanted: impl Fn(&ValidatorPublic) -> bool) -> (Epoch, Epoch, Slot) {
        let marks = || self.contents.marks.values().filter(|marks| wanted(&marks.validator));
        let attestations = || marks().filter_map(|marks| marks.attestation);
        let source = attestations().map(|mark| mark.source).max().unwrap_or_default();
        let target = attestations().map(|mark| mark.target).max().unwrap_or_default();
        (source, target, marks().filter_map(|marks| marks.block).map(|mark| mark.slot).max().unwrap_or_default())
    }

    /// Notes that this history of another box or file was taken over.
    pub(crate) fn note_import(&mut self, digest: HistoryDigest) -> Result<(), HistoryError> {
        self.not_failed()?;
        if self.contents.imports.last() == Some(&digest) {
            return Ok(());
        }
        let mut after = self.contents.clone();
        after.imports.retain(|noted| *noted != digest);
        after.imports.push(digest);
        let forgotten = after.imports.len().saturating_sub(IMPORTS_KEPT);
        after.imports.drain(..forgotten);
        self.save(after, &Change::Imports)
    }

    /// Whether it was taken over, as one of the last 64.
    pub(crate) fn knows_import(&self, digest: &HistoryDigest) -> bool {
        self.contents.imports.contains(digest)
    }

    /// SHA-256 over everything that is kept here; of the log it covers the head and the count.
    #[cfg(test)]
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.contents.digest()
    }

    /// SHA-256 over all that decides what may be signed. The log is not in it: a vault that is closed goes on logging, and
    /// the record of its clean end must fit all the same.
    pub(crate) fn marks_digest(&self) -> [u8; 32] {
        self.contents.marks_hash().0.finalize().into()
    }

    /// Whether nothing was ever kept here.
    pub(crate) fn is_blank(&self) -> bool {
        self.contents == Contents::default()
    }

    /// Adds an entry to the log of orders. Of its texts the first 500 characters are kept.
    pub(crate) fn log(&mut self, entry: NewEntry) -> Result<(), HistoryError> {
        self.not_failed()?;
        let entry = self.contents.log.next(entry);
        let after = Contents { log: LogEnd { count: entry.number, head: entry.hash }, ..self.contents.clone() };
        self.save(after, &Change::Logged(entry))
    }

    /// Up to `len` entries of the log whose numbers follow `after`.
    pub(crate) fn log_page(&self, after: u64, len: usize) -> Result<Vec<LoggedOrder>, HistoryError> {
        self.not_failed()?;
        self.store.log_page(after, len).inspect_err(|_| self.failed.set(true))
    }

    /// How many entries the log ever had, and the head of its hash chain.
    pub(crate) fn log_head(&self) -> (u64, [u8; 32]) {
        (self.contents.log.count, self.contents.log.head)
    }

    /// The only place that writes: first the disk, then the memory.
    fn save(&mut self, after: Contents, change: &Change) -> Result<(), HistoryError> {
        self.store.save(&after, change).inspect_err(|_| self.failed.set(true))?;
        self.contents = after;
        #[cfg(test)]
        crate::testing::images::look();
        Ok(())
    }

    fn not_failed(&self) -> Result<(), HistoryError> {
        if self.failed.get() { Err(HistoryError::FailedBefore) } else { Ok(()) }
    }
}

/// Everything that is kept, but the entries of the log.
///
/// A change is made on a copy, which takes the place of the original once the disk has it: a thousand validators are
/// about 200 KiB, copied and hashed in a fraction of the time that one sync takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contents {
    /// Never an entry without any mark, so that one history has one digest.
    marks: BTreeMap<ValidatorPublic, ValidatorMarks>,
    floor: Floor,
    /// The oldest first.
    imports: Vec<HistoryDigest>,
    log: LogEnd,
}

impl Contents {
    fn marks_of(&self, validator: ValidatorPublic) -> ValidatorMarks {
        self.marks.get(&validator).copied().unwrap_or(watermark::none(validator))
    }

    /// Numbers are big-endian; a byte stands before what may be missing, and a count before what may be many.
    fn digest(&self) -> [u8; 32] {
        let mut hash = self.marks_hash();
        hash.number(self.log.count);
        hash.bytes(&self.log.head);
        hash.0.finalize().into()
    }

    fn marks_hash(&self) -> Fields {
        let mut hash = Fields(Sha256::new_with_prefix(DIGEST_DOMAIN));
        hash.number(self.marks.len() as u64);
        for ValidatorMarks { validator, attestation, block } in self.marks.values() {
            hash.bytes(&validator.0);
            hash.optional(attestation.as_ref(), |hash, mark| {
                hash.number(mark.source.0);
                hash.number(mark.target.0);
                hash.optional(mark.root.as_ref(), |hash, root| hash.bytes(&root.0));
            });
            hash.optional(block.as_ref(), |hash, mark| {
                hash.number(mark.slot.0);
                hash.optional(mark.root.as_ref(), |hash, root| hash.bytes(&root.0));
            });
        }
        hash.optional(self.floor.target.as_ref(), |hash, target| hash.number(target.0));
        hash.number(self.floor.source.0);
        hash.optional(self.floor.slot.as_ref(), |hash, slot| hash.number(slot.0));
        hash.number(self.imports.len() as u64);
        self.imports.iter().for_each(|import| hash.bytes(&import.0));
        hash
    }
}

/// Bytes on their way into the digest.
struct Fields(Sha256);

impl Fields {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    fn optional<T>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.bytes(&[u8::from(value.is_some())]);
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// An import of shares follows the import of its history within minutes; more between them is no import of ours.
const IMPORTS_KEPT: usize = 64;
const DIGEST_DOMAIN: &[u8] = b"holdfast history 1";

#[cfg(test)]
impl History {
    /// Lets every later write fail.
    pub(crate) fn break_writes(&self) {
        self.store.forbid_writes();
    }
}

#[cfg(test)]
mod tests;
