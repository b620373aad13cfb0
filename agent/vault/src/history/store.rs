//! The history in SQLite. What it says it saved is on the disk; it knows no slashing rule.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_types::{
    AttestationMark, BlockMark, Epoch, HistoryDigest, SigningRoot, Slot, ValidatorMarks, ValidatorPublic,
};
use holdfast_vault_client::LoggedOrder;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, params};

use super::Contents;
use super::log::{ENTRIES_KEPT, LogEnd};
use crate::bounds::Floor;
use crate::state::Database;

/// The open database.
pub(super) struct Store {
    path: PathBuf,
    db: Connection,
}

/// What a transaction changes, beside what every one of them writes: floor, end of the log, digest.
pub(super) enum Change {
    Floor,
    Imports,
    Logged(LoggedOrder),
    Marks(Vec<ValidatorMarks>),
}

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The file is a database of something else, or of another version.
    #[error("{} is no slashing history of this version", path.display())]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// Another process reads or writes it.
    #[error("the slashing history {} is in use by another process: stop that one, then restart the vault", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// It can be read only.
    #[error("the slashing history {} cannot be written: mount its file system for writing, then restart the vault", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// SQLite would not sync each record before it says that it is saved.
    #[error("the slashing history {} cannot be kept safe: {setting} is {found}; move it to a local file system", path.display())]
    NotDurable {
        /// The database.
        path: PathBuf,
        /// Which setting of SQLite is not as it must be.
        setting: &'static str,
        /// What it is.
        found: String,
    },
    /// It is not what was written.
    #[error("the slashing history {} is damaged ({found}): have the cluster replace this box's shares", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The first thing found.
        found: String,
    },
    /// It cannot be opened or read.
    #[error("cannot read the slashing history {}: repair or replace the disk, then restart the vault", path.display())]
    Read {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        err: rusqlite::Error,
    },
    /// It cannot be written; what of the last change is on the disk is not known.
    #[error("cannot write the slashing history {}: free the disk or replace it, then restart the vault", path.display())]
    Write {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        err: rusqlite::Error,
    },
    /// It could not be written or read at an earlier time.
    #[error("the slashing history could not be used before: restart the vault once that is repaired")]
    FailedBefore,
}

impl HistoryError {
    /// Whether the bytes on the disk are wrong, for good, and not only out of reach. A history of another version is not.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            // An error without a code is a value that no row of ours has.
            Self::Read { err, .. } | Self::Write { err, .. } => matches!(
                err.sqlite_error_code(),
                None | Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
            ),
            Self::Foreign { .. }
            | Self::InUse { .. }
            | Self::ReadOnly { .. }
            | Self::NotDurable { .. }
            | Self::FailedBefore => false,
        }
    }
}

impl Store {
    pub(super) fn open_or_create(database: &Database) -> Result<Self, HistoryError> {
        let mut store = Self::connect(database, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let new =
            store.number("PRAGMA application_id")? == 0 && store.number("SELECT count(*) FROM sqlite_schema")? == 0;
        if !new {
            store.check_identity()?;
        }
        store.keep_log_of_writes()?;
        if new {
            store.create().map_err(|err| store.write_error(err))?;
        }
        store.check_integrity()?;
        store.settle()?;
        Ok(store)
    }

    fn connect(database: &Database, flags: OpenFlags) -> Result<Self, HistoryError> {
        let Database { path, vfs } = database;
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
            None => Connection::open_with_flags(path, flags),
        };
        let db = opened.map_err(|err| HistoryError::Read { path: path.clone(), err })?;
        let store = Self { path: path.clone(), db };
        store.confirm_writable()?;
        // The folder belongs to one vault: whoever holds the file will not let go of it soon.
        let settings = store.db.busy_timeout(Duration::ZERO).and_then(|()| store.db.execute_batch(SETTINGS));
        settings.map_err(|err| store.read_error(err))?;
        Ok(store)
    }

    fn check_identity(&self) -> Result<(), HistoryError> {
        let identity = (self.number("PRAGMA application_id")?, self.number("PRAGMA user_version")?);
        if identity == (APPLICATION_ID, SCHEMA_VERSION) {
            Ok(())
        } else {
            Err(HistoryError::Foreign { path: self.path.clone() })
        }
    }

    /// SQLite opens a file that it may not write for reading, and says nothing. It does the same when the file's header
    /// asks for it, which it knows only once it has read that.
    fn confirm_writable(&self) -> Result<(), HistoryError> {
        if self.db.is_readonly("main").map_err(|err| self.read_error(err))? {
            return Err(HistoryError::ReadOnly { path: self.path.clone() });
        }
        Ok(())
    }

    /// Has SQLite write a log ahead of the database, in which `synchronous = FULL` syncs every commit.
    fn keep_log_of_writes(&self) -> Result<(), HistoryError> {
        self.setting("journal_mode = WAL")?;
        self.confirm_writable()?;
        self.confirm_durable()
    }

    /// Reads back what makes a commit durable: SQLite ignores a setting that it does not know or cannot have.
    pub(super) fn confirm_durable(&self) -> Result<(), HistoryError> {
        for (setting, wanted) in
            [("journal_mode", "wal"), ("synchronous", SYNCHRONOUS_FULL), ("locking_mode", "exclusive")]
        {
            let found = self.setting(setting)?;
            if found != wanted {
                return Err(HistoryError::NotDurable { path: self.path.clone(), setting, found });
            }
        }
        Ok(())
    }

    fn create(&mut self) -> rusqlite::Result<()> {
        let transaction = self.db.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        let LogEnd { count, head } = LogEnd::default();
        transaction.execute(
            "INSERT INTO state (id, floor_source, log_count, log_head, log_dropped, digest) VALUES (1, 0, ?1, ?2, ?2, ?3)",
            params![count.cast_signed(), head, Contents::default().digest()],
        )?;
        transaction.commit()
    }

    fn check_integrity(&self) -> Result<(), HistoryError> {
        let found: String =
            self.db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|err| self.read_error(err))?;
        if found == "ok" { Ok(()) } else { Err(self.damaged(found)) }
    }

    /// Moves what the log of writes holds into the database and syncs that.
    ///
    /// A process that was killed before its sync, or whose sync failed, leaves records that only the kernel's memory
    /// holds, although they read like all others. What may be signed again because of them would then be signed
    /// without a record. Written anew they are on the disk, or the error says so.
    fn settle(&self) -> Result<(), HistoryError> {
        let busy = |row: &Row<'_>| row.get::<_, bool>(0);
        let busy =
            self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], busy).map_err(|err| self.write_error(err))?;
        if busy { Err(HistoryError::InUse { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Everything but the log's entries, of which it makes sure that they are whole.
    pub(super) fn load(&self) -> Result<Contents, HistoryError> {
        let (contents, dropped, digest) = self.read_contents().map_err(|err| self.read_error(err))?;
        if contents.digest() != digest {
            return Err(self.damaged("its contents are not those of its digest".into()));
        }
        self.check_log(contents.log, dropped)?;
        Ok(contents)
    }

    /// The contents; the hash of the last log entry that was dropped; the digest that was saved with them.
    fn read_contents(&self) -> rusqlite::Result<(Contents, [u8; 32], [u8; 32])> {
        let mut marks = self.db.prepare(
            "SELECT validator, source, target, attestation_root, slot, block_root FROM validators ORDER BY validator",
        )?;
        let marks: BTreeMap<_, _> = marks.query_map([], marks_of)?.collect::<rusqlite::Result<_>>()?;
        let mut imports = self.db.prepare("SELECT digest FROM imports ORDER BY position")?;
        let imports = imports.query_map([], |row| row.get(0).map(HistoryDigest))?.collect::<rusqlite::Result<_>>()?;
        self.db.query_row(
            "SELECT floor_target, floor_source, floor_slot, log_count, log_head, log_dropped, digest FROM state",
            [],
            |row| {
                let floor = Floor {
                    target: optional_number(row, 0)?.map(Epoch),
                    source: Epoch(number(row, 1)?),
                    slot: optional_number(row, 2)?.map(Slot),
                };
                let log = LogEnd { count: number(row, 3)?, head: row.get(4)? };
                Ok((Contents { marks, floor, imports, log }, row.get(5)?, row.get(6)?))
            },
        )
    }

    /// Follows the hash chain over the entries that are kept.
    fn check_log(&self, end: LogEnd, dropped: [u8; 32]) -> Result<(), HistoryError> {
        let broken = |number: u64| self.damaged(format!("its log of orders is broken at entry {number}"));
        // A number beyond is out of reach in our time; SQLite could not keep such entries in order.
        i64::try_from(end.count).map_err(|_| broken(end.count))?;
        let mut at = LogEnd { count: end.count.saturating_sub(ENTRIES_KEPT), head: dropped };
        let read = |err| self.read_error(err);
        let mut statement = self.db.prepare(LOG_PAGE).map_err(read)?;
        for entry in statement.query_map([i64::MIN, -1], logged_order).map_err(read)? {
            at = at.after(&entry.map_err(read)?).ok_or_else(|| broken(at.count.saturating_add(1)))?;
        }
        if at == end { Ok(()) } else { Err(broken(end.count)) }
    }

    /// Saves a change that leaves `after`, all of it or nothing; returns once it is synced.
    pub(super) fn save(&mut self, after: &Contents, change: &Change) -> Result<(), HistoryError> {
        let path = &self.path;
        let mut save = || {
            let transaction = self.db.transaction()?;
            match change {
                Change::Floor => {}
                Change::Imports => save_imports(&transaction, &after.imports)?,
                Change::Logged(entry) => save_entry(&transaction, entry)?,
                Change::Marks(marks) => save_marks(&transaction, marks)?,
            }
            save_state(&transaction, after)?;
            transaction.commit()
        };
        save().map_err(|err| HistoryError::Write { path: path.clone(), err })
    }

    pub(super) fn log_page(&self, after: u64, len: usize) -> Result<Vec<LoggedOrder>, HistoryError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let read =
            || self.db.prepare_cached(LOG_PAGE)?.query_map([after, len], logged_order)?.collect::<Result<_, _>>();
        read().map_err(|err| self.read_error(err))
    }

    fn number(&self, query: &str) -> Result<i64, HistoryError> {
        self.db.query_row(query, [], |row| row.get(0)).map_err(|err| self.read_error(err))
    }

    /// Asks for a setting, or makes one, and returns what it is then.
    /// Runs the pragma to its end: some do a part of their work, and may fail at it, after they have given their answer.
    fn setting(&self, pragma: &str) -> Result<String, HistoryError> {
        let found = || {
            let mut statement = self.db.prepare(&format!("PRAGMA {pragma}"))?;
            let answers: Vec<Value> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            answers.into_iter().next().ok_or(rusqlite::Error::QueryReturnedNoRows)
        };
        Ok(match found().map_err(|err| self.read_error(err))? {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        })
    }

    fn damaged(&self, found: String) -> HistoryError {
        HistoryError::Damaged { path: self.path.clone(), found }
    }

    fn read_error(&self, err: rusqlite::Error) -> HistoryError {
        let path = self.path.clone();
        if err.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) {
            HistoryError::InUse { path }
        } else {
            HistoryError::Read { path, err }
        }
    }

    fn write_error(&self, err: rusqlite::Error) -> HistoryError {
        HistoryError::Write { path: self.path.clone(), err }
    }
}

fn save_marks(transaction: &Transaction<'_>, marks: &[ValidatorMarks]) -> rusqlite::Result<()> {
    let mut replace = transaction.prepare_cached(
        "INSERT OR REPLACE INTO validators (validator, source, target, attestation_root, slot, block_root)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for ValidatorMarks { validator, attestation, block } in marks {
        replace.execute(params![
            validator.0,
            attestation.map(|mark| mark.source.0.cast_signed()),
            attestation.map(|mark| mark.target.0.cast_signed()),
            attestation.and_then(|mark| mark.root).map(|root| root.0),
            block.map(|mark| mark.slot.0.cast_signed()),
            block.and_then(|mark| mark.root).map(|root| root.0),
        ])?;
    }
    Ok(())
}

fn save_imports(transaction: &Transaction<'_>, imports: &[HistoryDigest]) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM imports", [])?;
    let mut insert = transaction.prepare_cached("INSERT INTO imports (digest) VALUES (?1)")?;
    for import in imports {
        insert.execute([import.0])?;
    }
    Ok(())
}

/// Adds an entry and drops the one that is too old by now, whose hash stays as the start of the chain.
fn save_entry(transaction: &Transaction<'_>, entry: &LoggedOrder) -> rusqlite::Result<()> {
    let LoggedOrder { number, at_ms, kind, order, refused, hash } = entry;
    transaction
        .prepare_cached(
            "INSERT INTO log (number, at_ms, kind, order_hash, refused, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![number.cast_signed(), at_ms.cast_signed(), kind, order, refused, hash])?;
    if let Some(dropped) = number.checked_sub(ENTRIES_KEPT).filter(|&dropped| dropped > 0) {
        let dropped = [dropped.cast_signed()];
        transaction
            .prepare_cached("UPDATE state SET log_dropped = (SELECT hash FROM log WHERE number = ?1)")?
            .execute(dropped)?;
        transaction.prepare_cached("DELETE FROM log WHERE number = ?1")?.execute(dropped)?;
    }
    Ok(())
}

fn save_state(transaction: &Transaction<'_>, after: &Contents) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached(
        "UPDATE state
         SET floor_target = ?1, floor_source = ?2, floor_slot = ?3, log_count = ?4, log_head = ?5, digest = ?6",
    )?;
    let Contents { floor, log, .. } = after;
    update.execute(params![
        floor.target.map(|target| target.0.cast_signed()),
        floor.source.0.cast_signed(),
        floor.slot.map(|slot| slot.0.cast_signed()),
        log.count.cast_signed(),
        log.head,
        after.digest(),
    ])?;
    Ok(())
}

fn marks_of(row: &Row<'_>) -> rusqlite::Result<(ValidatorPublic, ValidatorMarks)> {
    let validator = ValidatorPublic(row.get(0)?);
    let root = |column| row.get::<_, Option<[u8; 32]>>(column).map(|root| root.map(SigningRoot));
    let attestation = match (optional_number(row, 1)?, optional_number(row, 2)?) {
        (Some(source), Some(target)) => {
            Some(AttestationMark { source: Epoch(source), target: Epoch(target), root: root(3)? })
        }
        _ => None,
    };
    let block = match optional_number(row, 4)? {
        Some(slot) => Some(BlockMark { slot: Slot(slot), root: root(5)? }),
        None => None,
    };
    Ok((validator, ValidatorMarks { validator, attestation, block }))
}

fn logged_order(row: &Row<'_>) -> rusqlite::Result<LoggedOrder> {
    Ok(LoggedOrder {
        number: number(row, 0)?,
        at_ms: number(row, 1)?,
        kind: row.get(2)?,
        order: row.get(3)?,
        refused: row.get(4)?,
        hash: row.get(5)?,
    })
}

/// SQLite knows signed numbers only; ours keep their bits.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn optional_number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    row.get::<_, Option<i64>>(column).map(|number| number.map(i64::cast_unsigned))
}

/// Alone with the file, SQLite keeps the index of its log of writes in memory and needs no shared file for it, nor does
/// it need temporary ones. The file may be anybody's work, so its schema calls no functions and every page is looked at
/// before it is used.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA synchronous = FULL;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
";
/// One row for each validator that was ever signed for; they are never deleted. One row of state.
const SCHEMA: &str = "
    PRAGMA application_id = 0x48464831;
    PRAGMA user_version = 2;
    CREATE TABLE validators (
        validator BLOB PRIMARY KEY CHECK (length(validator) = 48),
        source INTEGER,
        target INTEGER CHECK ((source IS NULL) = (target IS NULL)),
        attestation_root BLOB CHECK (length(attestation_root) = 32),
        slot INTEGER,
        block_root BLOB CHECK (length(block_root) = 32)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE imports (
        position INTEGER PRIMARY KEY,
        digest BLOB NOT NULL CHECK (length(digest) = 32)
    ) STRICT;
    CREATE TABLE log (
        number INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL,
        order_hash BLOB NOT NULL CHECK (length(order_hash) = 32),
        refused TEXT,
        hash BLOB NOT NULL CHECK (length(hash) = 32)
    ) STRICT;
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        floor_target INTEGER,
        floor_source INTEGER NOT NULL,
        floor_slot INTEGER,
        log_count INTEGER NOT NULL,
        log_head BLOB NOT NULL CHECK (length(log_head) = 32),
        log_dropped BLOB NOT NULL CHECK (length(log_dropped) = 32),
        digest BLOB NOT NULL CHECK (length(digest) = 32)
    ) STRICT;
";
const LOG_PAGE: &str =
    "SELECT number, at_ms, kind, order_hash, refused, hash FROM log WHERE number > ?1 ORDER BY number LIMIT ?2";
/// How SQLite names FULL.
const SYNCHRONOUS_FULL: &str = "2";
/// `HFH1`.
const APPLICATION_ID: i64 = 0x4846_4831;
const SCHEMA_VERSION: i64 = 2;

#[cfg(test)]
impl Store {
    /// Lets the database grow no further, as a full disk does.
    pub(super) fn limit_pages(&self) {
        let pages: i64 = self.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit: i64 = self.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0)).unwrap();
        assert_eq!(limit, pages);
    }

    /// Refuses writes, as a file system does that was mounted read-only.
    pub(super) fn forbid_writes(&self) {
        self.run("PRAGMA query_only = ON");
    }

    /// Lets commits return at once, in tests that ask nothing of the disk and write often.
    pub(super) fn sync_never(&self) {
        self.run("PRAGMA synchronous = OFF");
    }

    /// Changes the connection or the rows as the test wants.
    pub(super) fn run(&self, statements: &str) {
        self.db.execute_batch(statements).unwrap();
    }

    /// Connects as SQLite does when the file system is mounted read-only.
    pub(super) fn connect_read_only(database: &Database) -> Result<Self, HistoryError> {
        Self::connect(database, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }
}
