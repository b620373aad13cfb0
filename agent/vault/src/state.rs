//! The state folder: private, used by one vault at a time, its files replaced whole or not at all.
//!
//! What is in the files is not its business, and the history has a file format and a discipline of its own.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where the vault keeps its files. The one implementation that ships is [`StateFolder`]; another one cuts the power.
pub trait Disk {
    /// The bytes of a file, `None` when there is no such file.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is longer than any file of the vault.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError>;

    /// Puts `bytes` in the place of a file; when it returns, they survive a power cut.
    ///
    /// # Errors
    /// When it is not known that they do.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError>;

    /// Takes a file away, or finds none; when it returns, it stays away after a power cut.
    ///
    /// # Errors
    /// When it is not known that it does.
    fn remove(&self, name: &str) -> Result<(), StateError>;

    /// Takes a file out of the way that is of no use, if it is there; whoever repairs it may find it beside its place.
    ///
    /// # Errors
    /// When it may still be there.
    fn set_aside(&self, name: &str) -> Result<(), StateError> {
        self.remove(name)
    }

    /// The names of all files, in order.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&self) -> Result<Vec<String>, StateError>;

    /// Where SQLite finds a database of this name.
    fn database(&self, name: &str) -> Database;
}

/// A database as SQLite is told of it.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its path.
    pub path: PathBuf,
    /// The file system layer of SQLite to use; its own when there is none.
    pub vfs: Option<String>,
}

/// The folder, held by this process until it is dropped.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    folder: File,
    _lock: File,
    #[cfg(test)]
    pub(crate) writes_left: std::cell::Cell<Option<usize>>,
}

/// What went wrong with the folder or a file in it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder cannot be made, opened or made private.
    #[error("cannot open the state folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// Another vault has it.
    #[error("the state folder {} is in use by another vault: stop that one first", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// A file is longer than anything that we write.
    #[error("{} is longer than {FILE_LEN_MAX} bytes: it is no file of the vault", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written and synced.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
}

impl StateFolder {
    /// Opens the folder, makes it if it is not there, closes it to other users and locks it.
    ///
    /// # Errors
    /// When it cannot be used, or another vault uses it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |err| StateError::Folder { path: path.to_owned(), err };
        create(path).map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
        let folder = File::open(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(err)) => return Err(failed(err)),
        }
        Ok(Self {
            path: path.to_owned(),
            folder,
            _lock: lock,
            #[cfg(test)]
            writes_left: std::cell::Cell::new(None),
        })
    }

    /// The path of a file in the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn replace_at(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        #[cfg(test)]
        self.step()?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        #[cfg(test)]
        self.step()?;
        fs::rename(&temporary, path)?;
        #[cfg(test)]
        self.step()?;
        self.folder.sync_all()
    }

    fn remove_at(&self, path: &Path) -> io::Result<()> {
        #[cfg(test)]
        self.step()?;
        match fs::remove_file(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
        #[cfg(test)]
        self.step()?;
        self.folder.sync_all()
    }

    /// A place where a test cuts the power.
    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        match self.writes_left.get() {
            Some(0) => Err(io::Error::other("the test cuts the power here")),
            Some(left) => {
                self.writes_left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for StateFolder {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.file(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(StateError::Read { path, err }),
        };
        let mut bytes = Vec::new();
        match file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes) {
            Ok(len) if len as u64 > FILE_LEN_MAX => Err(StateError::TooLong { path }),
            Ok(_) => Ok(Some(bytes)),
            Err(err) => Err(StateError::Read { path, err }),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.file(name);
        self.replace_at(&path, bytes).map_err(|err| StateError::Write { path, err })
    }

    fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.file(name);
        self.remove_at(&path).map_err(|err| StateError::Write { path, err })
    }

    fn set_aside(&self, name: &str) -> Result<(), StateError> {
        let path = self.file(name);
        let moved = match fs::rename(&path, self.file(&format!("{name}{SET_ASIDE}"))) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
            moved => moved,
        };
        moved.and_then(|()| self.folder.sync_all()).map_err(|err| StateError::Write { path, err })
    }

    fn list(&self) -> Result<Vec<String>, StateError> {
        let failed = |err| StateError::Read { path: self.path.clone(), err };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn database(&self, name: &str) -> Database {
        Database { path: self.file(name), vfs: None }
    }
}

/// Makes the folder and those above it that are missing, so that they are still there after a power cut.
fn create(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).count();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for above in path.ancestors().skip(1).take(missing) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

const LOCK_FILE: &str = "lock";
/// What a file is called that was set aside.
const SET_ASIDE: &str = ".damaged";
/// What is sealed of a thousand shares needs about 180 KiB; everything else is smaller.
const FILE_LEN_MAX: u64 = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_vault_is_refused_until_the_first_is_gone() {
        let place = tempfile::tempdir().unwrap();
        let first = StateFolder::open(place.path()).unwrap();
        assert!(matches!(StateFolder::open(place.path()), Err(StateError::InUse { .. })));
        drop(first);
        assert!(StateFolder::open(place.path()).is_ok());
    }

    #[test]
    fn the_folder_is_private_even_when_it_was_not() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state");
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let _state = StateFolder::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_is_made_with_those_above_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("var").join("lib").join("state");
        drop(StateFolder::open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(place.path().join("file"), b"").unwrap();
        let refused = StateFolder::open(&place.path().join("file").join("state")).unwrap_err();
        assert!(matches!(refused, StateError::Folder { .. }), "{refused:?}");
    }

    #[test]
    fn what_is_removed_is_gone_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let state = StateFolder::open(place.path()).unwrap();
        state.replace("a", b"one").unwrap();
        state.replace("b", b"two").unwrap();
        state.remove("a").unwrap();
        state.remove("a").unwrap();
        assert_eq!(state.read("a").unwrap(), None);
        assert_eq!(state.read("b").unwrap().unwrap(), b"two");
        state.writes_left.set(Some(0));
        assert!(matches!(state.remove("b"), Err(StateError::Write { .. })));
        assert_eq!(state.read("b").unwrap().unwrap(), b"two");
    }

    #[test]
    fn what_is_set_aside_makes_room_and_is_kept() {
        let place = tempfile::tempdir().unwrap();
        let state = StateFolder::open(place.path()).unwrap();
        state.set_aside("a").unwrap();
        state.replace("a", b"one").unwrap();
        state.set_aside("a").unwrap();
        assert_eq!(state.read("a").unwrap(), None);
        assert_eq!(state.read("a.damaged").unwrap().unwrap(), b"one");
    }

    #[test]
    fn all_files_are_listed_in_order() {
        let place = tempfile::tempdir().unwrap();
        let state = StateFolder::open(place.path()).unwrap();
        assert_eq!(state.list().unwrap(), ["lock"]);
        ["b", "c", "a"].iter().for_each(|name| state.replace(name, b"").unwrap());
        assert_eq!(state.list().unwrap(), ["a", "b", "c", "lock"]);
        fs::remove_dir_all(place.path()).unwrap();
        assert!(matches!(state.list(), Err(StateError::Read { .. })));
    }

    #[test]
    fn files_are_replaced_whole_and_are_private() {
        let place = tempfile::tempdir().unwrap();
        let state = StateFolder::open(place.path()).unwrap();
        assert_eq!(state.read("a.aead").unwrap(), None);
        state.replace("a.aead", b"one").unwrap();
        for cut in 0..3 {
            state.writes_left.set(Some(cut));
            assert!(matches!(state.replace("a.aead", b"other"), Err(StateError::Write { .. })));
            let found = state.read("a.aead").unwrap().unwrap();
            assert!(found == b"one" || found == b"other", "{found:?} after a cut at {cut}");
        }
        assert_eq!(fs::metadata(state.file("a.aead")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let state = StateFolder::open(place.path()).unwrap();
        fs::write(state.file("a.aead"), vec![0; 600_000]).unwrap();
        assert!(matches!(state.read("a.aead"), Err(StateError::TooLong { .. })));
    }
}
