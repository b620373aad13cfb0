//! What became of a duty, in the one word that screen, command and tables show for it.

use std::fmt;

use crate::DutyRecord;

/// What became of a duty on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A beacon node took our group signatures in time.
    Attested,
    /// A beacon node took them, but the cluster decided in a later round or the others' aggregates were made without them.
    Late,
    /// Some validators were missed.
    Missed,
    /// It is under way.
    Waiting,
}

impl Outcome {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attested => "attested",
            Self::Late => "late",
            Self::Missed => "missed",
            Self::Waiting => "waiting",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl DutyRecord {
    /// What became of it so far.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.missed.is_some() {
            Outcome::Missed
        } else if self.broadcast == 0 || self.broadcast < self.validators {
            Outcome::Waiting
        } else if self.decided_round.is_some_and(|round| round > 1) || self.broadcast_ms.is_some_and(|ms| ms > LATE_MS)
        {
            Outcome::Late
        } else {
            Outcome::Attested
        }
    }
}

/// A duty starts a third into its slot; at two thirds the aggregators collect, and what comes later waits for a block.
const LATE_MS: i64 = 4_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_is_judged_by_what_is_known_of_it() {
        let mut duty = DutyRecord { validators: 2, ..DutyRecord::default() };
        assert_eq!(duty.outcome(), Outcome::Waiting);
        duty.decided_round = Some(1);
        duty.broadcast = 1;
        duty.broadcast_ms = Some(LATE_MS);
        assert_eq!(duty.outcome(), Outcome::Waiting, "one of two");
        duty.broadcast = 2;
        assert_eq!(duty.outcome(), Outcome::Attested);
        duty.broadcast_ms = Some(LATE_MS + 1);
        assert_eq!(duty.outcome(), Outcome::Late);
        duty.broadcast_ms = Some(900);
        duty.decided_round = Some(2);
        assert_eq!(duty.outcome(), Outcome::Late);
        duty.missed = Some("no beacon node took it".to_owned());
        assert_eq!(duty.outcome(), Outcome::Missed);
    }
}
