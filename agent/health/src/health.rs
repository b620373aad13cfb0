//! Applies the table: keeps for each row and subject whether it holds and since when.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::Millis;

use crate::condition::{Change, Condition, Evidence, Grade, Part, SigningVerdict, Subject};
use crate::measure::{Measure, Sample, Samples, Seen, float, measure};
use crate::memory::Memory;
use crate::reading::Reading;
use crate::table::{ROWS, Row};

/// A moment by two clocks: durations go by the one that is never set, people are told the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that only goes forward; its beginning means nothing.
    pub monotonic_ms: u64,
    /// The time of day.
    pub unix: Millis,
}

/// What is known to be wrong.
#[derive(Clone, Debug, Default)]
pub struct Health {
    read: BTreeMap<Part, u64>,
    trackers: BTreeMap<(usize, Subject), Tracker>,
    shown: BTreeMap<(&'static str, Subject), Condition>,
    memory: Memory,
}

/// One row of the table for one subject.
#[derive(Clone, Debug)]
struct Tracker {
    /// The part whose reading it comes from; `None` for what is known without one.
    source: Option<Part>,
    /// Since when the values have spoken against what holds.
    turned: Option<Now>,
    /// Since when it has held.
    holds: Option<Now>,
    evidence: Vec<Evidence>,
}

impl Health {
    /// Nothing was read yet, so nothing is graded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a reading; answers what came, changed or went, by id and subject.
    pub fn observe(&mut self, now: Now, reading: &Reading) -> Vec<Change> {
        let part = reading.part();
        self.read.insert(part, now.monotonic_ms);
        self.memory.begin(part);
        let mut samples = Samples { now_ms: now.monotonic_ms, memory: &mut self.memory, list: Vec::new() };
        measure(reading, &mut samples);
        let list = samples.list;
        self.memory.end();
        let named = self.weigh(now, Some(part), &list);
        self.trackers.retain(|key, tracker| tracker.source != Some(part) || named.contains(key));
        self.weigh(now, None, &[unread(part, 0)]);
        self.publish()
    }

    /// Looks after the time alone: what should have been read and was not. To be called every minute or so.
    pub fn tick(&mut self, now: Now) -> Vec<Change> {
        let list: Vec<Sample> =
            self.read.iter().map(|(part, at_ms)| unread(*part, now.monotonic_ms.saturating_sub(*at_ms))).collect();
        self.weigh(now, None, &list);
        self.publish()
    }

    /// What holds, worst first, then by id and subject.
    #[must_use]
    pub fn conditions(&self) -> Vec<&Condition> {
        let mut all: Vec<&Condition> = self.shown.values().collect();
        all.sort_by_key(|condition| std::cmp::Reverse(condition.severity));
        all
    }

    /// How a part does: as well as its worst condition lets it; `None` while it was never read.
    #[must_use]
    pub fn grade(&self, part: Part) -> Option<Grade> {
        self.read.get(&part)?;
        let worst = self.shown.values().filter(|condition| condition.part == part).map(|condition| condition.severity);
        Some(worst.max().map_or(Grade::Good, Grade::of))
    }

    /// How the box does: as well as its worst condition lets it. `None` while nothing was read.
    #[must_use]
    pub fn box_grade(&self) -> Option<Grade> {
        let worst = self.shown.values().map(|condition| Grade::of(condition.severity)).max();
        Part::ALL.into_iter().filter_map(|part| self.grade(part)).chain(worst).max()
    }

    /// Whether the box may sign, as far as health can tell. Before the first reading it may: the vault itself signs nothing
    /// that it cannot record.
    #[must_use]
    pub fn signing(&self) -> SigningVerdict {
        let holding = self.trackers.iter().filter(|(_, tracker)| tracker.holds.is_some());
        let reasons: BTreeSet<_> = holding.filter_map(|((row, _), _)| ROWS[*row].stops).collect();
        if reasons.is_empty() { SigningVerdict::MayGoOn } else { SigningVerdict::MustStop { reasons } }
    }

    /// Holds every sample against the rows of its measure; answers what the samples named.
    fn weigh(&mut self, now: Now, source: Option<Part>, samples: &[Sample]) -> BTreeSet<(usize, Subject)> {
        let mut named = BTreeSet::new();
        for sample in samples {
            for (index, row) in ROWS.iter().enumerate().filter(|(_, row)| row.measure == sample.measure) {
                let key = (index, sample.of.clone());
                match sample.seen {
                    Seen::Moot => continue,
                    // A duration counts only over values that are there.
                    Seen::Unknown => {
                        self.trackers.entry(key.clone()).and_modify(|tracker| tracker.turned = None);
                    }
                    Seen::Value(value) => {
                        let tracker = self.trackers.entry(key.clone()).or_insert(Tracker::new(source));
                        tracker.weigh(now, row, value);
                        if tracker.holds.is_some() {
                            tracker.evidence = evidence(row, value, &sample.of, samples);
                        }
                    }
                }
                named.insert(key);
            }
        }
        named
    }

    /// Brings what is shown in line with what holds.
    fn publish(&mut self) -> Vec<Change> {
        let mut holding: BTreeMap<(&'static str, Subject), Condition> = BTreeMap::new();
        for ((index, of), tracker) in &self.trackers {
            let Some(since) = tracker.holds else { continue };
            let condition = condition(ROWS[*index], of, since, &tracker.evidence);
            let key = (condition.id, of.clone());
            // Of the rows of one condition the worst that holds is shown.
            if holding.get(&key).is_none_or(|other| other.severity < condition.severity) {
                holding.insert(key, condition);
            }
        }
        let before = std::mem::replace(&mut self.shown, holding);
        let keys: BTreeSet<_> = before.keys().chain(self.shown.keys()).collect();
        let change = |key| match (before.get(key), self.shown.get(key)) {
            (None, Some(now)) => Some(Change::Entered(now.clone())),
            (Some(then), None) => Some(Change::Left(then.clone())),
            (Some(then), Some(now)) if then.severity != now.severity => {
                Some(Change::Severity { from: then.severity, to: now.clone() })
            }
            _ => None,
        };
        keys.into_iter().filter_map(change).collect()
    }
}

impl Tracker {
    fn new(source: Option<Part>) -> Self {
        Self { source, turned: None, holds: None, evidence: Vec::new() }
    }

    fn weigh(&mut self, now: Now, row: &Row, value: f64) {
        let (against, span_s) = match self.holds {
            None => (row.limit.is_crossed(value), row.enter_s),
            Some(_) => (row.limit.is_kept(value), row.leave_s),
        };
        if !against {
            self.turned = None;
            return;
        }
        let turned = *self.turned.get_or_insert(now);
        if now.monotonic_ms.saturating_sub(turned.monotonic_ms) >= span_s.saturating_mul(1000) {
            self.holds = if self.holds.is_none() { Some(turned) } else { None };
            self.turned = None;
        }
    }
}

/// For how long a part was not read.
fn unread(part: Part, ms: u64) -> Sample {
    Sample { measure: Measure::SystemBlind, of: Subject::named(part.name()), seen: Seen::Value(float(ms) / 1000.0) }
}

fn evidence(row: &Row, value: f64, of: &Subject, samples: &[Sample]) -> Vec<Evidence> {
    let number = |measure: Measure, value, limit| Evidence { name: measure.name(), value, unit: measure.unit(), limit };
    let beside = row.beside.iter().filter_map(|measure| {
        let sample = samples.iter().find(|sample| sample.measure == *measure && sample.of == *of)?;
        let Seen::Value(value) = sample.seen else { return None };
        Some(number(*measure, value, None))
    });
    std::iter::once(number(row.measure, value, Some(row.limit.enter()))).chain(beside).collect()
}

fn condition(row: &Row, of: &Subject, since: Now, evidence: &[Evidence]) -> Condition {
    let value = evidence.first().map(|first| first.unit.show(first.value)).unwrap_or_default();
    let beside = evidence.get(1).map(|second| second.unit.show(second.value)).unwrap_or_else(|| "unknown".to_owned());
    Condition {
        id: row.id,
        of: of.clone(),
        part: row.part,
        severity: row.severity,
        since,
        summary: row.says(of.as_str(), &value, &beside),
        evidence: evidence.to_vec(),
        touches: row.touches,
        remedy: row.remedy,
        limit_from: row.limit_from,
    }
}
