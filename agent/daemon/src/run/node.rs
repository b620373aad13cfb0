//! The running node: the edges around the core, and the one loop that owns it.
//!
//! Whatever can wake the node is listed in [`RunningNode::run`]; whatever it wants done, in `perform`. No rule about a
//! duty is decided here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::io::{DutyEvent, DutyStep, Effect, Input, OutgoingConsensus};
use holdfast_core::{Node, Setup, SetupError, ValidatorShares};
use holdfast_types::{Millis, OperatorIndex, ValidatorPublic};
use holdfast_wire::k1::NodeKey;
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::ConsensusMsg;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use super::plan::Plan;
use crate::clock::now;
use crate::daemon::Daemon;
use crate::edge::beacon::{self, Beacon, BeaconError, Network};
use crate::edge::bls::Pool;
use crate::edge::peers::{self, PeerEvent, Peers, PeersConfig, PeersError, Timing};
use crate::edge::vault::{self, Vault, View};
use crate::log::LogLimit;

/// What a running node is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    /// Its duties.
    On,
    /// Finish, and stay without duties.
    Drain,
    /// Finish, and end.
    Leave,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// The beacon edge cannot be set up.
    #[error(transparent)]
    Beacon(#[from] BeaconError),
    /// The peers edge cannot be set up.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The core refuses the setup.
    #[error("the lock cannot be run")]
    Setup(#[from] SetupError),
}

/// A node, with its edges.
pub(super) struct RunningNode {
    node: Node,
    /// What peers do wrong is theirs to repeat as often as they like, so it is not logged as often.
    fault_logs: BTreeMap<OperatorIndex, LogLimit>,
    own: OperatorIndex,
    key: NodeKey,
    all_keys: Arc<Vec<ValidatorPublic>>,
    beacon: Beacon,
    peers: Arc<Peers>,
    vault: Vault,
    pool: Pool,
    inputs: mpsc::Receiver<Input>,
    peer_events: mpsc::Receiver<PeerEvent>,
    daemon: Arc<Daemon>,
}

impl RunningNode {
    /// Starts the edges around a new core.
    pub(super) async fn start(
        plan: Plan,
        network: Network,
        view: watch::Receiver<Option<View>>,
        daemon: Arc<Daemon>,
    ) -> Result<Self, BuildError> {
        let Plan { lock, keys, own, key, identity, settings } = plan;
        let validators: Vec<ValidatorShares> =
            lock.validators().map(|v| ValidatorShares { public: v.public, shares: v.shares.to_vec() }).collect();
        let all_keys = Arc::new(validators.iter().map(|validator| validator.public).collect());
        let node = Node::new(Setup {
            chain: network.chain.clone(),
            own,
            operators: keys.len(),
            threshold: lock.threshold().into(),
            validators,
            // Not the daemon's start: what the node before this one sent would be taken for a twin's.
            boot: now(),
        })?;
        let (inputs, inputs_in) = mpsc::channel(INPUTS_MAX);
        let (peer_events, peers_in) = mpsc::channel(INPUTS_MAX);
        let operator = |(index, public): (u8, &_)| peers::Operator {
            public: *public,
            addresses: settings.peers.get(&OperatorIndex(index)).cloned().unwrap_or_default(),
        };
        let config = PeersConfig {
            identity: Zeroizing::new(identity.0),
            own,
            operators: (0_u8..).zip(&keys).map(operator).collect(),
            listen: settings.listen,
            lock_hash: lock.lock_hash(),
            validators: lock.validators().len(),
            nickname: settings.nickname,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            chain: Arc::new(network.chain.clone()),
            clock: Arc::new(now),
            timing: Timing::default(),
        };
        let peers = Arc::new(peers::start(config, peer_events).await?);
        daemon.metrics.watch_peers(&peers);
        let timing = beacon::Timing::default();
        Ok(Self {
            beacon: beacon::start(&settings.beacon_nodes, network, timing, inputs.clone())?,
            vault: vault::start(daemon.vault.clone(), lock.lock_hash(), inputs.clone(), view),
            pool: Pool::new(inputs),
            node,
            fault_logs: (0_u8..).zip(&keys).map(|(index, _)| (OperatorIndex(index), LogLimit::default())).collect(),
            own,
            key,
            all_keys,
            peers,
            inputs: inputs_in,
            peer_events: peers_in,
            daemon,
        })
    }

    /// Does its duties until it is told otherwise; returns once it is told to leave, or to go on after a drain, which a
    /// core cannot.
    pub(super) async fn run(mut self, mut go: watch::Receiver<Go>) {
        let mut draining: Option<Instant> = None;
        let mut told_drained = false;
        self.take(Input::Wake);
        let mut taken = Instant::now();
        loop {
            let wake = wake_at(self.node.next_wake()).max(taken + WAKE_MIN);
            let input = tokio::select! {
                Ok(()) = go.changed(), if draining.is_none() || told_drained => match draining {
                    None => {
                        draining = Some(Instant::now() + DRAIN_MAX);
                        Input::Drain
                    }
                    Some(_) => Input::Wake,
                },
                () = sleep_until(wake) => Input::Wake,
                Some(input) = self.inputs.recv() => input,
                Some(event) = self.peer_events.recv() => match self.of_peer(event) {
                    Some(input) => input,
                    None => continue,
                },
            };
            self.take(input);
            taken = Instant::now();
            if draining.is_some_and(|end| self.node.has_drained() || Instant::now() >= end) {
                if !told_drained {
                    tracing::info!("drained");
                    told_drained = true;
                }
                if *go.borrow_and_update() != Go::Drain {
                    return self.end().await;
                }
                self.daemon.control.drained().await;
            }
        }
    }

    /// Gives the ports back, so that the next node can have them.
    async fn end(self) {
        if let Some(peers) = Arc::into_inner(self.peers) {
            peers.end().await;
        }
    }

    /// Hands an input to the core and performs what it wants, its own signed messages included.
    fn take(&mut self, input: Input) {
        if matches!(input, Input::Validators { .. }) {
            let seen = self.beacon.take_seen();
            self.daemon.board.set_validators(|cluster| {
                seen.iter().for_each(|one| cluster.seen(&one.public, one.index, &one.status));
            });
        }
        let mut pending = VecDeque::from([input]);
        let mut effects = Vec::new();
        while let Some(input) = pending.pop_front() {
            self.node.handle(now(), input, &mut effects);
            for effect in effects.drain(..) {
                self.metrics_of(&effect);
                if let Some(own) = perform(
                    effect,
                    &Edges {
                        own: self.own,
                        key: &self.key,
                        all_keys: &self.all_keys,
                        beacon: &self.beacon,
                        peers: &self.peers,
                        vault: &self.vault,
                        pool: &self.pool,
                    },
                ) {
                    pending.push_back(own);
                }
            }
        }
    }

    /// Shows what is to be seen of an effect: on the board, in the metrics, in the log.
    fn metrics_of(&self, effect: &Effect) {
        match effect {
            Effect::Mode { mode, reason } => {
                tracing::info!(%mode, reason, "mode");
                self.daemon.board.set_mode(*mode, reason);
                self.daemon.metrics.set_mode(*mode);
            }
            Effect::Duty(event) => {
                log_duty(event);
                self.daemon.board.record(event);
                self.daemon.metrics.count_duty(event);
            }
            Effect::Fault { peer, fault } => {
                self.warn_of(*peer, fault);
                self.daemon.metrics.count_fault(peer.0);
            }
            Effect::Alarm(alarm) => {
                tracing::error!(%alarm, "alarm");
                self.daemon.metrics.count_alarm();
            }
            _ => {}
        }
    }

    /// Logs what is wrong with a peer, unless it filled the log with others just now.
    fn warn_of(&self, peer: OperatorIndex, what: &dyn std::fmt::Display) {
        if let Some(unsaid) = self.fault_logs.get(&peer).and_then(|limit| limit.admit(Instant::now())) {
            tracing::warn!(operator = peer.0, unsaid, "a peer {what}");
        }
    }

    fn of_peer(&self, event: PeerEvent) -> Option<Input> {
        match event {
            PeerEvent::Up(peer) => {
                self.daemon.board.set_peer(peer.0, |shown| shown.connected = true);
                Some(Input::PeerUp(peer))
            }
            PeerEvent::Down(peer) => {
                self.daemon.board.set_peer(peer.0, |shown| shown.connected = false);
                Some(Input::PeerDown(peer))
            }
            PeerEvent::Consensus { from, message } => Some(Input::Consensus { from, message }),
            PeerEvent::Partials { from, set } => Some(Input::Partials { from, set }),
            PeerEvent::Info { from, info } => {
                if info.findings.is_ok_and(|findings| findings.other_lock) {
                    self.warn_of(from, &"runs another cluster lock; compare the lock hashes with its operator");
                }
                let version = info.said.version.chars().filter(|one| !one.is_control()).take(VERSION_LEN_MAX).collect();
                self.daemon.board.set_peer(from.0, |shown| shown.version = Some(version));
                None
            }
            PeerEvent::Fault { from, .. } => {
                self.daemon.metrics.count_fault(from.0);
                None
            }
        }
    }
}

/// Where effects go.
struct Edges<'a> {
    own: OperatorIndex,
    key: &'a NodeKey,
    all_keys: &'a Arc<Vec<ValidatorPublic>>,
    beacon: &'a Beacon,
    peers: &'a Peers,
    vault: &'a Vault,
    pool: &'a Pool,
}

/// Performs one effect. Nothing here waits: edges have queues of their own.
fn perform(effect: Effect, edges: &Edges<'_>) -> Option<Input> {
    match effect {
        Effect::FetchValidators(epoch) => edges.beacon.fetch_validators(epoch, edges.all_keys.clone()),
        Effect::FetchAttesterDuties { epoch, validators } => edges.beacon.fetch_attester_duties(epoch, validators),
        Effect::FetchAttestationData(slot) => edges.beacon.fetch_attestation_data(slot),
        Effect::SignConsensus(OutgoingConsensus { msg, justification, values }) => {
            let message = ConsensusMsg::new(msg.sign(edges.key), justification, values);
            edges.peers.broadcast(Protocol::Qbft, &message.encode());
            return Some(Input::Consensus { from: edges.own, message });
        }
        Effect::SignAttestations { duty, batch } => edges.vault.sign_attestations(duty, batch),
        Effect::SendPartials(set) => edges.peers.broadcast(Protocol::ParSigEx, &set.encode()),
        Effect::Bls(job) => edges.pool.run(job),
        Effect::SubmitAttestations { duty, attestations } => edges.beacon.submit_attestations(duty, attestations),
        Effect::Mode { .. } | Effect::Duty(_) | Effect::Fault { .. } | Effect::Alarm(_) => {}
    }
    None
}

fn log_duty(event: &DutyEvent) {
    let DutyEvent { duty, after_ms, step } = event;
    match step {
        DutyStep::Decided { round } => tracing::info!(%duty, after_ms, round, "decided"),
        DutyStep::Broadcast { attestations } => tracing::info!(%duty, after_ms, attestations, "broadcast"),
        DutyStep::Missed { validators, why } => tracing::warn!(%duty, validators, why, "missed"),
        DutyStep::Withheld { why } => tracing::warn!(%duty, after_ms, why, "held back"),
        DutyStep::Signed { signed, refused } if !refused.is_empty() => {
            tracing::warn!(%duty, after_ms, signed, ?refused, "the vault refused");
        }
        other => tracing::debug!(%duty, after_ms, step = ?other, "duty"),
    }
}

fn wake_at(wake: Option<Millis>) -> Instant {
    let wait = wake.map_or(WAKE_MAX, |at| Duration::from_millis(at.since(now())));
    Instant::now() + wait.min(WAKE_MAX)
}

/// Answers and events that may wait for the loop; edges wait when it is full, and say so to their own side.
const INPUTS_MAX: usize = 256;

/// How long a drain may take: the attester duty under way needs no more than a slot.
const DRAIN_MAX: Duration = Duration::from_secs(15);

/// The core's wake-ups are at least this far apart, so that none of them can spin.
const WAKE_MIN: Duration = Duration::from_millis(1);

/// The loop looks at the wall clock at least this often: it may have been set, or the machine may have slept, and the
/// time by which the runtime sleeps knows of neither.
const WAKE_MAX: Duration = Duration::from_secs(1);

/// As much of what a peer calls its version as is shown; real ones are shorter.
const VERSION_LEN_MAX: usize = 64;
