//! Real SQLite on the layer, as the vault uses it: what it promises holds at every cut, and what it does not promise is
//! found to be missing.

use holdfast_vault::state::Disk as _;
use rusqlite::{Connection, OpenFlags};

use crate::disk::{Fault, SimDisk, StateDoor, Tally};

/// How a run may be set up wrongly.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    Full,
    Off,
}

fn connect(disk: &SimDisk, sync: Sync) -> rusqlite::Result<Connection> {
    let place = StateDoor::open(disk).database("history.sqlite");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags_and_vfs(place.path, flags, place.vfs.unwrap().as_str())?;
    db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;")?;
    // SQLite commits the change of mode after it answered: whether it failed is known at the end of the statement only.
    let modes: Vec<String> =
        db.prepare("PRAGMA journal_mode = WAL")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if modes != ["wal"] {
        return Err(rusqlite::Error::InvalidQuery);
    }
    db.execute_batch(match sync {
        Sync::Full => "PRAGMA synchronous = FULL;",
        Sync::Off => "PRAGMA synchronous = OFF;",
    })?;
    Ok(db)
}

/// Adds pairs of rows, each pair in a transaction, with a checkpoint now and then, and ends in order. How many were
/// committed.
fn fill(disk: &SimDisk, sync: Sync, pairs: u64) -> (u64, rusqlite::Result<()>) {
    let (committed, done) = add(disk, sync, pairs);
    (committed, done.map(drop))
}

fn add(disk: &SimDisk, sync: Sync, pairs: u64) -> (u64, rusqlite::Result<Connection>) {
    let mut committed = 0;
    let mut add = || {
        let mut db = connect(disk, sync)?;
        db.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER, half INTEGER, filler TEXT)")?;
        for n in 0..pairs {
            let transaction = db.transaction()?;
            for half in 0..2 {
                transaction.execute("INSERT INTO t VALUES (?1, ?2, hex(zeroblob(300)))", (n.cast_signed(), half))?;
            }
            transaction.commit()?;
            committed = n + 1;
            if n % 4 == 3 {
                db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            }
        }
        Ok(db)
    };
    let done = add();
    (committed, done)
}

/// What is there after a reboot: how many pairs. An error when it does not open, or holds anything but whole pairs.
fn found(disk: &SimDisk) -> Result<u64, String> {
    let read = || -> rusqlite::Result<(String, u64, Vec<u64>)> {
        let db = connect(disk, Sync::Full)?;
        let check = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0 {
            return Ok((check, 0, Vec::new()));
        }
        let rows: Result<Vec<u64>, _> = db
            .prepare("SELECT n FROM t GROUP BY n HAVING count(*) = 2 ORDER BY n")?
            .query_map([], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))?
            .collect();
        Ok((check, db.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))?.cast_unsigned(), rows?))
    };
    let (check, rows, pairs) = read().map_err(|err| err.to_string())?;
    if check != "ok" || rows != 2 * pairs.len() as u64 || !pairs.iter().copied().eq(0..pairs.len() as u64) {
        return Err(format!("{check}, {rows} rows, pairs {pairs:?}"));
    }
    Ok(pairs.len() as u64)
}

/// Cuts the power at every operation of `fill`, and reboots with some seeds. What went wrong.
fn cut_everywhere(sync: Sync, seeds: u64) -> (Vec<String>, Tally) {
    let (mut wrong, mut tally) = (Vec::new(), Tally::default());
    let whole = SimDisk::new();
    fill(&whole, sync, 6).1.unwrap();
    for cut in 0..whole.ops() {
        for seed in 0..seeds {
            let disk = SimDisk::new();
            disk.plan(cut, Fault::Cut { after: seed % 2 == 0 });
            let (committed, _) = fill(&disk, sync, 6);
            disk.reboot(seed * 1000 + cut);
            match found(&disk) {
                Ok(pairs) if pairs >= committed => {}
                Ok(pairs) => wrong.push(format!("cut {cut}, seed {seed}: {pairs} of {committed}")),
                Err(error) => wrong.push(format!("cut {cut}, seed {seed}: {error}")),
            }
            tally.add(&disk.tally());
        }
    }
    (wrong, tally)
}

#[test]
fn a_committed_transaction_survives_every_cut_and_no_half_of_one_appears() {
    let (wrong, tally) = cut_everywhere(Sync::Full, 40);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tally.cuts.iter().sum::<u64>() > 1000 && tally.torn > 500 && tally.lost > 1000, "{tally:?}");
}

#[test]
fn without_syncs_something_is_lost() {
    let (wrong, _) = cut_everywhere(Sync::Off, 10);
    assert!(wrong.len() > 50, "found only {} losses", wrong.len());
}

#[test]
fn a_sync_that_lied_loses_what_was_committed() {
    let lost = (0..200).filter(|seed| {
        let disk = SimDisk::new();
        disk.plan(seed % 30, Fault::SyncLies);
        let (committed, db) = add(&disk, Sync::Full, 3);
        disk.reboot(*seed);
        drop(db);
        found(&disk) != Ok(committed)
    });
    let lost = lost.count();
    assert!(lost > 10, "{lost}");
}

#[test]
fn every_fault_is_an_error_to_sqlite_and_keeps_what_was_committed() {
    let whole = SimDisk::new();
    fill(&whole, Sync::Full, 6).1.unwrap();
    let mut refused = 0;
    let faults =
        [Fault::Full, Fault::ReadOnly, Fault::SyncFails { forgets: true }, Fault::SyncFails { forgets: false }];
    for (at, fault) in (0..whole.ops()).flat_map(|at| faults.map(|fault| (at, fault))) {
        let disk = SimDisk::new();
        disk.plan(at, fault);
        let (committed, done) = fill(&disk, Sync::Full, 6);
        refused += u64::from(done.is_err());
        disk.mend();
        disk.reboot(at);
        let found = found(&disk);
        assert!(found.as_ref().is_ok_and(|pairs| *pairs >= committed), "{fault:?} at {at}: {found:?} of {committed}");
    }
    assert!(refused > 2 * whole.ops(), "{refused} of {} refused", 4 * whole.ops());
}

#[test]
fn a_dead_program_changes_nothing_when_it_ends() {
    let disk = SimDisk::new();
    let db = connect(&disk, Sync::Full).unwrap();
    db.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
    disk.kill();
    let before = (disk.copy(), disk.ops());
    drop(db);
    assert!(disk.copy().same_as(&before.0));
    assert_eq!(disk.ops(), before.1);
    assert!(before.0.names().any(|name| name == "history.sqlite-wal"));
}
