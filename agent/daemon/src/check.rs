//! `holdfastd --check`: what is kept in a state folder is read and verified, and nothing is started or written.

use std::path::{Path, PathBuf};

use holdfast_cluster::VerifiedLock;
use holdfast_provisioning::files::FileError;

use crate::folder::{self, FolderError};
use crate::run::{UnusableLock, verify_lock};
use crate::settings::{Settings, WrongField};

/// What does not hold.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The configuration cannot be read or understood.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The lock cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Fields of the configuration cannot be right.
    #[error("{}: {}", path.display(), fields.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The fields.
        fields: Vec<WrongField>,
    },
    /// There is no lock.
    #[error("there is no cluster lock {}: import a cluster, or name the folder of a box that has one", path.display())]
    NoLock {
        /// Where it would be.
        path: PathBuf,
    },
    /// The lock cannot be used.
    #[error("{}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        err: UnusableLock,
    },
}

/// Checks the configuration and the cluster lock in a state folder.
///
/// # Errors
/// What does not hold, with the file it is in.
pub fn check(dir: &Path) -> Result<VerifiedLock, CheckError> {
    let wrong = |fields| CheckError::Wrong { path: dir.join(folder::CONFIGURATION), fields };
    let settings = Settings::check(&folder::read_configuration(dir)?).map_err(wrong)?;
    let path = dir.join(folder::LOCK);
    let Some(file) = folder::read_lock(dir)? else { return Err(CheckError::NoLock { path }) };
    verify_lock(&file, &settings.node).map_err(|err| CheckError::Lock { path, err })
}
