//! What the tasks of one peer share: whether it is there, how much of us it may use, and what it did wrong.

use std::sync::Arc;

use holdfast_types::OperatorIndex;
use holdfast_wire::protocol::Protocol;
use libp2p::PeerId;
use tokio::sync::{Mutex as Turn, Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::fault::PeerFault;
use super::outbound::Queue;
use super::stats::Counters;
use super::{PeerEvent, chain_of};
use crate::log::LogLimit;

/// One peer of the cluster.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) operator: OperatorIndex,
    pub(super) id: PeerId,
    /// Whether it has a connection that answers.
    pub(super) connected: watch::Sender<bool>,
    /// Inbound streams that it may still open.
    pub(super) streams: Arc<Semaphore>,
    /// Bytes of frames that it may still have us hold.
    pub(super) budget: Arc<Semaphore>,
    /// One frame of a peer is decoded at a time, so that its signatures take at most one processor.
    pub(super) decoding: Turn<()>,
    pub(super) counters: Counters,
    pub(super) queue: Queue,
    /// One event of a peer waits for the loop at a time. The loop's channel serves those who wait in order of arrival,
    /// so a peer with a thousand events gets no more of it than a peer with one.
    delivery: Turn<()>,
    fault_log: LogLimit,
}

impl Peer {
    /// A peer that is not connected yet.
    pub(super) fn new(operator: OperatorIndex, id: PeerId) -> Self {
        Self {
            operator,
            id,
            connected: watch::Sender::new(false),
            streams: Arc::new(Semaphore::new(STREAMS_IN_MAX)),
            budget: Arc::new(Semaphore::new(BUDGET_LEN)),
            decoding: Turn::new(()),
            counters: Counters::default(),
            queue: Queue::default(),
            delivery: Turn::new(()),
            fault_log: LogLimit::default(),
        }
    }

    /// Hands an event to the loop when it is this peer's turn.
    ///
    /// Cancel safe: an event that was not handed over is lost as a whole.
    pub(super) async fn deliver(
        &self,
        event: PeerEvent,
        events: &mpsc::Sender<PeerEvent>,
    ) -> Result<(), mpsc::error::SendError<PeerEvent>> {
        let _turn = self.delivery.lock().await;
        events.send(event).await
    }

    /// Counts a fault, and logs it unless the peer filled the log with others just now.
    pub(super) fn note(&self, fault: &PeerFault) {
        self.counters.of(fault.protocol()).rejected.one();
        if let Some(unsaid) = self.fault_log.admit(Instant::now()) {
            tracing::warn!(operator = self.operator.0, peer = %self.id, unsaid, "peer {}", chain_of(fault));
        }
    }
}

/// Tells the loop when the peer comes and goes. A change that is undone before the loop took it is not told.
pub(super) async fn announce(peer: Arc<Peer>, events: mpsc::Sender<PeerEvent>) {
    let mut connected = peer.connected.subscribe();
    let mut told = false;
    while let Ok(up) = connected.wait_for(|up| *up != told).await.map(|up| *up) {
        let event = if up { PeerEvent::Up(peer.operator) } else { PeerEvent::Down(peer.operator) };
        tracing::info!(operator = peer.operator.0, peer = %peer.id, "peer is {}", if up { "connected" } else { "gone" });
        if peer.deliver(event, &events).await.is_err() {
            return;
        }
        told = up;
    }
}

/// Streams of one peer that are served at once; more are reset. A healthy peer has a few per duty open for milliseconds.
/// 128 are what it may pile up in the seconds for which a stalled loop makes each of them wait.
pub(super) const STREAMS_IN_MAX: usize = 128;

/// Bytes of frames of one peer that are held at once: the largest frame of any protocol fits, but not two of them.
pub(super) const BUDGET_LEN: usize = {
    let (qbft, partials) = (Protocol::Qbft.frame_len_max(), Protocol::ParSigEx.frame_len_max());
    if qbft > partials { qbft } else { partials }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_frame_fits_into_the_budget() {
        for protocol in Protocol::ALL {
            assert!(protocol.frame_len_max() <= BUDGET_LEN, "{}", protocol.id());
        }
    }
}
