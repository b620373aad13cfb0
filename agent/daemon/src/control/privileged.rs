//! What the daemon may not do itself, as a closed list: a helper with the right to do it is asked.

#[cfg(feature = "danger_record_reboot")]
use std::path::PathBuf;

use holdfast_helper_client::ClientError;
use tokio::task::JoinError;

/// Whoever may do what the daemon may not. A call may take seconds.
pub trait Privileged: Send + Sync + 'static {
    /// Whether the box can be restarted; asked before duties are given up for it.
    ///
    /// # Errors
    /// When it cannot.
    fn can_reboot(&self) -> Result<(), PrivilegedError>;

    /// Restarts the box.
    ///
    /// # Errors
    /// When it does not.
    fn reboot(&self) -> Result<(), PrivilegedError>;
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegedError {
    /// Nobody waited for the answer to the end.
    #[error("the request was cut off")]
    CutOff(#[source] JoinError),
    /// The helper did not do it.
    #[error(transparent)]
    Helper(#[from] ClientError),
    /// Nobody is there to do it.
    #[error("no helper is installed that may restart the box: restart it by its power button")]
    NoHelper,
    /// The record of it cannot be written.
    #[cfg(feature = "danger_record_reboot")]
    #[error("cannot record the restart in {}: {err}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        err: std::io::Error,
    },
}

/// No helper is installed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHelper;

impl Privileged for NoHelper {
    fn can_reboot(&self) -> Result<(), PrivilegedError> {
        Err(PrivilegedError::NoHelper)
    }

    fn reboot(&self) -> Result<(), PrivilegedError> {
        Err(PrivilegedError::NoHelper)
    }
}

/// Writes a file instead of restarting the machine that the tests run on.
#[cfg(feature = "danger_record_reboot")]
#[derive(Clone, Debug)]
pub struct RecordReboot(pub PathBuf);

#[cfg(feature = "danger_record_reboot")]
impl Privileged for RecordReboot {
    fn can_reboot(&self) -> Result<(), PrivilegedError> {
        Ok(())
    }

    fn reboot(&self) -> Result<(), PrivilegedError> {
        std::fs::write(&self.0, "reboot\n").map_err(|err| PrivilegedError::Record { path: self.0.clone(), err })
    }
}

#[cfg(test)]
#[cfg(feature = "danger_record_reboot")]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_recorded_or_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = RecordReboot(dir.path().join("reboot"));
        recorder.can_reboot().unwrap();
        assert!(!recorder.0.exists());
        recorder.reboot().unwrap();
        assert_eq!(std::fs::read_to_string(&recorder.0).unwrap(), "reboot\n");
        let error = RecordReboot(dir.path().join("missing/reboot")).reboot().unwrap_err().to_string();
        assert!(error.contains("missing/reboot"), "{error}");
    }
}
