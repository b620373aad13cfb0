//! What the box is asked to do: operations that belong to the box, and the word that something the node is built from has
//! changed. Whoever asks only watches; the supervisor carries it out.

mod privileged;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_api::{Action, EventKind, Operation, OperationState, Timestamp};
use tokio::sync::watch;

use crate::clock;
use crate::daemon::in_words;
use crate::events::Events;
#[cfg(feature = "danger_record_reboot")]
pub use privileged::RecordReboot;
pub use privileged::{NoHelper, Privileged, PrivilegedError};

/// Takes what is asked for. Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

struct Shared {
    start: u64,
    events: Arc<Events>,
    privileged: Box<dyn Privileged>,
    state: Mutex<State>,
    wish: watch::Sender<Wish>,
}

#[derive(Debug, Default)]
struct State {
    /// Newest first.
    operations: VecDeque<Operation>,
    begun: u64,
}

/// What the supervisor is to bring about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// No duty is to be begun.
    pub drain: bool,
    /// How often something changed that the node is built from.
    pub reloads: u64,
}

/// What is under way does not go together with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} (operation {id}) is under way: wait until it is done", action.name())]
pub struct Conflict {
    /// What is under way.
    pub action: Action,
    /// Its operation.
    pub id: String,
}

impl Control {
    /// Nothing is asked for yet. `start` is the number of this start of the daemon.
    #[must_use]
    pub fn new(start: u64, events: Arc<Events>, privileged: Box<dyn Privileged>) -> Self {
        let (state, wish) = (Mutex::default(), watch::Sender::default());
        Self(Arc::new(Shared { start, events, privileged, state, wish }))
    }

    /// Begins an operation. What cannot be done at all ends at once, with the reason in its summary.
    ///
    /// Whoever restarts the box is asked whether that can be, so this may take seconds and wants a thread that may wait.
    ///
    /// # Errors
    /// When another one is under way.
    pub fn begin(&self, action: Action, by: &str) -> Result<Operation, Conflict> {
        // Asked before the lock is taken, which who only looks at the operations needs too.
        let can_reboot = match action {
            Action::Reboot => self.0.privileged.can_reboot(),
            Action::Drain | Action::Resume => Ok(()),
        };
        let mut state = self.state();
        if let Some(running) = state.operations.iter().find(|one| one.state == OperationState::Running) {
            return Err(Conflict { action: running.action, id: running.id.clone() });
        }
        let drained = self.0.wish.borrow().drain;
        let (now, summary) = match action {
            Action::Drain if drained => (OperationState::Done, DRAINED_BEFORE.to_owned()),
            Action::Resume if !drained => (OperationState::Done, NOT_DRAINED.to_owned()),
            Action::Reboot => match can_reboot {
                Err(error) => (OperationState::Failed, in_words(&error)),
                Ok(()) => (OperationState::Running, FINISHING.to_owned()),
            },
            Action::Drain => (OperationState::Running, FINISHING.to_owned()),
            Action::Resume => (OperationState::Running, RESUMING.to_owned()),
        };
        state.begun += 1;
        let id = format!("{}-{}", self.0.start, state.begun);
        let operation = Operation {
            id,
            action,
            by: by.to_owned(),
            at: Timestamp(clock::now()),
            state: now,
            summary,
            percent: (now == OperationState::Done).then_some(100),
        };
        state.operations.push_front(operation.clone());
        state.operations.truncate(OPERATIONS_MAX);
        self.0.events.push(EventKind::Operation(operation.clone()));
        if now == OperationState::Running {
            self.0.wish.send_modify(|wish| wish.drain = action != Action::Resume);
        }
        Ok(operation)
    }

    /// The operations since the start, newest first, at most 100.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.state().operations.iter().cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn operation(&self, id: &str) -> Option<Operation> {
        self.state().operations.iter().find(|operation| operation.id == id).cloned()
    }

    /// Something changed that the node is built from, or might go well now that failed before: look again.
    pub fn reload(&self) {
        self.0.wish.send_modify(|wish| wish.reloads += 1);
    }

    /// What is to be brought about, as it changes.
    pub(crate) fn wish(&self) -> watch::Receiver<Wish> {
        self.0.wish.subscribe()
    }

    /// Nothing is under way any more, and nothing is begun.
    pub(crate) async fn drained(&self) {
        let reboots = {
            let state = self.state();
            state.operations.iter().any(|one| is_running(one, Action::Reboot))
        };
        if reboots {
            let shared = Arc::clone(&self.0);
            let asked = tokio::task::spawn_blocking(move || shared.privileged.reboot()).await;
            let outcome = asked.unwrap_or_else(|error| Err(PrivilegedError::CutOff(error)));
            if outcome.is_err() {
                // Nobody restarts the box, so it goes on with its duties.
                self.0.wish.send_modify(|wish| wish.drain = false);
            }
            self.end(Action::Reboot, outcome.map(|()| "the box restarts"));
        }
        self.end(Action::Drain, Ok(DRAINED));
    }

    /// Duties are taken up again.
    pub(crate) fn resumed(&self) {
        self.end(Action::Resume, Ok("duties are taken up again"));
    }

    /// Ends the operation of this kind that is under way, if there is one.
    fn end(&self, action: Action, outcome: Result<&str, PrivilegedError>) {
        let mut state = self.state();
        let Some(operation) = state.operations.iter_mut().find(|one| is_running(one, action)) else { return };
        match outcome {
            Ok(summary) => {
                (operation.state, operation.summary) = (OperationState::Done, summary.to_owned());
                operation.percent = Some(100);
            }
            Err(error) => (operation.state, operation.summary) = (OperationState::Failed, in_words(&error)),
        }
        self.0.events.push(EventKind::Operation(operation.clone()));
    }

    /// What a panic left behind is an operation more or less.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Control").field(&*self.0.wish.borrow()).finish()
    }
}

fn is_running(operation: &Operation, action: Action) -> bool {
    operation.action == action && operation.state == OperationState::Running
}

/// As many as a page of the API shows.
const OPERATIONS_MAX: usize = 100;

const FINISHING: &str = "finishing the duties under way";
const RESUMING: &str = "taking duties up again";
const DRAINED: &str = "every duty is finished and none is begun until `holdfast resume`";
const DRAINED_BEFORE: &str = "the box was drained before: `holdfast resume` takes duties up again";
const NOT_DRAINED: &str = "the box was not drained: it does its duties as its mode says";

#[cfg(test)]
mod tests {
    use super::*;

    struct Reboots(bool);

    impl Privileged for Reboots {
        fn can_reboot(&self) -> Result<(), PrivilegedError> {
            Ok(())
        }

        fn reboot(&self) -> Result<(), PrivilegedError> {
            if self.0 { Ok(()) } else { Err(PrivilegedError::NoHelper) }
        }
    }

    fn control(privileged: impl Privileged) -> Control {
        Control::new(7, Arc::new(Events::new(7)), Box::new(privileged))
    }

    fn state(control: &Control, operation: &Operation) -> (OperationState, String) {
        let now = control.operation(&operation.id).unwrap();
        (now.state, now.summary)
    }

    #[tokio::test]
    async fn a_drain_is_done_when_nothing_is_under_way_and_lasts_until_resumed() {
        let control = control(NoHelper);
        let wish = control.wish();
        let drain = control.begin(Action::Drain, "ada").unwrap();
        assert_eq!((drain.id.as_str(), drain.state, wish.borrow().drain), ("7-1", OperationState::Running, true));
        let conflict = control.begin(Action::Resume, "ada").unwrap_err();
        assert_eq!(conflict.to_string(), "drain (operation 7-1) is under way: wait until it is done");
        control.drained().await;
        assert_eq!(state(&control, &drain), (OperationState::Done, DRAINED.to_owned()));
        assert_eq!(control.begin(Action::Drain, "ada").unwrap().state, OperationState::Done);
        let resume = control.begin(Action::Resume, "ada").unwrap();
        assert!(!wish.borrow().drain);
        control.resumed();
        assert_eq!(state(&control, &resume).0, OperationState::Done);
        assert_eq!(control.operations().iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["7-3", "7-2", "7-1"]);
    }

    #[test]
    fn without_a_helper_a_reboot_fails_at_once_and_costs_no_duty() {
        let control = control(NoHelper);
        let reboot = control.begin(Action::Reboot, "ada").unwrap();
        assert_eq!(reboot.state, OperationState::Failed);
        assert!(reboot.summary.contains("no helper"), "{}", reboot.summary);
        assert!(!control.wish().borrow().drain);
    }

    #[tokio::test]
    async fn a_reboot_drains_first_and_one_that_fails_gives_the_duties_back() {
        for (goes_well, ends) in [(true, OperationState::Done), (false, OperationState::Failed)] {
            let control = control(Reboots(goes_well));
            let reboot = control.begin(Action::Reboot, "ada").unwrap();
            assert_eq!((reboot.state, control.wish().borrow().drain), (OperationState::Running, true));
            control.drained().await;
            assert_eq!((state(&control, &reboot).0, control.wish().borrow().drain), (ends, goes_well));
        }
    }

    #[tokio::test]
    async fn each_step_is_an_event_and_only_the_newest_operations_are_kept() {
        let control = control(NoHelper);
        for _ in 0..150 {
            control.begin(Action::Resume, "ada").unwrap();
        }
        assert_eq!((control.operations().len(), control.operation("7-1")), (100, None));
        control.begin(Action::Drain, "ada").unwrap();
        control.drained().await;
        let kinds = control.0.events.since(7 << 32);
        assert_eq!(kinds.len(), 152);
    }

    #[test]
    fn a_reload_wakes_whoever_waits() {
        let control = control(NoHelper);
        let wish = control.wish();
        control.reload();
        assert!(wish.has_changed().unwrap());
        assert_eq!(wish.borrow().reloads, 1);
    }
}
