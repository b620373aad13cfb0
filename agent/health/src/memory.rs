//! What earlier readings leave behind: how counters grew, and how what is left became less. Bounded by the number of
//! measures and subjects; what a part no longer names is forgotten.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::condition::{Part, Subject};
use crate::measure::{Measure, float};

/// A measure of a subject.
type Key<'a> = (Measure, &'a Subject);

/// What is remembered, by measure and subject.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    kept: BTreeMap<Place, (Part, Kept)>,
    reading: Option<Part>,
    touched: BTreeSet<Place>,
}

/// Measure, subject, and whether it is the whole that the measure is a share of.
type Place = (Measure, Subject, bool);

#[derive(Clone, Debug)]
enum Kept {
    Growth(Growth),
    Trend(Trend),
}

impl Memory {
    /// A reading of a part begins.
    pub(crate) fn begin(&mut self, part: Part) {
        self.reading = Some(part);
        self.touched.clear();
    }

    /// It is whole: what it did not name is forgotten. A value that could not be read forgets as well, so that a sensor
    /// that comes back after hours does not bring them all at once.
    pub(crate) fn end(&mut self) {
        let (reading, touched) = (self.reading.take(), std::mem::take(&mut self.touched));
        self.kept.retain(|key, (part, _)| Some(*part) != reading || touched.contains(key));
    }

    /// By how much a counter grew within the last `span_ms`. A counter that fell began again at zero.
    pub(crate) fn growth(&mut self, key: Key<'_>, now_ms: u64, span_ms: u64, counter: u64) -> u64 {
        self.growth_in((key.0, key.1.clone(), false), now_ms, span_ms, counter)
    }

    /// The same for the counter that this measure is a share of.
    pub(crate) fn growth_of_whole(&mut self, key: Key<'_>, now_ms: u64, span_ms: u64, counter: u64) -> u64 {
        self.growth_in((key.0, key.1.clone(), true), now_ms, span_ms, counter)
    }

    fn growth_in(&mut self, place: Place, now_ms: u64, span_ms: u64, counter: u64) -> u64 {
        match self.kept(place, || Kept::Growth(Growth::new(now_ms, counter))) {
            Some(Kept::Growth(growth)) => growth.add(now_ms, span_ms, counter),
            _ => 0,
        }
    }

    /// Days until nothing is left, from how it became less within the last day; `None` while it is watched for too
    /// short a time.
    pub(crate) fn days_left(&mut self, key: Key<'_>, now_ms: u64, left: u64) -> Option<f64> {
        match self.kept((key.0, key.1.clone(), false), || Kept::Trend(Trend::default()))? {
            Kept::Trend(trend) => trend.add(now_ms, left),
            Kept::Growth(_) => None,
        }
    }

    fn kept(&mut self, place: Place, new: impl FnOnce() -> Kept) -> Option<&mut Kept> {
        let part = self.reading?;
        self.touched.insert(place.clone());
        Some(&mut self.kept.entry(place).or_insert_with(|| (part, new())).1)
    }
}

/// How a counter grew, in [`BUCKETS`] pieces of the span, so that it costs the same whatever happens.
#[derive(Clone, Debug)]
struct Growth {
    last: u64,
    newest: u64,
    buckets: [u64; BUCKETS],
}

impl Growth {
    fn new(now_ms: u64, counter: u64) -> Self {
        // The first reading only sets the mark: what came before it has no time.
        Self { last: counter, newest: now_ms, buckets: [0; BUCKETS] }
    }

    fn add(&mut self, now_ms: u64, span_ms: u64, counter: u64) -> u64 {
        let piece_ms = (span_ms / BUCKETS as u64).max(1);
        let turned = (now_ms.saturating_sub(self.newest) / piece_ms).min(BUCKETS as u64);
        for _ in 0..turned {
            self.buckets.rotate_right(1);
            self.buckets[0] = 0;
        }
        self.newest =
            if turned == BUCKETS as u64 { now_ms } else { self.newest.saturating_add(turned.saturating_mul(piece_ms)) };
        let grown = counter.checked_sub(self.last).unwrap_or(counter);
        self.last = counter;
        self.buckets[0] = self.buckets[0].saturating_add(grown);
        self.buckets.iter().fold(0, |sum: u64, bucket| sum.saturating_add(*bucket))
    }
}

/// What was left at each hour of the last day.
#[derive(Clone, Debug, Default)]
struct Trend {
    points: VecDeque<(u64, u64)>,
}

impl Trend {
    fn add(&mut self, now_ms: u64, left: u64) -> Option<f64> {
        if self.points.back().is_none_or(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= TREND_STEP_MS) {
            self.points.push_back((now_ms, left));
        }
        while self.points.len() > TREND_POINTS_MAX {
            self.points.pop_front();
        }
        let (at_ms, then) = *self.points.front()?;
        let watched_ms = now_ms.saturating_sub(at_ms);
        let per_day = float(then.saturating_sub(left)) * float(TREND_STEP_MS * 24) / float(watched_ms);
        (watched_ms >= TREND_LEAST_MS).then(|| days(float(left) / per_day))
    }
}

/// A number of days, at most [`DAYS_MAX`]: what is not used up at all lasts as long as that.
pub(crate) fn days(days: f64) -> f64 {
    if days.is_nan() { DAYS_MAX } else { days.min(DAYS_MAX) }
}

/// Growth is known to a twelfth of its span, too much rather than too little.
const BUCKETS: usize = 12;
/// A hundred years.
const DAYS_MAX: f64 = 36_500.0;
/// One point an hour over a day.
const TREND_STEP_MS: u64 = 3_600_000;
const TREND_POINTS_MAX: usize = 25;
/// A shorter time would take one update or one log for a trend.
const TREND_LEAST_MS: u64 = 6 * TREND_STEP_MS;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn read(memory: &mut Memory, read: impl FnOnce(&mut Memory) -> u64) -> u64 {
        memory.begin(Part::Disk);
        let value = read(memory);
        memory.end();
        value
    }

    #[test]
    fn growth_counts_from_the_first_reading_and_ends_with_its_span() {
        let (mut memory, of) = (Memory::default(), Subject::ONLY);
        let mut grown =
            |now, counter| read(&mut memory, |memory| memory.growth((Measure::DiskIo, &of), now, HOUR, counter));
        assert_eq!(grown(0, 1000), 0, "what was before has no time");
        assert_eq!(grown(60_000, 1003), 3);
        assert_eq!(grown(HOUR / 2, 1004), 4);
        assert_eq!(grown(HOUR + 300_000, 1004), 1, "the first three are over an hour ago");
        assert_eq!(grown(HOUR + 310_000, 2), 3, "a counter that fell began again");
        assert_eq!(grown(100 * HOUR, 2), 0);
        assert_eq!(grown(0, 2), 0, "a clock that goes back changes nothing");
        assert_eq!(grown(u64::MAX, u64::MAX), u64::MAX - 2);
    }

    #[test]
    fn what_a_reading_no_longer_names_is_forgotten() {
        let (mut memory, of) = (Memory::default(), Subject::named("sda"));
        assert_eq!(read(&mut memory, |memory| memory.growth((Measure::DiskIo, &of), 0, HOUR, 5)), 0);
        assert_eq!(read(&mut memory, |_| 0), 0);
        assert!(memory.kept.is_empty());
        assert_eq!(read(&mut memory, |memory| memory.growth((Measure::DiskIo, &of), 1, HOUR, 9)), 0);
    }

    #[test]
    fn days_left_follow_from_a_day_and_want_six_hours() {
        let (mut memory, of) = (Memory::default(), Subject::ONLY);
        let mut days = |now: u64, left: u64| {
            memory.begin(Part::Disk);
            let days = memory.days_left((Measure::DiskDaysLeft, &of), now, left);
            memory.end();
            days
        };
        assert_eq!(days(0, 1240), None);
        assert_eq!(days(3 * HOUR, 1210), None, "too short");
        assert_eq!(days(6 * HOUR, 1180), Some(1180.0 / 240.0));
        assert_eq!(days(7 * HOUR, 1300), Some(DAYS_MAX), "it does not get less");
        for hour in 8..200 {
            days(hour * HOUR, 1000);
        }
        assert_eq!(days(200 * HOUR, 1000), Some(DAYS_MAX), "the old decline is over");
        assert_eq!(days(201 * HOUR, 0), Some(0.0));
        assert!(
            memory
                .kept
                .values()
                .all(|(_, kept)| !matches!(kept, Kept::Trend(trend) if trend.points.len() > TREND_POINTS_MAX))
        );
    }
}
