//! Everything that is looked for, one row each: what is measured, the limit with its hysteresis, how long it must be
//! crossed, what is said, and where the limit comes from. The rows of one id are its severities; the worst that holds is
//! shown.
//!
//! How to read a row: `above(240.0, 200.0)` comes when the value has been above 240 for the first of the `for_s` times, and
//! goes when it has been at or below 200 for the second. `below` is the other way round. In the text `{of}` is the subject,
//! `{value}` the value that crossed the limit, and `{beside}` the first of the values that are told beside it.
//!
//! "Reference" is the list of tests and limits that operators of distributed validators know today; where its figure is
//! taken over, the row says so.

mod cluster;
mod disk;
mod machine;
mod net;
mod time;
mod tpm;

use std::sync::LazyLock;

use holdfast_types::DutyKind;

use crate::condition::{Part, Severity, StopReason, Touches};
use crate::measure::Measure;

pub(crate) use tpm::is_known_bad;

/// All rows, in the order of their parts.
pub static ROWS: LazyLock<Vec<&'static Row>> = LazyLock::new(|| {
    let tables: [&'static [Row]; 6] = [disk::ROWS, machine::ROWS, time::ROWS, tpm::ROWS, net::ROWS, cluster::ROWS];
    tables.into_iter().flatten().collect()
});

/// One severity of one condition.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Name of the condition, the same for ever.
    pub id: &'static str,
    /// The part that it counts against.
    pub part: Part,
    /// How bad it is.
    pub severity: Severity,
    /// What is measured.
    pub measure: Measure,
    /// The limit.
    pub limit: Limit,
    /// How long the limit must be crossed before the condition comes, in s.
    pub enter_s: u64,
    /// How long it must be kept before it goes, in s.
    pub leave_s: u64,
    /// State and reason, with places for numbers.
    pub text: &'static str,
    /// What is told beside the measure.
    pub beside: &'static [Measure],
    /// Which duties it costs.
    pub touches: Touches,
    /// What to do, in a sentence.
    pub remedy: &'static str,
    /// Where the limit comes from.
    pub limit_from: &'static str,
    /// Whether it stops signing, and as what.
    pub stops: Option<StopReason>,
}

/// A limit with two edges, so that a value between them changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Crossed above `enter`, kept at or below `leave`.
    Above {
        /// The edge outwards.
        enter: f64,
        /// The edge back.
        leave: f64,
    },
    /// Crossed below `enter`, kept at or above `leave`.
    Below {
        /// The edge outwards.
        enter: f64,
        /// The edge back.
        leave: f64,
    },
}

impl Limit {
    /// Whether a value is beyond the edge outwards.
    #[must_use]
    pub fn is_crossed(self, value: f64) -> bool {
        match self {
            Self::Above { enter, .. } => value > enter,
            Self::Below { enter, .. } => value < enter,
        }
    }

    /// Whether a value is at or within the edge back.
    #[must_use]
    pub fn is_kept(self, value: f64) -> bool {
        match self {
            Self::Above { leave, .. } => value <= leave,
            Self::Below { leave, .. } => value >= leave,
        }
    }

    /// The edge outwards.
    #[must_use]
    pub const fn enter(self) -> f64 {
        match self {
            Self::Above { enter, .. } | Self::Below { enter, .. } => enter,
        }
    }
}

impl Row {
    /// The text with its numbers.
    pub(crate) fn says(&self, of: &str, value: &str, beside: &str) -> String {
        // Our own places go first and the name last, so that a name with braces in it stays what it is.
        self.text.replace("{value}", value).replace("{beside}", beside).replace("{of}", of)
    }

    const fn new(severity: Severity, part: Part, id: &'static str, measure: Measure) -> Self {
        Self {
            id,
            part,
            severity,
            measure,
            limit: Limit::Above { enter: 0.0, leave: 0.0 },
            enter_s: 0,
            leave_s: 0,
            text: "",
            beside: &[],
            touches: Touches::Nothing,
            remedy: "",
            limit_from: "",
            stops: None,
        }
    }

    const fn above(mut self, enter: f64, leave: f64) -> Self {
        self.limit = Limit::Above { enter, leave };
        self
    }

    const fn below(mut self, enter: f64, leave: f64) -> Self {
        self.limit = Limit::Below { enter, leave };
        self
    }

    /// A flag: crossed when it is up.
    const fn set(self) -> Self {
        self.above(0.0, 0.0)
    }

    const fn for_s(mut self, enter_s: u64, leave_s: u64) -> Self {
        self.enter_s = enter_s;
        self.leave_s = leave_s;
        self
    }

    const fn beside(mut self, measures: &'static [Measure]) -> Self {
        self.beside = measures;
        self
    }

    const fn text(mut self, text: &'static str) -> Self {
        self.text = text;
        self
    }

    const fn remedy(mut self, remedy: &'static str) -> Self {
        self.remedy = remedy;
        self
    }

    const fn costs(mut self, duties: &'static [DutyKind]) -> Self {
        self.touches = Touches::Now(duties);
        self
    }

    const fn may_cost(mut self, duties: &'static [DutyKind]) -> Self {
        self.touches = Touches::Soon(duties);
        self
    }

    const fn from(mut self, limit_from: &'static str) -> Self {
        self.limit_from = limit_from;
        self
    }

    const fn stops(mut self, reason: StopReason) -> Self {
        self.stops = Some(reason);
        self
    }
}

const fn info(part: Part, id: &'static str, measure: Measure) -> Row {
    Row::new(Severity::Info, part, id, measure)
}

const fn warning(part: Part, id: &'static str, measure: Measure) -> Row {
    Row::new(Severity::Warning, part, id, measure)
}

const fn critical(part: Part, id: &'static str, measure: Measure) -> Row {
    Row::new(Severity::Critical, part, id, measure)
}

/// Every duty of a validator.
const ALL: &[DutyKind] = &[
    DutyKind::Proposer,
    DutyKind::Attester,
    DutyKind::Randao,
    DutyKind::PrepareAggregator,
    DutyKind::Aggregator,
    DutyKind::SyncMessage,
    DutyKind::PrepareSyncContribution,
    DutyKind::SyncContribution,
];

/// The duties that lose their worth within a slot.
const TIMELY: &[DutyKind] =
    &[DutyKind::Proposer, DutyKind::Attester, DutyKind::Aggregator, DutyKind::SyncMessage, DutyKind::SyncContribution];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_is_whole_and_its_hysteresis_the_right_way_round() {
        assert!(ROWS.len() > 80);
        let mut seen = BTreeSet::new();
        for row in ROWS.iter() {
            let name = format!("{} {}", row.id, row.severity.name());
            assert!(seen.insert((row.id, row.severity)), "{name} is there twice");
            assert!(
                row.remedy.len() > 20 && row.limit_from.len() > 10 && row.text.len() > 10,
                "{name} says too little"
            );
            assert!(!row.remedy.ends_with('.') && !row.text.ends_with('.'), "{name} ends with a full stop");
            match row.limit {
                Limit::Above { enter, leave } => assert!(leave <= enter, "{name}"),
                Limit::Below { enter, leave } => assert!(leave >= enter, "{name}"),
            }
            let left = row.says("", "", "");
            assert!(!left.contains(['{', '}']), "{name} has a place that nobody fills: {left}");
            assert_eq!(
                row.text.contains("{beside}"),
                row.text.contains("{beside}") && !row.beside.is_empty(),
                "{name}"
            );
            let (part, _) = row.id.split_once('.').unwrap();
            let own = part == row.part.name() || (part == "peer" && row.part == Part::Peers);
            assert!(own, "{name} counts against {}", row.part.name());
        }
    }

    #[test]
    fn the_rows_of_one_id_count_against_one_part_and_measure() {
        for row in ROWS.iter() {
            for other in ROWS.iter().filter(|other| other.id == row.id) {
                assert_eq!((row.part, row.measure), (other.part, other.measure), "{}", row.id);
                if row.severity < other.severity {
                    let (mild, bad) = (row.limit, other.limit);
                    assert!(mild.is_crossed(bad.enter()), "{}: the worse row is not further out", row.id);
                }
            }
        }
    }

    #[test]
    fn only_what_endangers_signing_safety_stops_signing() {
        let stopping: Vec<_> = ROWS.iter().filter_map(|row| Some((row.id, row.severity, row.stops?))).collect();
        assert_eq!(
            stopping,
            [
                ("disk.history-not-writable", Severity::Critical, StopReason::HistoryNotWritable),
                ("clock.off-quorum", Severity::Critical, StopReason::ClockOffQuorum),
            ]
        );
    }

    #[test]
    fn a_name_with_places_in_it_stays_a_name() {
        let row = ROWS.iter().find(|row| row.id == "peer.gone").unwrap();
        assert!(row.says("{value}", "1", "2").contains("{value}"));
    }
}
