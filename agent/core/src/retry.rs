//! When to ask again for something that failed.

use holdfast_types::Millis;

/// One question that is asked until it is answered: never twice at a time, and ever more slowly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    first_ms: u64,
    longest_ms: u64,
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due(Millis),
    InFlight,
    Idle,
}

impl Retry {
    /// Nothing to ask yet. Waits begin at `first_ms`, grow by three fifths each (`duties.md` section 10) and end at `longest_ms`.
    pub(crate) const fn new(first_ms: u64, longest_ms: u64) -> Self {
        Self { first_ms, longest_ms, failures: 0, state: State::Idle }
    }

    /// There is something to ask at `at`; nothing changes while a question is under way.
    pub(crate) fn ask_at(&mut self, at: Millis) {
        if self.state != State::InFlight {
            self.state = State::Due(at);
        }
    }

    /// Whether to ask now; then the question counts as asked.
    pub(crate) fn take_due(&mut self, now: Millis) -> bool {
        let due = matches!(self.state, State::Due(at) if at <= now);
        if due {
            self.state = State::InFlight;
        }
        due
    }

    /// The question was answered.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.state = State::Idle;
    }

    /// The question failed; it is asked again after a while.
    pub(crate) fn failed(&mut self, now: Millis) {
        let grown = (0..self.failures.min(GROWTHS_MAX)).fold(self.first_ms, |wait_ms, _| wait_ms * 8 / 5);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Due(now.plus(grown.min(self.longest_ms)));
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// When to call [`take_due`](Self::take_due) next.
    pub(crate) fn wake(&self) -> Option<Millis> {
        if let State::Due(at) = self.state { Some(at) } else { None }
    }
}

/// 1.6 to the 16th is 1,800: from there on every wait is the longest.
const GROWTHS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_once_until_it_fails() {
        let mut retry = Retry::new(250, 12_000);
        assert!(!retry.take_due(Millis(5)) && retry.is_idle());
        retry.ask_at(Millis(10));
        assert!(!retry.take_due(Millis(9)));
        assert!(retry.take_due(Millis(10)));
        retry.ask_at(Millis(11));
        assert!(!retry.take_due(Millis(11)) && !retry.is_idle());
        retry.failed(Millis(20));
        assert_eq!(retry.wake(), Some(Millis(270)));
    }

    #[test]
    fn waits_grow_to_the_longest_and_start_anew_after_a_success() {
        let mut retry = Retry::new(250, 12_000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            retry.failed(Millis(0));
            waits.push(retry.wake().unwrap().0);
        }
        assert_eq!(waits[..4], [250, 400, 640, 1024]);
        assert_eq!(waits[11], 12_000);
        retry.succeeded();
        retry.failed(Millis(0));
        assert_eq!(retry.wake(), Some(Millis(250)));
    }
}
