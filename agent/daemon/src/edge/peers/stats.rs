//! Counters per peer and protocol, for metrics and the status page.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use holdfast_types::OperatorIndex;
use holdfast_wire::protocol::Protocol;
use libp2p::PeerId;

/// What is known of one peer at a moment.
#[derive(Clone, Debug)]
pub struct PeerStats {
    /// Who it is.
    pub operator: OperatorIndex,
    /// Its identity on the network.
    pub peer_id: PeerId,
    /// Whether it has a connection that answers.
    pub connected: bool,
    /// The last round trip of a ping on a connection.
    pub ping_rtt: Option<Duration>,
    /// Its version, as it says.
    pub version: Option<String>,
    /// What went over its streams, one entry for each protocol.
    pub protocols: Vec<(Protocol, ProtocolStats)>,
}

/// What went over the streams of one protocol since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolStats {
    /// Whole frames that came, refused ones included.
    pub frames_in: u64,
    /// Their bytes, without lengths.
    pub bytes_in: u64,
    /// Frames that were written.
    pub frames_out: u64,
    /// Their bytes, with lengths.
    pub bytes_out: u64,
    /// Streams that were turned away, and messages that the node was too busy to take.
    pub dropped_in: u64,
    /// Messages that were not sent: the peer was away, the queue was full, or the stream broke twice.
    pub dropped_out: u64,
    /// Frames that were refused, for whatever fault of the peer.
    pub rejected: u64,
}

/// The live counters of one peer.
#[derive(Debug, Default)]
pub(super) struct Counters {
    protocols: [ProtocolCounters; Protocol::ALL.len()],
    heard: Mutex<Heard>,
}

/// The live counters of one protocol.
#[derive(Debug, Default)]
pub(super) struct ProtocolCounters {
    pub(super) frames_in: Counter,
    pub(super) bytes_in: Counter,
    pub(super) frames_out: Counter,
    pub(super) bytes_out: Counter,
    pub(super) dropped_in: Counter,
    pub(super) dropped_out: Counter,
    pub(super) rejected: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

#[derive(Clone, Debug, Default)]
struct Heard {
    ping_rtt: Option<Duration>,
    version: Option<String>,
}

impl Counter {
    /// Counts one.
    pub(super) fn one(&self) {
        self.add(1);
    }

    /// Counts several.
    pub(super) fn add(&self, number: usize) {
        self.0.fetch_add(number as u64, Ordering::Relaxed);
    }

    /// The count.
    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// The counters of a protocol.
    pub(super) fn of(&self, protocol: Protocol) -> &ProtocolCounters {
        let index = Protocol::ALL.iter().position(|one| *one == protocol);
        &self.protocols[index.expect("every protocol is among all of them")]
    }

    /// Notes a ping's answer.
    pub(super) fn pinged(&self, rtt: Duration) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).ping_rtt = Some(rtt);
    }

    /// Notes the version that the peer tells.
    pub(super) fn told_version(&self, version: &str) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).version =
            Some(version.chars().take(VERSION_LEN_MAX).collect());
    }

    /// Everything at this moment.
    pub(super) fn snapshot(&self, operator: OperatorIndex, peer_id: PeerId, connected: bool) -> PeerStats {
        let Heard { ping_rtt, version } = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let protocols = Protocol::ALL.into_iter().map(|protocol| (protocol, self.of(protocol).snapshot())).collect();
        PeerStats { operator, peer_id, connected, ping_rtt, version, protocols }
    }
}

impl ProtocolCounters {
    fn snapshot(&self) -> ProtocolStats {
        ProtocolStats {
            frames_in: self.frames_in.value(),
            bytes_in: self.bytes_in.value(),
            frames_out: self.frames_out.value(),
            bytes_out: self.bytes_out.value(),
            dropped_in: self.dropped_in.value(),
            dropped_out: self.dropped_out.value(),
            rejected: self.rejected.value(),
        }
    }
}

impl PeerStats {
    /// The counters of one protocol.
    #[must_use]
    pub fn of(&self, protocol: Protocol) -> ProtocolStats {
        self.protocols.iter().find(|(one, _)| *one == protocol).map(|(_, stats)| *stats).unwrap_or_default()
    }
}

/// As much of a peer's version as is kept; real ones are shorter.
const VERSION_LEN_MAX: usize = 64;
