//! The log of orders: its chain, its bound, and what becomes of it when somebody changes it.

use rusqlite::Connection;

use super::super::log::ENTRIES_KEPT;
use super::*;

fn entry(number: u64) -> NewEntry {
    let refused = number.is_multiple_of(2).then(|| format!("reason {number}"));
    NewEntry { at_ms: number * 1000, kind: "Exit".into(), order: [u8::try_from(number % 256).unwrap(); 32], refused }
}

/// The chain as whoever reads the log follows it; what a hash covers is tested beside its definition.
fn assert_chained(before: [u8; 32], entries: &[LoggedOrder]) {
    let mut before = before;
    for entry in entries {
        assert_eq!(entry.hash, entry.hash_after(&before), "entry {}", entry.number);
        before = entry.hash;
    }
}

#[test]
fn entries_come_back_in_pages_and_each_hash_covers_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    assert_eq!(history.log_head(), (0, [0; 32]));
    (1..=7).for_each(|number| history.log(entry(number)).unwrap());
    drop(history);
    let history = History::open_or_create(&database(folder.path())).unwrap();
    let pages: Vec<_> = [0, 3, 6].into_iter().flat_map(|after| history.log_page(after, 3).unwrap()).collect();
    assert_eq!(pages.iter().map(|entry| entry.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert_chained([0; 32], &pages);
    assert_eq!(history.log_head(), (7, pages[6].hash));
    let NewEntry { at_ms, kind, order, refused } = entry(4);
    let LoggedOrder { at_ms: at_ms_4, kind: kind_4, order: order_4, refused: refused_4, .. } = pages[3].clone();
    assert_eq!((at_ms_4, kind_4, order_4, refused_4), (at_ms, kind, order, refused));
    assert_eq!(history.log_page(u64::MAX, usize::MAX).unwrap(), []);
}

#[test]
fn the_newest_entries_are_kept_and_the_head_and_the_count_outlive_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let database = database(folder.path());
    let mut history = History::open_or_create(&database).unwrap();
    history.store.sync_never();
    (1..=ENTRIES_KEPT + 3).for_each(|number| history.log(entry(number)).unwrap());
    let (end, digest) = (history.log_head(), history.digest());
    drop(history);
    let history = History::open_or_create(&database).unwrap();
    assert_eq!((history.log_head(), history.digest()), (end, digest));
    let kept = history.log_page(0, usize::MAX).unwrap();
    assert_eq!((kept.len() as u64, kept[0].number, end.0), (ENTRIES_KEPT, 4, ENTRIES_KEPT + 3));
    assert_chained(kept[0].hash, &kept[1..]);
    assert_eq!(end.1, kept.last().unwrap().hash);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    history.log(NewEntry { kind: "k".repeat(501), refused: Some("é".repeat(70_000)), ..entry(1) }).unwrap();
    let found = history.log_page(0, 1).unwrap().remove(0);
    assert_eq!((found.kind, found.refused), ("k".repeat(500), Some("é".repeat(500))));
}

#[test]
fn a_log_that_somebody_changed_is_damage() {
    for change in [
        "DELETE FROM log WHERE number = 1",
        "DELETE FROM log WHERE number = 3",
        "DELETE FROM log WHERE number = 5",
        "DELETE FROM log",
        "UPDATE log SET refused = NULL WHERE number = 4",
        "UPDATE log SET refused = '' WHERE number = 3",
        "UPDATE log SET at_ms = at_ms + 1 WHERE number = 5",
        "UPDATE log SET number = 6 WHERE number = 5",
        "INSERT INTO log SELECT 0, at_ms, kind, order_hash, refused, hash FROM log WHERE number = 5",
        "INSERT INTO log SELECT 6, at_ms, kind, order_hash, refused, hash FROM log WHERE number = 5",
        "UPDATE state SET log_dropped = digest",
        "UPDATE state SET log_head = digest",
        "UPDATE state SET log_count = 4",
        "UPDATE state SET log_count = -1",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let database = database(folder.path());
        let mut history = History::open_or_create(&database).unwrap();
        (1..=5).for_each(|number| history.log(entry(number)).unwrap());
        drop(history);
        assert!(Connection::open(&database.path).unwrap().execute(change, []).unwrap() > 0, "{change}");
        let error = History::open_or_create(&database).err().unwrap_or_else(|| panic!("not noticed: {change}"));
        assert!(matches!(error, HistoryError::Damaged { .. }), "{change}: {error:?}");
    }
}

#[test]
fn a_log_that_cannot_be_read_ends_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    history.log(entry(1)).unwrap();
    history.store.run("DROP TABLE log");
    assert!(matches!(history.log_page(0, 1).unwrap_err(), HistoryError::Read { .. }));
    assert!(matches!(history.check_and_record(&FAR, &[vote(1, 2)]).unwrap_err(), HistoryError::FailedBefore));
    assert!(matches!(history.log_page(0, 1).unwrap_err(), HistoryError::FailedBefore));
}
