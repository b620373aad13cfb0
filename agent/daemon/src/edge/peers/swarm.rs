//! The task that owns the libp2p swarm: who may connect, who is dialled and when, and which connections are alive.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::allow_block_list::{self, AllowedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::transport::ListenerId;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, SwarmBuilder, identify, noise, ping, tcp, tls, yamux};
use tokio::time::{Instant, sleep_until};

use super::behaviour::Behaviour;
use super::peer::Peer;
use super::stats::Counter;
use super::{PeersError, Timing, chain_of};
use crate::log::LogLimit;

/// All behaviours of the host.
#[derive(NetworkBehaviour)]
pub(super) struct Host {
    gate: allow_block_list::Behaviour<AllowedPeers>,
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: Behaviour,
}

/// The swarm, and what is known of the peers' connections.
pub(super) struct SwarmTask {
    swarm: Swarm<Host>,
    peers: Arc<BTreeMap<PeerId, Arc<Peer>>>,
    dials: BTreeMap<PeerId, Dial>,
    /// Pings that failed in a row, per open connection of a peer.
    ping_failures: HashMap<ConnectionId, u32>,
    timing: Timing,
    strangers: Arc<Counter>,
    stranger_log: LogLimit,
}

/// The dialling of one peer.
struct Dial {
    addresses: Vec<Multiaddr>,
    /// Dials since the peer was last connected.
    tries: u32,
    /// When to dial again; `None` while the peer is connected or has no address.
    next: Option<Instant>,
    log: LogLimit,
}

/// Builds the swarm.
pub(super) fn build(
    keypair: Keypair,
    agent_version: String,
    timing: &Timing,
    allowed: impl Iterator<Item = PeerId>,
    streams: Behaviour,
) -> Result<Swarm<Host>, PeersError> {
    let identify =
        identify::Config::new(String::new(), keypair.public()).with_agent_version(agent_version).with_cache_size(0);
    let ping = ping::Config::new().with_interval(timing.ping_period).with_timeout(timing.ping_limit);
    let mut gate = allow_block_list::Behaviour::<AllowedPeers>::default();
    for peer in allowed {
        gate.allow_peer(peer);
    }
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(HANDSHAKES_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    let host = Host {
        gate,
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
        streams,
    };
    let muxer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_PER_CONNECTION_MAX);
        config
    };
    Ok(SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), (tls::Config::new, noise::Config::new), muxer)
        .map_err(|err| PeersError::Security(Box::new(err)))?
        .with_behaviour(|_| host)
        .expect("the behaviour is given")
        .with_swarm_config(|config| {
            config
                .with_idle_connection_timeout(IDLE_LIMIT)
                // A round trip less per message: the frame goes along with the name of its protocol.
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
                .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        })
        .build())
}

impl SwarmTask {
    /// A task that dials `addresses` at once when it runs.
    pub(super) fn new(
        swarm: Swarm<Host>,
        peers: Arc<BTreeMap<PeerId, Arc<Peer>>>,
        addresses: BTreeMap<PeerId, Vec<Multiaddr>>,
        timing: Timing,
        strangers: Arc<Counter>,
    ) -> Self {
        let now = Instant::now();
        let dial = |addresses: Vec<Multiaddr>| {
            let next = (!addresses.is_empty()).then_some(now);
            Dial { addresses, tries: 0, next, log: LogLimit::default() }
        };
        Self {
            swarm,
            peers,
            dials: addresses.into_iter().map(|(peer, addresses)| (peer, dial(addresses))).collect(),
            ping_failures: HashMap::new(),
            timing,
            strangers,
            stranger_log: LogLimit::default(),
        }
    }

    /// Listens on every address and returns what it listens on, ports of 0 resolved; one address each.
    pub(super) async fn listen(&mut self, addresses: Vec<Multiaddr>) -> Result<Vec<Multiaddr>, PeersError> {
        let mut bound = Vec::new();
        for address in addresses {
            let failed =
                |err: Box<dyn std::error::Error + Send + Sync>| PeersError::Listen { address: address.clone(), err };
            let id = self.swarm.listen_on(address.clone()).map_err(|err| failed(err.into()))?;
            bound.push(self.first_address(id).await.map_err(|err| failed(err.into()))?);
        }
        Ok(bound)
    }

    async fn first_address(&mut self, id: ListenerId) -> Result<Multiaddr, std::io::Error> {
        loop {
            match self.swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } if listener_id == id => return Ok(address),
                SwarmEvent::ListenerError { listener_id, error } if listener_id == id => return Err(error),
                SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == id => {
                    return Err(reason.err().unwrap_or_else(|| std::io::ErrorKind::NotConnected.into()));
                }
                other => self.on_event(other),
            }
        }
    }

    /// Runs until the node ends.
    pub(super) async fn run(mut self) {
        loop {
            self.dial_due(Instant::now());
            let next = self.dials.values().filter_map(|dial| dial.next).min();
            // Without anyone to dial only an event can bring work.
            let due = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                () = due => {}
            }
        }
    }

    fn dial_due(&mut self, now: Instant) {
        for (peer, dial) in &mut self.dials {
            if dial.next.is_none_or(|next| next > now) {
                continue;
            }
            // A dial that neither fails nor succeeds in the meantime is still under way then, and is left alone.
            dial.next = Some(now + self.timing.redial_pause(dial.tries, rand::random()));
            dial.tries = dial.tries.saturating_add(1);
            // From a fresh port: two nodes that dial each other from their listening ports at the same moment would
            // meet in one TCP connection on which each takes itself for the dialler. Connections that no longer answer
            // may still be open, so having one is no reason not to dial.
            let opts = DialOpts::peer_id(*peer)
                .addresses(dial.addresses.clone())
                .condition(PeerCondition::NotDialing)
                .allocate_new_port()
                .build();
            if let Err(err) = self.swarm.dial(opts) {
                tracing::debug!(%peer, %err, "did not dial");
            }
        }
    }

    fn on_event(&mut self, event: SwarmEvent<HostEvent>) {
        match event {
            SwarmEvent::Behaviour(HostEvent::Ping(event)) => self.on_ping(event),
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                tracing::debug!(peer = %peer_id, ?endpoint, "connection");
                self.settle(&peer_id);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let cause = cause.as_ref().map(|cause| chain_of(cause));
                tracing::debug!(peer = %peer_id, cause, "connection closed");
                self.ping_failures.remove(&connection_id);
                self.settle(&peer_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.on_dial_failed(&peer, &error)
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, peer_id, .. } => {
                self.on_turned_away(&send_back_addr, peer_id, &error);
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listening for peers hit an error"),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "no longer listening for peers; restart the node to listen again");
            }
            _ => {}
        }
    }

    /// Brings what others see of a peer, and its next dial, in line with its connections.
    fn settle(&mut self, id: &PeerId) {
        let up = self.swarm.behaviour().streams.is_connected(id);
        let Some(peer) = self.peers.get(id) else { return };
        let changed = peer.connected.send_if_modified(|connected| std::mem::replace(connected, up) != up);
        let Some(dial) = self.dials.get_mut(id).filter(|dial| changed && !dial.addresses.is_empty()) else { return };
        dial.tries = 0;
        dial.next = (!up).then(|| Instant::now() + self.timing.redial_pause(0, rand::random()));
    }

    fn on_ping(&mut self, ping::Event { peer: id, connection, result }: ping::Event) {
        let Some(peer) = self.peers.get(&id) else { return };
        match result {
            Ok(rtt) => {
                self.ping_failures.remove(&connection);
                peer.counters.pinged(rtt);
            }
            Err(err) if is_silence(&err) => {
                let failures = self.ping_failures.entry(connection).or_default();
                *failures += 1;
                tracing::debug!(peer = %id, failures, "no answer to a ping");
                if *failures >= PING_FAILURES_MAX {
                    self.give_up(&id, connection);
                }
            }
            // Something came back, if only a refusal; and when the connection broke, its end is an event of its own.
            Err(err) => tracing::debug!(peer = %id, err = %chain_of(&err), "ping failed"),
        }
    }

    /// Leaves a connection that no longer answers. Closing it may take long, so it counts as gone at once.
    fn give_up(&mut self, id: &PeerId, connection: ConnectionId) {
        self.ping_failures.remove(&connection);
        self.swarm.behaviour_mut().streams.forget(id, connection);
        self.swarm.close_connection(connection);
        self.settle(id);
    }

    fn on_dial_failed(&mut self, id: &PeerId, err: &DialError) {
        let Some(dial) = self.dials.get(id) else { return };
        match err {
            DialError::DialPeerConditionFalse(_) => {}
            // Worth a look by the operator: another node answers at the peer's address.
            DialError::WrongPeerId { obtained, address } => {
                if let Some(unsaid) = dial.log.admit(Instant::now()) {
                    tracing::warn!(peer = %id, %obtained, %address, unsaid, "another node answers at the peer's address; check the configured address");
                }
            }
            other => tracing::debug!(peer = %id, err = %chain_of(other), "cannot dial the peer"),
        }
    }

    fn on_turned_away(&mut self, from: &Multiaddr, id: Option<PeerId>, err: &ListenError) {
        self.strangers.one();
        let id = id.map(|id| id.to_string());
        if let Some(unsaid) = self.stranger_log.admit(Instant::now()) {
            tracing::info!(%from, id, unsaid, err = %chain_of(err), "turned a connection away");
        }
    }
}

/// Whether nothing came back in time, be it on the ping's stream or while that was being opened.
fn is_silence(failure: &ping::Failure) -> bool {
    match failure {
        ping::Failure::Timeout => true,
        ping::Failure::Unsupported => false,
        ping::Failure::Other { error } => {
            error.downcast_ref::<std::io::Error>().is_some_and(|err| err.kind() == std::io::ErrorKind::TimedOut)
        }
    }
}

/// Inbound handshakes at once, of whomever: each lasts at most 10 s and costs some 100 KiB.
const HANDSHAKES_MAX: u32 = 64;

/// One dialled by each side, and as many that are dead without our knowing.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;

/// Exceeding it costs the peer its connection, so it is more than any healthy pair needs. Each stream buffers at most
/// 256 KiB, which bounds what a hostile member of the cluster can make us hold unread to 64 MiB a connection.
const STREAMS_PER_CONNECTION_MAX: usize = 256;

/// Inbound streams of one connection whose protocol is not agreed on yet; others wait in the muxer.
const NEGOTIATING_MAX: usize = 64;

/// Our own handler keeps connections alive, so this is not reached.
const IDLE_LIMIT: Duration = Duration::from_secs(3600);

/// A second failure in a row: one may be a moment of load.
const PING_FAILURES_MAX: u32 = 2;
