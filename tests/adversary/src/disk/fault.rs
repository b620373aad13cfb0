//! What can go wrong with a disk, where it went wrong, and the count of it.

use std::io;

/// Something that happens at one operation of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The power goes. Whether a sync or a tick of the TPM at this very operation still happened, `after` says; a write,
    /// a rename or a removal at it is unsynced like those before it.
    Cut {
        /// Whether it happened.
        after: bool,
    },
    /// The power goes at the next tick of the TPM, however many operations come before it.
    CutAtTick {
        /// Whether the tick still happened.
        after: bool,
    },
    /// The disk is full from here on, until [`SimDisk::mend`](super::SimDisk::mend).
    Full,
    /// The disk takes no change from here on, until [`SimDisk::mend`](super::SimDisk::mend).
    ReadOnly,
    /// The next sync of a file or of the folder fails with EIO. As Linux does, what it should have written counts as
    /// written afterwards when `forgets` is set: programs read it, a later sync succeeds, and a reboot loses it.
    SyncFails {
        /// Whether it is forgotten.
        forgets: bool,
    },
    /// The next sync of a file or of the folder says that it was done, and does nothing.
    SyncLies,
}

/// What kind of operation it is that faults fall on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpKind {
    /// A file is made, or emptied.
    Create,
    /// No operation: the power goes between two.
    Idle,
    /// A file is taken away.
    Remove,
    /// A file gets another name.
    Rename,
    /// The data of a file.
    SyncFile,
    /// The names in the folder.
    SyncFolder,
    /// A counter of the TPM.
    Tick,
    /// A file gets shorter.
    Truncate,
    /// Bytes are written to a file.
    Write,
}

/// What a disk lived through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Power cuts by the operation that they fell on, in the order of [`OpKind::ALL`].
    pub cuts: [u64; OpKind::ALL.len()],
    /// What programs asked for, in the same order.
    pub asked: [u64; OpKind::ALL.len()],
    /// Writes, renames and removals that were unsynced when the power went, and lost.
    pub lost: u64,
    /// Those that were unsynced and survived.
    pub kept: u64,
    /// Those of which a part survived.
    pub torn: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Syncs that lied.
    pub lied_syncs: u64,
    /// Operations refused because the disk was full.
    pub full: u64,
    /// Operations refused because the disk took no change.
    pub read_only: u64,
}

impl OpKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Idle,
        Self::Remove,
        Self::Rename,
        Self::SyncFile,
        Self::SyncFolder,
        Self::Tick,
        Self::Truncate,
        Self::Write,
    ];

    /// As a table of results has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Idle => "idle",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::SyncFile => "sync of a file",
            Self::SyncFolder => "sync of the folder",
            Self::Tick => "tick",
            Self::Truncate => "truncate",
            Self::Write => "write",
        }
    }
}

impl Tally {
    /// The power cuts at one kind of operation.
    #[must_use]
    pub const fn cuts_at(&self, kind: OpKind) -> u64 {
        self.cuts[kind as usize]
    }

    /// How often programs asked for one kind of operation.
    #[must_use]
    pub const fn asked_for(&self, kind: OpKind) -> u64 {
        self.asked[kind as usize]
    }

    /// Adds what another disk lived through.
    pub fn add(&mut self, other: &Self) {
        self.cuts.iter_mut().zip(other.cuts).for_each(|(mine, theirs)| *mine += theirs);
        self.asked.iter_mut().zip(other.asked).for_each(|(mine, theirs)| *mine += theirs);
        self.lost += other.lost;
        self.kept += other.kept;
        self.torn += other.torn;
        self.failed_syncs += other.failed_syncs;
        self.lied_syncs += other.lied_syncs;
        self.full += other.full;
        self.read_only += other.read_only;
    }
}

/// What a program is told when an operation fails.
pub(super) fn failure(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// `EIO`.
pub(super) const IO_ERROR: i32 = 5;
/// `ENOENT`.
pub(super) const NO_SUCH_FILE: i32 = 2;
/// `ENOSPC`.
pub(super) const NO_SPACE: i32 = 28;
/// `EROFS`.
pub(super) const READ_ONLY: i32 = 30;
