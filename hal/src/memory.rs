//! What main memory shows.

use crate::machine::Pressure;

/// Main memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MemoryReading {
    /// All of it that the kernel has, in KiB.
    pub total_kib: Option<u64>,
    /// What programs could get without swapping, in KiB.
    pub available_kib: Option<u64>,
    /// How much work waits for memory.
    pub pressure: Pressure,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// Errors that ECC corrected, over all controllers.
    pub ecc_corrected: Option<u64>,
    /// Errors that ECC saw and could not correct, over all controllers.
    pub ecc_uncorrected: Option<u64>,
}
