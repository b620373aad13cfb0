//! The real machine, by the files that its kernel shows below a root folder.
//!
//! The root folder is given, so that a recorded machine reads like the one at hand. What readings mean is
//! decided elsewhere, and the TPM is `hal/tpm`. What other programs of the machine print (`smartctl`, `chronyc`, `upsc`) is
//! parsed here and asked for elsewhere. The one thing that it does is to have the machine restarted.

mod board;
mod chrony;
mod clock;
mod cpu;
mod files;
mod memory;
mod net;
mod power;
mod process;
pub mod restart;
mod smart;
mod storage;
mod system;

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use holdfast_hal::board::{Architecture, Board};
use holdfast_hal::clock::ClockReading;
use holdfast_hal::cpu::CpuReading;
use holdfast_hal::link::NetReading;
use holdfast_hal::machine::{Clock, Cpu, Link, Memory, Power, Storage, System};
use holdfast_hal::memory::MemoryReading;
use holdfast_hal::power::{BootCause, PowerReading};
use holdfast_hal::process::ProcessReading;
use holdfast_hal::restart::{Restart, RestartError};
use holdfast_hal::storage::StorageReading;
use holdfast_hal::system::SystemReading;

pub use board::{BOARDS, BoardError, parse_board};
pub use chrony::{parse_authdata, parse_tracking};
pub use power::parse_upsc;
pub use smart::{SmartError, parse_smart};

/// A Linux machine below a root folder.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    board: Option<Board>,
    filesystems: Vec<(String, bool)>,
    used_ports: BTreeSet<String>,
}

impl Machine {
    /// The machine whose files lie below `root`: a recorded one, in tests.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), board: None, filesystems: Vec::new(), used_ports: BTreeSet::new() }
    }

    /// The machine that this process runs on.
    #[must_use]
    pub fn real() -> Self {
        Self::at("/")
    }

    /// Lets the sensors be those of a board.
    #[must_use]
    pub fn with_board(mut self, board: Board) -> Self {
        self.board = Some(board);
        self
    }

    /// Has a filesystem read as well, by where it is mounted, and says whether the box writes to it.
    #[must_use]
    pub fn with_filesystem(mut self, mount: impl Into<String>, written: bool) -> Self {
        self.filesystems.push((mount.into(), written));
        self
    }

    /// The board that this machine is, of those that come with this build.
    #[must_use]
    pub fn recognise(&self, architecture: Architecture) -> Option<Board> {
        board::recognise(&self.root, architecture)
    }

    /// What this process costs now. The kernel walks the process' whole memory for it (a few ms for one of 100 MiB), so
    /// this is for a reading every few seconds, not for every request of a stranger.
    #[must_use]
    pub fn own_process(&self) -> ProcessReading {
        process::read(&self.root.join("proc/self"))
    }

    /// Whether something keeps the clock right. A recorded machine has no clock that anybody could ask.
    #[must_use]
    pub fn clock_is_synchronised(&self) -> bool {
        self.root.as_os_str() == "/" && clock::is_synchronised()
    }

    /// What this boot tells of the end of the one before.
    #[must_use]
    pub fn boot_cause(&self) -> BootCause {
        power::boot_cause(&self.root)
    }
}

impl Storage for Machine {
    fn storage(&mut self) -> StorageReading {
        storage::read(&self.root, &self.filesystems)
    }
}

impl Memory for Machine {
    fn memory(&mut self) -> MemoryReading {
        memory::read(&self.root)
    }
}

impl Cpu for Machine {
    fn cpu(&mut self) -> CpuReading {
        cpu::read(&self.root, self.board.as_ref())
    }
}

impl Power for Machine {
    fn power(&mut self) -> PowerReading {
        power::read(&self.root, self.board.as_ref())
    }
}

impl Clock for Machine {
    /// What the kernel knows; the rest is what `chronyc` prints.
    fn clock(&mut self) -> ClockReading {
        let here = self.root.as_os_str() == "/";
        ClockReading { synchronised: here.then(clock::is_synchronised), ..ClockReading::default() }
    }
}

impl Link for Machine {
    fn net(&mut self) -> NetReading {
        net::read(&self.root, &mut self.used_ports)
    }
}

impl System for Machine {
    fn system(&mut self) -> SystemReading {
        system::read(&self.root)
    }
}

/// A recorded machine is never restarted: the one at hand would be.
impl Restart for Machine {
    fn can_restart(&self) -> Result<(), RestartError> {
        restart::can_restart(&self.root)
    }

    fn restart(&self) -> Result<(), RestartError> {
        self.can_restart()?;
        if self.root.as_os_str() == "/" {
            restart::restart()
        } else {
            Err(io::Error::from(ErrorKind::Unsupported).into())
        }
    }
}
