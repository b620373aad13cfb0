//! What lies on the disk in ciphertext: one file for each generation, of which the TPM opens only the present one.
//!
//! Every change of what is sealed writes the file of the next generation whole, and then has the TPM count. So a power cut
//! leaves the file before or the file after, and an older disk nothing that opens. Who may change what, and whether the
//! vault may sign once it is open, is decided elsewhere.
//!
//! Reading order: [`wrapping`] has the key and its halves, [`file`] the form of a file, [`counter`] how the TPM counts,
//! [`approvals`] what the TPM is shown.

use std::collections::BTreeSet;

use holdfast_hal::tpm::{CounterReading, Tpm, TpmError};
use zeroize::Zeroizing;

use crate::keys::{KeyRoom, Keys, SECRETS_LEN};
use crate::state::Disk;

pub(crate) mod approvals;
pub(crate) mod constants;
pub(crate) mod counter;
pub(crate) mod error;
mod file;
pub(crate) mod wrapping;

#[cfg(test)]
pub(crate) mod tests;

use approvals::Approvals;
use constants::Constants;
use counter::GENERATION_COUNTER;
use error::SealError;
use file::{Contents, Encrypted, Read, SealedFile};
use wrapping::{Item, SealedTo, WrappingKey};

/// What is sealed at present, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) constants: Constants,
    /// The value of the generation counter.
    pub(crate) generation: u64,
    /// The level that an image needs to open it.
    pub(crate) level: u64,
    /// SHA-256 of the file.
    pub(crate) id: [u8; 32],
    /// The id of the file before; zero for the first of an owner.
    pub(crate) parent: [u8; 32],
    /// The value of the lease counter when it was written; 0 for the first of an owner.
    pub(crate) born_at: u64,
}

/// What a start finds.
pub(crate) enum Found {
    /// Nothing is sealed: nobody owns the box.
    Nothing(KeyRoom),
    /// Everything has opened.
    Open(Box<Sealed>, Keys),
}

/// Something is sealed, and does not open.
pub(crate) struct Unopened {
    /// Why.
    pub(crate) error: SealError,
    /// What the file says of itself, unproved: good for naming the owner, and for having it erased by him.
    pub(crate) claimed: Option<Sealed>,
    /// The room, wiped.
    pub(crate) room: KeyRoom,
}

/// Opens what is sealed, if anything is, and takes away what other generations have left.
///
/// # Errors
/// [`Unopened`] says why it stays closed. A restart may help or an approval; nothing is decided for good here.
pub(crate) fn open(
    disk: &dyn Disk,
    tpm: &mut dyn Tpm,
    approvals: &Approvals<'_>,
    room: KeyRoom,
) -> Result<Found, Box<Unopened>> {
    let mut claimed = None;
    let file = match find(disk, tpm, &mut claimed) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Found::Nothing(room)),
        Err(error) => return Err(Box::new(Unopened { error, claimed, room })),
    };
    match file.open(tpm, approvals, room) {
        Ok(keys) => {
            tidy(disk, file.contents.generation);
            Ok(Found::Open(Box::new(file.claims()), keys))
        }
        Err((error, room)) => Err(Box::new(Unopened { error, claimed, room })),
    }
}

/// Erases everything sealed. Once the TPM has counted, nothing opens any more, whatever a power cut leaves on the disk.
///
/// # Errors
/// While [`SealError::changed_nothing`], what was sealed still opens if it did before.
pub(crate) fn erase(disk: &dyn Disk, tpm: &mut dyn Tpm) -> Result<(), SealError> {
    match counter::read(tpm) {
        Ok(reading) => {
            let next = following(reading.value)?;
            let void = file::erased(next);
            count_in(disk, tpm, next, &void)?;
            clear_away(disk, next);
            Ok(())
        }
        // The counter that everything is sealed to is gone, so nothing opens already.
        Err(TpmError::CounterMissing(_) | TpmError::NotACounter(_)) => Ok(remove_all_but(disk, None)?),
        Err(err) => Err(SealError::tpm("read the generation counter", err)),
    }
}

impl Sealed {
    /// Seals what a new owner begins with. The vault must be empty.
    ///
    /// # Errors
    /// Then it still is, or the next start tells; see [`SealError::changed_nothing`].
    pub(crate) fn first(
        disk: &dyn Disk,
        tpm: &mut dyn Tpm,
        constants: Constants,
        level: u64,
        keys: &Keys,
    ) -> Result<Self, SealError> {
        let reading = counter::read(tpm).map_err(|err| SealError::tpm("read the generation counter", err))?;
        let contents = Contents {
            generation: following(reading.value)?,
            level,
            parent: [0; 32],
            born_at: 0,
            pins: keys.pins().cloned(),
        };
        Self::write(disk, tpm, constants, contents, keys)
    }

    /// Seals the next generation; with it this one never opens again.
    ///
    /// # Errors
    /// Then this one still counts, or the next start tells; see [`SealError::changed_nothing`].
    pub(crate) fn next(
        &self,
        disk: &dyn Disk,
        tpm: &mut dyn Tpm,
        constants: Constants,
        level: u64,
        keys: &Keys,
        born_at: u64,
    ) -> Result<Self, SealError> {
        let contents = Contents {
            generation: following(self.generation)?,
            level,
            parent: self.id,
            born_at,
            pins: keys.pins().cloned(),
        };
        Self::write(disk, tpm, constants, contents, keys)
    }

    fn write(
        disk: &dyn Disk,
        tpm: &mut dyn Tpm,
        constants: Constants,
        contents: Contents,
        keys: &Keys,
    ) -> Result<Self, SealError> {
        let generation = contents.generation;
        let reading = counter::read(tpm).map_err(|err| SealError::tpm("read the generation counter", err))?;
        if !constants.generation_counter.is(GENERATION_COUNTER, &reading.name) {
            return Err(SealError::TpmReplaced);
        }
        if reading.value.checked_add(1) != Some(generation) {
            return Err(SealError::CounterMoved { expected: generation.saturating_sub(1), found: reading.value });
        }
        let mut file = SealedFile::seal(tpm, constants, contents, keys)?;
        let bytes = file.to_bytes();
        file.id = file::id_of(&bytes);
        count_in(disk, tpm, generation, &bytes)?;
        tidy(disk, generation);
        Ok(file.claims())
    }
}

impl SealedFile {
    fn seal(tpm: &mut dyn Tpm, constants: Constants, contents: Contents, keys: &Keys) -> Result<Self, SealError> {
        let constants_bytes = constants.to_bytes();
        if constants_bytes.len() > file::CONSTANTS_LEN_MAX {
            return Err(SealError::TooLong { len: constants_bytes.len(), len_max: file::CONSTANTS_LEN_MAX });
        }
        let to = sealed_to(&constants, &constants_bytes, &contents);
        let (wrapping, halves) = WrappingKey::seal(tpm, &to)?;
        let contents_bytes = contents.to_bytes();
        let mut secrets = keys.secrets();
        let tag = wrapping.encrypt(Item::Keys, &contents_bytes, &mut *secrets);
        let sealed_keys = Encrypted { tag, text: *secrets };
        let shares = keys.shares().map(|(validator, share)| {
            let mut text = Zeroizing::new(*share);
            let associated = beside_share(contents.generation, validator.as_bytes());
            let tag = wrapping.encrypt(Item::Share(*validator), &associated, &mut *text);
            Encrypted { tag, text: *text }
        });
        let shares = shares.collect();
        Ok(Self {
            id: [0; 32],
            constants,
            constants_bytes,
            contents,
            contents_bytes,
            halves,
            keys: sealed_keys,
            shares,
        })
    }

    /// Has the TPM open the wrapping key and decrypts everything into `room`.
    fn open(&self, tpm: &mut dyn Tpm, approvals: &Approvals<'_>, room: KeyRoom) -> Result<Keys, (SealError, KeyRoom)> {
        let name = file::name_of(self.contents.generation);
        let to = sealed_to(&self.constants, &self.constants_bytes, &self.contents);
        let wrapping = match WrappingKey::unseal(tpm, &to, &self.halves, approvals, &name) {
            Ok(wrapping) => wrapping,
            Err(error) => return Err((error, room)),
        };
        let mut keys = Keys::empty(room, &[0; 32]);
        match self.decrypt(&wrapping, &name, &mut keys) {
            Ok(()) => Ok(keys),
            Err(error) => Err((error, keys.wipe())),
        }
    }

    fn decrypt(&self, wrapping: &WrappingKey, name: &str, keys: &mut Keys) -> Result<(), SealError> {
        let damaged = |part: String| SealError::Damaged { file: name.to_owned(), part };
        let mut secrets = Zeroizing::new([0; SECRETS_LEN]);
        secrets.copy_from_slice(&self.keys.text);
        if !wrapping.decrypt(Item::Keys, &self.contents_bytes, &self.keys.tag, &mut *secrets) {
            return Err(damaged("part with the keys".into()));
        }
        keys.set_secrets(&secrets);
        let Some(pins) = &self.contents.pins else { return Ok(()) };
        keys.admit(pins.lock_hash, pins.share_index, pins.validators.clone())?;
        for (validator, share) in pins.validators.iter().zip(&self.shares) {
            let place = keys.share_mut(validator).expect("each validator of the pins was admitted");
            place.copy_from_slice(&share.text);
            let associated = beside_share(self.contents.generation, validator.as_bytes());
            if !wrapping.decrypt(Item::Share(*validator), &associated, &share.tag, place) {
                return Err(damaged(format!("share of validator {}", validator.short())));
            }
        }
        Ok(())
    }

    fn claims(&self) -> Sealed {
        let Contents { generation, level, parent, born_at, .. } = self.contents;
        Sealed { constants: self.constants.clone(), generation, level, id: self.id, parent, born_at }
    }
}

/// What is looked at when a start looks for the file that counts.
enum Candidate {
    /// Only the notice that everything was erased, or nothing at all.
    Nothing,
    /// The file of the present generation, or else the newest that can be read.
    Sealed(Box<SealedFile>),
    /// Nothing that can be read: the newest file, or the present generation's, with the part that is wrong.
    Unreadable { generation: u64, part: &'static str },
}

/// The file that counts; `None` when nothing is sealed.
fn find(
    disk: &dyn Disk,
    tpm: &mut dyn Tpm,
    claimed: &mut Option<Sealed>,
) -> Result<Option<Box<SealedFile>>, SealError> {
    let generations = generations(disk)?;
    if generations.is_empty() {
        return Ok(None);
    }
    let reading = counter::read(tpm);
    let counted = |reading: Result<CounterReading, TpmError>| {
        reading.map_err(|err| SealError::tpm("read the generation counter", err))
    };
    let file = match candidate(disk, &generations, reading.as_ref().ok().map(|reading| reading.value))? {
        Candidate::Nothing => return Ok(None),
        Candidate::Sealed(file) => file,
        Candidate::Unreadable { generation, part } => {
            let file = file::name_of(generation);
            let is_present = counted(reading)?.value == generation;
            let damaged = SealError::Damaged { file: file.clone(), part: part.to_owned() };
            return Err(if is_present { damaged } else { SealError::RolledBack { file } });
        }
    };
    *claimed = Some(file.claims());
    file.constants.check_machine(tpm)?;
    let reading = counted(reading)?;
    if !file.constants.generation_counter.is(GENERATION_COUNTER, &reading.name) {
        return Err(SealError::TpmReplaced);
    }
    let generation = file.contents.generation;
    if reading.value == generation {
        return Ok(Some(file));
    }
    // A first file that the TPM has not counted was never in force, and there was nothing before it.
    let unfinished = reading.value.checked_add(1) == Some(generation) && file.contents.parent == [0; 32];
    if unfinished && generations.len() == 1 {
        *claimed = None;
        return Ok(None);
    }
    Err(SealError::RolledBack { file: file::name_of(generation) })
}

fn candidate(disk: &dyn Disk, generations: &BTreeSet<u64>, present: Option<u64>) -> Result<Candidate, SealError> {
    let mut found = Candidate::Nothing;
    let present_first = present.filter(|present| generations.contains(present)).into_iter();
    let others = generations.iter().copied().rev().filter(|generation| Some(*generation) != present);
    for generation in present_first.chain(others) {
        let is_present = Some(generation) == present;
        match disk.read(&file::name_of(generation))?.map(|bytes| SealedFile::read(&bytes, generation)) {
            Some(Read::Sealed(file)) => return Ok(Candidate::Sealed(file)),
            Some(Read::Erased) if is_present => {
                clear_away(disk, generation);
                return Ok(Candidate::Nothing);
            }
            Some(Read::Unreadable(part)) => {
                if is_present {
                    return Ok(Candidate::Unreadable { generation, part });
                }
                if matches!(found, Candidate::Nothing) {
                    found = Candidate::Unreadable { generation, part };
                }
            }
            Some(Read::Erased) | None => {}
        }
    }
    Ok(found)
}

/// Writes the file of a generation and has the TPM count it in.
fn count_in(disk: &dyn Disk, tpm: &mut dyn Tpm, generation: u64, bytes: &[u8]) -> Result<(), SealError> {
    let name = file::name_of(generation);
    let counted = write_back(disk, &name, bytes).and_then(|()| counter::advance(tpm, generation.saturating_sub(1)));
    if let Err(error) = &counted
        && error.changed_nothing()
        && let Err(error) = disk.remove(&name)
    {
        tracing::warn!(file = name, %error, "what was not counted stays, and the next start takes it away");
    }
    counted
}

fn write_back(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<(), SealError> {
    disk.replace(name, bytes)?;
    match disk.read(name)? {
        Some(read) if read == bytes => Ok(()),
        _ => Err(SealError::Damaged { file: name.to_owned(), part: "whole".to_owned() }),
    }
}

/// Removes what never opens again. What stays does no harm, and is tried again at the next start.
fn tidy(disk: &dyn Disk, kept: u64) {
    if let Err(error) = remove_all_but(disk, Some(kept)) {
        tracing::warn!(%error, "an older sealed file stays on the disk");
    }
}

/// Removes everything sealed, and the notice that this was meant only when nothing else is left.
fn clear_away(disk: &dyn Disk, notice: u64) {
    if let Err(error) = remove_all_but(disk, Some(notice)).and_then(|()| remove_all_but(disk, None)) {
        tracing::warn!(%error, "an erased file stays on the disk");
    }
}

fn remove_all_but(disk: &dyn Disk, kept: Option<u64>) -> Result<(), SealError> {
    let kept = kept.map(file::name_of);
    let names = sealed_names(disk)?;
    names.iter().filter(|name| Some(*name) != kept.as_ref()).try_for_each(|name| Ok(disk.remove(name)?))
}

fn generations(disk: &dyn Disk) -> Result<BTreeSet<u64>, SealError> {
    Ok(sealed_names(disk)?.iter().filter_map(|name| file::generation_of(name)).collect())
}

fn sealed_names(disk: &dyn Disk) -> Result<Vec<String>, SealError> {
    let mut names = disk.list()?;
    names.retain(|name| name.starts_with(file::NAME_START));
    Ok(names)
}

fn sealed_to<'a>(constants: &'a Constants, constants_bytes: &'a [u8], contents: &Contents) -> SealedTo<'a> {
    SealedTo { constants, constants_bytes, level: contents.level, generation: contents.generation }
}

fn beside_share(generation: u64, validator: &[u8]) -> Vec<u8> {
    [&generation.to_be_bytes(), validator].concat()
}

/// The value after this one. A TPM's counter does not reach its end.
fn following(value: u64) -> Result<u64, SealError> {
    value.checked_add(1).ok_or(SealError::CounterMoved { expected: value, found: value })
}
