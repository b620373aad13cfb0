//! Bytes of a stranger are refused, never a panic.

use holdfast_cluster::{
    DEFINITION_BYTES_MAX, Enr, FileError, HISTORY_BYTES_MAX, HistoryFileError, HistoryLimits, Keystore, LOCK_BYTES_MAX,
    NodeKey, read_definition, read_history, read_lock,
};
use holdfast_types::{Epoch, Root, Slot};
use proptest::prelude::*;

const HISTORY_LIMITS: HistoryLimits =
    HistoryLimits { genesis_validators_root: Root([0; 32]), last_epoch: Epoch(u64::MAX), last_slot: Slot(u64::MAX) };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read_lock(&bytes).is_err());
        prop_assert!(read_definition(&bytes).is_err());
        prop_assert!(Keystore::parse(&bytes).is_err());
        prop_assert!(read_history(&bytes, &HISTORY_LIMITS).is_err());
    }

    #[test]
    fn random_texts_are_no_records_and_keys(text in ".{0,200}", body in "[A-Za-z0-9_-]{0,300}") {
        prop_assert!(Enr::parse(&text).is_err());
        let record = ["enr:", &body].concat();
        prop_assert!(Enr::parse(&record).is_err());
        prop_assert!(NodeKey::parse(&text).is_err());
    }
}

#[test]
fn files_that_are_too_large_are_not_parsed() {
    let lock = vec![b' '; LOCK_BYTES_MAX + 1];
    assert!(matches!(read_lock(&lock), Err(FileError::TooLarge { what: "lock", .. })));
    let history = read_history(&lock, &HISTORY_LIMITS);
    assert!(matches!(history, Err(HistoryFileError::TooLarge { len }) if len == HISTORY_BYTES_MAX + 1));
    let definition = &lock[..=DEFINITION_BYTES_MAX];
    assert!(matches!(read_definition(definition), Err(FileError::TooLarge { what: "definition", .. })));
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("{{\"unknown\":{}", "[".repeat(100_000));
    assert!(matches!(read_lock(deep.as_bytes()), Err(FileError::Form { .. })));
    let history = read_history(deep.as_bytes(), &HISTORY_LIMITS);
    assert!(matches!(history, Err(HistoryFileError::Form { .. })));
}
