//! What the management API, the screen and the announcement have of the daemon, in one place.
//!
//! What says that it reads or writes blocks for as long as the disk takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use holdfast_api::{
    Action, AuditEntry, BeaconTested, Configuration, ConfigurationHistory, DutyList, DutyQuery, Event, EventKind,
    FieldChange, LogLine, Operation, Revocation, Status, ValidatorList, Version,
};
use holdfast_provisioning::tls::BoxClock;
use holdfast_types::{Millis, P256Public};
use holdfast_vault_client::VaultStatus;
use tokio::sync::watch;

use crate::board::Board;
use crate::clock;
use crate::control::Conflict;
use crate::daemon::Daemon;
use crate::folder::{FolderError, Owner};
use crate::settings::{Applied, ApplyError};

/// What the box shows of itself.
pub trait Seen: Send + Sync + 'static {
    /// What it is doing.
    fn status(&self) -> Status;
    /// What the vault said last; `None` while it does not answer.
    fn vault(&self) -> Option<VaultStatus>;
    /// The duties that changed, at most `limit`.
    fn duties(&self, query: &DutyQuery, limit: usize) -> DutyList;
    /// The validators from this position of the lock on, at most `limit`; the cursor is the next position.
    fn validators(&self, from: usize, limit: usize) -> ValidatorList;
}

/// Asks the beacon node at a URL what it is, and holds that against lock and network.
pub type TestBeacon = Box<dyn Fn(String) -> BoxFuture<'static, Result<BeaconTested, BeaconRefused>> + Send + Sync>;

/// Why a beacon node is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BeaconRefused(pub String);

/// The daemon, as others have it.
pub struct Host {
    daemon: Arc<Daemon>,
    seen: Arc<dyn Seen>,
    test_beacon: TestBeacon,
    /// What is revoked is read once, since every change comes by here.
    revocations: Mutex<Option<Vec<Revocation>>>,
}

impl Host {
    /// Of this daemon.
    #[must_use]
    pub fn new(daemon: Arc<Daemon>, test_beacon: TestBeacon) -> Self {
        let seen = daemon.board.clone();
        Self::showing(daemon, seen, test_beacon)
    }

    /// Of this daemon, with something else in the place of what its board shows.
    #[must_use]
    pub fn showing(daemon: Arc<Daemon>, seen: Arc<dyn Seen>, test_beacon: TestBeacon) -> Self {
        Self { daemon, seen, test_beacon, revocations: Mutex::new(None) }
    }

    /// Version and board.
    #[must_use]
    pub fn version(&self) -> Version {
        Version { version: env!("CARGO_PKG_VERSION").to_owned(), board: self.daemon.board_name.clone() }
    }

    /// What the box knows of the time, for the dates of certificates.
    #[must_use]
    pub fn clock(&self) -> BoxClock {
        if self.daemon.synchronised.is() {
            BoxClock::Synchronised(clock::now())
        } else {
            BoxClock::Unsynchronised { built: BUILT }
        }
    }

    /// What the box shows of itself.
    #[must_use]
    pub fn seen(&self) -> &dyn Seen {
        &*self.seen
    }

    /// What the daemon counts.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.daemon.metrics.text()
    }

    /// The configuration that holds.
    #[must_use]
    pub fn configuration(&self) -> Configuration {
        self.daemon.keeper.configuration()
    }

    /// What was applied. Reads.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn configuration_history(&self) -> Result<ConfigurationHistory, FolderError> {
        self.daemon.keeper.history()
    }

    /// Applies a configuration, if the one that holds still has this tag, and has the node follow it. Writes.
    ///
    /// # Errors
    /// When it has another tag, cannot be right, or cannot be kept.
    pub fn apply(&self, expected: &str, after: Configuration, by: &str) -> Result<Applied, ApplyError> {
        let applied = self.daemon.keeper.apply(expected, after, by, clock::now())?;
        self.reload();
        Ok(applied)
    }

    /// Confirms the change that is taken back otherwise; `None` when there is none. Writes.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub fn confirm(&self) -> Result<Option<Vec<FieldChange>>, FolderError> {
        self.daemon.keeper.confirm()
    }

    /// Asks a beacon node what it is.
    pub fn test_beacon(&self, url: String) -> BoxFuture<'static, Result<BeaconTested, BeaconRefused>> {
        (self.test_beacon)(url)
    }

    /// The lock file, as it was accepted. Reads.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn lock(&self) -> Result<Option<Vec<u8>>, FolderError> {
        self.daemon.folder.lock()
    }

    /// Keeps a lock file, and has the node follow it. Writes.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn keep_lock(&self, file: &[u8]) -> Result<(), FolderError> {
        self.daemon.folder.keep_lock(file)?;
        self.reload();
        Ok(())
    }

    /// The certificates of whoever owns the box. Reads.
    ///
    /// # Errors
    /// When one of them is missing, or cannot be read.
    pub fn owner(&self) -> Result<Option<Owner>, FolderError> {
        self.daemon.folder.owner()
    }

    /// Keeps them. Writes.
    ///
    /// # Errors
    /// When they cannot be kept.
    pub fn keep_owner(&self, owner: &Owner) -> Result<(), FolderError> {
        self.daemon.folder.keep_owner(owner)?;
        self.reload();
        Ok(())
    }

    /// The certificates of this authority, of which the vault says that it owns the box; without one, those that are kept.
    /// Reads.
    ///
    /// # Errors
    /// As [`Self::owner`].
    pub fn owner_by(&self, authority: Option<P256Public>) -> Result<Option<Owner>, FolderError> {
        self.daemon.folder.owner_by(authority)
    }

    /// Whether the box may be on its way to another owner. Reads.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn is_changing_hands(&self) -> Result<bool, FolderError> {
        Ok(self.daemon.folder.next_owner()?.is_some())
    }

    /// Keeps the certificates of the next owner, before the vault is given the order. Writes.
    ///
    /// # Errors
    /// When they cannot be kept.
    pub fn keep_next_owner(&self, next: &Owner) -> Result<(), FolderError> {
        self.daemon.folder.keep_next_owner(Some(next))
    }

    /// Takes up whom the vault obeys, after an order that may have changed it. Writes.
    ///
    /// # Errors
    /// When that cannot be kept; called again it goes on.
    pub fn settle_owner(&self, authority: P256Public) -> Result<(), FolderError> {
        if self.daemon.folder.settle_owner(authority)? {
            *self.revoked() = None;
            tracing::info!("the box has another owner: only certificates of his authority count from now on");
        }
        self.reload();
        Ok(())
    }

    /// Forgets owner, revocations, lock and configuration: the vault was reset. Writes.
    ///
    /// # Errors
    /// When something could not be removed.
    pub fn forget(&self) -> Result<(), FolderError> {
        *self.revoked() = None;
        let forgotten = self.daemon.folder.forget();
        self.daemon.keeper.forget();
        self.reload();
        forgotten
    }

    /// The certificates that count no more. Reads, the first time.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn revocations(&self) -> Result<Vec<Revocation>, FolderError> {
        let mut revoked = self.revoked();
        let known = match revoked.take() {
            Some(known) => known,
            None => self.daemon.folder.revocations()?,
        };
        *revoked = Some(known.clone());
        Ok(known)
    }

    /// Keeps one more. Writes.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn revoke(&self, revocation: Revocation) -> Result<(), FolderError> {
        let mut all = self.revocations()?;
        all.push(revocation);
        self.daemon.folder.keep_revocations(all.clone())?;
        *self.revoked() = Some(all);
        Ok(())
    }

    /// Looks again at what the node is built from.
    pub fn reload(&self) {
        self.daemon.control.reload();
    }

    /// Begins an operation. It may take seconds until it is known whether that can be.
    ///
    /// # Errors
    /// When it does not go together with what is under way.
    pub fn begin(&self, action: Action, by: &str) -> Result<Operation, Conflict> {
        self.daemon.control.begin(action, by)
    }

    /// The operations, newest first.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.daemon.control.operations()
    }

    /// One of them.
    #[must_use]
    pub fn operation(&self, id: &str) -> Option<Operation> {
        self.daemon.control.operation(id)
    }

    /// Some of the events after this one, a gap first where others are not kept any more.
    #[must_use]
    pub fn events_after(&self, id: u64) -> Vec<Event> {
        self.daemon.events.since(id)
    }

    /// The number of the newest event, as it rises.
    #[must_use]
    pub fn newest_event(&self) -> watch::Receiver<u64> {
        self.daemon.events.newest()
    }

    /// Log lines after this number, at most `limit`, without secrets.
    #[must_use]
    pub fn logs(&self, after: u64, limit: usize) -> Vec<LogLine> {
        self.daemon.logs.after(after, limit)
    }

    /// Entries of the audit log after this number, at most `limit`. Reads.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, FolderError> {
        self.daemon.folder.audit(after, limit)
    }

    /// Appends an entry to the audit log, and tells those who follow. Writes.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn append_audit(&self, entry: AuditEntry) -> Result<(), FolderError> {
        let entry = self.daemon.folder.append_audit(entry)?;
        self.daemon.events.push(EventKind::Audit(entry));
        Ok(())
    }

    fn revoked(&self) -> MutexGuard<'_, Option<Vec<Revocation>>> {
        self.revocations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen for Board {
    fn status(&self) -> Status {
        self.status()
    }

    fn vault(&self) -> Option<VaultStatus> {
        self.vault_status()
    }

    fn duties(&self, query: &DutyQuery, limit: usize) -> DutyList {
        self.duties(query, limit)
    }

    fn validators(&self, from: usize, limit: usize) -> ValidatorList {
        self.validators(from, limit)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host(..)")
    }
}

/// Before this no image with this code was built: certificates that ended earlier are refused without a clock too.
const BUILT: Millis = Millis(1_795_737_600_000);
