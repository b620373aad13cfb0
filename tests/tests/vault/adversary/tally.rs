//! What happened in the runs, and how much of it there must be: a run that never signs proves nothing.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::ensure;
use holdfast_vault_client::{ClosedId, SigningRefused, SlashingRefusal};

/// Counts of what happened.
#[derive(Default)]
pub(crate) struct Tally {
    signed: u64,
    refused: BTreeMap<&'static str, u64>,
    closed: BTreeMap<ClosedId, u64>,
    done: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn signed(&mut self) {
        self.signed += 1;
    }

    pub(crate) fn refused(&mut self, refused: &SigningRefused) {
        *self.refused.entry(rule(refused)).or_default() += 1;
    }

    pub(crate) fn closed(&mut self, id: ClosedId) {
        *self.closed.entry(id).or_default() += 1;
    }

    pub(crate) fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.signed += other.signed;
        for (rule, times) in &other.refused {
            *self.refused.entry(rule).or_default() += times;
        }
        for (id, times) in &other.closed {
            *self.closed.entry(*id).or_default() += times;
        }
        for (what, times) in &other.done {
            *self.done.entry(what).or_default() += times;
        }
    }

    /// Far below what is usual, far above what a vault that is always closed or an adversary without teeth would give.
    pub(crate) fn check_floors(&self, runs: u64) -> anyhow::Result<()> {
        let floor = |what: &str, found: u64, least: u64| {
            ensure!(found >= least, "only {found} {what} in {runs} runs, expected {least} at least");
            Ok(())
        };
        floor("signatures released", self.signed, 4 * runs)?;
        for rule in ["double vote", "double proposal", "outside the window", "surround vote", "target too low"] {
            floor(rule, self.refused.get(rule).copied().unwrap_or_default(), runs.div_ceil(4))?;
        }
        for what in ["kill -9", "older disk", "mixed disk", "lies on the bus", "power cut"] {
            floor(what, self.done.get(what).copied().unwrap_or_default(), runs.div_ceil(3))?;
        }
        for id in [ClosedId::LeaseUnclean, ClosedId::HistoryRolledBack] {
            floor(id.name(), self.closed.get(&id).copied().unwrap_or_default(), runs.div_ceil(3))?;
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {} signatures released", self.signed)?;
        writeln!(f, "  refused: {}", list(self.refused.iter()))?;
        writeln!(f, "  closed: {}", list(self.closed.iter()))?;
        write!(f, "  done: {}", list(self.done.iter()))
    }
}

fn list<K: fmt::Display>(counts: impl Iterator<Item = (K, impl fmt::Display)>) -> String {
    let counts: Vec<String> = counts.map(|(what, times)| format!("{times} {what}")).collect();
    counts.join(", ")
}

fn rule(refused: &SigningRefused) -> &'static str {
    match refused {
        SigningRefused::UnknownValidator(_) => "unknown validator",
        SigningRefused::OutOfRange { .. } => "outside the window",
        SigningRefused::OutsideLease { .. } => "outside the lease",
        SigningRefused::Slashable(SlashingRefusal::BelowFloor { .. } | SlashingRefusal::SlotBelowFloor { .. }) => {
            "below the floor"
        }
        SigningRefused::Slashable(SlashingRefusal::DoubleProposal { .. }) => "double proposal",
        SigningRefused::Slashable(SlashingRefusal::DoubleVote { .. }) => "double vote",
        SigningRefused::Slashable(SlashingRefusal::SlotTooLow { .. }) => "slot too low",
        SigningRefused::Slashable(SlashingRefusal::SourceAboveTarget { .. }) => "source above target",
        SigningRefused::Slashable(SlashingRefusal::SourceTooLow { .. }) => "surround vote",
        SigningRefused::Slashable(SlashingRefusal::TargetTooLow { .. }) => "target too low",
    }
}
