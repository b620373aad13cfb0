//! What the supervisor and the node's loop know that others may read: mode, conditions, cluster, duties, peers. Whatever
//! changes becomes an event. Readers never wait for the node.

mod cluster;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_api::{
    Condition, ConditionChange, DutyList, DutyQuery, DutyRecord, EventKind, Lease, ModeChange, PeerStatus, Severity,
    Status, Timestamp, ValidatorList, VaultClosed, VaultSummary,
};
use holdfast_core::io::{DutyEvent, DutyStep};
use holdfast_types::Mode;
use holdfast_vault_client::VaultStatus;

use crate::clock::{self, Synchronised};
use crate::events::Events;
pub(crate) use cluster::ShownCluster;

/// Duties kept: some hours of them at one a slot, so that who asks why one was missed still finds it.
const DUTIES_MAX: usize = 1_024;

/// The board. Readers never hold its lock across an await or a system call.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
    events: Arc<Events>,
    synchronised: Arc<Synchronised>,
}

#[derive(Debug)]
struct State {
    status: Status,
    vault: Option<VaultStatus>,
    cluster: ShownCluster,
    duties: VecDeque<(u64, DutyRecord)>,
    changes: u64,
}

impl Board {
    /// A board of a box that starts.
    #[must_use]
    pub fn new(events: Arc<Events>, synchronised: Arc<Synchronised>) -> Self {
        let state = State {
            status: first_status(),
            vault: None,
            cluster: ShownCluster::default(),
            duties: VecDeque::new(),
            changes: 0,
        };
        Self { state: Mutex::new(state), events, synchronised }
    }

    /// What `GET /v1/status` answers.
    #[must_use]
    pub fn status(&self) -> Status {
        let clock_synchronised = self.synchronised.is();
        let status = self.state().status.clone();
        Status { now: Timestamp(clock::now()), clock_synchronised, ..status }
    }

    /// What the vault said last; `None` while it does not answer.
    #[must_use]
    pub fn vault(&self) -> Option<VaultSummary> {
        self.state().status.vault.clone()
    }

    /// All of what the vault said last; `None` while it does not answer.
    #[must_use]
    pub fn vault_status(&self) -> Option<VaultStatus> {
        self.state().vault.clone()
    }

    /// The duties that changed after change number `query.after`, oldest change first, at most `limit`.
    #[must_use]
    pub fn duties(&self, query: &DutyQuery, limit: usize) -> DutyList {
        let state = self.state();
        let wanted =
            |(change, duty): &&(u64, DutyRecord)| *change > query.after && (!query.missed || duty.missed.is_some());
        let mut changed: Vec<&(u64, DutyRecord)> = state.duties.iter().filter(wanted).collect();
        changed.sort_by_key(|(change, _)| *change);
        let cut_off = changed.len() > limit;
        changed.truncate(limit);
        let next = if cut_off { changed.last().map_or(query.after, |(change, _)| *change) } else { state.changes };
        DutyList { duties: changed.into_iter().map(|(_, duty)| duty.clone()).collect(), next }
    }

    /// The validators from this position of the lock on, at most `limit`; the cursor is the next position.
    #[must_use]
    pub fn validators(&self, from: usize, limit: usize) -> ValidatorList {
        let state = self.state();
        let held = state.vault.as_ref().map(|vault| vault.validators.as_slice()).unwrap_or_default();
        state.cluster.page(from, limit, held)
    }

    pub(crate) fn set_mode(&self, mode: Mode, reason: &str) {
        let mut state = self.state();
        if (state.status.mode, state.status.reason.as_str()) != (mode, reason) {
            state.status.mode = mode;
            reason.clone_into(&mut state.status.reason);
            self.events.push(EventKind::Mode(ModeChange { mode, reason: reason.to_owned() }));
        }
    }

    pub(crate) fn set_vault(&self, vault: Option<&VaultStatus>) {
        let mut state = self.state();
        state.status.name = vault.map(short_name).unwrap_or_default();
        state.status.vault = vault.map(summary);
        state.vault = vault.cloned();
    }

    pub(crate) fn set_cluster(&self, cluster: ShownCluster) {
        let mut state = self.state();
        cluster.name().clone_into(&mut state.status.cluster);
        state.status.validators = cluster.len();
        state.status.peers = cluster.peers();
        state.cluster = cluster;
    }

    /// What a beacon node says of the cluster's validators.
    pub(crate) fn set_validators(&self, change: impl FnOnce(&mut ShownCluster)) {
        change(&mut self.state().cluster);
    }

    pub(crate) fn set_peer(&self, operator: u8, change: impl FnOnce(&mut PeerStatus)) {
        let mut state = self.state();
        let Some(peer) = state.status.peers.iter_mut().find(|peer| peer.operator == operator) else { return };
        let before = peer.clone();
        change(peer);
        if *peer != before {
            self.events.push(EventKind::Peer(peer.clone()));
        }
    }

    /// Shows a condition, or what is new about it. It began when it was first set.
    pub fn set_condition(&self, id: &str, severity: Severity, summary: &str, remedy: &str) {
        let mut state = self.state();
        let conditions = &mut state.status.conditions;
        let before = conditions.iter().find(|condition| condition.id == id).cloned();
        let since = before.as_ref().map_or_else(|| Timestamp(clock::now()), |before| before.since);
        let (summary, remedy) = (summary.to_owned(), remedy.to_owned());
        let condition = Condition { id: id.to_owned(), severity, since, summary, remedy };
        if before.as_ref() == Some(&condition) {
            return;
        }
        tracing::warn!(id, summary = condition.summary, remedy = condition.remedy, "condition");
        conditions.retain(|other| other.id != id);
        conditions.push(condition.clone());
        conditions.sort_by(|one, other| other.severity.cmp(&one.severity).then(one.since.cmp(&other.since)));
        self.events.push(EventKind::Condition(ConditionChange { condition, over: false }));
    }

    /// A condition is over, if it was there.
    pub fn clear_condition(&self, id: &str) {
        let mut state = self.state();
        let conditions = &mut state.status.conditions;
        let Some(place) = conditions.iter().position(|condition| condition.id == id) else { return };
        let condition = conditions.remove(place);
        tracing::info!(id, "condition is over");
        self.events.push(EventKind::Condition(ConditionChange { condition, over: true }));
    }

    /// Writes a step into the record of its duty.
    pub(crate) fn record(&self, event: &DutyEvent) {
        let mut state = self.state();
        state.changes += 1;
        let change = state.changes;
        let found = state
            .duties
            .iter()
            .rposition(|(_, duty)| duty.slot == event.duty.slot && duty.kind == event.duty.kind.name());
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
        self.events.push(EventKind::Duty(record.clone()));
    }

    /// A panic of a writer leaves plain data behind, which is still right to show.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the node does its duties, in words that a monitor shows.
pub(crate) fn readiness(status: &Status) -> (bool, String) {
    (status.mode == Mode::Ready, format!("{}: {}\n", status.mode, status.reason))
}

fn first_status() -> Status {
    Status {
        name: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: Mode::Maintenance,
        reason: "starting".to_owned(),
        cluster: String::new(),
        validators: 0,
        peers: Vec::new(),
        vault: None,
        bls_path: holdfast_bls::path().to_owned(),
        now: Timestamp(clock::now()),
        clock_synchronised: false,
        conditions: Vec::new(),
    }
}

/// By what people call the box.
fn short_name(vault: &VaultStatus) -> String {
    format!("box-{}", hex::encode(&vault.box_name.0[..2]))
}

fn summary(vault: &VaultStatus) -> VaultSummary {
    let closed = vault.closed.as_ref();
    VaultSummary {
        tier: vault.tier.to_string(),
        lease: vault.lease.map(|lease| Lease { counter: lease.counter, last_epoch: lease.last_epoch }),
        closed: closed.map(|closed| VaultClosed { id: closed.id.to_string(), reason: closed.reason.clone() }),
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
pub(crate) mod tests;
