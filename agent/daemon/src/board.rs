//! What the loop knows that others may read: mode, duties, peers. One writer, many readers, no history beyond the ring.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_api::{DutyList, DutyRecord, PeerStatus, Status, VaultSummary};
use holdfast_core::io::{DutyEvent, DutyStep};
use holdfast_types::Mode;

/// Duties kept: two epochs of them at one a slot, so that a reader who looks once a minute misses none.
const DUTIES_MAX: usize = 64;

/// The board. Readers never hold its lock across an await or a system call.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    status: Status,
    duties: VecDeque<(u64, DutyRecord)>,
    changes: u64,
}

impl Board {
    /// A board that shows `status` and no duties.
    #[must_use]
    pub fn new(status: Status) -> Self {
        Self { state: Mutex::new(State { status, duties: VecDeque::new(), changes: 0 }) }
    }

    /// What `GET /v1/status` answers.
    #[must_use]
    pub fn status(&self) -> Status {
        self.state().status.clone()
    }

    /// What the vault said last; `None` while it does not answer.
    #[must_use]
    pub fn vault(&self) -> Option<VaultSummary> {
        self.state().status.vault.clone()
    }

    /// What `GET /v1/duties` answers: the duties that changed after change number `after`, oldest change first.
    #[must_use]
    pub fn duties_after(&self, after: u64) -> DutyList {
        let state = self.state();
        let mut changed: Vec<&(u64, DutyRecord)> = state.duties.iter().filter(|(change, _)| *change > after).collect();
        changed.sort_by_key(|(change, _)| *change);
        DutyList { duties: changed.into_iter().map(|(_, duty)| duty.clone()).collect(), next: state.changes }
    }

    pub(crate) fn set_mode(&self, mode: Mode, reason: &str) {
        let mut state = self.state();
        state.status.mode = mode;
        reason.clone_into(&mut state.status.reason);
    }

    pub(crate) fn set_vault(&self, vault: Option<VaultSummary>) {
        self.state().status.vault = vault;
    }

    pub(crate) fn set_cluster(&self, name: &str, validators: usize, peers: Vec<PeerStatus>) {
        let mut state = self.state();
        name.clone_into(&mut state.status.cluster);
        state.status.validators = validators;
        state.status.peers = peers;
    }

    pub(crate) fn set_peer(&self, operator: u8, change: impl FnOnce(&mut PeerStatus)) {
        if let Some(peer) = self.state().status.peers.iter_mut().find(|peer| peer.operator == operator) {
            change(peer);
        }
    }

    /// Writes a step into the record of its duty.
    pub(crate) fn record(&self, event: &DutyEvent) {
        let mut state = self.state();
        state.changes += 1;
        let change = state.changes;
        let found = state
            .duties
            .iter()
            .position(|(_, duty)| duty.slot == event.duty.slot && duty.kind == event.duty.kind.name());
        let place = found.unwrap_or_else(|| {
            if state.duties.len() == DUTIES_MAX {
                state.duties.pop_front();
            }
            let record =
                DutyRecord { slot: event.duty.slot, kind: event.duty.kind.name().to_owned(), ..DutyRecord::default() };
            state.duties.push_back((change, record));
            state.duties.len() - 1
        });
        let (number, record) = &mut state.duties[place];
        *number = change;
        apply(record, event);
    }

    /// A panic of a writer leaves plain data behind, which is still right to show.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn apply(record: &mut DutyRecord, event: &DutyEvent) {
    match &event.step {
        DutyStep::Started { validators } => record.validators = *validators,
        DutyStep::DataFetched => {}
        DutyStep::Decided { round } => {
            record.decided_round = Some(*round);
            record.decided_ms = Some(event.after_ms);
        }
        DutyStep::Withheld { why } => record.withheld = Some(why.clone()),
        DutyStep::Signed { signed, refused } => {
            record.withheld = None;
            record.signed += signed;
            record.refused.extend(refused.iter().cloned());
        }
        DutyStep::PartialsFrom { operator, .. } => {
            if !record.partials_from.contains(&operator.0) {
                record.partials_from.push(operator.0);
                record.partials_from.sort_unstable();
            }
        }
        DutyStep::Combined { validators } => record.combined = *validators,
        DutyStep::Broadcast { attestations } => {
            record.broadcast += attestations;
            record.broadcast_ms.get_or_insert(event.after_ms);
        }
        DutyStep::Missed { why, .. } => record.missed = Some(why.clone()),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{DutyId, Slot};

    use super::*;

    fn board() -> Board {
        Board::new(crate::run::first_status())
    }

    fn event(slot: u64, step: DutyStep) -> DutyEvent {
        DutyEvent { duty: DutyId::attester(Slot(slot)), after_ms: 40, step }
    }

    #[test]
    fn a_reader_gets_each_change_once() {
        let board = board();
        board.record(&event(1, DutyStep::Started { validators: 2 }));
        board.record(&event(2, DutyStep::Started { validators: 3 }));
        let first = board.duties_after(0);
        assert_eq!(first.duties.iter().map(|duty| duty.slot.0).collect::<Vec<_>>(), [1, 2]);
        board.record(&event(1, DutyStep::Decided { round: 1 }));
        let second = board.duties_after(first.next);
        assert_eq!(second.duties.len(), 1);
        assert_eq!((second.duties[0].decided_round, second.duties[0].validators), (Some(1), 2));
        assert_eq!(board.duties_after(second.next).duties, []);
    }

    #[test]
    fn what_is_held_back_is_shown_until_it_is_signed() {
        let board = board();
        board.record(&event(1, DutyStep::Withheld { why: "the vault is closed".to_owned() }));
        assert_eq!(board.duties_after(0).duties[0].withheld.as_deref(), Some("the vault is closed"));
        board.record(&event(1, DutyStep::Signed { signed: 2, refused: Vec::new() }));
        let duty = &board.duties_after(0).duties[0];
        assert_eq!((duty.withheld.as_ref(), duty.signed), (None, 2));
    }

    #[test]
    fn only_the_newest_duties_are_kept() {
        let board = board();
        for slot in 0..200 {
            board.record(&event(slot, DutyStep::DataFetched));
        }
        let kept = board.duties_after(0).duties;
        assert_eq!((kept.len(), kept[0].slot), (DUTIES_MAX, Slot(200 - DUTIES_MAX as u64)));
    }
}
