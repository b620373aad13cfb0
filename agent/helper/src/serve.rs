//! The socket: who may ask, how much and how often, and one line of the log for each request.
//!
//! Connections are taken one after the other. Only the daemon's are listened to, each for a bounded time, so whoever is
//! slow delays nobody but the daemon.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use holdfast_hal::restart::{Restart, RestartError};
use holdfast_helper_client::codec::{self, HEADER_LEN};
use holdfast_helper_client::{Refusal, Request, Response};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::AcceptConn, sockopt::PeerCredentials};

/// The helper behind its socket.
pub struct Helper<P> {
    listener: UnixListener,
    allowed_uid: u32,
    power: P,
    idle: Duration,
    rate: Rate,
    turned_away: Tally,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Somebody asked for it.
    Asked,
    /// Nobody asked for anything in a while: whoever keeps the socket starts another one.
    Idle,
}

/// Why the helper does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The system takes no more connections.
    #[error("cannot take a connection")]
    Accept(#[source] io::Error),
    /// What was handed over is no socket that connections come to.
    #[error("standard input is no listening unix socket: start holdfast-helper.socket, which hands one over")]
    NoListener,
    /// The system does not say what is ready.
    #[error("cannot wait for requests")]
    Wait(#[source] Errno),
}

impl<P: Restart> Helper<P> {
    /// Serves on a listening socket that was handed over. Only processes of `allowed_uid` are answered, whoever may connect.
    ///
    /// # Errors
    /// [`ServeError::NoListener`].
    pub fn new(socket: OwnedFd, allowed_uid: u32, power: P) -> Result<Self, ServeError> {
        if getsockopt(&socket, AcceptConn) != Ok(true) {
            return Err(ServeError::NoListener);
        }
        let listener = UnixListener::from(socket);
        listener.local_addr().and_then(|_| listener.set_nonblocking(true)).map_err(|_| ServeError::NoListener)?;
        let rate = Rate { left: RATE_BURST, since: Instant::now(), refused: Tally::default() };
        Ok(Self { listener, allowed_uid, power, idle: IDLE, rate, turned_away: Tally::default() })
    }

    /// As it was, but ending when nobody asked for so long.
    #[must_use]
    pub fn ending_after(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Answers until `stop` becomes readable or its other end is closed, or nobody asks any more.
    ///
    /// # Errors
    /// When the system takes no connections any more.
    pub fn serve(&mut self, stop: BorrowedFd<'_>) -> Result<Ended, ServeError> {
        let mut asked = Instant::now();
        loop {
            let Some(left) = self.idle.checked_sub(asked.elapsed()).filter(|left| !left.is_zero()) else {
                return Ok(Ended::Idle);
            };
            // Rounded up, so that the loop does not spin for the last part of a millisecond.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut ready = [stop, self.listener.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut ready, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(err) => return Err(ServeError::Wait(err)),
            }
            let [stopped, knocked] = ready.map(|fd| fd.any().unwrap_or(true));
            if stopped {
                return Ok(Ended::Asked);
            }
            if knocked && self.take_one()? {
                asked = Instant::now();
            }
        }
    }

    /// Takes one connection, and says whether it was one that is answered.
    fn take_one(&mut self) -> Result<bool, ServeError> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            // The client is gone again, or a signal came between.
            Err(err) if PASSING.contains(&err.kind()) => return Ok(false),
            Err(err) => return Err(ServeError::Accept(err)),
        };
        let uid = getsockopt(&stream, PeerCredentials).map(|peer| peer.uid());
        if uid != Ok(self.allowed_uid) {
            if let Some(so_far) = self.turned_away.worth_a_line() {
                tracing::warn!(?uid, allowed = self.allowed_uid, so_far, "hung up on a process of another user");
            }
            return Ok(false);
        }
        // Whoever hangs up before all is said gets no answer.
        match read_request(&stream, Instant::now() + REQUEST_MAX) {
            Ok(request) => {
                let response = self.answer(request);
                if let Err(error) = respond(&stream, response) {
                    tracing::warn!(%error, "the answer was not taken");
                }
            }
            Err(error) => tracing::warn!(%error, "hung up on a request that does not come"),
        }
        Ok(true)
    }

    fn answer(&mut self, request: Option<Request>) -> Response {
        if let Err(wait) = self.rate.take(Instant::now()) {
            if let Some(so_far) = self.rate.refused.worth_a_line() {
                tracing::warn!(so_far, "asked too often");
            }
            return Response::Refused(Refusal::TooMany {
                wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            });
        }
        let done = match request {
            Some(Request::CanReboot) => self.power.can_restart().map_err(refusal),
            Some(Request::Reboot) => self.power.restart().map_err(refusal),
            None => Err(Refusal::Unknown),
        };
        let request = request.map_or("unknown", Request::name);
        match done {
            Ok(()) => {
                tracing::info!(request, "done");
                Response::Done
            }
            Err(refused) => {
                tracing::warn!(request, reason = %refused, "refused");
                Response::Refused(refused)
            }
        }
    }
}

fn refusal(error: RestartError) -> Refusal {
    match error {
        RestartError::Nobody => Refusal::NoServiceManager,
        RestartError::Refused(err) => Refusal::Failed { errno: err.raw_os_error().unwrap_or_default() },
    }
}

/// Reads one request; `None` is one that is not known. No more bytes are taken than the bound.
fn read_request(stream: &UnixStream, deadline: Instant) -> io::Result<Option<Request>> {
    let mut header = [0; HEADER_LEN];
    fill(stream, &mut header, deadline)?;
    let Ok(len) = codec::message_len(header) else { return Ok(None) };
    let mut message = vec![0; len];
    fill(stream, &mut message, deadline)?;
    Ok(codec::decode(&message).ok())
}

fn fill(mut stream: &UnixStream, buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => filled += len,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// An answer fits into the socket's buffer, so this waits for nobody.
fn respond(mut stream: &UnixStream, response: Response) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.write_all(&codec::encode(&response))
}

/// A bucket of requests that refills evenly.
struct Rate {
    left: u32,
    since: Instant,
    refused: Tally,
}

impl Rate {
    /// Takes one, or says how long until there is one.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.since);
        let periods = u32::try_from(elapsed.as_nanos() / RATE_PERIOD.as_nanos()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(periods).min(RATE_BURST);
        // A full bucket starts its period with the request that is taken from it.
        self.since = if self.left == RATE_BURST { now } else { self.since + RATE_PERIOD * periods };
        self.left = self.left.checked_sub(1).ok_or_else(|| RATE_PERIOD.saturating_sub(now - self.since))?;
        Ok(())
    }
}

/// Counts what strangers or a daemon gone wild can do as often as they like, which may not cost a line of the log each time.
#[derive(Default)]
struct Tally(u64);

impl Tally {
    /// Counts one more, and gives their number when that is worth a line: each time that it has doubled.
    fn worth_a_line(&mut self) -> Option<u64> {
        self.0 = self.0.saturating_add(1);
        self.0.is_power_of_two().then_some(self.0)
    }
}

/// An operator's restart takes two requests.
const RATE_BURST: u32 = 8;
const RATE_PERIOD: Duration = Duration::from_secs(1);
/// How long a request may take to come: it is written at once.
const REQUEST_MAX: Duration = Duration::from_secs(2);
/// Longer than the bucket takes to fill, so that a helper that is started anew allows no more.
const IDLE: Duration = Duration::from_secs(60);
const PASSING: [ErrorKind; 3] = [ErrorKind::ConnectionAborted, ErrorKind::Interrupted, ErrorKind::WouldBlock];

#[cfg(test)]
mod tests;
