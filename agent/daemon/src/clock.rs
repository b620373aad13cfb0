//! The wall clock, right or wrong, and whether it is known to be right.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_hal_linux::Machine;
use holdfast_types::Millis;

/// The time that the machine shows.
#[must_use]
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Whether the clock was synchronised since the start. Once it was, it stays so: it drifts by seconds a day at worst.
#[derive(Debug)]
pub struct Synchronised {
    machine: Machine,
    was: AtomicBool,
}

impl Synchronised {
    /// By what the kernel of this machine says.
    #[must_use]
    pub fn by(machine: Machine) -> Self {
        Self { machine, was: AtomicBool::new(false) }
    }

    /// Asks the kernel, unless it said yes before.
    #[must_use]
    pub fn is(&self) -> bool {
        if !self.was.load(Ordering::Relaxed) && self.machine.clock_is_synchronised() {
            self.was.store(true, Ordering::Relaxed);
        }
        self.was.load(Ordering::Relaxed)
    }
}
