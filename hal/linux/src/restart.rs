//! A restart in order, by the service manager.
//!
//! It is asked by a signal to process 1 (systemd(1), "SIGNALS"), which takes no program, no bus and no text. The system
//! call reboot(2) would do it at once, without telling the vault, which would wait for a lease as after a power cut.

use std::io;
use std::path::Path;

use holdfast_hal::restart::RestartError;
use nix::libc;

/// The signal that starts `reboot.target` in process 1.
#[must_use]
pub fn restart_signal() -> i32 {
    libc::SIGRTMIN() + 5
}

/// Whether process 1 is systemd: its own library looks for the same folder (sd_booted(3)).
pub(crate) fn can_restart(root: &Path) -> Result<(), RestartError> {
    if root.join("run/systemd/system").is_dir() { Ok(()) } else { Err(RestartError::Nobody) }
}

/// Asks process 1.
pub(crate) fn restart() -> Result<(), RestartError> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    let sent = unsafe { libc::kill(SERVICE_MANAGER, restart_signal()) };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) }
}

/// The number of process 1, for whoever limits what signals may be sent.
pub const SERVICE_MANAGER: i32 = 1;
