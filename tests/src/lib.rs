//! Local chain, cluster kit, end-to-end suites and conformance. Never shipped.

#![forbid(unsafe_code)]

pub mod chain;
pub mod swtpm;

use std::path::{Path, PathBuf};

/// The root of the repository.
///
/// # Panics
/// When this crate does not lie in a folder of the repository.
#[must_use]
pub fn repo_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests folder lies in the repository").to_path_buf()
}
