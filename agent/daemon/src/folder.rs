//! The state folder: what the daemon keeps, one file for each thing, read and written whole.
//!
//! Nothing here is a secret, and nothing here is trusted to be right: a file that is not what was written there gives an
//! error that names it. Every call blocks for as long as the disk takes.

mod audit;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use holdfast_api::{AuditEntry, Configuration, ConfigurationHistory, Revocation, RevocationList, Timestamp};
use holdfast_provisioning::certificate;
use holdfast_provisioning::files::{FileError, read_bounded, remove, write_whole};
use holdfast_types::P256Public;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use audit::AuditLog;

/// The folder. Opened once for each process.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    audit: AuditLog,
}

/// Why something cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder itself cannot be made or opened.
    #[error("cannot open the state folder {}: give the daemon a folder of its own that it may write", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not what was written there.
    #[error("cannot understand {}: {remedy}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What helps.
        remedy: &'static str,
        /// Where and why.
        #[source]
        err: serde_json::Error,
    },
    /// One of the owner's two certificates is there without the other.
    #[error("{} has one certificate without the other: remove the folder, and pair the box again after a reset", path.display())]
    HalfOwner {
        /// The folder of both.
        path: PathBuf,
    },
}

/// The certificates of whoever owns the box, in DER.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Owner {
    /// The authority's own.
    pub authority: Vec<u8>,
    /// The box key's, by the authority.
    pub box_certificate: Vec<u8>,
}

/// A change of the configuration that is taken back unless somebody confirms it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unconfirmed {
    /// What held before, and holds again when nobody confirms.
    pub before: Configuration,
    /// Until when.
    pub confirm_by: Timestamp,
}

impl Owner {
    /// The authority's key, if its certificate has one.
    #[must_use]
    pub fn public(&self) -> Option<P256Public> {
        certificate::public_key(&self.authority).ok()
    }
}

impl Folder {
    /// Opens the folder, and makes it when there is none.
    ///
    /// # Errors
    /// When it can be neither made nor read.
    pub fn open(dir: &Path) -> Result<Self, FolderError> {
        let failed = |err| FolderError::Open { path: dir.to_owned(), err };
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(dir).and_then(|()| make(&dir.join(OWNER))).map_err(failed)?;
        Ok(Self { dir: dir.to_owned(), audit: AuditLog::open(dir)? })
    }

    /// Where a file of this name lies, for what others keep here.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The configuration; the defaults when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn configuration(&self) -> Result<Configuration, FolderError> {
        read_configuration(&self.dir)
    }

    /// Keeps a configuration.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_configuration(&self, configuration: &Configuration) -> Result<(), FolderError> {
        self.write_json(CONFIGURATION, configuration)
    }

    /// What was applied, newest first.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn history(&self) -> Result<ConfigurationHistory, FolderError> {
        let remedy = "it only tells of earlier changes, so remove it";
        Ok(self.read_json(HISTORY, HISTORY_LEN_MAX, remedy)?.unwrap_or_default())
    }

    /// Keeps what was applied, the newest [`HISTORY_MAX`] of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_history(&self, mut history: ConfigurationHistory) -> Result<(), FolderError> {
        history.entries.truncate(HISTORY_MAX);
        self.write_json(HISTORY, &history)
    }

    /// The change that waits to be confirmed.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn unconfirmed(&self) -> Result<Option<Unconfirmed>, FolderError> {
        self.read_json(UNCONFIRMED, HISTORY_LEN_MAX, "remove it: the configuration stays as it is")
    }

    /// Keeps the change that waits to be confirmed, or that there is none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_unconfirmed(&self, unconfirmed: Option<&Unconfirmed>) -> Result<(), FolderError> {
        match unconfirmed {
            Some(unconfirmed) => self.write_json(UNCONFIRMED, unconfirmed),
            None => Ok(remove(&self.path(UNCONFIRMED))?),
        }
    }

    /// The cluster lock's file as it was accepted; nothing of it is verified here.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lock(&self) -> Result<Option<Vec<u8>>, FolderError> {
        Ok(read_lock(&self.dir)?)
    }

    /// Keeps a cluster lock's file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_lock(&self, file: &[u8]) -> Result<(), FolderError> {
        Ok(write_whole(&self.path(LOCK), file)?)
    }

    /// The certificates of whoever owns the box.
    ///
    /// # Errors
    /// When they cannot be read, or one is missing.
    pub fn owner(&self) -> Result<Option<Owner>, FolderError> {
        let authority = read_bounded(&self.path(AUTHORITY), CERTIFICATE_LEN_MAX)?;
        let box_certificate = read_bounded(&self.path(BOX), CERTIFICATE_LEN_MAX)?;
        match (authority, box_certificate) {
            (Some(authority), Some(box_certificate)) => Ok(Some(Owner { authority, box_certificate })),
            (None, None) => Ok(None),
            _ => Err(FolderError::HalfOwner { path: self.path(OWNER) }),
        }
    }

    /// Keeps the certificates of whoever owns the box.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_owner(&self, owner: &Owner) -> Result<(), FolderError> {
        write_whole(&self.path(BOX), &owner.box_certificate)?;
        Ok(write_whole(&self.path(AUTHORITY), &owner.authority)?)
    }

    /// The certificates of whoever is to own the box next, while an order for that may be on its way through the vault.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn next_owner(&self) -> Result<Option<Owner>, FolderError> {
        let remedy = "put it back from a backup if the vault obeys that authority, or else remove it";
        self.read_json(NEXT_OWNER, NEXT_OWNER_LEN_MAX, remedy)
    }

    /// Keeps the certificates of whoever is to own the box next, or that nobody is.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_next_owner(&self, next: Option<&Owner>) -> Result<(), FolderError> {
        match next {
            Some(next) => self.write_json(NEXT_OWNER, next),
            None => Ok(remove(&self.path(NEXT_OWNER))?),
        }
    }

    /// The certificates of this authority, of which the vault says that it owns the box: those that are kept for the next
    /// owner, if they are its, or else those that hold.
    ///
    /// # Errors
    /// When they cannot be read, or one is missing.
    pub fn owner_by(&self, authority: Option<P256Public>) -> Result<Option<Owner>, FolderError> {
        match self.next_owner()? {
            Some(next) if authority.is_some() && next.public() == authority => Ok(Some(next)),
            _ => self.owner(),
        }
    }

    /// Follows the vault: the next owner's certificates hold from now on if the vault obeys him, with nothing revoked of
    /// them, and are dropped if it obeys the present one. Of an authority that is neither nothing is changed.
    ///
    /// # Errors
    /// When a file cannot be read or written; called again it goes on.
    pub fn settle_owner(&self, authority: P256Public) -> Result<bool, FolderError> {
        let Some(next) = self.next_owner()? else { return Ok(false) };
        let changes = next.public() == Some(authority);
        if changes {
            // The note of the next owner goes last: whatever is cut short before is done again.
            self.keep_owner(&next)?;
            self.keep_revocations(Vec::new())?;
        } else if self.owner()?.and_then(|present| present.public()) != Some(authority) {
            return Ok(false);
        }
        self.keep_next_owner(None)?;
        Ok(changes)
    }

    /// The certificates that count no more, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn revocations(&self) -> Result<Vec<Revocation>, FolderError> {
        let remedy = "write it anew from what you know was revoked, or reset the box";
        let list: Option<RevocationList> = self.read_json(REVOCATIONS, REVOCATIONS_LEN_MAX, remedy)?;
        Ok(list.unwrap_or_default().revocations)
    }

    /// Keeps the certificates that count no more.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_revocations(&self, revocations: Vec<Revocation>) -> Result<(), FolderError> {
        self.write_json(REVOCATIONS, &RevocationList { revocations })
    }

    /// Forgets owner, revocations, lock and configuration: the vault was reset. The audit log stays.
    ///
    /// # Errors
    /// When a file cannot be removed; those before it are gone.
    pub fn forget(&self) -> Result<(), FolderError> {
        for name in [AUTHORITY, BOX, NEXT_OWNER, REVOCATIONS, LOCK, UNCONFIRMED, CONFIGURATION, HISTORY] {
            remove(&self.path(name))?;
        }
        Ok(())
    }

    /// Appends an entry to the audit log, and returns it with its number. It is on disk then.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append_audit(&self, entry: AuditEntry) -> Result<AuditEntry, FolderError> {
        Ok(self.audit.append(entry)?)
    }

    /// The entries of the audit log after this number, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, FolderError> {
        Ok(self.audit.after(after, limit)?)
    }

    /// Counts a start of the daemon, from 1 on, and returns its number: whatever is numbered within it rises over all of
    /// them. A count that is lost begins anew.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn count_start(&self) -> Result<u64, FolderError> {
        let before = match self.read_json::<u64>(STARTS, STARTS_LEN_MAX, "it is written anew") {
            Ok(before) => before.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "the starts of the daemon are counted from 1 again");
                0
            }
        };
        let start = before.saturating_add(1);
        self.write_json(STARTS, &start)?;
        Ok(start)
    }

    fn read_json<T: DeserializeOwned>(
        &self,
        name: &str,
        len_max: u64,
        remedy: &'static str,
    ) -> Result<Option<T>, FolderError> {
        read_json(&self.path(name), len_max, remedy)
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), FolderError> {
        let json = serde_json::to_vec_pretty(value).expect("what is kept here has a form in JSON");
        Ok(write_whole(&self.path(name), &json)?)
    }
}

/// The configuration in a folder that is only looked at.
///
/// # Errors
/// When the file cannot be read or understood.
pub fn read_configuration(dir: &Path) -> Result<Configuration, FolderError> {
    let remedy = "correct it, or remove it to begin with the defaults";
    Ok(read_json(&dir.join(CONFIGURATION), CONFIGURATION_LEN_MAX, remedy)?.unwrap_or_default())
}

/// The lock's file in a folder that is only looked at.
///
/// # Errors
/// When it cannot be read.
pub fn read_lock(dir: &Path) -> Result<Option<Vec<u8>>, FileError> {
    read_bounded(&dir.join(LOCK), holdfast_cluster::LOCK_BYTES_MAX as u64)
}

fn read_json<T: DeserializeOwned>(path: &Path, len_max: u64, remedy: &'static str) -> Result<Option<T>, FolderError> {
    let Some(bytes) = read_bounded(path, len_max)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|err| FolderError::Damaged { path: path.to_owned(), remedy, err })
}

/// How many applied configurations are told of.
pub const HISTORY_MAX: usize = 20;

/// The file of the configuration.
pub const CONFIGURATION: &str = "configuration.json";
/// The file of the cluster lock.
pub const LOCK: &str = "cluster-lock.json";
const HISTORY: &str = "configuration-history.json";
const UNCONFIRMED: &str = "configuration-unconfirmed.json";
const OWNER: &str = "owner";
const AUTHORITY: &str = "owner/authority.der";
const BOX: &str = "owner/box.der";
const NEXT_OWNER: &str = "owner/next.json";
const REVOCATIONS: &str = "revocations.json";
const STARTS: &str = "starts.json";

/// The largest configuration has 8 URLs and 31 peers with 16 addresses each.
const CONFIGURATION_LEN_MAX: u64 = 256 * 1024;
/// Twenty changes of such a configuration, with before and after.
const HISTORY_LEN_MAX: u64 = 16 * 1024 * 1024;
/// Ours have less than 1 KiB.
const CERTIFICATE_LEN_MAX: u64 = 16 * 1024;
/// Two of those, a number for each byte.
const NEXT_OWNER_LEN_MAX: u64 = 8 * CERTIFICATE_LEN_MAX;
/// Each takes less than 300 bytes.
const REVOCATIONS_LEN_MAX: u64 = 4 * 1024 * 1024;
/// A number.
const STARTS_LEN_MAX: u64 = 64;

#[cfg(test)]
mod tests;
