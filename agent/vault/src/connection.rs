//! One connection: at most one request at a time, never more bytes taken than its frame announces, never waiting.
//!
//! It knows frames and deadlines, not what a request means.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use holdfast_vault_client::codec::{self, CodecError, HEADER_LEN};
use holdfast_vault_client::{Rejection, Request, Response};
use zeroize::Zeroizing;

/// A connection with a client of the allowed user.
pub(crate) struct Connection {
    stream: UnixStream,
    phase: Phase,
    /// By when the frame under way, in or out, must be through.
    deadline: Option<Instant>,
    active: Instant,
}

enum Phase {
    /// Reads the length of the next request.
    Header { bytes: [u8; HEADER_LEN], filled: usize },
    /// Reads a request.
    Message { bytes: Zeroizing<Vec<u8>>, filled: usize },
    /// Writes a response, and ends the connection after it when the client lost its place.
    Answer { bytes: Zeroizing<Vec<u8>>, sent: usize, last: bool },
}

/// What became of a look at the connection.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The client hung up, or the socket broke.
    Ended,
    /// A whole frame is there, a request or not: [`Connection::respond`] before anything else.
    Frame(Result<Request, CodecError>),
    /// Nothing to do until the socket is ready again.
    Waiting,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream, now: Instant) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, phase: Phase::START, deadline: None, active: now })
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Whether it waits to be written to, not to be read from.
    pub(crate) fn is_answering(&self) -> bool {
        matches!(self.phase, Phase::Answer { .. })
    }

    /// When the frame under way is late.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Moves the deadline: for so long nobody looked at this connection.
    pub(crate) fn put_off(&mut self, busy: Duration) {
        self.deadline = self.deadline.map(|deadline| deadline + busy);
    }

    /// When it last carried a byte.
    pub(crate) fn active(&self) -> Instant {
        self.active
    }

    /// Reads or writes as far as the socket allows.
    pub(crate) fn advance(&mut self, now: Instant) -> Progress {
        loop {
            let done = match &mut self.phase {
                Phase::Header { bytes, filled } => fill(&mut self.stream, bytes, filled),
                Phase::Message { bytes, filled } => fill(&mut self.stream, bytes, filled),
                Phase::Answer { bytes, sent, .. } => drain(&mut self.stream, bytes, sent),
            };
            match done {
                Ok(false) => return Progress::Waiting,
                Err(_) => return Progress::Ended,
                Ok(true) => self.active = now,
            }
            if self.deadline.is_none() {
                self.deadline = Some(now + FRAME_TIME);
            }
            if let Some(progress) = self.turn_page(now) {
                return progress;
            }
        }
    }

    /// Answers the frame that [`Connection::advance`] handed out.
    pub(crate) fn respond(&mut self, response: &Response, now: Instant) -> Progress {
        self.answer(response, false, now);
        self.advance(now)
    }

    /// Goes on to the next phase when this one is through.
    fn turn_page(&mut self, now: Instant) -> Option<Progress> {
        match &mut self.phase {
            Phase::Header { bytes, filled } if *filled == bytes.len() => match codec::frame_len(*bytes) {
                Ok(len) => self.phase = Phase::Message { bytes: Zeroizing::new(vec![0; len]), filled: 0 },
                // Where the next frame begins is not known any more.
                Err(error) => self.answer(&malformed(&error), true, now),
            },
            Phase::Answer { bytes, sent, last } if *sent == bytes.len() => {
                if *last {
                    return Some(Progress::Ended);
                }
                self.phase = Phase::START;
                self.deadline = None;
                return Some(Progress::Waiting);
            }
            _ => {}
        }
        if let Phase::Message { bytes, filled } = &self.phase
            && *filled == bytes.len()
        {
            let decoded = codec::decode_request(bytes);
            self.phase = Phase::START;
            return Some(Progress::Frame(decoded));
        }
        None
    }

    fn answer(&mut self, response: &Response, last: bool, now: Instant) {
        let bytes = codec::encode_response(response).expect("an answer to a bounded request fits into a frame");
        self.phase = Phase::Answer { bytes, sent: 0, last };
        self.deadline = Some(now + FRAME_TIME);
    }
}

impl Phase {
    const START: Self = Self::Header { bytes: [0; HEADER_LEN], filled: 0 };
}

/// The answer to what is no request.
pub(crate) fn malformed(error: &CodecError) -> Response {
    Response::Rejected(Rejection::Malformed(error.to_string()))
}

/// Reads once, to the end of the buffer at most. `false` when the socket has nothing; an end of file is an error.
fn fill(stream: &mut UnixStream, bytes: &mut [u8], filled: &mut usize) -> io::Result<bool> {
    if *filled == bytes.len() {
        return Ok(true);
    }
    match stream.read(&mut bytes[*filled..]) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        done => counted(done, filled),
    }
}

fn drain(stream: &mut UnixStream, bytes: &[u8], sent: &mut usize) -> io::Result<bool> {
    let done = stream.write(&bytes[*sent..]);
    counted(done, sent)
}

fn counted(done: io::Result<usize>, count: &mut usize) -> io::Result<bool> {
    match done {
        Ok(len) => {
            *count += len;
            Ok(true)
        }
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(err) if err.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(err) => Err(err),
    }
}

/// A frame is at most a quarter of a MiB between two processes of one machine; who needs longer is not our daemon.
const FRAME_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, Connection, Instant) {
        let (client, served) = UnixStream::pair().unwrap();
        let now = Instant::now();
        (client, Connection::new(served, now).unwrap(), now)
    }

    fn heard(client: &mut UnixStream) -> Response {
        let mut header = [0; HEADER_LEN];
        client.read_exact(&mut header).unwrap();
        let mut message = vec![0; codec::frame_len(header).unwrap()];
        client.read_exact(&mut message).unwrap();
        codec::decode_response(&message).unwrap()
    }

    #[test]
    fn a_request_may_come_byte_by_byte() {
        let (mut client, mut connection, now) = pair();
        let frame = codec::encode_request(&Request::Status).unwrap();
        for (at, byte) in frame.iter().enumerate() {
            assert!(matches!(connection.advance(now), Progress::Waiting));
            assert_eq!(connection.deadline().is_some(), at > 0, "the deadline runs from the first byte on");
            client.write_all(&[*byte]).unwrap();
        }
        assert!(matches!(connection.advance(now), Progress::Frame(Ok(Request::Status))));
        assert!(matches!(connection.respond(&Response::Rejected(Rejection::NoIdentity), now), Progress::Waiting));
        assert_eq!(connection.deadline(), None);
        assert!(matches!(heard(&mut client), Response::Rejected(Rejection::NoIdentity)));
    }

    #[test]
    fn a_second_request_waits_for_the_first_answer() {
        let (mut client, mut connection, now) = pair();
        let frame = codec::encode_request(&Request::Status).unwrap();
        client.write_all(&[&frame[..], &frame[..]].concat()).unwrap();
        for _ in 0..2 {
            assert!(matches!(connection.advance(now), Progress::Frame(Ok(Request::Status))));
            assert!(matches!(connection.respond(&Response::Rejected(Rejection::NoIdentity), now), Progress::Waiting));
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_answered_and_ends_it() {
        let (mut client, mut connection, now) = pair();
        client.write_all(&[0xff; HEADER_LEN]).unwrap();
        assert!(matches!(connection.advance(now), Progress::Ended));
        let Response::Rejected(Rejection::Malformed(reason)) = heard(&mut client) else { panic!("another answer") };
        assert_eq!(reason, "a frame of 4294967295 bytes, at most 393216 are allowed");
    }

    #[test]
    fn what_is_no_request_is_answered_and_the_next_is_served() {
        let (mut client, mut connection, now) = pair();
        client.write_all(&[0, 0, 0, 2, 0x77, 0]).unwrap();
        client.write_all(&[0, 0, 0, 0]).unwrap();
        client.write_all(&codec::encode_request(&Request::IdentityKey).unwrap()).unwrap();
        for expected in [CodecError::Undecodable, CodecError::Undecodable] {
            let Progress::Frame(Err(error)) = connection.advance(now) else { panic!("no frame") };
            assert_eq!(error, expected);
            assert!(matches!(connection.respond(&malformed(&error), now), Progress::Waiting));
            assert!(matches!(heard(&mut client), Response::Rejected(Rejection::Malformed(_))));
        }
        assert!(matches!(connection.advance(now), Progress::Frame(Ok(Request::IdentityKey))));
    }

    #[test]
    fn a_client_that_does_not_read_is_late_in_the_end() {
        let (client, mut connection, now) = pair();
        let long = Response::Rejected(Rejection::Malformed("x".repeat(200_000)));
        let mut answered = 0;
        while !connection.is_answering() {
            assert!(matches!(connection.respond(&long, now), Progress::Waiting));
            answered += 1;
            assert!(answered < 100, "the socket takes everything");
        }
        assert_eq!(connection.deadline(), Some(now + FRAME_TIME));
        drop(client);
        assert!(matches!(connection.advance(now), Progress::Ended));
    }
}
