//! Logging: for people on a terminal, JSON lines everywhere else. `RUST_LOG` sets what is told.
//!
//! Whoever writes a line, ours or a library's, and even a panic's: of every URL only the host is told.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::logs::{Logs, without_secrets};

/// Begins to log to standard error, and keeps the last lines. Panics are told there too.
#[must_use]
pub fn start() -> Logs {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = Logs::default();
    let registry = tracing_subscriber::registry().with(filter).with(logs.clone());
    panic::set_hook(Box::new(tell_panic));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Clean(io::stderr()));
    if io::stderr().is_terminal() {
        registry.with(lines).init();
    } else {
        registry.with(lines.json().flatten_event(true)).init();
    }
    logs
}

/// A writer of text that gets every line whole.
struct Clean<W>(W);

impl<W: Write> Write for Clean<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(without_secrets(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Not by way of the subscriber, which may be where it panicked.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let mut text = format!("thread {:?} {panic}", thread.name().unwrap_or("without a name"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text.push_str(&format!("\n{backtrace}"));
    }
    // Where nobody can be told, nobody is.
    let _ = writeln!(io::stderr(), "{}", without_secrets(&text));
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
