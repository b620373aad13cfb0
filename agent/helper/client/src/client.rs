//! Asks the helper: one connection for each request, blocking, with a deadline. Nothing is ever asked twice by itself.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::codec::{self, CodecError, HEADER_LEN};
use crate::message::{Refusal, Request, Response};

/// Where the helper is asked.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
    timeout: Duration,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The bytes are not what this version speaks.
    #[error("cannot understand the helper at {}: are agent and helper of the same release?", path.display())]
    Codec {
        /// The socket.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        err: CodecError,
    },
    /// Nobody listens at the socket.
    #[error("cannot connect to the helper at {}: is holdfast-helper.socket started?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The socket broke.
    #[error("cannot talk to the helper at {}", path.display())]
    Exchange {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The helper hung up.
    #[error("the helper at {} answers only the user of its --allow-uid: see its log", path.display())]
    HungUp {
        /// The socket.
        path: PathBuf,
    },
    /// The helper refused.
    #[error("the helper does not do it")]
    Refused(#[source] Refusal),
    /// The answer did not come in time.
    #[error("the helper at {} did not answer within {} ms: see its log", path.display(), waited.as_millis())]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl Client {
    /// A client of the helper behind this socket. Nothing is connected yet.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self::with_timeout(path, TIMEOUT)
    }

    /// As [`Client::new`], with another bound on each call.
    #[must_use]
    pub fn with_timeout(path: &Path, timeout: Duration) -> Self {
        Self { path: path.to_owned(), timeout }
    }

    /// Asks once and waits for the answer.
    ///
    /// # Errors
    /// When it is not done, or nobody says so. After [`ClientError::TimedOut`] it may have been.
    pub fn call(&self, request: Request) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.timeout;
        let mut stream = self.connect(deadline)?;
        // So few bytes go into the socket's buffer at once, or the socket is broken.
        stream.write_all(&codec::encode(&request)).map_err(|err| self.broken(err))?;
        let mut header = [0; HEADER_LEN];
        self.fill(&mut stream, &mut header, deadline)?;
        let len = codec::message_len(header).map_err(|err| self.codec(err))?;
        let mut message = vec![0; len];
        self.fill(&mut stream, &mut message, deadline)?;
        match codec::decode(&message).map_err(|err| self.codec(err))? {
            Response::Done => Ok(()),
            Response::Refused(refusal) => Err(ClientError::Refused(refusal)),
        }
    }

    /// The time to send bounds the wait for a place in the listener's queue as well, for which the standard library would
    /// wait for ever.
    fn connect(&self, deadline: Instant) -> Result<UnixStream, ClientError> {
        let left_us = i64::try_from(self.left(deadline)?.as_micros()).unwrap_or(i64::MAX).max(1);
        let connected = || {
            let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
            setsockopt(&socket, SendTimeout, &TimeVal::microseconds(left_us))?;
            connect(socket.as_raw_fd(), &UnixAddr::new(&self.path)?)?;
            Ok(UnixStream::from(socket))
        };
        connected().map_err(|err: io::Error| match err.kind() {
            ErrorKind::WouldBlock => self.timed_out(),
            _ => ClientError::Connect { path: self.path.clone(), err },
        })
    }

    fn fill(&self, stream: &mut UnixStream, buffer: &mut [u8], deadline: Instant) -> Result<(), ClientError> {
        let mut filled = 0;
        while filled < buffer.len() {
            stream.set_read_timeout(Some(self.left(deadline)?)).map_err(|err| self.broken(err))?;
            match stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(ClientError::HungUp { path: self.path.clone() }),
                Ok(len) => filled += len,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return Err(self.broken(err)),
            }
        }
        Ok(())
    }

    /// The time left; never zero, which the system would take for "no timeout".
    fn left(&self, deadline: Instant) -> Result<Duration, ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.timed_out()) } else { Ok(left) }
    }

    fn broken(&self, err: io::Error) -> ClientError {
        match err.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => self.timed_out(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => ClientError::HungUp { path: self.path.clone() },
            _ => ClientError::Exchange { path: self.path.clone(), err },
        }
    }

    fn timed_out(&self) -> ClientError {
        ClientError::TimedOut { path: self.path.clone(), waited: self.timeout }
    }

    fn codec(&self, err: CodecError) -> ClientError {
        ClientError::Codec { path: self.path.clone(), err }
    }
}

/// The helper is started by the first connection, which takes a busy board a second or two.
const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    /// What comes of a call when the other side answers with these bytes.
    fn answered(bytes: &'static [u8]) -> Result<(), ClientError> {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let other_side = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 3];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(asked, [0, 1, 1]);
            stream.write_all(bytes).unwrap();
        });
        let done = Client::new(&path).call(Request::Reboot);
        other_side.join().unwrap();
        done
    }

    #[test]
    fn an_answer_is_what_it_says() {
        answered(&[0, 1, 0]).unwrap();
        let refused = answered(&[0, 2, 1, 1]).unwrap_err();
        assert!(matches!(refused, ClientError::Refused(Refusal::NoServiceManager)), "{refused:?}");
    }

    #[test]
    fn what_is_no_answer_is_an_error_that_says_so() {
        for garbage in [&[0xff, 0xff][..], &[0, 1, 9], &[0, 2, 0, 0], &[0, 0]] {
            let error = answered(garbage).unwrap_err();
            assert!(matches!(error, ClientError::Codec { .. }), "{garbage:?}: {error:?}");
        }
        for cut in [&[][..], &[0], &[0, 1]] {
            let error = answered(cut).unwrap_err();
            assert!(matches!(error, ClientError::HungUp { .. }), "{cut:?}: {error:?}");
        }
    }

    #[test]
    fn nobody_there_and_nobody_who_answers_are_told_apart() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("socket");
        let nobody = Client::new(&path).call(Request::CanReboot).unwrap_err();
        assert!(nobody.to_string().contains("holdfast-helper.socket"), "{nobody}");
        // It is bound and never accepts.
        let _listener = UnixListener::bind(&path).unwrap();
        let silent = Client::with_timeout(&path, Duration::from_millis(50)).call(Request::CanReboot).unwrap_err();
        assert!(matches!(silent, ClientError::TimedOut { .. }), "{silent:?}");
    }
}
