//! What the kernel knows of its clock.

use nix::libc;

/// Whether something keeps the kernel's clock right (adjtimex(2)): its largest error is below the 16 s to which the kernel
/// lets it grow while nobody does. The flag `STA_UNSYNC` says less, since some who keep the clock set it so that the
/// kernel leaves the hardware's clock alone.
pub(crate) fn is_synchronised() -> bool {
    // SAFETY: `timex` is plain integers, for each of which zero is a value.
    let mut reading: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole `timex` of ours, and with `modes` zero the call only writes what it reads there.
    let state = unsafe { libc::adjtimex(&raw mut reading) };
    state != -1 && reading.maxerror < ERROR_MAX_US
}

/// Where the kernel stops counting the error of a clock that nobody keeps, in microseconds.
const ERROR_MAX_US: libc::c_long = 16_000_000;
