//! Scripts of votes, each run twice: in one go, and with a restart after every step.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use holdfast_types::{Epoch, Root, Slot};

use super::*;

const ALICE: ValidatorPublic = ValidatorPublic([0xa1; 48]);
const BOB: ValidatorPublic = ValidatorPublic([0xb0; 48]);
const FILE: &str = "history.sqlite";

/// A vote of Alice, in the first slot of its target.
fn vote(source: u64, target: u64) -> Candidate {
    let root = SigningRoot([0x11; 32]);
    Candidate { validator: ALICE, source: Epoch(source), target: Epoch(target), slot: Slot(target * 32), root }
}

impl Candidate {
    fn of(self, validator: ValidatorPublic) -> Self {
        Self { validator, ..self }
    }

    fn with_root(self, byte: u8) -> Self {
        Self { root: SigningRoot([byte; 32]), ..self }
    }
}

fn double(target: u64) -> AttestationRefusal {
    AttestationRefusal::DoubleVote { target: Epoch(target), signed: Root([0x11; 32]) }
}

fn target_too_low(target: u64, highest_target: u64) -> AttestationRefusal {
    AttestationRefusal::TargetTooLow { target: Epoch(target), highest_target: Epoch(highest_target) }
}

fn source_too_low(source_epoch: u64, highest_source: u64) -> AttestationRefusal {
    AttestationRefusal::SourceTooLow { source_epoch: Epoch(source_epoch), highest_source: Epoch(highest_source) }
}

/// Batches, and for each vote in them the refusal that must come, if any.
#[derive(Default)]
struct Script(Vec<Vec<(Candidate, Option<AttestationRefusal>)>>);

impl Script {
    fn records(self, vote: Candidate) -> Self {
        self.batch(vec![(vote, None)])
    }

    fn refuses(self, vote: Candidate, refusal: AttestationRefusal) -> Self {
        self.batch(vec![(vote, Some(refusal))])
    }

    fn batch(mut self, batch: Vec<(Candidate, Option<AttestationRefusal>)>) -> Self {
        self.0.push(batch);
        self
    }

    fn run(self) {
        for restarting in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(FILE);
            let mut history = History::open_or_create(&path).unwrap();
            for (number, batch) in self.0.iter().enumerate() {
                let candidates: Vec<_> = batch.iter().map(|(candidate, _)| *candidate).collect();
                let verdicts = history.check_and_record(&candidates).unwrap();
                assert_eq!(verdicts.len(), batch.len());
                for (verdict, (candidate, expected)) in verdicts.iter().zip(batch) {
                    assert_eq!(verdict.as_ref().err(), expected.as_ref(), "batch {number}, restarting {restarting}");
                    if let Ok(proof) = verdict {
                        assert_eq!((proof.validator(), proof.root()), (&candidate.validator, candidate.root));
                    }
                }
                if restarting {
                    drop(history);
                    history = History::open(&path).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_double_vote_is_refused_and_the_same_vote_again_is_not() {
    Script::default()
        .records(vote(1, 2))
        .refuses(vote(1, 2).with_root(0xbb), double(2))
        .records(vote(1, 2))
        .refuses(vote(2, 2).with_root(0xbb), double(2))
        .records(vote(1, 2))
        .run();
}

#[test]
fn a_vote_that_surrounds_is_refused() {
    Script::default()
        .records(vote(3, 4))
        .refuses(vote(2, 5), source_too_low(2, 3))
        .refuses(vote(0, 9), source_too_low(0, 3))
        .records(vote(3, 5))
        .run();
}

#[test]
fn a_vote_that_is_surrounded_is_refused() {
    Script::default()
        .records(vote(1, 9))
        .refuses(vote(2, 8), target_too_low(8, 9))
        .refuses(vote(1, 8), target_too_low(8, 9))
        .records(vote(1, 10))
        .run();
}

#[test]
fn an_earlier_target_is_refused_even_with_its_own_root() {
    Script::default()
        .records(vote(1, 2))
        .records(vote(2, 3).with_root(0x22))
        .refuses(vote(1, 2), target_too_low(2, 3))
        .run();
}

#[test]
fn a_source_above_its_target_is_refused() {
    let refusal = AttestationRefusal::SourceAboveTarget { source_epoch: Epoch(3), target: Epoch(2) };
    Script::default().refuses(vote(3, 2), refusal).records(vote(2, 2)).records(vote(0, 3).of(BOB)).run();
}

#[test]
fn a_refusal_leaves_no_trace() {
    Script::default()
        .records(vote(3, 4))
        .refuses(vote(2, 7), source_too_low(2, 3))
        .refuses(vote(9, 4), AttestationRefusal::SourceAboveTarget { source_epoch: Epoch(9), target: Epoch(4) })
        .records(vote(3, 5))
        .run();
}

#[test]
fn a_batch_with_some_refused_records_the_others() {
    Script::default()
        .batch(vec![(vote(1, 2), None), (vote(1, 2).of(BOB).with_root(0x33), None)])
        .batch(vec![(vote(0, 3), Some(source_too_low(0, 1))), (vote(1, 3).of(BOB), None)])
        .refuses(vote(1, 3).of(BOB).with_root(0xbb), double(3))
        .records(vote(1, 3))
        .run();
}

#[test]
fn votes_of_one_validator_in_one_batch_are_checked_against_each_other() {
    Script::default()
        .batch(vec![
            (vote(1, 2), None),
            (vote(1, 2).with_root(0xbb), Some(double(2))),
            (vote(1, 2), None),
            (vote(0, 3), Some(source_too_low(0, 1))),
            (vote(2, 3), None),
            (vote(1, 4), Some(source_too_low(1, 2))),
        ])
        .refuses(vote(1, 5), source_too_low(1, 2))
        .run();
}

#[test]
fn numbers_up_to_the_end_come_back_whole() {
    Script::default()
        .records(Candidate { source: Epoch(u64::MAX), target: Epoch(u64::MAX), slot: Slot(u64::MAX), ..vote(0, 0) })
        .refuses(vote(1, 2), target_too_low(2, u64::MAX))
        .run();
}

/// The files of a history as they lie on the disk while it is open: what a killed process leaves.
fn copy_of(folder: &tempfile::TempDir) -> (tempfile::TempDir, PathBuf) {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let path = copy.path().join(FILE);
    (copy, path)
}

#[test]
fn what_is_recorded_is_in_the_files_before_the_call_returns() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&folder.path().join(FILE)).unwrap();
    for target in 1..20 {
        assert!(history.check_and_record(&[vote(0, target)]).unwrap()[0].is_ok());
        let (_copy, path) = copy_of(&folder);
        let verdict = History::open(&path).unwrap().check_and_record(&[vote(0, target).with_root(0xbb)]).unwrap();
        assert_eq!(verdict[0].as_ref().unwrap_err(), &double(target));
    }
}

#[test]
fn every_commit_is_synced_and_a_connection_that_does_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&folder.path().join(FILE)).unwrap();
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
    assert!(history.check_and_record(&[vote(1, 2)]).unwrap()[0].is_ok());
}

/// A killed process leaves a log that is perhaps only in the kernel's memory. A vote found there may be signed again at
/// once, so its record must be on the disk by then, as it is when it is in the database itself.
#[test]
fn what_is_found_in_the_log_at_the_start_is_put_into_the_database_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&folder.path().join(FILE)).unwrap();
    history.check_and_record(&[vote(1, 2)]).unwrap();
    for open in [History::open, History::open_or_create] {
        let (killed, path) = copy_of(&folder);
        let mut found = open(&path).unwrap();
        let (cut, after_cut) = copy_of(&killed);
        fs::write(cut.path().join("history.sqlite-wal"), b"").unwrap();
        assert!(found.check_and_record(&[vote(1, 2)]).unwrap()[0].is_ok(), "the same vote may be signed again");
        let verdict = History::open(&after_cut).unwrap().check_and_record(&[vote(1, 2).with_root(0xbb)]).unwrap();
        assert_eq!(verdict[0].as_ref().err(), Some(&double(2)), "signed, and its record was lost with the log");
    }
}

#[test]
fn a_power_cut_anywhere_in_a_record_loses_no_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&folder.path().join(FILE)).unwrap();
    history.check_and_record(&[vote(1, 2)]).unwrap();
    let log = folder.path().join("history.sqlite-wal");
    let before = fs::metadata(&log).unwrap().len();
    history.check_and_record(&[vote(1, 3).with_root(0x33)]).unwrap();
    let after = fs::metadata(&log).unwrap().len();
    assert!(after > before, "the record did not go through the log");
    let mut recorded = 0;
    for cut in (before..=after).step_by(256).chain([after]) {
        let (copy, path) = copy_of(&folder);
        let torn = fs::OpenOptions::new().write(true).open(copy.path().join("history.sqlite-wal")).unwrap();
        torn.set_len(cut).unwrap();
        let mut found = History::open(&path).unwrap();
        let verdict = found.check_and_record(&[vote(1, 2).with_root(0xbb)]).unwrap().remove(0).unwrap_err();
        assert!(verdict == double(2) || verdict == target_too_low(2, 3), "cut at {cut}: {verdict}");
        recorded += usize::from(verdict != double(2));
    }
    assert!(recorded > 0, "the whole log must hold the last record");
}

#[test]
fn killed_between_record_and_release_the_record_stays() {
    const NAME: &str = "history::tests::killed_between_record_and_release_the_record_stays";
    const FOLDER: &str = "HOLDFAST_TEST_HISTORY";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let mut history = History::open_or_create(&PathBuf::from(folder).join(FILE)).unwrap();
        assert!(history.check_and_record(&[vote(1, 2)]).unwrap()[0].is_ok());
        // Says that it has the proof, and waits to be killed before it could use it.
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
    let mut history = History::open(&folder.path().join(FILE)).unwrap();
    let verdicts = history.check_and_record(&[vote(1, 2).with_root(0xbb), vote(1, 2)]).unwrap();
    assert_eq!(verdicts[0].as_ref().unwrap_err(), &double(2));
    assert!(verdicts[1].is_ok());
}

#[test]
fn a_full_database_refuses_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut history = History::open_or_create(&path).unwrap();
    history.check_and_record(&[vote(1, 2)]).unwrap();
    history.store.limit_pages();
    let many: Vec<_> = (0..200u8).map(|byte| vote(1, 3).of(ValidatorPublic([byte; 48]))).collect();
    let error = history.check_and_record(&many).unwrap_err();
    assert!(matches!(error, HistoryError::Write { .. }), "{error:?}");
    assert!(error.to_string().contains("restart the vault"), "{error}");
    let error = history.check_and_record(&[vote(1, 4)]).unwrap_err();
    assert!(matches!(error, HistoryError::FailedBefore), "{error:?}");
    drop(history);
    let verdict = History::open(&path).unwrap().check_and_record(&[vote(1, 2).with_root(0xbb)]).unwrap();
    assert_eq!(verdict[0].as_ref().unwrap_err(), &double(2));
}

/// The kernel refuses to write within a record, in a process of its own; the record before it and nothing else counts.
#[test]
fn a_write_that_the_kernel_cuts_short_refuses_for_good() {
    const NAME: &str = "history::tests::a_write_that_the_kernel_cuts_short_refuses_for_good";
    const FOLDER: &str = "HOLDFAST_TEST_HISTORY_CUT";
    let many: Vec<_> = (0..200u8).map(|byte| vote(1, 3).of(ValidatorPublic([byte; 48]))).collect();
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = PathBuf::from(folder);
        let mut history = History::open_or_create(&folder.join(FILE)).unwrap();
        history.check_and_record(&[vote(1, 2)]).unwrap();
        // Somebody must catch the signal, or the process ends before the call returns.
        signal_hook::flag::register(nix::libc::SIGXFSZ, Default::default()).unwrap();
        let len = fs::metadata(folder.join("history.sqlite-wal")).unwrap().len() + 5_000;
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE, len, len).unwrap();
        let error = history.check_and_record(&many).unwrap_err();
        assert!(matches!(error, HistoryError::Write { .. }), "{error:?}");
        let error = history.check_and_record(&[vote(1, 2)]).unwrap_err();
        assert!(matches!(error, HistoryError::FailedBefore), "{error:?}");
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
    let mut history = History::open(&folder.path().join(FILE)).unwrap();
    let verdict = history.check_and_record(&[vote(1, 2).with_root(0xbb)]).unwrap();
    assert_eq!(verdict[0].as_ref().unwrap_err(), &double(2));
    assert!(history.check_and_record(&many).unwrap().iter().all(Result::is_ok), "a part of the batch was recorded");
}

#[test]
fn rows_swapped_under_a_running_vault_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&folder.path().join(FILE)).unwrap();
    history.check_and_record(&[vote(1, 2)]).unwrap();
    history.store.forget_all();
    let verdict = history.check_and_record(&[vote(1, 2).with_root(0xbb)]).unwrap();
    assert_eq!(verdict[0].as_ref().unwrap_err(), &double(2));
}

#[test]
fn a_missing_an_empty_a_foreign_and_a_damaged_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    assert!(matches!(History::open(&path).err().unwrap(), HistoryError::Missing { .. }));
    fs::write(&path, b"").unwrap();
    assert!(matches!(History::open(&path).err().unwrap(), HistoryError::Foreign { .. }));
    fs::write(&path, vec![0x5a; 8192]).unwrap();
    assert!(matches!(History::open(&path).err().unwrap(), HistoryError::Read { .. }));
    fs::remove_file(&path).unwrap();

    let mut history = History::open_or_create(&path).unwrap();
    let many: Vec<_> = (0..200u8).map(|byte| vote(1, 3).of(ValidatorPublic([byte; 48]))).collect();
    history.check_and_record(&many).unwrap();
    drop(history);
    let mut bytes = fs::read(&path).unwrap();
    let len = bytes.len();
    bytes[len - 4096..].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let error = History::open(&path).err().unwrap();
    assert!(matches!(error, HistoryError::Damaged { .. } | HistoryError::Read { .. }), "{error:?}");
}
