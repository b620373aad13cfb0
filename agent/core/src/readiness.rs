//! Which mode the node is in, and why, in words for the operator.
//!
//! Only the modes that a running node with a cluster can reach: pairing and maintenance are the daemon's.

use std::collections::BTreeSet;

use holdfast_types::{Mode, OperatorIndex};

use crate::alarm::Alarm;
use crate::io::{BeaconStatus, Effect, VaultFailure, VaultState};
use crate::setup::Cluster;

/// What the mode follows from.
#[derive(Debug)]
pub(crate) struct Readiness {
    vault: VaultState,
    beacon: BeaconStatus,
    connected: BTreeSet<OperatorIndex>,
    draining: Draining,
    halted: Option<Alarm>,
    shown: (Mode, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Draining {
    No,
    UnderWay,
    Finished,
}

impl Readiness {
    pub(crate) fn new() -> Self {
        Self {
            vault: VaultState::Closed(VaultFailure("it has not answered yet".to_owned())),
            beacon: BeaconStatus::Unreachable { reason: "it has not answered yet".to_owned() },
            connected: BTreeSet::new(),
            draining: Draining::No,
            halted: None,
            shown: (Mode::Enrolled, "starting".to_owned()),
        }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.shown.0
    }

    pub(crate) fn reason(&self) -> &str {
        &self.shown.1
    }

    pub(crate) fn beacon(&mut self, status: BeaconStatus) {
        self.beacon = status;
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.beacon == BeaconStatus::Synced
    }

    pub(crate) fn vault(&mut self, state: VaultState) {
        self.vault = state;
    }

    pub(crate) fn peer_up(&mut self, cluster: &Cluster, peer: OperatorIndex) {
        if cluster.operators.contains(peer) && peer != cluster.own {
            self.connected.insert(peer);
        }
    }

    pub(crate) fn peer_down(&mut self, peer: OperatorIndex) {
        self.connected.remove(&peer);
    }

    pub(crate) fn drain(&mut self) {
        if self.draining == Draining::No {
            self.draining = Draining::UnderWay;
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining != Draining::No
    }

    /// Nothing is under way any more.
    pub(crate) fn drained(&mut self) {
        if self.is_draining() {
            self.draining = Draining::Finished;
        }
    }

    pub(crate) fn has_drained(&self) -> bool {
        self.draining == Draining::Finished
    }

    /// Stops for safety. The first reason stays.
    pub(crate) fn halt(&mut self, alarm: Alarm) {
        self.halted.get_or_insert(alarm);
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted.is_some()
    }

    /// Whether the vault may be asked to sign: in mode ready, and while draining for what began before.
    pub(crate) fn may_sign(&self, cluster: &Cluster) -> bool {
        self.halted.is_none() && self.hindrances(cluster).is_none() && self.vault == VaultState::Open
    }

    /// Works out the mode anew, and tells when it or its reason changed.
    pub(crate) fn update(&mut self, cluster: &Cluster, out: &mut Vec<Effect>) {
        let now = self.judge(cluster);
        if now != self.shown {
            self.shown = now;
            let (mode, reason) = self.shown.clone();
            out.push(Effect::Mode { mode, reason });
        }
    }

    fn judge(&self, cluster: &Cluster) -> (Mode, String) {
        if let Some(alarm) = &self.halted {
            return (Mode::Halted, format!("signing stopped for safety: {alarm}"));
        }
        match self.draining {
            Draining::Finished => {
                return (Mode::Draining, "every duty is finished; the node can be stopped".to_owned());
            }
            Draining::UnderWay => {
                return (Mode::Draining, "finishing the duties under way and starting no new ones".to_owned());
            }
            Draining::No => {}
        }
        match &self.vault {
            VaultState::Broken(reason) => {
                return (Mode::Halted, format!("signing stopped for safety: the vault is closed: {reason}"));
            }
            VaultState::Closed(reason) => {
                return (Mode::Enrolled, format!("signing stopped: the vault is closed: {reason}"));
            }
            VaultState::Open => {}
        }
        match self.hindrances(cluster) {
            Some(hindrances) => (Mode::Syncing, format!("signing stopped: {hindrances}")),
            None => (Mode::Ready, format!("signing: {}", self.connections(cluster))),
        }
    }

    /// What outside this box keeps it from signing.
    fn hindrances(&self, cluster: &Cluster) -> Option<String> {
        let beacon = match &self.beacon {
            BeaconStatus::Synced => None,
            BeaconStatus::Syncing { reason } => {
                Some(format!("the beacon node does not follow the chain yet: {reason}"))
            }
            BeaconStatus::Unreachable { reason } => Some(format!("the beacon node does not answer: {reason}")),
        };
        let enough = self.connected.len() + 1 >= cluster.needed();
        let peers = (!enough).then(|| self.connections(cluster));
        let both: Vec<String> = beacon.into_iter().chain(peers).collect();
        (!both.is_empty()).then(|| both.join("; "))
    }

    fn connections(&self, cluster: &Cluster) -> String {
        let (here, all, needed) = (self.connected.len() + 1, cluster.operators.count(), cluster.needed());
        let missing = cluster.all_operators().filter(|peer| *peer != cluster.own && !self.connected.contains(peer));
        let needed = if here < needed { format!(", {needed} are needed") } else { String::new() };
        match name_operators(missing) {
            Some(missing) => format!("{here} of {all} operators connected{needed}; missing: {missing}"),
            None => format!("{here} of {all} operators connected"),
        }
    }
}

/// `operator 2`, or `operators 1, 3`; `None` for nobody. By index, from 0; who they are the edges know.
pub(crate) fn name_operators(operators: impl IntoIterator<Item = OperatorIndex>) -> Option<String> {
    let names: Vec<String> = operators.into_iter().map(|operator| operator.to_string()).collect();
    match names.as_slice() {
        [] => None,
        [only] => Some(format!("operator {only}")),
        _ => Some(format!("operators {}", names.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{DutyId, Slot};
    use holdfast_wire::qbft::MsgKind;

    use super::*;
    use crate::setup::tests::cluster;

    fn shown(readiness: &mut Readiness) -> (Mode, String) {
        readiness.update(&cluster(1), &mut Vec::new());
        (readiness.mode(), readiness.reason().to_owned())
    }

    fn ready() -> Readiness {
        let mut readiness = Readiness::new();
        readiness.vault(VaultState::Open);
        readiness.beacon(BeaconStatus::Synced);
        for peer in 1..4 {
            readiness.peer_up(&cluster(1), OperatorIndex(peer));
        }
        readiness
    }

    #[test]
    fn each_hindrance_is_named_in_turn() {
        let mut readiness = Readiness::new();
        assert_eq!(shown(&mut readiness).1, "signing stopped: the vault is closed: it has not answered yet");
        readiness.vault(VaultState::Open);
        let (mode, reason) = shown(&mut readiness);
        assert_eq!(mode, Mode::Syncing);
        assert!(reason.contains("the beacon node does not answer") && reason.contains("missing: operators 1, 2, 3"));
        readiness.beacon(BeaconStatus::Synced);
        readiness.peer_up(&cluster(1), OperatorIndex(2));
        assert_eq!(
            shown(&mut readiness),
            (
                Mode::Syncing,
                "signing stopped: 2 of 4 operators connected, 3 are needed; missing: operators 1, 3".to_owned()
            )
        );
        readiness.peer_up(&cluster(1), OperatorIndex(1));
        assert_eq!(
            shown(&mut readiness),
            (Mode::Ready, "signing: 3 of 4 operators connected; missing: operator 3".to_owned())
        );
    }

    #[test]
    fn the_vault_says_whether_it_waits_or_is_broken_and_is_ready_again_when_it_opens() {
        let mut readiness = ready();
        let why = || VaultFailure("why".to_owned());
        for (state, mode, says) in [
            (VaultState::Closed(why()), Mode::Enrolled, "signing stopped: the vault is closed: why"),
            (VaultState::Broken(why()), Mode::Halted, "signing stopped for safety: the vault is closed: why"),
        ] {
            readiness.vault(state);
            assert_eq!(shown(&mut readiness), (mode, says.to_owned()));
            assert!(!readiness.may_sign(&cluster(1)));
            readiness.vault(VaultState::Open);
            assert_eq!(shown(&mut readiness).0, Mode::Ready);
            assert!(readiness.may_sign(&cluster(1)));
        }
    }

    #[test]
    fn only_a_change_is_told() {
        let (mut readiness, mut out) = (ready(), Vec::new());
        readiness.update(&cluster(1), &mut out);
        readiness.update(&cluster(1), &mut out);
        assert!(matches!(out.as_slice(), [Effect::Mode { mode: Mode::Ready, .. }]));
    }

    #[test]
    fn neither_ourselves_nor_a_stranger_counts_as_a_peer() {
        let mut readiness = Readiness::new();
        readiness.peer_up(&cluster(1), OperatorIndex(0));
        readiness.peer_up(&cluster(1), OperatorIndex(4));
        assert!(readiness.connected.is_empty());
    }

    #[test]
    fn draining_still_signs_and_halted_never() {
        let mut readiness = ready();
        readiness.drain();
        assert_eq!(shown(&mut readiness).0, Mode::Draining);
        assert!(readiness.may_sign(&cluster(1)) && !readiness.has_drained());
        readiness.drained();
        assert!(readiness.has_drained());
        let duty = DutyId::attester(Slot(7));
        readiness.halt(Alarm::Twin { operator: OperatorIndex(0), duty, kind: MsgKind::Commit, round: 1 });
        let (mode, reason) = shown(&mut readiness);
        assert!(mode == Mode::Halted && reason.contains("7/attester"), "{reason}");
        assert!(!readiness.may_sign(&cluster(1)));
    }
}
