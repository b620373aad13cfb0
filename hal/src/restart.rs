//! Turning the machine off and on again.

use std::io;

/// Restarts the machine.
pub trait Restart {
    /// Whether somebody is there who would restart it in order; nothing happens to it.
    ///
    /// # Errors
    /// [`RestartError::Nobody`].
    fn can_restart(&self) -> Result<(), RestartError>;

    /// Has everything stopped in order and the machine restarted. It returns once that has begun.
    ///
    /// # Errors
    /// When it has not.
    fn restart(&self) -> Result<(), RestartError>;
}

/// Why the machine does not restart.
#[derive(Debug, thiserror::Error)]
pub enum RestartError {
    /// Nobody stops its services in order, which a restart must not go without.
    #[error("process 1 of this machine is not systemd, which would stop every service in order")]
    Nobody,
    /// It was refused.
    #[error("the restart was refused: {0}")]
    Refused(#[from] io::Error),
}
