//! What the kernel, the boot and the watchdog show.

/// Kernel, boot and watchdog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemReading {
    /// Time since the boot, in s.
    pub uptime_s: Option<u64>,
    /// Bits of the kernel's taint (`admin-guide/tainted-kernels.rst`).
    pub taint: Option<u64>,
    /// Machine check exceptions.
    pub machine_checks: Option<u64>,
    /// Whether a hardware watchdog runs.
    pub watchdog_armed: Option<bool>,
    /// Whether the last start was from the boot slot that was meant.
    pub booted_as_meant: Option<bool>,
    /// Time since the last update, in days.
    pub days_since_update: Option<u32>,
    /// Whether the shutdown before this boot was clean.
    pub shutdown_clean: Option<bool>,
}
