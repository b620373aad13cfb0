//! The cluster's peers over libp2p: the host, its streams, and who is there (`cluster-wire.md` sections 1 to 6 and 16).
//!
//! Decodes and verifies what peers send and carries what the node says. It decides nothing about duties: what to answer,
//! what is expired and which partial signature holds is the core's business. Relays are not spoken yet.
//!
//! What a peer may use up: 128 inbound streams, 32 MiB of frames, the decoding of one frame at a time, one event that
//! waits for the loop, and the buffers of 4 connections with 256 streams each.

mod behaviour;
mod fault;
mod frame;
mod handler;
mod identity;
mod inbound;
mod info;
mod outbound;
mod peer;
mod stats;
mod swarm;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use holdfast_types::{ChainSpec, LockHash, Millis, OperatorIndex};
use holdfast_wire::k1::NodePublic;
use holdfast_wire::parsigex::PartialSet;
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::ConsensusMsg;
use libp2p::multiaddr::Protocol as Part;
use libp2p::swarm::StreamProtocol;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use zeroize::Zeroizing;

use behaviour::Behaviour;
use inbound::Inbound;
use info::OwnInfo;
use outbound::{Opener, Outgoing};
use peer::Peer;
use stats::Counter;
use swarm::SwarmTask;

pub use fault::PeerFault;
pub use identity::peer_id;
pub use info::Info;
pub use stats::{PeerStats, ProtocolStats};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// What the edge needs to know. Everything here was validated before, but the addresses are checked once more.
pub struct PeersConfig {
    /// The node's secret key.
    pub identity: Zeroizing<[u8; 32]>,
    /// Our place among the operators.
    pub own: OperatorIndex,
    /// All operators in the order of the lock, ourselves included; our own addresses are not used.
    pub operators: Vec<Operator>,
    /// Where to listen, as `/ip4/0.0.0.0/tcp/3610`; nowhere when empty.
    pub listen: Vec<Multiaddr>,
    /// The cluster that we belong to, for peerinfo.
    pub lock_hash: LockHash,
    /// How many validators the lock has: no set of partial signatures is larger.
    pub validators: usize,
    /// The operator's name for this node, at most 32 bytes.
    pub nickname: String,
    /// The version of this software, as `0.1.0`.
    pub version: String,
    /// The chain, for the gate of section 5.2.
    pub chain: Arc<ChainSpec>,
    /// The time, for the gate and for peerinfo.
    pub clock: Clock,
    /// Spans of time; the default follows the specification.
    pub timing: Timing,
}

/// An operator as the network sees it.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The node key of the lock.
    pub public: NodePublic,
    /// Where it is dialled, as `/ip4/192.0.2.1/tcp/3610`; nowhere when empty.
    pub addresses: Vec<Multiaddr>,
}

/// The spans of time of this edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// An inbound stream, from its opening until its message is delivered (section 2.2: 5 s).
    pub inbound_limit: Duration,
    /// A message, from being queued until it is sent (section 2.2: 7 s).
    pub outbound_limit: Duration,
    /// From one peerinfo request to the next (section 6: a minute). The first goes out on connecting.
    pub info_period: Duration,
    /// The pause after the first dial; each further one is 1.6 times longer.
    pub redial_min: Duration,
    /// The longest pause between dials, but for up to a fifth more or less of jitter.
    pub redial_max: Duration,
    /// From one ping to the next (section 1.6: a second).
    pub ping_period: Duration,
    /// How long a ping may take. A connection that leaves two in a row unanswered is given up.
    pub ping_limit: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            inbound_limit: Duration::from_secs(5),
            outbound_limit: Duration::from_secs(7),
            info_period: Duration::from_secs(60),
            redial_min: Duration::from_secs(1),
            redial_max: Duration::from_secs(10),
            ping_period: Duration::from_secs(1),
            ping_limit: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// The pause after so many dials since the peer was last connected; `luck` is from 0 to 1.
    fn redial_pause(&self, tries: u32, luck: f64) -> Duration {
        // Beyond 32 tries the factor alone is a matter of days.
        let factor = 1.6_f64.powi(tries.min(32).cast_signed());
        self.redial_min.mul_f64(factor).min(self.redial_max).mul_f64(0.8 + 0.4 * luck)
    }
}

/// What comes from the peers.
#[derive(Debug)]
pub enum PeerEvent {
    /// A peer has a connection now.
    Up(OperatorIndex),
    /// A peer has no connection any more that answers.
    Down(OperatorIndex),
    /// A consensus message: signatures hold, values are there, the duty is in the gate. It may be expired.
    Consensus {
        /// Whose stream it came on; the signer may be another.
        from: OperatorIndex,
        /// The message.
        message: ConsensusMsg,
    },
    /// Partial signatures, not verified; the duty is in the gate. It may be expired.
    Partials {
        /// Whose stream they came on.
        from: OperatorIndex,
        /// The set.
        set: PartialSet,
    },
    /// What a peer says of itself.
    Info {
        /// Who.
        from: OperatorIndex,
        /// What.
        info: Info,
    },
    /// A peer did what it must not. Counted and logged already.
    Fault {
        /// Who.
        from: OperatorIndex,
        /// What.
        what: PeerFault,
    },
}

/// Why the edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// An address of a form that cannot be dialled.
    #[error(
        "cannot dial operator {operator} at {address}; write it as /ip4/<address>/tcp/<port> or /ip6/<address>/tcp/<port>"
    )]
    Address {
        /// Whose.
        operator: OperatorIndex,
        /// As configured.
        address: Multiaddr,
    },
    /// The node key is not the one of our operator.
    #[error(
        "the node key is that of peer {found}, but operator {own} of the lock is peer {expected}; give the node the key it was enrolled with"
    )]
    Identity {
        /// Us.
        own: OperatorIndex,
        /// By the lock.
        expected: Box<PeerId>,
        /// By the key.
        found: Box<PeerId>,
    },
    /// The bytes are no key.
    #[error("the node key is not a secp256k1 secret key")]
    Key(#[source] libp2p::identity::DecodingError),
    /// An address that we cannot listen on.
    #[error("cannot listen for peers on {address}; choose an address of this machine and a port that is free")]
    Listen {
        /// Which.
        address: Multiaddr,
        /// Why.
        #[source]
        err: Box<dyn Error + Send + Sync>,
    },
    /// There is no operator at our index.
    #[error("operator {own} is not in the lock, which has {operators}")]
    NotAnOperator {
        /// Us.
        own: OperatorIndex,
        /// How many there are.
        operators: usize,
    },
    /// The means of securing connections could not be made.
    #[error("cannot make the host's TLS certificate or Noise keys")]
    Security(#[source] Box<dyn Error + Send + Sync>),
}

/// The running edge. Dropping it ends every task, connection and listener of it.
#[derive(Debug)]
pub struct Peers {
    peers: Arc<BTreeMap<PeerId, Arc<Peer>>>,
    listening: Vec<Multiaddr>,
    strangers: Arc<Counter>,
    outbound_limit: Duration,
    tasks: JoinSet<()>,
}

/// Starts the edge: listens, dials every peer that has an address, and reports to `events` until the result is dropped.
///
/// Must be called on a tokio runtime. The room in `events` may be small: while it is full each peer waits for at most
/// `timing.inbound_limit`, and then its message is dropped and counted.
///
/// # Errors
/// [`PeersError`] names what in the configuration cannot be used.
pub async fn start(config: PeersConfig, events: mpsc::Sender<PeerEvent>) -> Result<Peers, PeersError> {
    let keypair = identity::keypair(config.identity.clone()).map_err(PeersError::Key)?;
    let (peers, addresses) = sort_out(&config, keypair.public().to_peer_id())?;
    let (opener, opens) = Opener::new();
    let own_info = Arc::new(OwnInfo::new(config.lock_hash, &config.nickname, config.clock.clone()));
    let inbound = Arc::new(Inbound {
        peers: peers.clone(),
        keys: config.operators.iter().map(|operator| operator.public).collect(),
        validators: config.validators,
        chain: config.chain,
        clock: config.clock,
        own_info: own_info.clone(),
        limit: config.timing.inbound_limit,
        events: events.clone(),
    });
    let served = SERVED.iter().map(|protocol| StreamProtocol::new(protocol.id())).collect();
    let streams = Behaviour::new(served, Arc::new(inbound), opens);
    let agent_version = format!("holdfast/{}", config.version);
    let swarm = swarm::build(keypair, agent_version, &config.timing, peers.keys().copied(), streams)?;
    let strangers = Arc::new(Counter::default());
    let mut task = SwarmTask::new(swarm, peers.clone(), addresses, config.timing, strangers.clone());
    let listening = task.listen(config.listen).await?;

    let mut tasks = JoinSet::new();
    for peer in peers.values() {
        tasks.spawn(peer::announce(peer.clone(), events.clone()));
        tasks.spawn(outbound::send_queued(peer.clone(), opener.clone()));
        tasks.spawn(info::ask_always(peer.clone(), opener.clone(), own_info.clone(), config.timing, events.clone()));
    }
    tasks.spawn(task.run());
    Ok(Peers { peers, listening, strangers, outbound_limit: config.timing.outbound_limit, tasks })
}

impl Peers {
    /// Queues a message for every peer. `message` goes without its length.
    ///
    /// Never waits. A peer whose queue is full loses its oldest message; one that is away gets what is at most
    /// `timing.outbound_limit` old when it comes back.
    pub fn broadcast(&self, protocol: Protocol, message: &[u8]) {
        let outgoing = self.outgoing(protocol, message);
        for peer in self.peers.values() {
            peer.queue.push(outgoing.clone(), &peer.counters);
        }
    }

    /// Queues a message for one peer, as [`Peers::broadcast`] does; for ourselves and strangers it does nothing.
    pub fn send(&self, to: OperatorIndex, protocol: Protocol, message: &[u8]) {
        if let Some(peer) = self.peers.values().find(|peer| peer.operator == to) {
            peer.queue.push(self.outgoing(protocol, message), &peer.counters);
        }
    }

    /// What is known of each peer now, in the order of the lock.
    #[must_use]
    pub fn stats(&self) -> Vec<PeerStats> {
        let snapshot = |peer: &Arc<Peer>| peer.counters.snapshot(peer.operator, peer.id, *peer.connected.borrow());
        let mut stats: Vec<_> = self.peers.values().map(snapshot).collect();
        stats.sort_by_key(|peer| peer.operator);
        stats
    }

    /// Inbound connections that came to nothing since the start: strangers, broken handshakes, too many at once.
    #[must_use]
    pub fn turned_away(&self) -> u64 {
        self.strangers.value()
    }

    /// What we listen on, ports of 0 resolved; one address for each configured.
    #[must_use]
    pub fn listening(&self) -> &[Multiaddr] {
        &self.listening
    }

    /// Ends the edge, and returns when its listeners are closed: then somebody else can have their ports.
    pub async fn end(mut self) {
        self.tasks.shutdown().await;
    }

    fn outgoing(&self, protocol: Protocol, message: &[u8]) -> Outgoing {
        let frame = holdfast_wire::frame::encode(message).into();
        Outgoing { protocol, frame, expires: Instant::now() + self.outbound_limit }
    }
}

type Known = (Arc<BTreeMap<PeerId, Arc<Peer>>>, BTreeMap<PeerId, Vec<Multiaddr>>);

/// The peers, and where to dial them.
fn sort_out(config: &PeersConfig, found: PeerId) -> Result<Known, PeersError> {
    let own = config.own;
    let count = config.operators.len();
    let at = config.operators.get(usize::from(own.0)).ok_or(PeersError::NotAnOperator { own, operators: count })?;
    let expected = peer_id(&at.public);
    if found != expected {
        return Err(PeersError::Identity { own, expected: expected.into(), found: found.into() });
    }
    let mut peers = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for (index, operator) in (0..).map(OperatorIndex).zip(&config.operators).filter(|(index, _)| *index != own) {
        let id = peer_id(&operator.public);
        for address in &operator.addresses {
            if !is_dialable(address, id) {
                return Err(PeersError::Address { operator: index, address: address.clone() });
            }
        }
        peers.insert(id, Arc::new(Peer::new(index, id)));
        addresses.insert(id, operator.addresses.clone());
    }
    Ok((Arc::new(peers), addresses))
}

fn is_dialable(address: &Multiaddr, id: PeerId) -> bool {
    match address.iter().collect::<Vec<_>>()[..] {
        [Part::Ip4(_) | Part::Ip6(_), Part::Tcp(_)] => true,
        [Part::Ip4(_) | Part::Ip6(_), Part::Tcp(_), Part::P2p(named)] => named == id,
        _ => false,
    }
}

/// An error with all its sources, for a line of the log.
fn chain_of(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        text.push_str(": ");
        text.push_str(&err.to_string());
        source = err.source();
    }
    text
}

/// What we serve. Priorities come with the rest of the wire.
const SERVED: [Protocol; 3] = [Protocol::Qbft, Protocol::ParSigEx, Protocol::PeerInfo];

#[cfg(test)]
mod tests;
