//! The vault's own door to a simulated disk: it plays the steps of the vault's `StateFolder`, so that a cut falls between them.

use std::io;
use std::path::{Path, PathBuf};

use holdfast_vault::state::{Database, Disk, StateError};

use super::platter::Platter;
use super::{Door, SimDisk};
use crate::vfs;

/// A state folder on a simulated disk, for one start of the vault.
pub struct StateDoor {
    door: Door,
}

impl StateDoor {
    /// Opens the folder for a program that starts now. Once the program is killed or the power goes, all it does fails.
    #[must_use]
    pub fn open(disk: &SimDisk) -> Self {
        vfs::register();
        Self { door: disk.door() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.door.path(name).into()
    }

    fn write_error(&self, name: &str, err: io::Error) -> StateError {
        StateError::Write { path: self.path(name), err }
    }
}

impl Disk for StateDoor {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let read = |platter: &mut Platter| Ok(platter.find(name).map(|file| platter.files[file].seen.to_vec()));
        let found = self.door.with(read).map_err(|err| StateError::Read { path: self.path(name), err })?;
        match found {
            Some(bytes) if bytes.len() > FILE_LEN_MAX => Err(StateError::TooLong { path: self.path(name) }),
            found => Ok(found),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let temporary_path = Path::new(name).with_extension("tmp");
        let temporary = temporary_path.to_str().expect("made of a text");
        let replace = |platter: &mut Platter| {
            let file = match platter.find(temporary) {
                Some(file) => platter.truncate(file, 0).map(|()| file),
                None => platter.create(temporary),
            }?;
            platter.write(file, 0, bytes)?;
            platter.sync_file(file)?;
            platter.rename(temporary, name)?;
            platter.sync_folder()
        };
        self.door.with(replace).map_err(|err| self.write_error(name, err))
    }

    fn remove(&self, name: &str) -> Result<(), StateError> {
        let remove = |platter: &mut Platter| {
            if platter.find(name).is_some() {
                platter.remove(name)?;
            }
            platter.sync_folder()
        };
        self.door.with(remove).map_err(|err| self.write_error(name, err))
    }

    fn list(&self) -> Result<Vec<String>, StateError> {
        let list = |platter: &mut Platter| Ok(platter.names.keys().map(|name| name.as_ref().to_owned()).collect());
        self.door.with(list).map_err(|err| StateError::Read { path: self.path(""), err })
    }

    fn database(&self, name: &str) -> Database {
        Database { path: self.path(name), vfs: Some(vfs::NAME.to_owned()) }
    }
}

/// As the vault's own folder has it.
const FILE_LEN_MAX: usize = 512 * 1024;
