//! Local chain, cluster kit, end-to-end suites and conformance. Never shipped.

#![forbid(unsafe_code)]

pub mod bus;
pub mod chain;
pub mod kit;
pub mod scan;
pub mod swtpm;
pub mod up;

use std::env;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use holdfast_types::Millis;

/// The root of the repository.
///
/// # Panics
/// When this crate does not lie in a folder of the repository.
#[must_use]
pub fn repo_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests folder lies in the repository").to_path_buf()
}

/// A program of the workspace, from the folder that this one was built into.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe()?;
    let dir = own.parent().context("this program lies nowhere")?;
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let path = dir.join(name);
    if !path.is_file() {
        bail!("{} is not built: run ./dev up or ./dev test, which build everything", path.display());
    }
    Ok(path)
}

/// The time now.
#[must_use]
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
