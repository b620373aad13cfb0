//! The socket and the one loop: whatever can wake the vault is listed here, and nothing that a client does makes it wait.
//!
//! It knows who may ask and how often, not what the answers are.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_vault_client::codec::CodecError;
use holdfast_vault_client::{Request, Response};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use crate::connection::{Connection, Progress, malformed};
use crate::memory::wipe_stack;
use crate::vault::Upkeep;

/// What stands behind the socket.
pub trait Service {
    /// Answers one request.
    fn answer(&mut self, request: Request) -> Response;

    /// Does what is due between requests.
    fn maintain(&mut self) -> Upkeep;
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Somebody asked for it: a clean stop may follow.
    Asked,
    /// The service gave up: no clean stop may follow.
    GaveUp,
}

/// The listening socket with its connections. Removes the socket's file in the end.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: UnixListener,
    allowed_uid: u32,
}

/// Why the socket does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Somebody else serves there.
    #[error("another process listens on {}: stop it, or choose another --socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket lies there.
    #[error("{} is there and is no socket: move it away, or choose another --socket", path.display())]
    NoSocket {
        /// What lies there.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The system does not say which socket is ready.
    #[error("cannot wait for requests")]
    Wait(#[source] Errno),
}

impl Server {
    /// Makes the socket. Only processes of `allowed_uid` are answered, whoever may connect.
    ///
    /// # Errors
    /// When the path is taken or cannot be used.
    pub fn listen(path: &Path, allowed_uid: u32) -> Result<Self, ServerError> {
        let failed = |err| ServerError::Listen { path: path.to_owned(), err };
        make_way(path)?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        let server = Self { path: path.to_owned(), listener, allowed_uid };
        server.listener.set_nonblocking(true).map_err(failed)?;
        // A client needs write permission to connect. Another user's gets in by the credentials, not by the mode.
        let mode = if allowed_uid == geteuid().as_raw() { 0o600 } else { 0o666 };
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        Ok(server)
    }

    /// Answers requests until `stop` becomes readable or its other end is closed, or the service gives up.
    ///
    /// # Errors
    /// Only when the system does not say any more which socket is ready.
    pub fn serve(&self, stop: BorrowedFd<'_>, service: &mut dyn Service) -> Result<Ended, ServerError> {
        let mut connections: Vec<Connection> = Vec::with_capacity(CONNECTIONS_MAX);
        let mut rate = Rate::full(Instant::now());
        let mut door = Door::default();
        let mut upkeep = Instant::now();
        loop {
            let began = Instant::now();
            if began >= upkeep {
                let due = service.maintain();
                wipe_stack();
                match due {
                    Upkeep::Again(pause) => upkeep = Instant::now() + pause,
                    Upkeep::Exit => return Ok(Ended::GaveUp),
                }
                put_off(&mut connections, began.elapsed());
            }
            let now = Instant::now();
            hang_up_on_the_late(&mut connections, now);
            let wait = rate.wait(now);
            let deadlines = connections.iter().filter_map(Connection::deadline);
            let wake = deadlines
                .map(|deadline| deadline.saturating_duration_since(now))
                .chain(wait)
                .chain(door.wait(now))
                .chain([upkeep.saturating_duration_since(now)])
                .min();
            // A client over the rate is not even looked at: one that hung up would wake the loop all the time.
            let watched: Vec<_> =
                connections.iter().map(|connection| wait.is_none() || connection.is_answering()).collect();
            let ready = self.poll(stop, door.wait(now).is_none(), &connections, &watched, wake)?;
            let now = Instant::now();
            if ready.stop {
                return Ok(Ended::Asked);
            }
            let mut looked_at = ready.connections.into_iter();
            connections.retain_mut(|connection| {
                !looked_at.next().unwrap_or(false) || turn(connection, &mut rate, service, now)
            });
            put_off(&mut connections, now.elapsed());
            if ready.listener {
                self.accept(&mut connections, &mut door, Instant::now());
            }
        }
    }

    /// Waits until something is ready, of the connections among those that are watched.
    fn poll(
        &self,
        stop: BorrowedFd<'_>,
        is_open: bool,
        connections: &[Connection],
        watched: &[bool],
        wake: Option<Duration>,
    ) -> Result<Ready, ServerError> {
        let at_door = if is_open { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = vec![PollFd::new(stop, PollFlags::POLLIN), PollFd::new(self.listener.as_fd(), at_door)];
        for (connection, _) in connections.iter().zip(watched).filter(|(_, watched)| **watched) {
            let interest = if connection.is_answering() { PollFlags::POLLOUT } else { PollFlags::POLLIN };
            fds.push(PollFd::new(connection.stream().as_fd(), interest));
        }
        // Rounded up, so that the loop does not spin for the last part of a millisecond.
        let wake = wake.map(|wait| wait + Duration::from_millis(1));
        let timeout = wake.map_or(PollTimeout::NONE, |wait| PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(ServerError::Wait(err)),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        let mut next = || ready.next().unwrap_or(false);
        let (stop, listener) = (next(), next());
        Ok(Ready { stop, listener, connections: watched.iter().map(|watched| *watched && next()).collect() })
    }

    /// Takes one new connection. When all places are taken, the one that was silent longest makes room.
    fn accept(&self, connections: &mut Vec<Connection>, door: &mut Door, now: Instant) {
        let accepted = self.listener.accept().and_then(|(stream, _)| {
            let uid = getsockopt(&stream, PeerCredentials)?.uid();
            if uid != self.allowed_uid {
                if door.turned_away() {
                    let so_far = door.turned_away;
                    tracing::warn!(uid, allowed = self.allowed_uid, so_far, "hung up on a process of another user");
                }
                return Ok(None);
            }
            Connection::new(stream, now).map(Some)
        });
        match accepted {
            Ok(Some(connection)) => {
                if connections.len() == CONNECTIONS_MAX {
                    let silent = (0..connections.len()).min_by_key(|at| connections[*at].active());
                    connections.swap_remove(silent.expect("there are as many as may be"));
                }
                connections.push(connection);
            }
            Ok(None) => {}
            // The client is gone again, or a signal came between.
            Err(error) if PASSING.contains(&error.kind()) => {}
            Err(error) => {
                door.shut(now);
                if door.turned_away() {
                    tracing::warn!(%error, "cannot accept a connection");
                }
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

/// The time in which the vault did something else is no delay of a client.
fn put_off(connections: &mut [Connection], busy: Duration) {
    connections.iter_mut().for_each(|connection| connection.put_off(busy));
}

fn hang_up_on_the_late(connections: &mut Vec<Connection>, now: Instant) {
    connections.retain(|connection| connection.deadline().is_none_or(|deadline| now < deadline));
}

/// What woke the loop.
struct Ready {
    stop: bool,
    listener: bool,
    connections: Vec<bool>,
}

/// Lets one connection go on by at most one request. `false` when it is over.
fn turn(connection: &mut Connection, rate: &mut Rate, service: &mut dyn Service, now: Instant) -> bool {
    match connection.advance(now) {
        Progress::Ended => false,
        Progress::Waiting => true,
        Progress::Frame(frame) => {
            rate.spend(now);
            let goes_on = answer(connection, frame, service);
            // The identity key, and what an order brings, went through frames that are gone by now.
            wipe_stack();
            goes_on
        }
    }
}

/// Apart, so that all of its frames lie below the caller's, which overwrites them.
#[inline(never)]
fn answer(connection: &mut Connection, frame: Result<Request, CodecError>, service: &mut dyn Service) -> bool {
    let response = match frame {
        Ok(request) => service.answer(request),
        Err(error) => malformed(&error),
    };
    // The answer may have taken a while, which is not the client's fault.
    !matches!(connection.respond(&response, Instant::now()), Progress::Ended)
}

/// Removes the socket that a vault left that did not end well.
fn make_way(path: &Path) -> Result<(), ServerError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(ServerError::Listen { path: path.to_owned(), err }),
    };
    if !found.file_type().is_socket() {
        return Err(ServerError::NoSocket { path: path.to_owned() });
    }
    if UnixStream::connect(path).is_ok() {
        return Err(ServerError::InUse { path: path.to_owned() });
    }
    fs::remove_file(path).map_err(|err| ServerError::Listen { path: path.to_owned(), err })
}

/// Counts who did not come in: any user may knock, so each may not cost a line of the log. It stays shut for a while when
/// the system lets nobody in: the knock stays, and would wake the loop all the time.
#[derive(Default)]
struct Door {
    turned_away: u64,
    shut_until: Option<Instant>,
}

impl Door {
    fn shut(&mut self, now: Instant) {
        self.shut_until = Some(now + DOOR_SHUT);
    }

    /// How long it stays shut; `None` when it is open.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.shut_until = self.shut_until.filter(|until| now < *until);
        self.shut_until.map(|until| until - now)
    }

    /// Counts one more, and says whether that is worth a line: each time that their number has doubled.
    fn turned_away(&mut self) -> bool {
        self.turned_away = self.turned_away.saturating_add(1);
        self.turned_away.is_power_of_two()
    }
}

/// A bucket of requests that refills evenly.
struct Rate {
    left: u32,
    since: Instant,
}

impl Rate {
    fn full(now: Instant) -> Self {
        Self { left: RATE_BURST, since: now }
    }

    fn spend(&mut self, now: Instant) {
        self.refill(now);
        self.left = self.left.saturating_sub(1);
    }

    /// How long until there is a request to spend; `None` when there is one.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        (self.left == 0).then(|| RATE_PERIOD.saturating_sub(now.saturating_duration_since(self.since)))
    }

    fn refill(&mut self, now: Instant) {
        while self.left < RATE_BURST && now.saturating_duration_since(self.since) >= RATE_PERIOD {
            self.left += 1;
            self.since += RATE_PERIOD;
        }
        if self.left == RATE_BURST {
            self.since = now;
        }
    }
}

/// The daemon's, one that it opens anew while the old one is not yet gone, and two for whoever looks at the status.
const CONNECTIONS_MAX: usize = 4;
/// A slot has about ten requests: attestations, aggregates, sync messages, contributions, both kinds of selection, randao and
/// a block, some of them for two slots at once. A daemon that just started asks a few dozen.
const RATE_BURST: u32 = 64;
/// 50 a second, whatever the number of validators: a request is a batch of up to a thousand of them.
const RATE_PERIOD: Duration = Duration::from_millis(20);
/// After the system let nobody in: it has no descriptors or no memory left.
const DOOR_SHUT: Duration = Duration::from_secs(1);
const PASSING: [io::ErrorKind; 3] =
    [io::ErrorKind::ConnectionAborted, io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock];

#[cfg(test)]
mod tests;
