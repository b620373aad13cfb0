//! The daemon's life: what starts in which order, and the one loop that owns the core.
//!
//! Whatever can wake the node is listed in [`Daemon::run`]; whatever it wants done, in `perform`. No rule about a duty is
//! decided here.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_api::{Lease, PeerStatus, Status, Timestamp, VaultClosed, VaultSummary};
use holdfast_cluster::{Networks, VerifiedLock};
use holdfast_core::io::{DutyEvent, DutyStep, Effect, Input, OutgoingConsensus};
use holdfast_core::{Node, Setup, SetupError, ValidatorShares};
use holdfast_types::{ForkVersion, LockHash, Millis, Mode, OperatorIndex, ValidatorPublic};
use holdfast_vault_client::VaultStatus;
use holdfast_wire::k1::{BadNodeKey, NodeKey, NodePublic};
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::ConsensusMsg;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use crate::board::Board;
use crate::config::Config;
use crate::edge::beacon::{self, Beacon, BeaconError};
use crate::edge::bls::Pool;
use crate::edge::http::{self, ListenError};
use crate::edge::peers::{self, PeerEvent, Peers, PeersConfig, PeersError, Timing};
use crate::edge::vault::{self, Opened, Vault, Waiting};
use crate::log::LogLimit;
use crate::metrics::Metrics;

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

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The lock file cannot be read.
    #[error("cannot read cluster lock {}", path.display())]
    ReadLock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: std::io::Error,
    },
    /// The lock file is no lock.
    #[error("cannot understand cluster lock {}", path.display())]
    ParseLock {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        err: holdfast_cluster::FileError,
    },
    /// The lock does not verify.
    #[error("cluster lock {} does not verify", path.display())]
    VerifyLock {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        #[source]
        err: holdfast_cluster::LockError,
    },
    /// The vault belongs to another cluster.
    #[error(
        "the vault holds shares of lock {held}, the configuration names lock {configured}: give both the same cluster"
    )]
    OtherLock {
        /// The vault's lock.
        held: LockHash,
        /// The configuration's lock.
        configured: LockHash,
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
    /// The beacon edge cannot be set up.
    #[error(transparent)]
    Beacon(#[from] BeaconError),
    /// The health listener cannot be set up.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The peers edge cannot be set up.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The core refuses the setup.
    #[error("the lock cannot be run")]
    Setup(#[from] SetupError),
}

/// Reads and verifies the cluster lock that a configuration names.
///
/// # Errors
/// When it cannot be read or does not verify.
pub fn read_lock(config: &Config) -> Result<VerifiedLock, RunError> {
    let path = || config.lock.clone();
    let bytes = std::fs::read(&config.lock).map_err(|err| RunError::ReadLock { path: path(), err })?;
    let lock = holdfast_cluster::read_lock(&bytes).map_err(|err| RunError::ParseLock { path: path(), err })?;
    let networks = config.network.clone().map_or_else(Networks::public, Networks::with_custom);
    VerifiedLock::verify(lock, &networks).map_err(|err| RunError::VerifyLock { path: path(), err })
}

/// Runs the daemon until `stop` is ready and the node has drained.
///
/// # Errors
/// When something that it needs cannot be set up. What may come later (vault, beacon node, peers) is waited for instead.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), RunError> {
    let boot = now();
    let lock = read_lock(&config)?;
    let board = Arc::new(Board::new(first_status()));
    let metrics = Arc::new(Metrics::new(holdfast_bls::path()));
    metrics.watch_vault(board.clone());
    let address = http::start(config.http, board.clone(), metrics.clone()).await?;
    tracing::info!(%address, "health and metrics are served");
    tokio::pin!(stop);
    let set_up = set_up(&config, lock, boot, &board, &metrics);
    let daemon = tokio::select! {
        daemon = set_up => daemon?,
        () = &mut stop => return Ok(()),
    };
    daemon.run(stop).await;
    Ok(())
}

pub(crate) fn first_status() -> Status {
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
        now: Timestamp(now()),
        clock_synchronised: false,
        conditions: Vec::new(),
    }
}

fn vault_summary(status: &VaultStatus) -> VaultSummary {
    let closed = status.closed.as_ref();
    VaultSummary {
        tier: status.tier.to_string(),
        lease: status.lease.map(|lease| Lease { counter: lease.counter, last_epoch: lease.last_epoch }),
        closed: closed.map(|closed| VaultClosed { id: closed.id.to_string(), reason: closed.reason.clone() }),
    }
}

async fn set_up(
    config: &Config,
    lock: VerifiedLock,
    boot: Millis,
    board: &Arc<Board>,
    metrics: &Arc<Metrics>,
) -> Result<Daemon, RunError> {
    let waiting = |Waiting { mode, reason, .. }: &Waiting| {
        tracing::warn!(%mode, reason, "waiting for the vault");
        board.set_mode(*mode, reason);
        metrics.set_mode(*mode);
    };
    let shown: vault::Shown = {
        let board = board.clone();
        Arc::new(move |status| board.set_vault(status.map(vault_summary)))
    };
    let Opened { status, identity } = vault::open(&config.vault, waiting, &shown).await;
    let held = status.lock_hash.unwrap_or_default();
    if held != lock.lock_hash() {
        return Err(RunError::OtherLock { held, configured: lock.lock_hash() });
    }
    let key = NodeKey::from_bytes(&identity.0).map_err(RunError::Identity)?;
    let keys = operator_keys(&lock)?;
    let own = own_operator(&keys, &key)?;
    show_cluster(board, &lock, &keys, own);

    board.set_mode(Mode::Syncing, "waiting for a beacon node");
    metrics.set_mode(Mode::Syncing);
    let waiting = |reason: &str| {
        tracing::warn!(reason, "waiting for a beacon node; check its address and that it runs");
        board.set_mode(Mode::Syncing, &format!("waiting for a beacon node: {reason}"));
    };
    let timing = beacon::Timing::default();
    let network = beacon::find_network(&config.beacon_nodes, timing, waiting).await?;
    if network.chain.genesis_fork_version != lock.fork_version() {
        return Err(RunError::OtherNetwork { lock: lock.fork_version(), beacon: network.chain.genesis_fork_version });
    }
    let validators: Vec<ValidatorShares> =
        lock.validators().map(|v| ValidatorShares { public: v.public, shares: v.shares.to_vec() }).collect();
    let all_keys = Arc::new(validators.iter().map(|validator| validator.public).collect());
    let node = Node::new(Setup {
        chain: network.chain.clone(),
        own,
        operators: keys.len(),
        threshold: lock.threshold().into(),
        validators,
        boot,
    })?;

    let (inputs, inputs_in) = mpsc::channel(INPUTS_MAX);
    let (peer_events, peers_in) = mpsc::channel(INPUTS_MAX);
    let peers = peers::start(peers_config(config, &lock, &keys, own, &identity.0, &network), peer_events).await?;
    let peers = Arc::new(peers);
    metrics.watch_peers(peers.clone());
    Ok(Daemon {
        beacon: beacon::start(&config.beacon_nodes, network, timing, inputs.clone())?,
        vault: vault::start(config.vault.clone(), lock.lock_hash(), inputs.clone(), shown),
        pool: Pool::new(inputs),
        node,
        fault_logs: (0_u8..).zip(&keys).map(|(operator, _)| (OperatorIndex(operator), LogLimit::default())).collect(),
        own,
        key,
        all_keys,
        peers,
        inputs: inputs_in,
        peer_events: peers_in,
        board: board.clone(),
        metrics: metrics.clone(),
    })
}

fn operator_keys(lock: &VerifiedLock) -> Result<Vec<NodePublic>, RunError> {
    let key = |(operator, enr): (usize, &holdfast_cluster::Enr)| {
        NodePublic::from_slice(&enr.public()).map_err(|err| RunError::OperatorKey { operator, err })
    };
    lock.enrs().iter().enumerate().map(key).collect()
}

fn own_operator(keys: &[NodePublic], key: &NodeKey) -> Result<OperatorIndex, RunError> {
    let place = keys.iter().position(|public| *public == key.public());
    place
        .and_then(|index| u8::try_from(index).ok())
        .map(OperatorIndex)
        .ok_or_else(|| RunError::NotAnOperator { peer: key.public().peer_id() })
}

fn show_cluster(board: &Board, lock: &VerifiedLock, keys: &[NodePublic], own: OperatorIndex) {
    let peers = (0_u8..).zip(keys).map(|(operator, public)| PeerStatus {
        operator,
        peer_id: public.peer_id(),
        own: operator == own.0,
        connected: operator == own.0,
        version: None,
    });
    board.set_cluster(lock.name(), lock.validators().len(), peers.collect());
}

fn peers_config(
    config: &Config,
    lock: &VerifiedLock,
    keys: &[NodePublic],
    own: OperatorIndex,
    identity: &[u8; 32],
    network: &beacon::Network,
) -> PeersConfig {
    let operator = |(index, public): (u8, &NodePublic)| peers::Operator {
        public: *public,
        addresses: config.peers.get(&OperatorIndex(index)).cloned().unwrap_or_default(),
    };
    PeersConfig {
        identity: Zeroizing::new(*identity),
        own,
        operators: (0_u8..).zip(keys).map(operator).collect(),
        listen: config.listen.clone(),
        lock_hash: lock.lock_hash(),
        validators: lock.validators().len(),
        nickname: config.nickname.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        chain: Arc::new(network.chain.clone()),
        clock: Arc::new(now),
        timing: Timing::default(),
    }
}

struct Daemon {
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
    board: Arc<Board>,
    metrics: Arc<Metrics>,
}

impl Daemon {
    async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut draining: Option<Instant> = None;
        self.take(Input::Wake);
        let mut taken = Instant::now();
        loop {
            let wake = wake_at(self.node.next_wake()).max(taken + WAKE_MIN);
            let input = tokio::select! {
                () = &mut stop, if draining.is_none() => {
                    draining = Some(Instant::now() + DRAIN_MAX);
                    Input::Drain
                }
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
                tracing::info!("drained, stopping");
                return;
            }
        }
    }

    /// Hands an input to the core and performs what it wants, its own signed messages included.
    fn take(&mut self, input: Input) {
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
                self.board.set_mode(*mode, reason);
                self.metrics.set_mode(*mode);
            }
            Effect::Duty(event) => {
                log_duty(event);
                self.board.record(event);
                self.metrics.count_duty(event);
            }
            Effect::Fault { peer, fault } => {
                self.warn_of(*peer, fault);
                self.metrics.count_fault(peer.0);
            }
            Effect::Alarm(alarm) => {
                tracing::error!(%alarm, "alarm");
                self.metrics.count_alarm();
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
                self.board.set_peer(peer.0, |shown| shown.connected = true);
                Some(Input::PeerUp(peer))
            }
            PeerEvent::Down(peer) => {
                self.board.set_peer(peer.0, |shown| shown.connected = false);
                Some(Input::PeerDown(peer))
            }
            PeerEvent::Consensus { from, message } => Some(Input::Consensus { from, message }),
            PeerEvent::Partials { from, set } => Some(Input::Partials { from, set }),
            PeerEvent::Info { from, info } => {
                if info.findings.is_ok_and(|findings| findings.other_lock) {
                    self.warn_of(from, &"runs another cluster lock; compare the lock hashes with its operator");
                }
                let version = info.said.version.chars().filter(|one| !one.is_control()).take(VERSION_LEN_MAX).collect();
                self.board.set_peer(from.0, |shown| shown.version = Some(version));
                None
            }
            PeerEvent::Fault { from, .. } => {
                self.metrics.count_fault(from.0);
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

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
