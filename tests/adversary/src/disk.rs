//! A simulated disk: a folder of files, of which a power cut loses any of the unsynced operations.
//!
//! What is durable: the data of a file after a sync of the file, a name in the folder after a sync of the folder. Two doors
//! lead in, [`StateDoor`] for the vault's own files and the SQLite layer of [`crate::vfs`] for its database. No subfolders,
//! no rights, no locks: one program uses it at a time, and one that was killed holds nothing any more.
//!
//! Not modelled: disks that lose what was synced long ago, but for [`SimDisk::corrupt`] and [`Fault::SyncLies`].

mod door;
mod fault;
mod loss;
mod platter;
mod snapshot;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use crate::rng::Rng;

pub use self::door::StateDoor;
pub use self::fault::{Fault, OpKind, Tally};
pub use self::snapshot::Snapshot;

pub(crate) use self::platter::Tick;
use self::platter::{File, FileId, Names, Platter};

/// The disk. A clone is another handle to the same one.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    number: u64,
    platter: Mutex<Platter>,
}

/// What one program sees of the disk, until it is killed or the power goes.
#[derive(Clone)]
pub(crate) struct Door {
    disk: SimDisk,
    boot: u64,
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared { number, platter: Mutex::default() });
        registry().insert(number, Arc::downgrade(&shared));
        Self { shared }
    }

    /// Lets `fault` fall on the operation that follows `after` others, in place of what was planned before.
    pub fn plan(&self, after: u64, fault: Fault) {
        self.platter().plan(after, fault);
    }

    /// Takes back what was planned and did not fall yet.
    pub fn unplan(&self) {
        self.platter().unplan();
    }

    /// Makes room on a full disk, and lets a read-only one be written.
    pub fn mend(&self) {
        self.platter().mend();
    }

    /// Takes the power away between two operations.
    pub fn cut(&self) {
        self.platter().cut_now();
    }

    /// Whether the power is away: what a program says after that, nobody hears.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.platter().off
    }

    /// Kills the program: what it still holds is dead, what it wrote is with the kernel.
    pub fn kill(&self) {
        self.platter().kill();
    }

    /// Takes the power away, if it is still there, and gives it back. What was unsynced survives or not, as the seed says.
    pub fn reboot(&self, seed: u64) {
        self.platter().reboot(&mut Rng::new(seed));
    }

    /// What is durable at this moment: the disk as somebody finds it who pulls the plug and copies it.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let platter = self.platter();
        let content = |file: &FileId| platter.files[*file].durable.clone();
        let files = platter.durable_names.iter().map(|(name, file)| (Arc::clone(name), content(file)));
        Snapshot { files: Arc::new(files.collect()) }
    }

    /// What programs see at this moment: the folder as somebody finds it who copies it on the running machine.
    #[must_use]
    pub fn copy(&self) -> Snapshot {
        let platter = self.platter();
        let files = platter.names.iter().map(|(name, file)| (Arc::clone(name), platter.files[*file].seen.clone()));
        Snapshot { files: Arc::new(files.collect()) }
    }

    /// Makes the disk that of `snapshot` while the machine is off, and gives it power.
    pub fn restore(&self, snapshot: &Snapshot) {
        let mut platter = self.platter();
        let names: Names = snapshot.files.keys().cloned().zip(0..).collect();
        platter.files = snapshot.files.values().map(|content| File::holding(content.clone())).collect();
        platter.start_over(names);
    }

    /// Puts the files of `snapshot` into the place of those that are there, under a running program, which goes on with
    /// the files that it holds open.
    pub fn swap(&self, snapshot: &Snapshot) {
        let mut platter = self.platter();
        let first = platter.files.len();
        platter.files.extend(snapshot.files.values().map(|content| File::holding(content.clone())));
        platter.names = snapshot.files.keys().cloned().zip(first..).collect();
        let Platter { names, durable_names, unsynced_names, .. } = &mut *platter;
        durable_names.clone_from(names);
        unsynced_names.clear();
    }

    /// Writes one file of `snapshot` over the file that a running program may hold open. Whether there was one.
    pub fn overwrite(&self, snapshot: &Snapshot, name: &str) -> bool {
        let mut platter = self.platter();
        let Some((content, file)) = snapshot.files.get(name).zip(platter.find(name)) else { return false };
        platter.files[file] = File::holding(content.clone());
        true
    }

    /// Flips a few bits of a page of a file. Whether there was anything to flip.
    pub fn corrupt(&self, name: &str, seed: u64) -> bool {
        self.platter().corrupt(name, &mut Rng::new(seed))
    }

    /// How many operations there were.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.platter().ops
    }

    /// What the disk lived through.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.platter().tally.clone()
    }

    /// The door for a program that starts now.
    pub(crate) fn door(&self) -> Door {
        Door { disk: self.clone(), boot: self.platter().boot }
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.shared.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        registry().remove(&self.number);
    }
}

impl Door {
    /// The door that a path of [`Door::path`] names, and the name of the file behind it.
    pub(crate) fn at(path: &str) -> Option<(Self, &str)> {
        let (number, rest) = path.strip_prefix(FOLDER)?.split_once('.')?;
        let (boot, name) = rest.split_once('/')?;
        let shared = registry().get(&number.parse().ok()?)?.upgrade()?;
        Some((Self { disk: SimDisk { shared }, boot: boot.parse().ok()? }, name))
    }

    /// By what SQLite knows a file behind this door. The boot is in it, so that a dead program opens nothing.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{FOLDER}{}.{}/{name}", self.disk.shared.number, self.boot)
    }

    /// Does something with the disk, if the program that holds this door still lives.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.disk.platter();
        platter.alive(self.boot)?;
        act(&mut platter)
    }
}

fn registry() -> MutexGuard<'static, HashMap<u64, Weak<Shared>>> {
    static DISKS: LazyLock<Mutex<HashMap<u64, Weak<Shared>>>> = LazyLock::new(Mutex::default);
    DISKS.lock().unwrap_or_else(PoisonError::into_inner)
}

const FOLDER: &str = "/sim/";

#[cfg(test)]
mod tests;
