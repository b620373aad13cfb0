//! When a round ends: the eager double-linear timer (`cluster-wire.md` section 7.9).
//!
//! Deadlines are counted from the start of the duty and not from when the timer was set, so that the rounds of all
//! operators end together however late each of them joined.

use holdfast_types::{DutyKind, Millis};

/// The timer of one instance. It holds a deadline and never runs by itself.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    duty_start: Millis,
    extra_ms: u64,
    round: u64,
    deadline: Option<Millis>,
}

impl Timer {
    /// A timer that is not set yet, for a duty that starts at `duty_start`.
    pub(super) const fn new(kind: DutyKind, duty_start: Millis) -> Self {
        // A block takes longer to get than anything else (`proposal_timeout`, on by default).
        let extra_ms = if matches!(kind, DutyKind::Proposer) { 500 } else { 0 };
        Self { duty_start, extra_ms, round: 0, deadline: None }
    }

    /// Sets the timer for a round; for the round that it was set for last, again and with twice the time.
    ///
    /// Remembering the last round is enough, because an instance never goes back to an earlier one.
    pub(super) const fn restart(&mut self, round: u64) {
        let span_ms = round.saturating_mul(ROUND_MS).saturating_add(self.extra_ms);
        let first = self.duty_start.plus(span_ms);
        self.deadline = Some(if self.round == round { first.plus(span_ms) } else { first });
        self.round = round;
    }

    /// Ends it.
    pub(super) const fn stop(&mut self) {
        self.deadline = None;
    }

    /// When the round ends; may be past already.
    pub(super) const fn deadline(&self) -> Option<Millis> {
        self.deadline
    }
}

/// What each round adds to the time since the duty's start.
const ROUND_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline_ms(timer: &mut Timer, round: u64) -> u64 {
        timer.restart(round);
        timer.deadline().unwrap().0
    }

    /// `cluster-wire.md` section 14.4, with the start of the slot at 100 s and slots of 12 s.
    #[test]
    fn rounds_without_a_proposal_end_as_section_14_4_says() {
        let mut proposer = Timer::new(DutyKind::Proposer, Millis(100_000));
        assert_eq!([1, 2, 3].map(|round| deadline_ms(&mut proposer, round)), [101_500, 102_500, 103_500]);
        let mut attester = Timer::new(DutyKind::Attester, Millis(104_000));
        assert_eq!([1, 2, 3].map(|round| deadline_ms(&mut attester, round)), [105_000, 106_000, 107_000]);
    }

    #[test]
    fn a_round_with_a_proposal_has_twice_the_time_and_the_next_is_already_past() {
        let mut attester = Timer::new(DutyKind::Attester, Millis(104_000));
        assert_eq!([1, 1, 2].map(|round| deadline_ms(&mut attester, round)), [105_000, 106_000, 106_000]);
        let mut proposer = Timer::new(DutyKind::Proposer, Millis(100_000));
        assert_eq!([1, 1].map(|round| deadline_ms(&mut proposer, round)), [101_500, 103_000]);
    }

    #[test]
    fn a_third_start_of_a_round_adds_nothing_more() {
        let mut timer = Timer::new(DutyKind::Attester, Millis(0));
        assert_eq!([2, 2, 2].map(|round| deadline_ms(&mut timer, round)), [2000, 4000, 4000]);
    }

    #[test]
    fn no_round_overflows() {
        let mut timer = Timer::new(DutyKind::Proposer, Millis(1));
        assert_eq!(deadline_ms(&mut timer, u64::MAX), u64::MAX);
        timer.stop();
        assert_eq!(timer.deadline(), None);
    }
}
