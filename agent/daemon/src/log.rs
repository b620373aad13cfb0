//! Logging: for people on a terminal, JSON lines everywhere else. `RUST_LOG` sets what is told.

use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::logs::Logs;

/// Begins to log to standard error, and keeps the last lines.
#[must_use]
pub fn start() -> Logs {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = Logs::default();
    let registry = tracing_subscriber::registry().with(filter).with(logs.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    if io::stderr().is_terminal() {
        registry.with(lines).init();
    } else {
        registry.with(lines.json().flatten_event(true)).init();
    }
    logs
}

/// Keeps a source from filling the log: one line per period, and the next line says how many were left out.
#[derive(Debug, Default)]
pub(crate) struct LogLimit(Mutex<(Option<Instant>, u64)>);

impl LogLimit {
    /// `Some` when a line may be written, with the number of lines that were left out since the last.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let (last, unsaid) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.duration_since(last) < LOG_PERIOD) {
            *unsaid += 1;
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(unsaid))
    }
}

const LOG_PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_period_tells_of_those_left_out() {
        let limit = LogLimit::default();
        let start = Instant::now();
        assert_eq!(limit.admit(start), Some(0));
        assert_eq!(limit.admit(start + Duration::from_secs(1)), None);
        assert_eq!(limit.admit(start + Duration::from_secs(9)), None);
        assert_eq!(limit.admit(start + Duration::from_secs(10)), Some(2));
        assert_eq!(limit.admit(start + Duration::from_secs(11)), None);
    }
}
