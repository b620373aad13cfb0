//! Where the vectors are, for all tests of this crate.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_cluster::{Network, Networks};
use holdfast_types::ForkVersion;

/// The vectors that are part of the repository.
pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// A vector that may not be copied into the repository; absent, it is left out loudly, but never in CI.
pub(crate) fn shared(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("HOLDFAST_SHARED").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let path = root.join("protocol/vectors").join(name);
    match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if std::env::var_os("CI").is_some() => panic!("vector {} is missing: {error}", path.display()),
        Err(error) => {
            eprintln!("LEFT OUT: vector {} is missing ({error}), nothing is proved about it", path.display());
            None
        }
    }
}

/// All files of this name below the vectors of live clusters, sorted.
pub(crate) fn live_files(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(vectors()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("live-") {
            collect(&path, name, &mut found);
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no vectors: this test would prove nothing");
    found
}

fn collect(dir: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, name, found);
        } else if path.ends_with(name) {
            found.push(path);
        }
    }
}

/// The public networks and the one of the signed v1.10 lock, which is public no more.
pub(crate) fn networks() -> Networks {
    Networks::with_custom(Network {
        name: "holesky".into(),
        chain_id: 17_000,
        genesis_fork_version: ForkVersion([0x01, 0x01, 0x70, 0x00]),
        genesis_time_s: 1_696_000_704,
    })
}

/// An error with all its causes, as a log shows it.
pub(crate) fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
