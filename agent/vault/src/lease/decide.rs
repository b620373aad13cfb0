//! The decision at the start: the table of `ARCHITECTURE.md`, "The lease", as one function.
//!
//! It is pure, and nothing else decides: its inputs are what was found, and the clock only says how long to wait. A TPM or
//! a disk that does not answer never comes here; the caller asks again.

use holdfast_types::Epoch;
use holdfast_vault_client::ClosedId;

use super::record::{RecordFound, RecordState};
use super::terms::{Barred, Terms};

/// What was found at the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    /// The counter's value; `None` when what is at its index, if anything, is not our counter.
    pub(crate) counter: Option<u64>,
    /// The record.
    pub(crate) record: &'a RecordFound,
    /// The digest of the history.
    pub(crate) digest: &'a [u8; 32],
}

/// The time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// The present epoch.
    pub(crate) now: Epoch,
    /// How far the lease may be behind it to be caught up with without an order: [`thirty_days`](super::terms::thirty_days).
    pub(crate) behind_max: u64,
}

/// What to do now. While it says wait, decide again when the epoch changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// Have the history persist the floor if there is one; then tick, and sign.
    Begin { floor: Option<Barred> },
    /// Sign nothing and write nothing, until an order lifts it. Whatever it is lifted to bars at least `floor`.
    Refuse { id: ClosedId, floor: Barred, lift: Lift },
    /// The vault did not end in order: do not tick, do not write, until all it may have signed is past. `VouchDisk` lifts
    /// it without a floor; ticking still takes [`Terms::may_tick`].
    WaitForFloor { until: Epoch, floor: Barred },
    /// The counter is ahead of time. `NewCounter` lifts it.
    WaitForTime { until: Epoch },
}

/// The order that lifts a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lift {
    /// The operator names an epoch up to which nothing is signed.
    AcceptFloor,
    /// The same, and the lease gets a new counter and new terms.
    NewCounter,
}

/// Reads the table.
pub(crate) fn decide(terms: &Terms, found: &Found<'_>, clock: &Clock) -> Start {
    let refuse = |id, floor, lift| Start::Refuse { id, floor, lift };
    let Some(counter) = found.counter else {
        let newest = if let RecordFound::Found(record) = found.record { record.counter } else { terms.first_counter };
        return refuse(ClosedId::TpmReplaced, terms.barred_at(newest), Lift::NewCounter);
    };
    let all = terms.barred_at(counter);
    let floor = match found.record {
        _ if counter < terms.first_counter => return refuse(ClosedId::TpmRolledBack, all, Lift::NewCounter),
        RecordFound::Damaged | RecordFound::Missing => return refuse(ClosedId::HistoryLost, all, Lift::AcceptFloor),
        RecordFound::Found(record) if record.counter > counter => {
            return refuse(ClosedId::TpmRolledBack, terms.barred_at(record.counter), Lift::NewCounter);
        }
        RecordFound::Found(record) if record.counter == counter => match &record.state {
            RecordState::Clean { digest } if digest == found.digest => None,
            RecordState::Clean { .. } => return refuse(ClosedId::HistoryLost, all, Lift::AcceptFloor),
            RecordState::Open => Some(Barred { target: all.target, source: record.source }),
        },
        // Whoever ticked to the present value may have signed all that it allows, and its record is gone.
        RecordFound::Found(record) if record.counter == counter - 1 => Some(all),
        RecordFound::Found(_) => return refuse(ClosedId::HistoryRolledBack, all, Lift::AcceptFloor),
    };
    if clock.now.0 > all.target.0.saturating_add(clock.behind_max) {
        return refuse(ClosedId::CatchingUp, floor.unwrap_or(all), Lift::AcceptFloor);
    }
    match floor {
        Some(floor) if clock.now < all.target => Start::WaitForFloor { until: all.target, floor },
        None if !terms.may_tick(counter, clock.now) => Start::WaitForTime { until: terms.tick_from(counter) },
        floor => Start::Begin { floor },
    }
}
