//! What a process costs its machine.

/// One reading of a process. `None` is a reading that is not present on this machine, never a zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessReading {
    /// Memory in RAM, in KiB; pages shared with other processes count in full.
    pub resident_kib: Option<u64>,
    /// Memory in RAM that no other process shares, in KiB.
    pub private_kib: Option<u64>,
    /// CPU time of all threads since the start of the process, in ms, in user and in kernel mode.
    pub cpu_ms: Option<u64>,
    /// File descriptors that are open.
    pub open_files: Option<u64>,
}
