//! The vault's two clocks. The wall clock bounds what is signed and may be wrong; the monotonic one times challenges.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdfast_types::Millis;

/// Time, as the vault is told of it.
pub trait Clock {
    /// The wall clock.
    fn now(&self) -> Millis;

    /// Time since some moment of this process; it never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    /// A clock before 1970 is before every genesis, so nothing is signed by it.
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
