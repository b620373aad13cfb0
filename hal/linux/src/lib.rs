//! The real machine, by the files that its kernel shows below a root folder.
//!
//! The root folder is given, so that a recorded machine reads like the one at hand. Readings only: what they mean is
//! decided elsewhere, and the TPM is `hal/tpm`.

mod clock;
mod process;

use std::path::PathBuf;

use holdfast_hal::process::ProcessReading;

/// A Linux machine below a root folder.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    /// The machine whose files lie below `root`: a recorded one, in tests.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The machine that this process runs on.
    #[must_use]
    pub fn real() -> Self {
        Self::at("/")
    }

    /// What this process costs now. The kernel walks the process' whole memory for it (a few ms for one of 100 MiB), so
    /// this is for a reading every few seconds, not for every request of a stranger.
    #[must_use]
    pub fn own_process(&self) -> ProcessReading {
        process::read(&self.root.join("proc/self"))
    }

    /// Whether something keeps the clock right. A recorded machine has no clock that anybody could ask.
    #[must_use]
    pub fn clock_is_synchronised(&self) -> bool {
        self.root.as_os_str() == "/" && clock::is_synchronised()
    }
}
