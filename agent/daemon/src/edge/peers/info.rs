//! Peerinfo: what we say of ourselves, and the question to each peer (section 6). Nothing here judges beyond the log.

use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use holdfast_types::{LockHash, Millis};
use holdfast_wire::frame::encode;
use holdfast_wire::peerinfo::{Findings, Ours, PeerInfo, PeerInfoFault, Timestamp};
use holdfast_wire::protocol::Protocol;
use libp2p::swarm::StreamProtocol;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::fault::PeerFault;
use super::frame::{self, ReadError};
use super::outbound::Opener;
use super::peer::Peer;
use super::{Clock, PeerEvent, Timing};

/// What a peer said of itself when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its words.
    pub said: PeerInfo,
    /// How they compare with ours; `Err` when they say too little to be compared.
    pub findings: Result<Findings, PeerInfoFault>,
    /// How long the answer took, the opening of the stream included.
    pub rtt: Duration,
}

/// What we say of ourselves.
pub(super) struct OwnInfo {
    said: PeerInfo,
    clock: Clock,
}

impl OwnInfo {
    /// The start of the node is now.
    pub(super) fn new(lock_hash: LockHash, nickname: &str, clock: Clock) -> Self {
        let said = PeerInfo {
            version: SPOKEN_VERSION.to_owned(),
            lock_hash: Some(lock_hash),
            sent_at: None,
            git_hash: "unknown".to_owned(),
            started_at: Some(timestamp(clock())),
            builder_api: false,
            nickname: nickname.to_owned(),
            client: "holdfast".to_owned(),
        };
        Self { said, clock }
    }

    /// The frame of a request or of an answer, sent now.
    pub(super) fn frame(&self) -> Vec<u8> {
        encode(&PeerInfo { sent_at: Some(timestamp((self.clock)())), ..self.said.clone() }.encode())
    }

    fn judge(&self, said: &PeerInfo, rtt: Duration) -> Result<Findings, PeerInfoFault> {
        let lock_hash = self.said.lock_hash.unwrap_or_default();
        let ours = Ours { lock_hash, builder_api: self.said.builder_api };
        said.judge(&ours, timestamp((self.clock)()), u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Asks the peer what it is whenever it connects, and each period while it is connected, until the node ends.
pub(super) async fn ask_always(
    peer: Arc<Peer>,
    opener: Opener,
    own: Arc<OwnInfo>,
    timing: Timing,
    events: mpsc::Sender<PeerEvent>,
) {
    let mut connected = peer.connected.subscribe();
    while connected.wait_for(|up| *up).await.is_ok() {
        let asked = timeout(timing.outbound_limit, ask(&peer, &opener, &own)).await;
        let event = match asked {
            Ok(Ok(info)) => Some(PeerEvent::Info { from: peer.operator, info }),
            Ok(Err(Unanswered::Fault(what))) => {
                peer.note(&what);
                Some(PeerEvent::Fault { from: peer.operator, what })
            }
            Ok(Err(Unanswered::Lost)) | Err(_) => {
                peer.counters.of(Protocol::PeerInfo).dropped_out.one();
                None
            }
        };
        if let Some(event) = event {
            // The next answer will do as well.
            let _ = timeout(timing.inbound_limit, peer.deliver(event, &events)).await;
        }
        tokio::select! {
            () = sleep(timing.info_period) => {}
            _ = connected.wait_for(|up| !*up) => {}
        }
    }
}

/// Why there is no answer.
enum Unanswered {
    Fault(PeerFault),
    Lost,
}

async fn ask(peer: &Peer, opener: &Opener, own: &OwnInfo) -> Result<Info, Unanswered> {
    let started = Instant::now();
    let counters = peer.counters.of(Protocol::PeerInfo);
    let protocol = StreamProtocol::new(Protocol::PeerInfo.id());
    let mut stream = opener.open(peer.id, protocol).await.map_err(|_| Unanswered::Lost)?;
    let request = own.frame();
    stream.write_all(&request).await.map_err(|_| Unanswered::Lost)?;
    stream.close().await.map_err(|_| Unanswered::Lost)?;
    counters.frames_out.one();
    counters.bytes_out.add(request.len());

    // An answer of a few dozen bytes is not taken from the peer's budget, which its frames may have used up.
    let budget = Arc::new(Semaphore::new(Protocol::PeerInfo.frame_len_max()));
    let received = frame::read(&mut stream, Protocol::PeerInfo, &budget).await.map_err(|err| match err {
        ReadError::Frame(err) => Unanswered::Fault(PeerFault::Frame { protocol: Protocol::PeerInfo, err }),
        ReadError::Io(_) => Unanswered::Lost,
    })?;
    counters.frames_in.one();
    counters.bytes_in.add(received.message.len());
    let rtt = started.elapsed();
    let said = PeerInfo::decode(&received.message).map_err(|err| Unanswered::Fault(PeerFault::PeerInfo(err)))?;
    peer.counters.told_version(&said.version);
    let findings = own.judge(&said, rtt);
    Ok(Info { said, findings, rtt })
}

fn timestamp(now: Millis) -> Timestamp {
    Timestamp::from_millis(now.0)
}

/// The version of the protocol that we speak, as the reference counts them. Releases before v1.11 refuse a text that does
/// not parse, whatever the client (section 13).
const SPOKEN_VERSION: &str = "v1.11.0-holdfast";
