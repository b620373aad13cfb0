//! Messages to a peer: a bounded queue, and a task that puts each on a stream of its own.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use holdfast_wire::protocol::Protocol;
use libp2p::PeerId;
use libp2p::swarm::{Stream, StreamProtocol};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::behaviour::{Open, OpenError};
use super::peer::Peer;
use super::stats::Counters;

/// A message on its way to one peer.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) protocol: Protocol,
    /// With its length in front; shared by all peers that get it.
    pub(super) frame: Arc<[u8]>,
    /// When it is no longer worth sending.
    pub(super) expires: Instant,
}

/// What waits for one peer. The newest message goes first, and when it is full the oldest makes room: in consensus and in
/// the exchange of partial signatures a newer message is the one that can still matter.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    added: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Outgoing>,
    bytes: usize,
}

impl Waiting {
    fn take_oldest(&mut self) -> Option<Outgoing> {
        let outgoing = self.messages.pop_front()?;
        self.bytes -= outgoing.frame.len();
        Some(outgoing)
    }

    fn take_newest(&mut self) -> Option<Outgoing> {
        let outgoing = self.messages.pop_back()?;
        self.bytes -= outgoing.frame.len();
        Some(outgoing)
    }
}

impl Queue {
    /// Adds a message; never waits. What has to make room is counted as dropped.
    pub(super) fn push(&self, outgoing: Outgoing, counters: &Counters) {
        let now = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes += outgoing.frame.len();
        waiting.messages.push_back(outgoing);
        while waiting.messages.len() > 1
            && (waiting.messages.len() > QUEUE_MAX
                || waiting.bytes > QUEUE_LEN_MAX
                || waiting.messages.front().is_some_and(|oldest| oldest.expires <= now))
        {
            if let Some(dropped) = waiting.take_oldest() {
                counters.of(dropped.protocol).dropped_out.one();
            }
        }
        self.added.notify_one();
    }

    /// The newest message that is still worth sending; waits for one.
    ///
    /// The newest, because a peer can be slow for messages of old duties only: the reference lets each wait for five
    /// seconds once it holds a hundred of a duty that it has decided (`cluster-wire.md` section 7.10). A node that comes
    /// back after an absence has many of those to say, and its present duties are not to queue behind them.
    ///
    /// Cancel safe.
    async fn pop(&self, counters: &Counters) -> Outgoing {
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take_newest();
            match next {
                Some(outgoing) if outgoing.expires > Instant::now() => return outgoing,
                Some(expired) => counters.of(expired.protocol).dropped_out.one(),
                None => self.added.notified().await,
            }
        }
    }
}

/// Asks the swarm for streams.
#[derive(Clone, Debug)]
pub(super) struct Opener(mpsc::Sender<Open>);

impl Opener {
    /// A way to ask, and where the stream behaviour hears it.
    pub(super) fn new() -> (Self, mpsc::Receiver<Open>) {
        let (asks, asked) = mpsc::channel(OPENS_WAITING_MAX);
        (Self(asks), asked)
    }

    /// Opens a stream on the peer's best connection.
    pub(super) async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream, OpenError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(Open { peer, protocol, reply }).await.map_err(|_| OpenError::NotConnected)?;
        answer.await.map_err(|_| OpenError::Lost)?
    }
}

/// Why a message did not reach its peer.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("cannot open a stream")]
    Open(#[from] OpenError),
    #[error("the stream broke")]
    Broken(#[from] io::Error),
}

impl SendError {
    /// Whether another stream may do better.
    const fn is_passing(&self) -> bool {
        !matches!(self, Self::Open(OpenError::Refused | OpenError::TimedOut))
    }
}

/// Sends what is queued for a peer while it is connected, until the node ends.
pub(super) async fn send_queued(peer: Arc<Peer>, opener: Opener) {
    let streams = Arc::new(Semaphore::new(STREAMS_OUT_MAX));
    let mut connected = peer.connected.subscribe();
    loop {
        let permit = streams.clone().acquire_owned().await.expect("this semaphore is never closed");
        if connected.wait_for(|up| *up).await.is_err() {
            return;
        }
        let outgoing = peer.queue.pop(&peer.counters).await;
        let (peer, opener) = (peer.clone(), opener.clone());
        tokio::spawn(async move {
            send(&peer, &opener, &outgoing).await;
            drop(permit);
        });
    }
}

/// Sends one message, a second time after a short pause when the stream broke (section 2.2).
async fn send(peer: &Peer, opener: &Opener, outgoing: &Outgoing) {
    let mut written = false;
    let attempts = async {
        let mut connected = peer.connected.subscribe();
        for left in [1, 0] {
            // The sender of this channel is the peer that we hold.
            let _ = connected.wait_for(|up| *up).await;
            match send_once(peer, opener, outgoing, &mut written).await {
                Err(err) if left > 0 && err.is_passing() => sleep(RETRY_PAUSE).await,
                other => return other,
            }
        }
        Ok(())
    };
    // A message that was written counts as sent, whether or not the peer is done with it in time.
    let outcome = timeout_at(outgoing.expires, attempts).await;
    let counters = peer.counters.of(outgoing.protocol);
    if let Ok(Err(err)) = &outcome {
        let protocol = outgoing.protocol.id();
        tracing::debug!(operator = peer.operator.0, protocol, err = %super::chain_of(err), "cannot send a message");
    }
    if matches!(outcome, Ok(Ok(()))) || written {
        counters.frames_out.one();
        counters.bytes_out.add(outgoing.frame.len());
    } else {
        counters.dropped_out.one();
    }
}

async fn send_once(peer: &Peer, opener: &Opener, outgoing: &Outgoing, written: &mut bool) -> Result<(), SendError> {
    *written = false;
    let mut stream = opener.open(peer.id, StreamProtocol::new(outgoing.protocol.id())).await?;
    stream.write_all(&outgoing.frame).await?;
    stream.close().await?;
    *written = true;
    // Negotiation is lazy, so only the peer's end of the stream tells that it serves the protocol and took the frame.
    let ended = stream.read(&mut [0; 16]).await;
    *written = ended.is_ok();
    ended?;
    Ok(())
}

/// Messages that wait for one peer: some seconds of a cluster's traffic, far more than a connected peer ever leaves.
const QUEUE_MAX: usize = 256;

/// Their bytes: two of the largest messages. The peers share the bytes of what goes to all of them.
const QUEUE_LEN_MAX: usize = 2 * Protocol::Qbft.frame_len_max();

/// Streams to one peer at once. The peer ends a stream when it is done with its message, at most five seconds later.
const STREAMS_OUT_MAX: usize = 64;

/// Wishes for streams that the swarm has not seen yet; whoever wants more waits.
const OPENS_WAITING_MAX: usize = 64;

const RETRY_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(mark: u8, len: usize, lasts: Duration) -> Outgoing {
        Outgoing { protocol: Protocol::Qbft, frame: vec![mark; len].into(), expires: Instant::now() + lasts }
    }

    const LONG: Duration = Duration::from_secs(7);

    fn dropped(counters: &Counters) -> usize {
        let stats = counters.snapshot(holdfast_types::OperatorIndex(0), PeerId::random(), false);
        usize::try_from(stats.of(Protocol::Qbft).dropped_out).unwrap()
    }

    #[tokio::test]
    async fn the_oldest_makes_room_when_there_are_too_many() {
        let (queue, counters) = (Queue::default(), Counters::default());
        for index in 0..QUEUE_MAX + 3 {
            queue.push(message(index as u8, 1, LONG), &counters);
        }
        assert_eq!(dropped(&counters), 3);
        assert_eq!(queue.pop(&counters).await.frame[0], (QUEUE_MAX + 2) as u8, "the newest goes first");
        for _ in 1..QUEUE_MAX - 1 {
            queue.pop(&counters).await;
        }
        assert_eq!(queue.pop(&counters).await.frame[0], 3, "the oldest that is left goes last");
    }

    #[tokio::test]
    async fn the_oldest_makes_room_when_they_are_too_large() {
        let (queue, counters) = (Queue::default(), Counters::default());
        for mark in 1..=3 {
            queue.push(message(mark, QUEUE_LEN_MAX / 2, LONG), &counters);
        }
        assert_eq!(dropped(&counters), 1);
        assert_eq!(queue.pop(&counters).await.frame[0], 3);
        assert_eq!(queue.pop(&counters).await.frame[0], 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_too_long_is_not_sent() {
        let (queue, counters) = (Queue::default(), Counters::default());
        queue.push(message(1, 1, LONG), &counters);
        queue.push(message(2, 1, Duration::from_secs(1)), &counters);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(queue.pop(&counters).await.frame[0], 1);
        assert_eq!(dropped(&counters), 1);
    }
}
