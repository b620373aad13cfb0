//! What keeps the node from running, or else what it is built from.
//!
//! Each reason is a mode with words: the state, why, and the command that helps.

use holdfast_cluster::{FileError, LockError, Networks, VerifiedLock};
use holdfast_types::{ForkVersion, LockHash, Mode, OperatorIndex, P256Public, ShareIndex};
use holdfast_vault_client::{Closed, ClosedId, IdentityKey};
use holdfast_wire::k1::{BadNodeKey, NodeKey, NodePublic};

use crate::daemon::in_words;
use crate::edge::vault::{IMPORT, View};
use crate::settings::NodeSettings;

/// What a node is built from.
pub(super) struct Plan {
    pub(super) lock: VerifiedLock,
    pub(super) keys: Vec<NodePublic>,
    pub(super) own: OperatorIndex,
    pub(super) key: NodeKey,
    pub(super) identity: IdentityKey,
    pub(super) settings: NodeSettings,
}

/// Why the box waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// What the box is in meanwhile.
    pub(super) mode: Mode,
    /// State, reason and remedy in words.
    pub(super) reason: String,
}

/// Whose the box is and what the vault holds for him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Custody {
    pub(super) authority: P256Public,
    pub(super) lock_hash: LockHash,
    pub(super) share_index: Option<ShareIndex>,
}

/// Why a lock is not run.
#[derive(Debug, thiserror::Error)]
pub enum UnusableLock {
    /// The file is no lock.
    #[error("cannot understand the cluster lock")]
    Parse(#[from] FileError),
    /// The lock does not verify.
    #[error("the cluster lock does not verify")]
    Verify(#[from] LockError),
    /// The vault belongs to another cluster.
    #[error("the vault holds shares of lock {held}, the box has lock {kept}: give both the same cluster")]
    OtherLock {
        /// The vault's lock.
        held: LockHash,
        /// The box's lock.
        kept: LockHash,
    },
    /// The vault's identity key is none.
    #[error("the vault's identity key is not a key")]
    Identity(#[source] BadNodeKey),
    /// The lock's operators have a key that is none.
    #[error("operator {operator} of the lock has a node key that is no point")]
    OperatorKey {
        /// Which operator.
        operator: usize,
        /// What is wrong with it.
        #[source]
        err: BadNodeKey,
    },
    /// The vault's identity key is no operator's.
    #[error("the vault's identity key, peer {peer}, is none of the lock's operators: it was made for another cluster")]
    NotAnOperator {
        /// The peer ID of the key.
        peer: String,
    },
    /// The beacon node follows another network.
    #[error(
        "the lock is for the network with fork version {lock}, the beacon node follows {beacon}: connect it to the lock's network"
    )]
    OtherNetwork {
        /// The lock's genesis fork version.
        lock: ForkVersion,
        /// The beacon node's.
        beacon: ForkVersion,
    },
}

/// Why there is no custody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoCustody {
    pub(super) waiting: Waiting,
    /// Whether the vault said so; otherwise it says nothing that counts, and what it said before still does.
    pub(super) told: bool,
}

impl Waiting {
    pub(super) fn new(mode: Mode, reason: impl Into<String>) -> Self {
        Self { mode, reason: reason.into() }
    }

    /// The box has all it needs, and this does not fit.
    pub(super) fn unusable(error: &dyn std::error::Error) -> Self {
        Self::new(Mode::Enrolled, in_words(error))
    }
}

/// Reads and verifies a lock's file.
///
/// # Errors
/// When it is no lock or does not verify.
pub fn verify_lock(file: &[u8], settings: &NodeSettings) -> Result<VerifiedLock, UnusableLock> {
    let lock = holdfast_cluster::read_lock(file)?;
    let networks = settings.network.clone().map_or_else(Networks::public, Networks::with_custom);
    Ok(VerifiedLock::verify(lock, &networks)?)
}

/// Whose the box is by what its vault says, and that it holds shares; `owned_before` is by what the daemon kept.
pub(super) fn custody(view: Option<&View>, owned_before: bool) -> Result<Custody, NoCustody> {
    let silent = |reason: &str| {
        let mode = if owned_before { Mode::Paired } else { Mode::Maintenance };
        NoCustody { waiting: Waiting::new(mode, reason), told: false }
    };
    let status = match view {
        None => return Err(silent("waiting for the vault")),
        Some(Err(failure)) => return Err(silent(&failure.0)),
        Some(Ok(status)) => status,
    };
    match (status.authority, status.lock_hash) {
        (Some(authority), Some(lock_hash)) => Ok(Custody { authority, lock_hash, share_index: status.share_index }),
        (authority, _) => Err(without_custody(authority.is_some(), status.closed.as_ref())),
    }
}

fn without_custody(owned: bool, closed: Option<&Closed>) -> NoCustody {
    match closed {
        Some(closed) if !matches!(closed.id, ClosedId::NoShares | ClosedId::NotOwned) => {
            let waiting = Waiting::new(mode_without_shares(closed.id), format!("the vault is closed: {closed}"));
            NoCustody { waiting, told: false }
        }
        _ if owned => {
            let reason = format!("the vault holds no shares yet: {IMPORT}");
            NoCustody { waiting: Waiting::new(Mode::Paired, reason), told: true }
        }
        _ => {
            let reason = "nobody owns this box: pair it with `holdfast pair` and its code";
            NoCustody { waiting: Waiting::new(Mode::Maintenance, reason), told: true }
        }
    }
}

/// The mode of a box whose vault has no shares to show, because of this.
const fn mode_without_shares(id: ClosedId) -> Mode {
    match id {
        ClosedId::HistoryUnusable => Mode::Halted,
        // Only the operator gets any further: he pairs the box, approves its boot state, or replaces a part.
        _ => Mode::Maintenance,
    }
}

/// The node keys of the lock's operators.
pub(super) fn operator_keys(lock: &VerifiedLock) -> Result<Vec<NodePublic>, UnusableLock> {
    let key = |(operator, enr): (usize, &holdfast_cluster::Enr)| {
        NodePublic::from_slice(&enr.public()).map_err(|err| UnusableLock::OperatorKey { operator, err })
    };
    lock.enrs().iter().enumerate().map(key).collect()
}

/// Our place among the operators.
pub(super) fn own_operator(keys: &[NodePublic], key: &NodeKey) -> Result<OperatorIndex, UnusableLock> {
    let place = keys.iter().position(|public| *public == key.public());
    place
        .and_then(|index| u8::try_from(index).ok())
        .map(OperatorIndex)
        .ok_or_else(|| UnusableLock::NotAnOperator { peer: key.public().peer_id() })
}

#[cfg(test)]
mod tests {
    use holdfast_core::io::VaultFailure;
    use holdfast_vault_client::VaultStatus;

    use super::*;
    use crate::board::tests::vault_status;

    fn waits(change: impl Fn(&mut VaultStatus)) -> (Mode, String) {
        let mut status = vault_status();
        change(&mut status);
        let waiting = custody(Some(&Ok(status)), true).unwrap_err().waiting;
        (waiting.mode, waiting.reason)
    }

    fn closed(id: ClosedId) -> Option<Closed> {
        Some(Closed { id, reason: "why".to_owned() })
    }

    #[test]
    fn whose_vault_says_nothing_is_taken_for_what_it_was() {
        for (owned, mode) in [(true, Mode::Paired), (false, Mode::Maintenance)] {
            assert_eq!(custody(None, owned).unwrap_err().waiting.mode, mode);
            let silent = Err(VaultFailure("cannot connect".to_owned()));
            let waiting = Waiting::new(mode, "cannot connect");
            assert_eq!(custody(Some(&silent), owned).unwrap_err(), NoCustody { waiting, told: false });
        }
    }

    #[test]
    fn a_box_without_an_owner_says_how_to_pair_it() {
        for id in [None, closed(ClosedId::NotOwned)] {
            let (mode, reason) = waits(|status| status.closed.clone_from(&id));
            assert!(mode == Mode::Maintenance && reason.contains("`holdfast pair`"), "{mode}: {reason}");
        }
        let (mode, reason) = waits(|status| status.closed = closed(ClosedId::TpmFailed));
        assert_eq!((mode, reason.as_str()), (Mode::Maintenance, "the vault is closed: tpm-failed: why"));
    }

    #[test]
    fn an_owned_box_without_shares_says_how_to_get_them_or_why_it_cannot() {
        for (id, mode, says) in [
            (None, Mode::Paired, "`holdfast cluster import`"),
            (Some(ClosedId::NoShares), Mode::Paired, "`holdfast cluster import`"),
            (Some(ClosedId::HistoryUnusable), Mode::Halted, "history-unusable: why"),
            (Some(ClosedId::OtherMachine), Mode::Maintenance, "other-machine: why"),
        ] {
            let (found, reason) = waits(|status| {
                status.authority = Some(P256Public([2; 33]));
                status.closed = id.and_then(closed);
            });
            assert!(found == mode && reason.contains(says), "{found}: {reason}");
        }
    }

    #[test]
    fn shares_count_while_the_vault_is_closed_too() {
        let mut status = vault_status();
        status.authority = Some(P256Public([2; 33]));
        status.lock_hash = Some(LockHash([3; 32]));
        status.closed = closed(ClosedId::LeaseUnclean);
        assert_eq!(custody(Some(&Ok(status)), false).unwrap().lock_hash, LockHash([3; 32]));
    }

    #[test]
    fn a_key_of_no_operator_is_named() {
        let lock = crate::run::tests::verified_lock();
        let keys = operator_keys(&lock).unwrap();
        let stranger = NodeKey::from_bytes(&[9; 32]).unwrap();
        let error = own_operator(&keys, &stranger).unwrap_err().to_string();
        assert!(error.contains(&stranger.public().peer_id()), "{error}");
        assert_eq!(keys.len(), lock.enrs().len());
    }
}
