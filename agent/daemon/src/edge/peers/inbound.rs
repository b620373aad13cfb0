//! Streams that peers open: one task each reads, decodes, checks and delivers. Nothing of it runs on the swarm's task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use holdfast_types::{ChainSpec, DutyId};
use holdfast_wire::gate::duty_in_gate;
use holdfast_wire::k1::NodePublic;
use holdfast_wire::parsigex::PartialSet;
use holdfast_wire::peerinfo::PeerInfo;
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::ConsensusMsg;
use libp2p::PeerId;
use libp2p::swarm::{Stream, StreamProtocol};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::behaviour::Accept;
use super::fault::PeerFault;
use super::frame::{self, ReadError, Received};
use super::info::OwnInfo;
use super::peer::{Peer, STREAMS_IN_MAX};
use super::{Clock, PeerEvent};

/// All that an inbound stream needs.
pub(super) struct Inbound {
    pub(super) peers: Arc<BTreeMap<PeerId, Arc<Peer>>>,
    pub(super) keys: Arc<[NodePublic]>,
    pub(super) validators: usize,
    pub(super) chain: Arc<ChainSpec>,
    pub(super) clock: Clock,
    pub(super) own_info: Arc<OwnInfo>,
    pub(super) limit: Duration,
    pub(super) events: mpsc::Sender<PeerEvent>,
}

/// The end of a stream that led to nothing.
#[derive(Debug)]
enum Refusal {
    /// The node did not take the message in time.
    Busy,
    /// The peer's doing.
    Fault(PeerFault),
    /// The stream broke.
    Lost(std::io::Error),
}

impl Accept for Arc<Inbound> {
    fn accept(&self, id: PeerId, name: StreamProtocol, stream: Stream) {
        // Only peers pass the gate and only our protocols are negotiated, so both are known.
        let (Some(peer), Some(protocol)) = (self.peers.get(&id), Protocol::from_id(name.as_ref())) else { return };
        let Ok(permit) = peer.streams.clone().try_acquire_owned() else {
            // No event and no clean end: a flood is not to cost a task per stream.
            peer.counters.of(protocol).dropped_in.one();
            peer.note(&PeerFault::TooManyStreams { protocol, max: STREAMS_IN_MAX });
            return;
        };
        let (inbound, peer) = (self.clone(), peer.clone());
        tokio::spawn(async move {
            inbound.serve(&peer, protocol, stream).await;
            drop(permit);
        });
    }
}

impl Inbound {
    /// Serves one stream to its end. The peer sees an answer or a clean end, never a reset (section 2.1).
    async fn serve(&self, peer: &Peer, protocol: Protocol, mut stream: Stream) {
        let deadline = Instant::now() + self.limit;
        let outcome = self.handle(peer, protocol, &mut stream, deadline).await;
        match &outcome {
            Ok(()) => {}
            Err(Refusal::Busy) => peer.counters.of(protocol).dropped_in.one(),
            Err(Refusal::Fault(what)) => peer.note(what),
            Err(Refusal::Lost(err)) => {
                tracing::debug!(operator = peer.operator.0, protocol = protocol.id(), %err, "a stream broke");
            }
        }
        // A peer that does not take the end of its stream gets it as a reset.
        let _ = timeout(self.limit, stream.close()).await;
        drop(stream);
        if let Err(Refusal::Fault(what)) = outcome {
            let event = PeerEvent::Fault { from: peer.operator, what };
            // It is counted and logged, so a busy loop may go without it.
            let _ = timeout(self.limit, peer.deliver(event, &self.events)).await;
        }
    }

    async fn handle(
        &self,
        peer: &Peer,
        protocol: Protocol,
        stream: &mut Stream,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let received = timeout_at(deadline, frame::read(stream, protocol, &peer.budget))
            .await
            .map_err(|_| Refusal::Fault(PeerFault::Idle { protocol, limit: self.limit }))?
            .map_err(|err| match err {
                ReadError::Frame(err) => Refusal::Fault(PeerFault::Frame { protocol, err }),
                ReadError::Io(err) => Refusal::Lost(err),
            })?;
        let counters = peer.counters.of(protocol);
        counters.frames_in.one();
        counters.bytes_in.add(received.message.len());
        if protocol == Protocol::PeerInfo {
            return self.answer_info(peer, stream, &received.message, deadline).await;
        }
        let (event, budget) = self.decode(peer, protocol, received, deadline).await?;
        let delivered = timeout_at(deadline, peer.deliver(event, &self.events)).await;
        drop(budget);
        matches!(delivered, Ok(Ok(()))).then_some(()).ok_or(Refusal::Busy)
    }

    /// The content of the request is of no interest, but it must be a message: relays send an empty one (section 6).
    async fn answer_info(
        &self,
        peer: &Peer,
        stream: &mut Stream,
        request: &[u8],
        deadline: Instant,
    ) -> Result<(), Refusal> {
        PeerInfo::decode(request).map_err(|err| Refusal::Fault(PeerFault::PeerInfo(err)))?;
        let answer = self.own_info.frame();
        let written = async {
            stream.write_all(&answer).await?;
            stream.flush().await
        };
        timeout_at(deadline, written).await.map_err(|_| Refusal::Busy)?.map_err(Refusal::Lost)?;
        let counters = peer.counters.of(Protocol::PeerInfo);
        counters.frames_out.one();
        counters.bytes_out.add(answer.len());
        Ok(())
    }

    /// Decodes and verifies, one frame of a peer at a time; a large one off the runtime's own threads.
    async fn decode(
        &self,
        peer: &Peer,
        protocol: Protocol,
        received: Received,
        deadline: Instant,
    ) -> Result<(PeerEvent, tokio::sync::OwnedSemaphorePermit), Refusal> {
        let _turn = timeout_at(deadline, peer.decoding.lock()).await.map_err(|_| Refusal::Busy)?;
        let Received { message, budget } = received;
        let (from, keys, validators) = (peer.operator, self.keys.clone(), self.validators);
        let large = message.len() > INLINE_LEN_MAX;
        let job = move || match protocol {
            Protocol::Qbft => ConsensusMsg::decode(&message, &keys)
                .map(|message| (message.msg.msg().duty, PeerEvent::Consensus { from, message }))
                .map_err(PeerFault::Consensus),
            _ => PartialSet::decode(&message, validators)
                .map(|set| (set.duty, PeerEvent::Partials { from, set }))
                .map_err(PeerFault::Partials),
        };
        // A job that does not come back was swept away by the end of the runtime.
        let decoded = if large { tokio::task::spawn_blocking(job).await.map_err(|_| Refusal::Busy)? } else { job() };
        let (duty, event) = decoded.map_err(Refusal::Fault)?;
        self.check_gate(protocol, duty).map_err(Refusal::Fault)?;
        Ok((event, budget))
    }

    fn check_gate(&self, protocol: Protocol, duty: DutyId) -> Result<(), PeerFault> {
        let near = duty_in_gate(duty, &self.chain, (self.clock)());
        if near { Ok(()) } else { Err(PeerFault::FarFuture { protocol, duty }) }
    }
}

/// Messages up to this length decode in a few milliseconds also on a small board: a signature takes 150 bytes, and at most
/// half a millisecond to check. What is longer must not hold up the threads on which the loop and the swarm run.
const INLINE_LEN_MAX: usize = 2 << 10;
