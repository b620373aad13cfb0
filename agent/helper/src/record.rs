//! Writes to a file instead of restarting the machine that the tests run on.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use holdfast_hal::restart::{Restart, RestartError};

/// A line in a file for every restart.
#[derive(Debug)]
pub struct RecordReboot(File);

impl RecordReboot {
    /// Records in this file, which is opened at once: later nothing may be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }
}

impl Restart for RecordReboot {
    fn can_restart(&self) -> Result<(), RestartError> {
        Ok(())
    }

    fn restart(&self) -> Result<(), RestartError> {
        Ok((&self.0).write_all(b"reboot\n")?)
    }
}
