//! What runs did, counted, so that a run that never signs, never cuts or never restores is no success.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_vault_client::{SigningRefused, SlashingRefusal};

use crate::disk::{OpKind, Tally};

/// The counts of some runs.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    counts: BTreeMap<(&'static str, &'static str), u64>,
    disk: Tally,
}

impl Stats {
    pub(super) fn count(&mut self, what: &'static str, which: &'static str) {
        *self.counts.entry((what, which)).or_default() += 1;
    }

    pub(super) fn add_disk(&mut self, tally: &Tally) {
        self.disk.add(tally);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
        self.disk.add(&other.disk);
    }

    /// How often something happened: by its kind and its name, as the table has them.
    #[must_use]
    pub fn of(&self, what: &str, which: &str) -> u64 {
        let found = self.rows().into_iter().find(|(kind, name, _)| *kind == what && *name == which);
        found.map_or(0, |(_, _, count)| count)
    }

    /// How often anything of a kind happened.
    #[must_use]
    pub fn all(&self, what: &str) -> u64 {
        self.rows().into_iter().filter(|(kind, ..)| *kind == what).map(|(_, _, count)| count).sum()
    }

    /// What did not happen as often as it should: for each floor, kind, name and the count for each thousand runs.
    #[must_use]
    pub fn below(&self, floors: &[(&str, &str, u64)]) -> Vec<String> {
        let runs = self.of("runs", "played");
        let missed = |(what, which, per_thousand): &(&str, &str, u64)| {
            let (found, wanted) = (self.of(what, which), per_thousand * runs / 1000);
            (found < wanted || found == 0).then(|| format!("{what} {which}: {found}, at least {wanted} are expected"))
        };
        floors.iter().filter_map(missed).collect()
    }

    fn rows(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counted = self.counts.iter().map(|((what, which), count)| (*what, *which, *count));
        let cuts = OpKind::ALL.map(|kind| ("cuts", kind.name(), self.disk.cuts_at(kind)));
        let disk = [
            ("unsynced", "kept", self.disk.kept),
            ("unsynced", "lost", self.disk.lost),
            ("unsynced", "torn", self.disk.torn),
            ("disk", "failed syncs", self.disk.failed_syncs),
            ("disk", "lied syncs", self.disk.lied_syncs),
            ("disk", "full", self.disk.full),
            ("disk", "read-only", self.disk.read_only),
        ];
        counted.chain(cuts).chain(disk).collect()
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows().into_iter().try_for_each(|(what, which, count)| writeln!(f, "{what:>10}  {which:<24} {count:>10}"))
    }
}

/// The name of the rule that refused.
pub(super) fn rule(refused: &SigningRefused) -> &'static str {
    match refused {
        SigningRefused::UnknownValidator(_) => "UnknownValidator",
        SigningRefused::OutOfRange { .. } => "OutOfRange",
        SigningRefused::OutsideLease { .. } => "OutsideLease",
        SigningRefused::Slashable(rule) => match rule {
            SlashingRefusal::DoubleVote { .. } => "DoubleVote",
            SlashingRefusal::TargetTooLow { .. } => "TargetTooLow",
            SlashingRefusal::SourceTooLow { .. } => "SourceTooLow",
            SlashingRefusal::SourceAboveTarget { .. } => "SourceAboveTarget",
            SlashingRefusal::DoubleProposal { .. } => "DoubleProposal",
            SlashingRefusal::SlotTooLow { .. } => "SlotTooLow",
            SlashingRefusal::BelowFloor { .. } => "BelowFloor",
            SlashingRefusal::SlotBelowFloor { .. } => "SlotBelowFloor",
        },
    }
}
