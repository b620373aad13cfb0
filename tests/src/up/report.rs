//! The summary of a run, for people and as JSON.

use std::fmt;

use holdfast_api::DutyRecord;
use serde::{Deserialize, Serialize};

use crate::kit::{Figures, Inclusion};

/// What a run showed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Validator duties of the cluster, once per duty.
    pub expected: usize,
    /// Those whose vote is on the chain.
    pub included: usize,
    /// Slots with duties of the cluster that were decided.
    pub decided: usize,
    /// Those decided in round 1 on every node that decided.
    pub decided_round_1: usize,
    /// Votes that are not on the chain.
    pub missed: Vec<MissedVote>,
    /// After the duty's start, in milliseconds, over all nodes.
    pub latency_ms: Latency,
    /// What each node cost.
    pub nodes: Vec<NodeCost>,
}

/// A vote that is not on the chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MissedVote {
    /// The slot.
    pub slot: u64,
    /// The validator's public key.
    pub validator: String,
    /// What the chain and the nodes say.
    pub why: String,
}

/// When duties reached a step.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// The value was decided.
    pub decided: Quantiles,
    /// A beacon node took the first attestation.
    pub broadcast: Quantiles,
}

/// Quantiles of a list, by the nearest rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// The tenth of a hundred.
    pub p10: i64,
    /// The middle.
    pub p50: i64,
    /// The ninetieth of a hundred.
    pub p90: i64,
}

/// What a node's two processes cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct NodeCost {
    /// Memory of their own, in KiB.
    pub private_kib: u64,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// Processor time of a slot, in seconds.
    pub cpu_s_per_slot: f64,
    /// Bytes of frames from and to peers in a slot.
    pub bytes_per_slot: u64,
}

impl Quantiles {
    /// The quantiles of `values`; zeros when there are none.
    #[must_use]
    pub fn of(mut values: Vec<i64>) -> Self {
        values.sort_unstable();
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or_default()
        };
        Self { p10: rank(10), p50: rank(50), p90: rank(90) }
    }
}

impl Report {
    pub(crate) fn new(
        inclusion: Inclusion,
        duties: &[Vec<DutyRecord>],
        before: Option<&[Figures]>,
        after: &[Figures],
        slots: u64,
    ) -> Self {
        let rounds = |slot: &Vec<DutyRecord>| slot.iter().filter_map(|duty| duty.decided_round).max();
        let decided: Vec<u64> = duties.iter().filter_map(rounds).collect();
        let times =
            |time: fn(&DutyRecord) -> Option<i64>| Quantiles::of(duties.iter().flatten().filter_map(time).collect());
        let start = |node: usize| before.and_then(|before| before.get(node).copied()).unwrap_or_default();
        let cost = |(node, after): (usize, &Figures)| NodeCost {
            private_kib: after.private_kib,
            rss_kib: after.rss_kib,
            cpu_s_per_slot: (after.cpu_s - start(node).cpu_s) / slots as f64,
            bytes_per_slot: after.peer_bytes.saturating_sub(start(node).peer_bytes) / slots,
        };
        let missed = inclusion.missed.into_iter();
        Self {
            expected: inclusion.expected,
            included: inclusion.included,
            decided: decided.len(),
            decided_round_1: decided.iter().filter(|round| **round == 1).count(),
            missed: missed.map(|m| MissedVote { slot: m.slot, validator: m.validator, why: m.why }).collect(),
            latency_ms: Latency { decided: times(|duty| duty.decided_ms), broadcast: times(|duty| duty.broadcast_ms) },
            nodes: after.iter().enumerate().map(cost).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
        writeln!(
            f,
            "included   {} of {} attestations ({:.1} %)",
            self.included,
            self.expected,
            share(self.included, self.expected)
        )?;
        writeln!(
            f,
            "decided    {} duties, {:.1} % in round 1",
            self.decided,
            share(self.decided_round_1, self.decided)
        )?;
        let Latency { decided, broadcast } = self.latency_ms;
        writeln!(
            f,
            "latency    decided {} ms, broadcast {} ms after the duty's start (median)",
            decided.p50, broadcast.p50
        )?;
        for (node, cost) in self.nodes.iter().enumerate() {
            writeln!(
                f,
                "node {node}     {:.1} MiB of its own, {:.0} ms processor time and {:.1} KiB with peers a slot",
                cost.private_kib as f64 / 1024.0,
                cost.cpu_s_per_slot * 1000.0,
                cost.bytes_per_slot as f64 / 1024.0,
            )?;
        }
        for missed in self.missed.iter().take(20) {
            writeln!(f, "missed     slot {} {}: {}", missed.slot, missed.validator, missed.why)?;
        }
        if self.missed.len() > 20 {
            writeln!(f, "           and {} more", self.missed.len() - 20)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_the_nearest_rank() {
        assert_eq!(Quantiles::of((1..=10).collect()), Quantiles { p10: 1, p50: 5, p90: 9 });
        assert_eq!(Quantiles::of(vec![7]), Quantiles { p10: 7, p50: 7, p90: 7 });
        assert_eq!(Quantiles::of(Vec::new()), Quantiles::default());
    }
}
