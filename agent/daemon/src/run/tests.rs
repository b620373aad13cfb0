use std::fs;
use std::path::Path;

use super::*;

const LOCK: &str = "../../tests/vectors/live-cluster-a/cluster-lock.json";

/// The lock of a cluster that ran elsewhere.
pub(crate) fn verified_lock() -> VerifiedLock {
    let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(LOCK)).unwrap();
    verify_lock(&file, &Settings::default().node).unwrap()
}
