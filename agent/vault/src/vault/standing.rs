//! What the vault can do at present.
//!
//! Nobody owns the box; or it is owned, and its lease says whether it signs; or something that it needs is broken, and it
//! signs nothing until it is started anew.

use std::error::Error;

use holdfast_evidence::NetworkPins;
use holdfast_hal::tpm::Tpm;
use holdfast_types::{Epoch, Millis, P256Public};
use holdfast_vault_client::{Closed, ClosedId};

use super::{HISTORY_FILE, in_full};
use crate::history::{History, HistoryError};
use crate::keys::{KeyRoom, Keys};
use crate::lease::{self, Barred, Counter, Lease, Lift};
use crate::sealed::approvals::Approvals;
use crate::sealed::{self, Found, Sealed};
use crate::state::Disk;

/// What the vault can do at present.
#[expect(clippy::large_enum_variant, reason = "there is one of it in a process")]
pub(crate) enum Standing {
    /// Nothing is sealed here.
    Unowned { room: KeyRoom, history: History },
    /// What is sealed has opened.
    Owned(Box<Owned>),
    /// Signs nothing until it is started anew. What could be opened is here to be shown.
    Closed(Box<Broken>),
    /// In the middle of a change of standing; seen only when that change panicked.
    Changing,
}

/// An owned vault.
pub(crate) struct Owned {
    pub(crate) sealed: Sealed,
    pub(crate) keys: Keys,
    pub(crate) history: History,
    pub(crate) phase: Phase,
}

/// What the lease allows an owned vault.
pub(crate) enum Phase {
    /// No network is fixed, so there is nothing to lease.
    NoNetwork,
    /// The TPM has not said yet where its counter is.
    Undecided(Closed),
    /// Waits for time to pass; nothing is ticked or written until then.
    Waiting(Wait),
    /// Signs within the lease.
    Open(Lease),
    /// Signs nothing until an order lifts it.
    Refused(Refused),
}

/// What is waited for, and what is done then.
pub(crate) struct Wait {
    pub(crate) id: ClosedId,
    pub(crate) until: Epoch,
    /// What is barred when the lease begins; an order `VouchDisk` begins it without.
    pub(crate) floor: Option<Barred>,
    /// The counter that was decided on.
    pub(crate) counter: Counter,
}

/// What keeps an owned vault from signing, and which order lifts it.
pub(crate) struct Refused {
    pub(crate) closed: Closed,
    pub(crate) floor: Barred,
    /// `None`: nothing does.
    pub(crate) lift: Option<Lift>,
}

/// What is left of a vault that cannot go on.
pub(crate) struct Broken {
    pub(crate) closed: Closed,
    /// What is sealed says this of itself. Nothing proves it.
    pub(crate) claimed: Option<Sealed>,
    /// The room for keys, when nothing was opened into it.
    pub(crate) room: Option<KeyRoom>,
    pub(crate) owned: Option<Box<Owned>>,
    pub(crate) history: Option<History>,
}

impl Standing {
    /// What the disk and the TPM make of it at start; the lease is not looked at yet.
    pub(crate) fn found(disk: &dyn Disk, tpm: &mut dyn Tpm, approvals: &Approvals<'_>, room: KeyRoom) -> Self {
        let history = open_history(disk);
        let found = sealed::open(disk, tpm, approvals, room);
        match (found, history) {
            (Ok(Found::Nothing(room)), Ok(history)) => Self::Unowned { room, history },
            (Ok(Found::Open(sealed, keys)), Ok(history)) => {
                Self::Owned(Box::new(Owned { sealed: *sealed, keys, history, phase: Phase::NoNetwork }))
            }
            (Err(unopened), history) => {
                let (closed, room) = (because(unopened.error.closed_id(), &unopened.error), Some(unopened.room));
                let (claimed, history) = (unopened.claimed, history.ok());
                Self::Closed(Box::new(Broken { closed, claimed, room, owned: None, history }))
            }
            (Ok(Found::Nothing(room)), Err(error)) => {
                let closed = because(ClosedId::HistoryUnusable, &error);
                Self::Closed(Box::new(Broken { closed, claimed: None, room: Some(room), owned: None, history: None }))
            }
            (Ok(Found::Open(sealed, keys)), Err(error)) => {
                let (closed, room) = (because(ClosedId::HistoryUnusable, &error), Some(keys.wipe()));
                Self::Closed(Box::new(Broken { closed, claimed: Some(*sealed), room, owned: None, history: None }))
            }
        }
    }

    /// From now on closed; what is open stays readable.
    pub(crate) fn close(&mut self, closed: Closed) {
        *self = match std::mem::replace(self, Self::Changing) {
            Self::Owned(owned) => {
                Self::Closed(Box::new(Broken { closed, claimed: None, room: None, owned: Some(owned), history: None }))
            }
            Self::Unowned { room, history } => {
                let (room, history) = (Some(room), Some(history));
                Self::Closed(Box::new(Broken { closed, claimed: None, room, owned: None, history }))
            }
            Self::Closed(broken) => Self::Closed(Box::new(Broken { closed, ..*broken })),
            Self::Changing => {
                Self::Closed(Box::new(Broken { closed, claimed: None, room: None, owned: None, history: None }))
            }
        };
    }

    /// The owned vault, also when it cannot go on.
    pub(crate) fn owned(&self) -> Option<&Owned> {
        match self {
            Self::Owned(owned) => Some(owned),
            Self::Closed(broken) => broken.owned.as_deref(),
            Self::Unowned { .. } | Self::Changing => None,
        }
    }

    /// The history, where there is one.
    pub(crate) fn history(&self) -> Option<&History> {
        match self {
            Self::Unowned { history, .. } => Some(history),
            Self::Owned(owned) => Some(&owned.history),
            Self::Closed(broken) => broken.owned.as_ref().map(|owned| &owned.history).or(broken.history.as_ref()),
            Self::Changing => None,
        }
    }

    /// As [`Standing::history`], to write.
    pub(crate) fn history_mut(&mut self) -> Option<&mut History> {
        match self {
            Self::Unowned { history, .. } => Some(history),
            Self::Owned(owned) => Some(&mut owned.history),
            Self::Closed(broken) => match &mut broken.owned {
                Some(owned) => Some(&mut owned.history),
                None => broken.history.as_mut(),
            },
            Self::Changing => None,
        }
    }

    /// The network, once it is fixed.
    pub(crate) fn network(&self) -> Option<NetworkPins> {
        self.owned()?.network()
    }

    /// Whoever is said to own the box: by what has opened, else by what lies in the clear.
    pub(crate) fn authority(&self) -> Option<P256Public> {
        match self {
            Self::Closed(broken) if broken.owned.is_none() => {
                broken.claimed.as_ref().map(|claimed| claimed.constants.authority)
            }
            _ => self.owned().map(|owned| owned.sealed.constants.authority),
        }
    }
}

impl Owned {
    /// The network: built in where it is public, so that a new release brings its new forks; else as it was pinned.
    pub(crate) fn network(&self) -> Option<NetworkPins> {
        let pinned = &self.sealed.constants.network.as_ref()?.pins;
        Some(network_in_force(pinned))
    }

    /// How far a lease reaches.
    pub(crate) fn last_epoch(&self, lease: &Lease) -> Epoch {
        self.sealed.constants.network.as_ref().map_or(Epoch(0), |network| network.terms.last_epoch(lease.counter()))
    }

    /// Whether a lease that ends with this epoch is so far behind that only an order catches up with the clock.
    pub(crate) fn is_long_behind(&self, last: Epoch, now: Epoch) -> bool {
        let behind_max = self.network().map_or(0, |network| lease::thirty_days(&network.chain));
        now.0 > last.0.saturating_add(behind_max)
    }

    /// Whether the clock ran away from the lease that is held. It may come back, so nothing is decided for good.
    pub(crate) fn is_stranded(&self, now: Millis) -> bool {
        let Phase::Open(lease) = &self.phase else { return false };
        self.is_long_behind(self.last_epoch(lease), self.epoch_at(now).unwrap_or_default())
    }

    /// The vault's clock in epochs; 0 before genesis.
    pub(crate) fn epoch_at(&self, now: Millis) -> Option<Epoch> {
        Some(epoch_at(&self.network()?, now))
    }
}

/// Opens the history. One that is damaged is no more than one that is gone: it is set aside, and the lease says what
/// follows from that.
fn open_history(disk: &dyn Disk) -> Result<History, HistoryError> {
    let database = disk.database(HISTORY_FILE);
    let error = match History::open_or_create(&database) {
        Err(error) if error.is_damage() => error,
        decided => return decided,
    };
    tracing::error!(error = in_full(&error), "the slashing history is damaged: it is set aside");
    // First what belongs to it: a new database must not find it.
    for ending in ["-wal", "-journal", ""] {
        if let Err(error) = disk.set_aside(&format!("{HISTORY_FILE}{ending}")) {
            tracing::error!(%error, "cannot set the damaged history aside");
        }
    }
    History::open_or_create(&database)
}

fn because(id: ClosedId, error: &dyn Error) -> Closed {
    Closed { id, reason: in_full(error) }
}

/// The facts of a network: those of this release where it is a public one and no later forks were pinned.
pub(crate) fn network_in_force(pinned: &NetworkPins) -> NetworkPins {
    match holdfast_eth::networks::public(pinned.chain.genesis_fork_version) {
        Some(public) if public.chain.forks.len() >= pinned.chain.forks.len() => {
            NetworkPins { chain: public.chain, exit_fork_version: public.exit_fork_version }
        }
        _ => pinned.clone(),
    }
}

/// The epoch of a time; 0 before genesis.
pub(crate) fn epoch_at(network: &NetworkPins, now: Millis) -> Epoch {
    network.chain.slot_at(now).map_or(Epoch(0), |slot| network.chain.epoch_of(slot))
}
