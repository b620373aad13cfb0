//! What disks and filesystems show.

/// Disks and the filesystems that matter to the box.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageReading {
    /// Every disk that is not a ramdisk or a loop.
    pub disks: Vec<DiskReading>,
    /// Filesystems of the box, the one of the signing history among them.
    pub filesystems: Vec<FilesystemReading>,
    /// The store that the signing history lives on.
    pub history: HistoryReading,
}

/// One disk, by what it says of itself (SMART, NVMe health log, eMMC registers) and what the kernel counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskReading {
    /// The kernel's name: `nvme0n1`.
    pub name: String,
    /// The maker's name of the model.
    pub model: Option<String>,
    /// Whether the disk's own overall judgement is "passed".
    pub passed: Option<bool>,
    /// NVMe: bits of the critical warning; anything but zero is one.
    pub critical_warning: Option<u8>,
    /// Share of the rated life that is used up, in percent; may exceed 100.
    pub used_percent: Option<u32>,
    /// Spare blocks that are left, in percent.
    pub spare_percent: Option<u32>,
    /// Where the maker says that too few spare blocks are left, in percent.
    pub spare_limit_percent: Option<u32>,
    /// eMMC: `PRE_EOL_INFO` (1 normal, 2 warning, 3 urgent).
    pub pre_eol: Option<u8>,
    /// Data that the disk could not give back or had to move, over its whole life.
    pub media_errors: Option<u64>,
    /// I/O errors that the kernel counted.
    pub io_errors: Option<u64>,
    /// Temperature in °C.
    pub temperature_c: Option<i32>,
    /// Where the maker says that it is too hot, in °C.
    pub temperature_limit_c: Option<i32>,
}

impl DiskReading {
    /// This reading, and what it does not have from another of the same disk: the kernel and the disk itself each tell a part.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            name: self.name,
            model: self.model.or(other.model),
            passed: self.passed.or(other.passed),
            critical_warning: self.critical_warning.or(other.critical_warning),
            used_percent: self.used_percent.or(other.used_percent),
            spare_percent: self.spare_percent.or(other.spare_percent),
            spare_limit_percent: self.spare_limit_percent.or(other.spare_limit_percent),
            pre_eol: self.pre_eol.or(other.pre_eol),
            media_errors: self.media_errors.or(other.media_errors),
            io_errors: self.io_errors.or(other.io_errors),
            temperature_c: self.temperature_c.or(other.temperature_c),
            temperature_limit_c: self.temperature_limit_c.or(other.temperature_limit_c),
        }
    }
}

/// One filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilesystemReading {
    /// Where it is mounted.
    pub mount: String,
    /// Its size, in bytes.
    pub bytes: Option<u64>,
    /// What an ordinary process may still write, in bytes.
    pub free_bytes: Option<u64>,
    /// Files that it can hold; `None` where it has no such limit.
    pub inodes: Option<u64>,
    /// Files that may still be made.
    pub free_inodes: Option<u64>,
    /// Whether it is mounted read-only.
    pub read_only: Option<bool>,
    /// Whether the box writes to it, so that read-only is a fault.
    pub written: bool,
    /// Errors that the filesystem recorded about itself (ext4 `errors_count`), over its whole life.
    pub errors: Option<u64>,
}

/// How the store of the signing history does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryReading {
    /// Whether the vault could write its last record.
    pub writable: Option<bool>,
    /// Time that half of the last minutes' syncs took at most, in µs.
    pub fsync_p50_us: Option<u64>,
    /// Time that 99 of 100 of them took at most, in µs.
    pub fsync_p99_us: Option<u64>,
}
