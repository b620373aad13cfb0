//! What is on the disk: after a kill, after a power cut, after damage, and when nothing more goes onto it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rusqlite::Connection;

use super::*;

/// Votes of 200 validators, more than fit into one page.
fn many(target: u64) -> Vec<Candidate> {
    (0..200u8).map(|byte| vote(1, target).of(ValidatorPublic([byte; 48]))).collect()
}

fn record(history: &mut History, candidates: &[Candidate]) {
    let verdicts = history.check_and_record(&FAR, candidates).unwrap();
    assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
}

/// The files of a history as they lie on the disk while it is open: what a killed process leaves.
fn copy_of(folder: &tempfile::TempDir) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

#[test]
fn what_is_recorded_is_in_the_files_before_the_call_returns() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    for target in 1..20 {
        record(&mut history, &[vote(0, target), block(target)]);
        let copy = copy_of(&folder);
        let mut found = History::open_or_create(&database(copy.path())).unwrap();
        assert_eq!(found.digest(), history.digest());
        assert_eq!(sign(&mut found, vote(0, target).with_root(OTHER)), slashable(double_vote(target)));
        assert_eq!(sign(&mut found, block(target).with_root(OTHER)), slashable(double_proposal(target)));
    }
}

#[test]
fn every_commit_is_synced_and_a_connection_that_does_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    history.store.confirm_durable().unwrap();
    for (weaker, setting) in [
        ("PRAGMA synchronous = NORMAL", "synchronous"),
        ("PRAGMA synchronous = FULL; PRAGMA locking_mode = NORMAL", "locking_mode"),
    ] {
        history.store.run(weaker);
        let error = history.store.confirm_durable().unwrap_err();
        assert!(matches!(error, HistoryError::NotDurable { setting: found, .. } if found == setting), "{error:?}");
    }
    history.store.run("PRAGMA locking_mode = EXCLUSIVE");
    record(&mut history, &[vote(1, 2)]);
}

/// A killed process leaves a log of writes that is perhaps only in the kernel's memory. A vote found there may be signed
/// again at once, so its record must be on the disk by then, as it is when it is in the database itself.
#[test]
fn what_is_found_in_the_log_of_writes_at_the_start_is_put_into_the_database_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    record(&mut history, &[vote(1, 2)]);
    let killed = copy_of(&folder);
    let mut found = History::open_or_create(&database(killed.path())).unwrap();
    let cut = copy_of(&killed);
    fs::write(cut.path().join("history.sqlite-wal"), b"").unwrap();
    sign(&mut found, vote(1, 2)).expect("the same vote may be signed again");
    let mut after_cut = History::open_or_create(&database(cut.path())).unwrap();
    let verdict = sign(&mut after_cut, vote(1, 2).with_root(OTHER));
    assert_eq!(verdict, slashable(double_vote(2)), "signed, and its record was lost with the log of writes");
}

#[test]
fn a_power_cut_anywhere_in_a_record_loses_no_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    record(&mut history, &[vote(1, 2)]);
    let log_of_writes = folder.path().join("history.sqlite-wal");
    let before = fs::metadata(&log_of_writes).unwrap().len();
    record(&mut history, &[vote(1, 3)]);
    let after = fs::metadata(&log_of_writes).unwrap().len();
    assert!(after > before, "the record did not go through the log of writes");
    let mut recorded = 0;
    for cut in (before..=after).step_by(256).chain([after]) {
        let copy = copy_of(&folder);
        let torn = fs::OpenOptions::new().write(true).open(copy.path().join("history.sqlite-wal")).unwrap();
        torn.set_len(cut).unwrap();
        let mut found = History::open_or_create(&database(copy.path())).unwrap();
        let verdict = sign(&mut found, vote(1, 2).with_root(OTHER));
        let whole = verdict == slashable(target_too_low(2, 3));
        assert!(whole || verdict == slashable(double_vote(2)), "cut at {cut}: {verdict:?}");
        recorded += usize::from(whole);
    }
    assert!(recorded > 0, "the whole log of writes must hold the last record");
}

#[test]
fn killed_between_record_and_release_the_record_stays() {
    const NAME: &str = "history::tests::disk::killed_between_record_and_release_the_record_stays";
    const FOLDER: &str = "HOLDFAST_TEST_HISTORY";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let mut history = History::open_or_create(&database(&PathBuf::from(folder))).unwrap();
        record(&mut history, &[vote(1, 2), block(5)]);
        // Says that it has the proofs, and waits to be killed before it could use them.
        eprintln!("recorded");
        loop {
            std::thread::park();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads", "1"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = std::io::BufReader::new(child.stderr.take().unwrap());
    let recorded = std::io::BufRead::lines(said).any(|line| line.unwrap() == "recorded");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(recorded, "the child ended before it recorded");
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    assert_eq!(sign(&mut history, vote(1, 2).with_root(OTHER)), slashable(double_vote(2)));
    assert_eq!(sign(&mut history, block(5).with_root(OTHER)), slashable(double_proposal(5)));
    record(&mut history, &[vote(1, 2), block(5)]);
}

#[test]
fn a_full_database_refuses_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    record(&mut history, &[vote(1, 2)]);
    history.store.limit_pages();
    let error = history.check_and_record(&FAR, &many(3)).unwrap_err();
    assert!(matches!(error, HistoryError::Write { .. }), "{error:?}");
    assert!(error.to_string().contains("restart the vault"), "{error}");
    assert_failed(&mut history);
    drop(history);
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    assert_eq!(sign(&mut history, vote(1, 2).with_root(OTHER)), slashable(double_vote(2)));
    record(&mut history, &many(3));
}

/// No call that could write or prove something is answered any more.
fn assert_failed(history: &mut History) {
    let before = history.digest();
    let entry = NewEntry { at_ms: 0, kind: String::new(), order: [0; 32], refused: None };
    let outcomes = [
        history.check_and_record(&FAR, &[vote(1, 4)]).map(|_| ()),
        history.check_and_record(&FAR, &[vote(1, 2)]).map(|_| ()),
        history.check_and_record(&FAR, &[]).map(|_| ()),
        history.merge(&[]),
        history.raise_floor(Floor::default()),
        history.note_import(HistoryDigest([1; 32])),
        history.log(entry),
        history.log_page(0, 1).map(|_| ()),
    ];
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert!(matches!(outcome, Err(HistoryError::FailedBefore)), "call {number}: {outcome:?}");
    }
    assert_eq!(history.digest(), before);
}

#[test]
fn each_change_that_cannot_be_written_ends_the_history_and_is_not_remembered() {
    type Change = fn(&mut History) -> Result<(), HistoryError>;
    let changes: [Change; 5] = [
        |history| history.check_and_record(&FAR, &[vote(1, 3)]).map(|_| ()),
        |history| history.merge(&[marks(Some((5, 6, None)), None)]),
        |history| history.raise_floor(Floor { target: Some(Epoch(9)), ..Floor::default() }),
        |history| history.note_import(HistoryDigest([1; 32])),
        |history| history.log(NewEntry { at_ms: 0, kind: String::new(), order: [0; 32], refused: None }),
    ];
    for change in changes {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::open_or_create(&database(folder.path())).unwrap();
        record(&mut history, &[vote(1, 2)]);
        let contents = history.contents.clone();
        history.break_writes();
        // What changes nothing needs no write.
        record(&mut history, &[vote(1, 2)]);
        history.raise_floor(Floor::default()).unwrap();
        assert!(matches!(change(&mut history), Err(HistoryError::Write { .. })));
        assert_eq!(history.contents, contents);
        assert_failed(&mut history);
        drop(history);
        assert_eq!(History::open_or_create(&database(folder.path())).unwrap().contents, contents);
    }
}

/// The kernel refuses to write within a record, in a process of its own; the record before it and nothing else counts.
#[test]
fn a_write_that_the_kernel_cuts_short_refuses_for_good() {
    const NAME: &str = "history::tests::disk::a_write_that_the_kernel_cuts_short_refuses_for_good";
    const FOLDER: &str = "HOLDFAST_TEST_HISTORY_CUT";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = PathBuf::from(folder);
        let mut history = History::open_or_create(&database(&folder)).unwrap();
        record(&mut history, &[vote(1, 2)]);
        // Somebody must catch the signal, or the process ends before the call returns.
        signal_hook::flag::register(nix::libc::SIGXFSZ, Default::default()).unwrap();
        let len = fs::metadata(folder.join("history.sqlite-wal")).unwrap().len() + 5_000;
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE, len, len).unwrap();
        let error = history.check_and_record(&FAR, &many(3)).unwrap_err();
        assert!(matches!(error, HistoryError::Write { .. }), "{error:?}");
        assert_failed(&mut history);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--test-threads", "1"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    assert_eq!(sign(&mut history, vote(1, 2).with_root(OTHER)), slashable(double_vote(2)));
    let other_roots: Vec<_> = many(3).iter().map(|candidate| candidate.with_root(OTHER)).collect();
    // Had a part of the batch been recorded, these would be double votes.
    record(&mut history, &other_roots);
}

#[test]
fn rows_swapped_under_a_running_vault_change_nothing_and_are_noticed_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    record(&mut history, &[vote(1, 2), vote(1, 2).of(BOB)]);
    history.store.run("DELETE FROM validators");
    assert_eq!(sign(&mut history, vote(1, 2).with_root(OTHER)), slashable(double_vote(2)));
    record(&mut history, &[vote(1, 3)]);
    drop(history);
    let error = History::open_or_create(&database(folder.path())).err().unwrap();
    assert!(matches!(error, HistoryError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_foreign_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path());
    fs::write(&database.path, vec![0x5a; 8192]).unwrap();
    assert!(matches!(History::open_or_create(&database).err().unwrap(), HistoryError::Read { .. }));
    fs::remove_file(&database.path).unwrap();
    fs::create_dir(&database.path).unwrap();
    assert!(matches!(History::open_or_create(&database).err().unwrap(), HistoryError::Read { .. }));
    fs::remove_dir(&database.path).unwrap();
    for made in [
        "CREATE TABLE validators (key)",
        "PRAGMA application_id = 0x48464831; PRAGMA user_version = 1; CREATE TABLE attestations (validator)",
        "PRAGMA application_id = 0x48464831; PRAGMA user_version = 3; CREATE TABLE validators (validator)",
    ] {
        Connection::open(&database.path).unwrap().execute_batch(made).unwrap();
        let bytes = fs::read(&database.path).unwrap();
        assert!(matches!(History::open_or_create(&database).err().unwrap(), HistoryError::Foreign { .. }), "{made}");
        assert_eq!(fs::read(&database.path).unwrap(), bytes, "a foreign file is left as it is");
        fs::remove_file(&database.path).unwrap();
    }
}

#[test]
fn a_second_user_of_the_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    let error = History::open_or_create(&database(folder.path())).err().unwrap();
    assert!(matches!(error, HistoryError::InUse { .. }), "{error:?}");
    record(&mut history, &[vote(1, 2)]);
}

#[test]
fn another_file_system_layer_of_sqlite_is_used_when_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let other = Database { vfs: Some("unix-dotfile".into()), ..database(folder.path()) };
    let mut history = History::open_or_create(&other).unwrap();
    // That layer locks by a folder beside the file.
    assert!(folder.path().join("history.sqlite.lock").exists());
    record(&mut history, &[vote(1, 2)]);
    drop(history);
    assert_eq!(
        sign(&mut History::open_or_create(&other).unwrap(), vote(1, 2).with_root(OTHER)),
        slashable(double_vote(2))
    );
    let unknown = Database { vfs: Some("no such layer".into()), ..other };
    assert!(matches!(History::open_or_create(&unknown).err().unwrap(), HistoryError::Read { .. }));
}

#[test]
fn a_file_that_can_only_be_read_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path());
    record(&mut History::open_or_create(&database).unwrap(), &[vote(1, 2)]);
    let error = Store::connect_read_only(&database).err().unwrap();
    assert!(matches!(error, HistoryError::ReadOnly { .. }), "{error:?}");
}

/// A database with some of everything, closed in order, and what was in it.
fn of_everything(folder: &Path) -> (Contents, Vec<LoggedOrder>) {
    let mut history = History::open_or_create(&database(folder)).unwrap();
    record(&mut history, &many(3)[..30]);
    record(&mut history, &[block(7), vote(0, 0).of(BOB)]);
    history.raise_floor(Floor { target: Some(Epoch(2)), source: Epoch(1), slot: Some(Slot(6)) }).unwrap();
    history.note_import(HistoryDigest([7; 32])).unwrap();
    for at_ms in 0..20 {
        let refused = (at_ms % 2 == 0).then(|| "for a reason".to_owned());
        history.log(NewEntry { at_ms, kind: "Exit".into(), order: [3; 32], refused }).unwrap();
    }
    let entries = history.log_page(0, usize::MAX).unwrap();
    (history.contents.clone(), entries)
}

/// Whether damage is noticed at the start. Where it is not, everything must be there and stay so.
fn notices(bytes: &[u8], whole: &(Contents, Vec<LoggedOrder>), damage: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path());
    fs::write(&database.path, bytes).unwrap();
    let mut history = match History::open_or_create(&database) {
        Ok(history) => history,
        Err(error) => {
            let said = error.to_string();
            assert!(!matches!(error, HistoryError::InUse { .. }), "{damage}: {said}");
            return true;
        }
    };
    history.store.sync_never();
    assert_eq!(history.contents, whole.0, "{damage}");
    assert_eq!(history.log_page(0, usize::MAX).unwrap(), whole.1, "{damage}");
    record(&mut history, &[vote(2, 9), block(9)]);
    drop(history);
    let mut history = History::open_or_create(&database).unwrap_or_else(|error| panic!("{damage}: {error:?}"));
    assert_eq!(sign(&mut history, vote(2, 9).with_root(OTHER)), slashable(double_vote(9)), "{damage}");
    false
}

#[test]
fn a_flipped_bit_is_noticed_at_the_start_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let whole = of_everything(folder.path());
    let bytes = fs::read(database(folder.path()).path).unwrap();
    assert!(!notices(&bytes, &whole, "no damage"));
    let mut noticed = 0;
    // The headers of the file and of each page byte by byte, the rest in steps that meet every field sooner or later.
    let headers = (0..bytes.len()).filter(|at| at % PAGE < 12 || *at < 112);
    let places: Vec<_> = headers.chain((0..bytes.len()).step_by(STEP)).collect();
    for (turn, at) in places.iter().enumerate() {
        let mut damaged = bytes.clone();
        let bit = turn % 8;
        damaged[*at] ^= 1 << bit;
        noticed += usize::from(notices(&damaged, &whole, &format!("bit {bit} of byte {at}")));
    }
    // Most of the last page of each table is free, and means nothing.
    assert!(noticed * 4 > places.len(), "{noticed} of {} were noticed", places.len());
}

#[test]
fn a_page_that_is_lost_or_of_another_time_or_place_is_noticed_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let database_now = database(folder.path());
    of_everything(folder.path());
    let yesterday = fs::read(&database_now.path).unwrap();
    let mut history = History::open_or_create(&database_now).unwrap();
    let all = [many(8), vec![block(8)]].concat();
    record(&mut history, &all);
    history.note_import(HistoryDigest([8; 32])).unwrap();
    history.log(NewEntry { at_ms: 9, kind: "Reset".into(), order: [4; 32], refused: None }).unwrap();
    let whole = (history.contents.clone(), history.log_page(0, usize::MAX).unwrap());
    drop(history);
    let today = fs::read(&database_now.path).unwrap();
    let pages = today.len() / PAGE;
    assert!(pages > yesterday.len() / PAGE, "the database must have grown");
    for page in 0..pages {
        let place = page * PAGE..(page + 1) * PAGE;
        let with = |bytes: &[u8]| {
            let mut damaged = today.clone();
            damaged[place.clone()].copy_from_slice(bytes);
            damaged
        };
        assert!(notices(&with(&[0; PAGE]), &whole, &format!("page {page} of zeros")));
        assert!(notices(&with(&[0x5a; PAGE]), &whole, &format!("page {page} of noise")));
        let neighbour = (page + 1) % pages * PAGE;
        assert!(notices(&with(&today[neighbour..neighbour + PAGE]), &whole, &format!("page {page} of another place")));
        if let Some(old) = yesterday.get(place.clone()).filter(|old| *old != &today[place.clone()]) {
            assert!(notices(&with(old), &whole, &format!("page {page} of yesterday")));
        }
        // Nothing at all is a history that is made anew: that one should have been there, the lease's record says.
        if page > 0 {
            assert!(notices(&today[..place.start], &whole, &format!("cut off at page {page}")));
        }
    }
}

const PAGE: usize = 4096;
/// A prime, so that the steps fall on other fields in each row.
const STEP: usize = 67;
