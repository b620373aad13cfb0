//! The edge over real sockets on loopback: hosts of the cluster `live-cluster-a`, and raw peers that say anything.

mod config;
mod exchange;
mod hostile;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use holdfast_types::{ChainSpec, ForkVersion, LockHash, Millis, OperatorIndex, Root};
use holdfast_wire::k1::{NodeKey, NodePublic};
use holdfast_wire::protocol::Protocol;
use libp2p::swarm::{Stream, StreamProtocol, SwarmEvent};
use libp2p::{Multiaddr, PeerId, SwarmBuilder, noise, tcp, tls, yamux};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::behaviour::{Accept, Behaviour, OpenError};
use super::outbound::Opener;
use super::{Clock, Operator, PeerEvent, Peers, PeersConfig, Timing, identity, peer_id, start};

/// A clock that a test moves.
#[derive(Clone)]
struct TestClock(Arc<AtomicU64>);

impl TestClock {
    /// In the middle of the capture.
    fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_795_348_280_675)))
    }

    fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    fn read(&self) -> Clock {
        let clock = self.0.clone();
        Arc::new(move || Millis(clock.load(Ordering::SeqCst)))
    }
}

/// A host under test, with what it reported.
struct TestHost {
    peers: Peers,
    events: mpsc::Receiver<PeerEvent>,
}

impl TestHost {
    async fn start(config: PeersConfig) -> Self {
        Self::start_with_room(config, 1024).await
    }

    async fn start_with_room(config: PeersConfig, room: usize) -> Self {
        let (sender, events) = mpsc::channel(room);
        Self { peers: start(config, sender).await.unwrap(), events }
    }

    fn address(&self) -> Multiaddr {
        self.peers.listening()[0].clone()
    }

    /// The next event, peerinfo left out.
    async fn next(&mut self) -> PeerEvent {
        loop {
            match soon(self.events.recv()).await.expect("the host runs") {
                PeerEvent::Info { .. } => {}
                event => return event,
            }
        }
    }

    /// The next event of a kind; others are skipped.
    async fn until<T>(&mut self, pick: impl Fn(PeerEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(soon(self.events.recv()).await.expect("the host runs")) {
                return found;
            }
        }
    }

    async fn until_up(&mut self, peer: u8) {
        self.until(|event| matches!(event, PeerEvent::Up(up) if up.0 == peer).then_some(())).await;
    }

    async fn until_down(&mut self, peer: u8) {
        self.until(|event| matches!(event, PeerEvent::Down(down) if down.0 == peer).then_some(())).await;
    }

    async fn until_consensus(&mut self) -> (u8, Vec<u8>) {
        self.until(|event| match event {
            PeerEvent::Consensus { from, message } => Some((from.0, message.encode())),
            _ => None,
        })
        .await
    }

    fn stats(&self, peer: u8) -> super::PeerStats {
        self.peers.stats().into_iter().find(|stats| stats.operator.0 == peer).unwrap()
    }
}

/// A peer that follows no rules.
struct Raw {
    opener: Opener,
    host: PeerId,
    connections: mpsc::Receiver<bool>,
    _task: JoinSet<()>,
}

#[derive(Clone, Copy, Debug)]
enum Security {
    Noise,
    Tls,
}

struct Deaf;

impl Accept for Deaf {
    fn accept(&self, _: PeerId, _: StreamProtocol, _: Stream) {}
}

impl Raw {
    /// Connects with a key of its own to operator 0.
    async fn connect(secret: Zeroizing<[u8; 32]>, host: &TestHost, security: Security) -> Self {
        let host_id = peer_id(&public(0));
        let (opener, opens) = Opener::new();
        let keypair = identity::keypair(secret).unwrap();
        let builder = SwarmBuilder::with_existing_identity(keypair).with_tokio();
        let (transport, muxer) = (tcp::Config::default(), yamux::Config::default);
        let behaviour = Behaviour::new(Vec::new(), Arc::new(Deaf), opens);
        let mut swarm = match security {
            Security::Noise => builder
                .with_tcp(transport, noise::Config::new, muxer)
                .unwrap()
                .with_behaviour(|_| behaviour)
                .unwrap()
                .build(),
            Security::Tls => builder
                .with_tcp(transport, tls::Config::new, muxer)
                .unwrap()
                .with_behaviour(|_| behaviour)
                .unwrap()
                .build(),
        };
        swarm.dial(host.address()).unwrap();
        let (changes, mut connections) = mpsc::channel(16);
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let change = match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => true,
                    SwarmEvent::ConnectionClosed { .. } => false,
                    _ => continue,
                };
                // A test may have seen enough of it.
                let _ = changes.send(change).await;
            }
        });
        assert_eq!(soon(connections.recv()).await, Some(true), "{security:?}");
        Self { opener, host: host_id, connections, _task: task }
    }

    async fn open(&self, protocol: &'static str) -> Result<Stream, OpenError> {
        soon(self.opener.open(self.host, StreamProtocol::new(protocol))).await
    }

    /// Writes bytes and returns what comes back up to the end of the stream.
    async fn exchange(&self, protocol: Protocol, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(protocol.id()).await.unwrap();
        // The host may be done with the stream before it has taken everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.close().await;
        until_end(&mut stream).await
    }
}

async fn until_end(stream: &mut Stream) -> Vec<u8> {
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

/// Fails a test that would otherwise hang.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("this happens within a minute")
}

/// A configuration of an operator of the cluster that dials nobody.
fn config(own: u8, clock: &TestClock) -> PeersConfig {
    let operators = (0..4).map(|index| Operator { public: public(index), addresses: Vec::new() }).collect();
    PeersConfig {
        identity: secret(own),
        own: OperatorIndex(own),
        operators,
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        lock_hash: lock_hash(),
        validators: 3,
        nickname: format!("node-{own}"),
        version: "0.1.0".to_owned(),
        chain: Arc::new(ChainSpec {
            genesis_time_s: 1_742_213_400,
            genesis_validators_root: Root::default(),
            genesis_fork_version: ForkVersion::default(),
            slot_ms: 2000,
            slots_per_epoch: 16,
            forks: Vec::new(),
        }),
        clock: clock.read(),
        timing: Timing {
            redial_min: Duration::from_millis(50),
            redial_max: Duration::from_millis(200),
            ..Timing::default()
        },
    }
}

fn lock_hash() -> LockHash {
    "0xe85443b076a4b34b9ae1d19f325428db72f67a686314a5a1d5725f284f06f7f1".parse().unwrap()
}

fn secret(index: u8) -> Zeroizing<[u8; 32]> {
    let text = vector(&format!("live-cluster-a/node{index}/charon-enr-private-key"));
    let mut secret = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), secret.as_mut_slice()).unwrap();
    secret
}

fn public(index: u8) -> NodePublic {
    NodeKey::from_bytes(&secret(index)).unwrap().public()
}

fn vector(path: &str) -> String {
    let path = format!("{}/../../tests/vectors/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("cannot read {path}: {err}"))
}

/// A captured frame, with its length.
struct Captured {
    from: u8,
    to: Vec<u8>,
    frame: Vec<u8>,
}

/// The frames of a vector file, from the list at `list`.
fn captured(path: &str, list: &str) -> Vec<Captured> {
    let file: serde_json::Value = serde_json::from_str(&vector(path)).unwrap();
    let number = |value: &serde_json::Value| value.as_u64().and_then(|number| u8::try_from(number).ok());
    let frames: Vec<_> = file[list]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| {
            let to = match &entry["to"] {
                serde_json::Value::Array(to) => to.iter().filter_map(number).collect(),
                one => number(one).into_iter().collect(),
            };
            Some(Captured { from: number(&entry["from"])?, to, frame: hex::decode(entry["frame"].as_str()?).unwrap() })
        })
        .collect();
    assert!(!frames.is_empty(), "no frames in {path}: this test would prove nothing");
    frames
}

/// A frame that is always good: a signed PREPARE of the capture, and the message in it.
fn good_frame() -> (Vec<u8>, Vec<u8>) {
    let frame = captured("wire/qbft-attester.json", "frames").remove(0).frame;
    let message = holdfast_wire::frame::split(Protocol::Qbft, &frame).unwrap().to_vec();
    (frame, message)
}
