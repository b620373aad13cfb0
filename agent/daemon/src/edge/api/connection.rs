//! One connection: who is at its other end, how far it has paired, and when it has been silent for too long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use holdfast_provisioning::desk::Try;
use holdfast_provisioning::pake::{Binding, BoxExchange};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::hall::Ticket;
use super::limits::Limits;

/// What is known of a connection after its handshake.
#[derive(Debug)]
pub(super) struct Connection {
    /// From where.
    pub(super) address: SocketAddr,
    /// What was shown, which every request has judged anew.
    pub(super) certificate: Option<CertificateDer<'static>>,
    /// To what a pairing over it is bound.
    pub(super) binding: Binding,
    /// Its place.
    pub(super) ticket: Ticket,
    pub(super) pulse: Arc<Pulse>,
    step: Mutex<Step>,
}

/// How far a connection has paired.
#[derive(Default)]
pub(super) enum Step {
    /// Not at all.
    #[default]
    Nothing,
    /// The first message was answered.
    Started(Box<BoxExchange>, Try),
    /// The code was right.
    Paired {
        /// Until when the other steps may follow.
        until: Instant,
    },
}

/// When something was read or written last, and what is waited for.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Beat>);

#[derive(Clone, Copy, Debug)]
struct Beat {
    phase: Phase,
    progress: Instant,
    /// Since when a header is on its way.
    header_since: Option<Instant>,
    /// Since when the other side takes nothing of what waits for it.
    stuck_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// For a request, or for the reader of the last answer.
    Waiting,
    /// For our own answer.
    Answering,
    /// For the reader of events.
    Following,
}

impl Connection {
    pub(super) fn new(
        address: SocketAddr,
        certificate: Option<CertificateDer<'static>>,
        binding: Binding,
        ticket: Ticket,
    ) -> Self {
        let pulse = Arc::new(Pulse::new());
        Self { address, certificate, binding, ticket, pulse, step: Mutex::default() }
    }

    /// Takes the step out, so that each message of an exchange counts once.
    pub(super) fn take_step(&self) -> Step {
        std::mem::take(&mut *self.step())
    }

    pub(super) fn set_step(&self, step: Step) {
        *self.step() = step;
    }

    /// Whether the code was right, and not too long ago.
    pub(super) fn is_paired(&self) -> bool {
        matches!(&*self.step(), Step::Paired { until } if Instant::now() < *until)
    }

    /// Ends when the other side has been silent, or slow, for too long.
    pub(super) async fn overdue(&self, limits: &Limits) {
        loop {
            let trusted = self.certificate.is_some() || self.is_paired();
            let deadline = self.pulse.deadline(limits, if trusted { limits.idle } else { limits.idle_stranger });
            if deadline <= Instant::now() {
                return;
            }
            // A header that begins meanwhile has an earlier deadline.
            tokio::time::sleep_until(deadline.min(Instant::now() + limits.header)).await;
        }
    }

    fn step(&self) -> MutexGuard<'_, Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Started(..) => "Started(..)",
            Self::Paired { .. } => "Paired",
        })
    }
}

impl Pulse {
    fn new() -> Self {
        let beat = Beat { phase: Phase::Waiting, progress: Instant::now(), header_since: None, stuck_since: None };
        Self(Mutex::new(beat))
    }

    /// What is waited for from now on.
    pub(super) fn enter(&self, phase: Phase) {
        let mut beat = self.beat();
        *beat = Beat { phase, progress: Instant::now(), header_since: None, ..*beat };
    }

    /// Whether something waits that the other side does not take.
    pub(super) fn is_stuck(&self) -> bool {
        self.beat().stuck_since.is_some()
    }

    fn read(&self) {
        let (mut beat, now) = (self.beat(), Instant::now());
        beat.progress = now;
        if beat.phase == Phase::Waiting {
            beat.header_since.get_or_insert(now);
        }
    }

    fn wrote(&self) {
        let mut beat = self.beat();
        beat.progress = Instant::now();
        beat.stuck_since = None;
    }

    /// Nothing waits any more. Of itself this is no progress: an idle connection is flushed too.
    fn flushed(&self) {
        self.beat().stuck_since = None;
    }

    fn stuck(&self) {
        self.beat().stuck_since.get_or_insert_with(Instant::now);
    }

    fn deadline(&self, limits: &Limits, idle: Duration) -> Instant {
        let beat = *self.beat();
        let deadline = match (beat.phase, beat.header_since) {
            (Phase::Waiting, Some(since)) => since + limits.header,
            (Phase::Waiting, None) => beat.progress + idle,
            (Phase::Answering, _) => beat.progress + ANSWER_MAX,
            // Heartbeats are progress.
            (Phase::Following, _) => beat.progress + idle,
        };
        beat.stuck_since.map_or(deadline, |since| deadline.min(since + limits.stalled))
    }

    fn beat(&self) -> MutexGuard<'_, Beat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream of a connection, which notes that something moves.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TlsStream<TcpStream>,
    pulse: Arc<Pulse>,
}

impl Watched {
    pub(super) fn new(stream: TlsStream<TcpStream>, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse }
    }

    /// Has the connection end at once, and what waits for the other side forgotten: the system would keep it in its own
    /// memory for minutes.
    pub(super) fn reset(self) {
        if let Err(error) = self.stream.get_ref().0.set_zero_linger() {
            tracing::debug!(%error, "a connection of the API cannot be reset");
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pulse.read();
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        match wrote {
            Poll::Ready(Ok(1..)) => self.pulse.wrote(),
            Poll::Pending => self.pulse.stuck(),
            Poll::Ready(_) => {}
        }
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        match flushed {
            Poll::Ready(Ok(())) => self.pulse.flushed(),
            Poll::Pending => self.pulse.stuck(),
            Poll::Ready(Err(_)) => {}
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Longer than a lock takes to come in and a vault takes to seal anew.
const ANSWER_MAX: Duration = Duration::from_secs(300);
