//! How long something that happens often took lately: a histogram of fixed size with percentiles.
//!
//! It has no clock: who keeps it says when a span is over. What is told is of the span under way and the one before it, so a
//! percentile is never of nothing right after a turn, and a slow hour is forgotten after two spans.

/// Times of the last one to two spans, in µs.
#[derive(Clone, Debug)]
pub struct Latencies {
    now: [u32; BUCKETS],
    before: [u32; BUCKETS],
}

impl Default for Latencies {
    fn default() -> Self {
        Self { now: [0; BUCKETS], before: [0; BUCKETS] }
    }
}

impl Latencies {
    /// Takes in one time, in µs.
    pub fn record(&mut self, us: u64) {
        let bucket = &mut self.now[bucket_of(us)];
        *bucket = bucket.saturating_add(1);
    }

    /// Ends a span; a new one begins.
    pub fn turn(&mut self) {
        self.before = std::mem::replace(&mut self.now, [0; BUCKETS]);
    }

    /// How many times are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts().sum()
    }

    /// The time that so many percent of all did not exceed, in µs: never less than the truth, and at most a quarter more.
    /// `None` when nothing was taken in.
    #[must_use]
    pub fn percentile_us(&self, percent: u8) -> Option<u64> {
        let count = self.count();
        // The place of the one that is asked for, from 1 on; rounded up, as 99 of 100 are the first 99.
        let place = (count * u64::from(percent.min(100))).div_ceil(100).max(1);
        let mut passed = 0;
        self.counts().enumerate().filter(|_| count > 0).find_map(|(bucket, in_it)| {
            passed += in_it;
            (passed >= place).then(|| highest_of(bucket))
        })
    }

    fn counts(&self) -> impl Iterator<Item = u64> + '_ {
        self.now.iter().zip(&self.before).map(|(now, before)| u64::from(*now) + u64::from(*before))
    }
}

/// Below 8 µs a bucket for each; above it four for each doubling.
fn bucket_of(us: u64) -> usize {
    let us = us.min(US_MAX);
    if us < FINE {
        return us as usize;
    }
    let doublings = us.ilog2() - FINE.ilog2();
    let quarter = (us >> (FINE.ilog2() + doublings - 2)) & 3;
    FINE as usize + 4 * doublings as usize + quarter as usize
}

/// The longest time that falls into a bucket, in µs.
fn highest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let (doublings, quarter) = ((bucket - FINE) / 4, (bucket - FINE) % 4);
    ((5 + quarter) << (FINE.ilog2() as u64 + doublings - 2)) - 1
}

/// From here on buckets are wider than a microsecond.
const FINE: u64 = 8;
/// Over an hour: whatever takes as long is as good as stuck.
const US_MAX: u64 = (1 << 32) - 1;
/// 8 fine ones, and four for each of the 29 doublings from 2^3 to 2^32.
const BUCKETS: usize = 8 + 4 * 29;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_is_at_most_a_quarter_too_high() {
        let mut last = 0;
        for us in (0..5000).chain((0..32).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let highest = highest_of(bucket_of(us));
            assert!(highest >= us && highest <= us + us / 4, "{us} is told as {highest}");
        }
        for bucket in 1..BUCKETS {
            assert!(highest_of(bucket) > last, "{bucket}");
            last = highest_of(bucket);
            assert_eq!(bucket_of(last), bucket);
        }
        assert_eq!((bucket_of(u64::MAX), last), (BUCKETS - 1, US_MAX));
    }

    #[test]
    fn percentiles_are_of_all_times_and_of_the_last_two_spans() {
        let mut times = Latencies::default();
        assert_eq!((times.count(), times.percentile_us(50)), (0, None));
        for _ in 0..99 {
            times.record(5);
        }
        times.record(800_000);
        assert_eq!((times.percentile_us(50), times.percentile_us(99)), (Some(5), Some(5)));
        assert!((800_000..1_000_000).contains(&times.percentile_us(100).unwrap()));
        times.record(800_000);
        assert!(times.percentile_us(99).unwrap() >= 800_000, "two of 101 are more than one in a hundred");
        times.turn();
        assert_eq!(times.count(), 101, "the span before still counts");
        times.record(7);
        times.turn();
        assert_eq!((times.count(), times.percentile_us(99)), (1, Some(7)), "the one before that does not");
    }

    #[test]
    fn a_flood_of_times_overflows_nothing() {
        let mut times = Latencies { now: [u32::MAX; BUCKETS], before: [u32::MAX; BUCKETS] };
        times.record(9);
        assert_eq!(times.percentile_us(0), Some(0));
        assert_eq!(times.percentile_us(255), Some(US_MAX));
    }
}
