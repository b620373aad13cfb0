//! What a box looks like at a moment: its files and its TPM, to be put back later, whole or in parts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_hal::tpm::Tpm;
use holdfast_hal_sim::{SimTpm, Snapshot};

use super::TestBox;
use crate::sealed::counter::{GENERATION_COUNTER, LEASE_COUNTER};
use crate::sealed::tests::watched::Watched;
use crate::state::{Database, Disk, StateError, StateFolder};
use crate::vault::Vault;

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A box at a moment, as a process leaves it that is killed then.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) files: Files,
    tpm: Snapshot,
    /// The values of both counters.
    pub(crate) counters: [Option<u64>; 2],
}

impl Image {
    pub(crate) fn of(place: &TestBox) -> Self {
        Self::at(&place.state(), &place.tpm)
    }

    fn at(folder: &Path, tpm: &SimTpm) -> Self {
        let mut reader = tpm.clone();
        let counters = [LEASE_COUNTER, GENERATION_COUNTER].map(|at| Some(reader.counter_read(at).ok()?.value));
        Self { files: files(folder), tpm: tpm.snapshot(), counters }
    }

    /// Puts the files and the TPM back.
    pub(crate) fn put(&self, place: &TestBox) {
        place.tpm.restore(&self.tpm);
        self.put_files(place, |_| true);
    }

    /// Puts back those of the files that are wanted, and takes away what of them was not there. The TPM stays.
    pub(crate) fn put_files(&self, place: &TestBox, wanted: impl Fn(&str) -> bool) {
        let folder = place.state();
        for name in files(&folder).into_keys().filter(|name| wanted(name)) {
            fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, bytes) in self.files.iter().filter(|(name, _)| wanted(name)) {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }

    /// Puts back the history alone.
    pub(crate) fn put_history(&self, place: &TestBox) {
        self.put_files(place, |name| name.starts_with("history"));
    }
}

fn files(folder: &Path) -> Files {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names = names.filter(|name| name != "lock" && !name.ends_with(".tmp"));
    names.map(|name| (name.clone(), fs::read(folder.join(&name)).unwrap())).collect()
}

/// Starts a vault of which each moment can be kept: [`kept_while`].
pub(crate) fn start_watched(place: &TestBox) -> Vault {
    let tpm = Watched::new(&place.tpm, |_, _| {
        look();
        None
    });
    let disk = WatchedDisk(StateFolder::open(&place.state()).unwrap());
    let mut vault = place.start_on(Box::new(disk), Box::new(tpm));
    super::settle(&mut vault);
    vault
}

/// All different images of the box that there are while the work is done: at each command to the TPM, before and after
/// each change of a file, after each of the history.
pub(crate) fn kept_while(folder: PathBuf, tpm: SimTpm, work: impl FnOnce()) -> Vec<Image> {
    let witness = Witness { folder, tpm, seen: BTreeSet::new(), kept: Vec::new() };
    WITNESS.with_borrow_mut(|present| *present = Some(witness));
    look();
    work();
    look();
    WITNESS.take().unwrap().kept
}

/// Looks at the box, if somebody keeps its images.
pub(crate) fn look() {
    WITNESS.with_borrow_mut(|witness| {
        let Some(Witness { folder, tpm, seen, kept }) = witness else { return };
        let image = Image::at(folder, tpm);
        if seen.insert((image.files.clone(), image.counters)) {
            kept.push(image);
        }
    });
}

struct Witness {
    folder: PathBuf,
    tpm: SimTpm,
    seen: BTreeSet<(Files, [Option<u64>; 2])>,
    kept: Vec<Image>,
}

thread_local! {
    static WITNESS: RefCell<Option<Witness>> = const { RefCell::new(None) };
}

struct WatchedDisk(StateFolder);

impl Disk for WatchedDisk {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        self.0.read(name)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        look();
        let replaced = self.0.replace(name, bytes);
        look();
        replaced
    }

    fn remove(&self, name: &str) -> Result<(), StateError> {
        look();
        let removed = self.0.remove(name);
        look();
        removed
    }

    fn list(&self) -> Result<Vec<String>, StateError> {
        self.0.list()
    }

    fn database(&self, name: &str) -> Database {
        self.0.database(name)
    }
}
