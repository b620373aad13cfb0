//! The bounds of the API, each with its reason, and the buckets that hold requests to a rate.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Bounds that tests make smaller.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections over which requests may come: many commands, consoles and monitors, and their event streams.
    pub connections: usize,
    /// Of these, without a certificate: someone who pairs, and strangers.
    pub strangers: usize,
    /// Connections in the middle of a handshake, each of which costs a signature.
    pub handshaking: usize,
    /// Connections that have said nothing yet. They cost a socket.
    pub silent: usize,
    /// For the first byte, and again for the handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the last of its header.
    pub header: Duration,
    /// For a body of the usual size.
    pub body: Duration,
    /// For the body of a lock.
    pub large_body: Duration,
    /// How long a client with a certificate, or one that has paired, may say nothing between two requests.
    pub idle: Duration,
    /// The same for a stranger.
    pub idle_stranger: Duration,
    /// How long an answer that its reader does not take is kept for him.
    pub stalled: Duration,
    /// How often an event stream says that it is there.
    pub heartbeat: Duration,
    /// Requests of one certificate.
    pub rate: Rate,
    /// Requests without a certificate, of one address.
    pub rate_stranger: Rate,
    /// Evidence and credentials, of all together: each keeps the TPM for a second, which signing also needs.
    pub rate_evidence: Rate,
    /// Tests of beacon nodes, of all together: each makes the box connect to where it is told.
    pub rate_beacon_test: Rate,
}

/// So many at once, and one more after each period.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// Between two, when the burst is used up.
    pub every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connections: 256,
            strangers: 32,
            handshaking: 64,
            silent: 256,
            handshake: seconds(10),
            header: seconds(10),
            body: seconds(30),
            large_body: seconds(180),
            idle: seconds(600),
            idle_stranger: seconds(30),
            stalled: seconds(60),
            heartbeat: seconds(15),
            rate: Rate { burst: 200, every: Duration::from_millis(20) },
            rate_stranger: Rate { burst: 30, every: Duration::from_millis(500) },
            rate_evidence: Rate { burst: 10, every: seconds(3) },
            rate_beacon_test: Rate { burst: 8, every: seconds(2) },
        }
    }
}

/// A bucket for each of those who ask, as many as are kept.
#[derive(Debug)]
pub(super) struct Buckets<K>(Mutex<BTreeMap<K, Bucket>>, Rate);

#[derive(Debug)]
struct Bucket {
    left: u32,
    since: Instant,
}

impl<K: Ord + Clone> Buckets<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self(Mutex::new(BTreeMap::new()), rate)
    }

    /// Takes one, or says how long to wait for it.
    pub(super) fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let Rate { burst, every } = self.1;
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(key) {
            // A full bucket says as much as none. When none is full, the one that is nearest to it goes.
            buckets.retain(|_, bucket| bucket.refilled(now, burst, every) < burst);
            if buckets.len() >= BUCKETS_MAX
                && let Some(key) = buckets.iter().max_by_key(|(_, bucket)| bucket.left).map(|(key, _)| key.clone())
            {
                buckets.remove(&key);
            }
        }
        let bucket = buckets.entry(key.clone()).or_insert(Bucket { left: burst, since: now });
        let left = bucket.refilled(now, burst, every);
        if left > bucket.left {
            bucket.since = if left == burst { now } else { bucket.since + every * (left - bucket.left) };
            bucket.left = left;
        }
        match bucket.left.checked_sub(1) {
            Some(left) => {
                if bucket.left == burst {
                    bucket.since = now;
                }
                bucket.left = left;
                Ok(())
            }
            None => Err((bucket.since + every).saturating_duration_since(now)),
        }
    }
}

impl Bucket {
    fn refilled(&self, now: Instant, burst: u32, every: Duration) -> u32 {
        let periods = now.saturating_duration_since(self.since).as_nanos() / every.as_nanos().max(1);
        self.left.saturating_add(u32::try_from(periods).unwrap_or(u32::MAX)).min(burst)
    }
}

/// More clients than a box has; an attacker with more addresses only empties buckets of others that are nearly full.
const BUCKETS_MAX: usize = 1_024;
/// The body of every request but a lock's.
pub(super) const BODY_LEN_MAX: usize = 1 << 20;
/// A lock of a thousand validators has 4 MiB.
pub(super) const LOCK_LEN_MAX: usize = 16 << 20;
/// Bodies of the larger kind at a time: they are held in memory.
pub(super) const LARGE_BODIES_MAX: usize = 2;
/// Readers of events at a time: the consoles of a few operators and their monitors.
pub(super) const FOLLOWERS_MAX: usize = 32;
/// What a header may have, path and query included.
pub(super) const HEADER_LEN_MAX: usize = 16 * 1024;
/// More headers than any client sends.
pub(super) const HEADERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_by_one_each_period() {
        let buckets = Buckets::new(Rate { burst: 2, every: Duration::from_secs(3) });
        let start = Instant::now();
        let at = |seconds| buckets.take(&"a", start + Duration::from_secs(seconds));
        assert_eq!((at(0), at(0)), (Ok(()), Ok(())));
        assert_eq!(at(1), Err(Duration::from_secs(2)));
        assert_eq!(buckets.take(&"b", start), Ok(()));
        assert_eq!((at(3), at(4)), (Ok(()), Err(Duration::from_secs(2))));
        assert_eq!((at(60), at(60), at(60)), (Ok(()), Ok(()), Err(Duration::from_secs(3))));
    }

    #[test]
    fn buckets_do_not_grow_without_bound() {
        let buckets = Buckets::new(Rate { burst: 2, every: Duration::from_secs(3) });
        let now = Instant::now();
        buckets.take(&9_999, now).unwrap();
        buckets.take(&9_999, now).unwrap();
        for key in 0..5_000 {
            buckets.take(&key, now).unwrap();
        }
        assert!(buckets.0.lock().unwrap().len() <= BUCKETS_MAX);
        assert!(buckets.take(&9_999, now).is_err(), "an empty bucket was thrown out before a fuller one");
    }
}
