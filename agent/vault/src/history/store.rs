//! The watermarks in SQLite. What it says it saved is on the disk; it knows no slashing rule.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_types::{Epoch, SigningRoot, Slot, ValidatorPublic};
use rusqlite::{Connection, OpenFlags, Row, params};

use super::Watermark;

/// The open database.
pub(crate) struct Store {
    path: PathBuf,
    db: Connection,
}

/// Why the history cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The vault holds shares, and what they signed is not known.
    #[error("the slashing history {} is missing: restore it, or have the cluster replace this box's shares", path.display())]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// The file is a database of something else, or of a later version.
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
    /// SQLite's own check found damage.
    #[error("the slashing history {} is damaged ({found}): have the cluster replace this box's shares", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The first thing found.
        found: String,
    },
    /// It cannot be opened or read.
    #[error("cannot read the slashing history {}", path.display())]
    Read {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        err: rusqlite::Error,
    },
    /// It cannot be written; what of the last batch is on the disk is not known.
    #[error("cannot write the slashing history {}: free the disk or replace it, then restart the vault", path.display())]
    Write {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        err: rusqlite::Error,
    },
    /// It could not be written at an earlier time.
    #[error("the slashing history could not be written before: restart the vault once that is repaired")]
    FailedBefore,
}

impl Store {
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, HistoryError> {
        let store = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        if store.number("SELECT count(*) FROM sqlite_schema")? == 0 && store.number("PRAGMA application_id")? == 0 {
            store.db.execute_batch(SCHEMA).map_err(|err| store.write_error(err))?;
        }
        store.check()?;
        store.settle()?;
        Ok(store)
    }

    pub(crate) fn open(path: &Path) -> Result<Self, HistoryError> {
        if !path.exists() {
            return Err(HistoryError::Missing { path: path.to_owned() });
        }
        let store = Self::connect(path, OpenFlags::empty())?;
        store.check()?;
        store.settle()?;
        Ok(store)
    }

    fn connect(path: &Path, create: OpenFlags) -> Result<Self, HistoryError> {
        let read = |err| HistoryError::Read { path: path.to_owned(), err };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let db = Connection::open_with_flags(path, flags).map_err(read)?;
        // Alone with the file, SQLite keeps the index of its log in memory and needs no shared file for it.
        db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;")
            .map_err(read)?;
        db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(read)?;
        // In WAL mode only FULL syncs the log at every commit.
        db.execute_batch("PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON;").map_err(read)?;
        let store = Self { path: path.to_owned(), db };
        store.confirm_durable()?;
        Ok(store)
    }

    /// Reads back what makes a commit durable: SQLite ignores a setting that it does not know or cannot have.
    pub(super) fn confirm_durable(&self) -> Result<(), HistoryError> {
        for (setting, wanted) in
            [("journal_mode", "wal"), ("synchronous", SYNCHRONOUS_FULL), ("locking_mode", "exclusive")]
        {
            let query = format!("SELECT CAST({setting} AS TEXT) FROM pragma_{setting}");
            let found: String = self.db.query_row(&query, [], |row| row.get(0)).map_err(|err| self.read_error(err))?;
            if found != wanted {
                return Err(HistoryError::NotDurable { path: self.path.clone(), setting, found });
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), HistoryError> {
        let identity = (self.number("PRAGMA application_id")?, self.number("PRAGMA user_version")?);
        if identity != (APPLICATION_ID, SCHEMA_VERSION) {
            return Err(HistoryError::Foreign { path: self.path.clone() });
        }
        let found: String =
            self.db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|err| self.read_error(err))?;
        if found == "ok" { Ok(()) } else { Err(HistoryError::Damaged { path: self.path.clone(), found }) }
    }

    /// Moves what the log holds into the database and syncs that.
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

    pub(crate) fn load(&self) -> Result<BTreeMap<ValidatorPublic, Watermark>, HistoryError> {
        let read = || -> rusqlite::Result<_> {
            let mut statement =
                self.db.prepare("SELECT validator, source, target, slot, signing_root FROM attestations")?;
            statement.query_map([], watermark)?.collect()
        };
        read().map_err(|err| self.read_error(err))
    }

    /// Saves all of them or none; returns once they are synced.
    pub(crate) fn save(&mut self, marks: &BTreeMap<ValidatorPublic, Watermark>) -> Result<(), HistoryError> {
        let path = self.path.clone();
        self.save_all(marks).map_err(|err| HistoryError::Write { path, err })
    }

    fn save_all(&mut self, marks: &BTreeMap<ValidatorPublic, Watermark>) -> rusqlite::Result<()> {
        let transaction = self.db.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO attestations (validator, source, target, slot, signing_root)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (validator, mark) in marks {
                let Watermark { source, target, slot, root } = mark;
                insert.execute(params![
                    validator.0,
                    source.0.cast_signed(),
                    target.0.cast_signed(),
                    slot.0.cast_signed(),
                    root.0
                ])?;
            }
        }
        transaction.commit()
    }

    fn number(&self, query: &str) -> Result<i64, HistoryError> {
        self.db.query_row(query, [], |row| row.get(0)).map_err(|err| self.read_error(err))
    }

    fn read_error(&self, err: rusqlite::Error) -> HistoryError {
        HistoryError::Read { path: self.path.clone(), err }
    }

    fn write_error(&self, err: rusqlite::Error) -> HistoryError {
        HistoryError::Write { path: self.path.clone(), err }
    }
}

fn watermark(row: &Row<'_>) -> rusqlite::Result<(ValidatorPublic, Watermark)> {
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let mark = Watermark {
        source: Epoch(number(1)?),
        target: Epoch(number(2)?),
        slot: Slot(number(3)?),
        root: SigningRoot(row.get(4)?),
    };
    Ok((ValidatorPublic(row.get(0)?), mark))
}

/// One row for each validator that was ever signed for; rows are never deleted.
const SCHEMA: &str = "
    BEGIN;
    PRAGMA application_id = 0x48464831;
    PRAGMA user_version = 1;
    CREATE TABLE attestations (
        validator BLOB PRIMARY KEY CHECK (length(validator) = 48),
        source INTEGER NOT NULL,
        target INTEGER NOT NULL,
        slot INTEGER NOT NULL,
        signing_root BLOB NOT NULL CHECK (length(signing_root) = 32)
    ) STRICT, WITHOUT ROWID;
    COMMIT;
";
/// How SQLite names FULL.
const SYNCHRONOUS_FULL: &str = "2";
/// `HFH1`.
const APPLICATION_ID: i64 = 0x4846_4831;
const SCHEMA_VERSION: i64 = 1;

#[cfg(test)]
impl Store {
    /// Lets the database grow no further, as a full disk does.
    pub(crate) fn limit_pages(&self) {
        let pages: i64 = self.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit: i64 = self.db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get(0)).unwrap();
        assert_eq!(limit, pages);
    }

    /// Refuses writes, as a file system does that was mounted read-only.
    pub(crate) fn forbid_writes(&self) {
        self.db.execute_batch("PRAGMA query_only = ON").unwrap();
    }

    /// Changes the connection as the test wants.
    pub(crate) fn run(&self, statements: &str) {
        self.db.execute_batch(statements).unwrap();
    }

    /// Deletes every row, as somebody does who swaps the file.
    pub(crate) fn forget_all(&self) {
        assert!(self.db.execute("DELETE FROM attestations", []).unwrap() > 0);
    }
}
