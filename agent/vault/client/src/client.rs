//! The client: one connection, one request at a time, blocking, every call with a deadline.
//!
//! After a failed call the connection is given up, since an answer may still be under way; the next call connects anew.
//! A vault that hung up since the last call, because it was restarted or needed the place, is asked once more by itself:
//! every request but an import gives the same answer twice.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_evidence::SignedOrder;
use holdfast_types::{Challenge, PartialSignature};
use zeroize::Zeroizing;

use crate::codec::{self, CodecError, HEADER_LEN};
use crate::message::{
    AttestationToSign, Evidence, EvidenceKind, IdentityKey, OrderOutcome, Rejection, Request, Response, SigningRefused,
    VaultStatus,
};

/// A client of the vault behind one socket.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: Option<UnixStream>,
    timeout: Duration,
}

/// Why a call gave no answer of its kind.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No vault listens at the socket.
    #[error("cannot connect to the vault at {}: is holdfast-vault running, and with this --socket?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The vault hung up before it answered anything.
    #[error(
        "the vault at {} closed the connection: it answers only the user of its --allow-uid, see its log",
        path.display()
    )]
    HungUp {
        /// The socket.
        path: PathBuf,
    },
    /// The answer did not come in time.
    #[error("the vault at {} did not answer within {} ms: see its log", path.display(), waited.as_millis())]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// How long the call may take.
        waited: Duration,
    },
    /// The socket broke.
    #[error("cannot talk to the vault at {}", path.display())]
    Exchange {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The bytes are not what this version speaks.
    #[error("cannot understand the vault at {}: are agent and vault of the same release", path.display())]
    Codec {
        /// The socket.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        err: CodecError,
    },
    /// The vault answered another request than was asked.
    #[error("the vault at {} answered {answered} to another request: restart it", path.display())]
    WrongAnswer {
        /// The socket.
        path: PathBuf,
        /// The kind of answer that came.
        answered: &'static str,
    },
    /// The vault refused the request as a whole.
    #[error("the vault at {} refused", path.display())]
    Rejected {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        rejection: Rejection,
    },
}

impl Client {
    /// Connects to the vault at a socket.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when no vault is there.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        Self::connect_with_timeout(path, CALL_TIMEOUT)
    }

    /// As [`Client::connect`], with another bound on each call.
    ///
    /// # Errors
    /// [`ClientError::Connect`] when no vault is there.
    pub fn connect_with_timeout(path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        let mut client = Self { path: path.to_owned(), stream: None, timeout };
        client.stream = Some(client.open()?);
        Ok(client)
    }

    /// Asks once and waits for the answer, [`Response::Rejected`] included.
    ///
    /// # Errors
    /// When the vault cannot be reached or understood, or not in time. Whether it did what was asked is then unknown.
    pub fn call(&mut self, request: &Request) -> Result<Response, ClientError> {
        let frame = codec::encode_request(request).map_err(|err| self.codec(err))?;
        if let Some(stream) = self.stream.take() {
            match self.ask(stream, &frame) {
                Err(ClientError::HungUp { .. }) if repeatable(request) => {}
                answered => return answered,
            }
        }
        let stream = self.open()?;
        self.ask(stream, &frame)
    }

    fn ask(&mut self, mut stream: UnixStream, frame: &[u8]) -> Result<Response, ClientError> {
        let message = self.exchange(&mut stream, frame)?;
        let response = codec::decode_response(&message).map_err(|err| self.codec(err))?;
        self.stream = Some(stream);
        Ok(response)
    }

    /// What the vault is and holds.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn status(&mut self) -> Result<VaultStatus, ClientError> {
        match self.call(&Request::Status)? {
            Response::Status(status) => Ok(*status),
            other => Err(self.unexpected(other)),
        }
    }

    /// The node identity key.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn identity_key(&mut self) -> Result<IdentityKey, ClientError> {
        match self.call(&Request::IdentityKey)? {
            Response::IdentityKey(key) => Ok(key),
            other => Err(self.unexpected(other)),
        }
    }

    /// One partial signature or refusal for each attestation, in their order.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_attestations(
        &mut self,
        batch: Vec<AttestationToSign>,
    ) -> Result<Vec<Result<PartialSignature, SigningRefused>>, ClientError> {
        let asked = batch.len();
        match self.call(&Request::SignAttestations(batch))? {
            Response::Signatures(answers) if answers.len() == asked => Ok(answers),
            other => Err(self.unexpected(other)),
        }
    }

    /// A challenge for one order, valid for ten minutes.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn challenge(&mut self) -> Result<Challenge, ClientError> {
        match self.call(&Request::Challenge)? {
            Response::Challenge(challenge) => Ok(challenge),
            other => Err(self.unexpected(other)),
        }
    }

    /// Something that the TPM signs about this box.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn evidence(&mut self, kind: EvidenceKind, nonce: [u8; 32]) -> Result<Evidence, ClientError> {
        match self.call(&Request::Evidence { kind, nonce })? {
            Response::Evidence(evidence) => Ok(evidence),
            other => Err(self.unexpected(other)),
        }
    }

    /// Hands over an order of the authority. It is carried out at most once; an order whose outcome is not known may
    /// have been.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn order(&mut self, order: SignedOrder) -> Result<OrderOutcome, ClientError> {
        let usual = std::mem::replace(&mut self.timeout, ORDER_TIMEOUT);
        let answered = self.call(&Request::Order(order));
        self.timeout = usual;
        match answered? {
            Response::OrderDone(outcome) => Ok(outcome),
            other => Err(self.unexpected(other)),
        }
    }

    fn open(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.path).map_err(|err| ClientError::Connect { path: self.path.clone(), err })
    }

    fn exchange(&self, stream: &mut UnixStream, frame: &[u8]) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let deadline = Instant::now() + self.timeout;
        let mut sent = 0;
        while sent < frame.len() {
            stream.set_write_timeout(Some(self.left(deadline)?)).map_err(|err| self.broken(err))?;
            match stream.write(&frame[sent..]) {
                Ok(len) => sent += len,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.broken(err)),
            }
        }
        let mut header = [0; HEADER_LEN];
        self.fill(stream, &mut header, deadline)?;
        let len = codec::frame_len(header).map_err(|err| self.codec(err))?;
        let mut message = Zeroizing::new(vec![0; len]);
        self.fill(stream, &mut message, deadline)?;
        Ok(message)
    }

    fn fill(&self, stream: &mut UnixStream, buffer: &mut [u8], deadline: Instant) -> Result<(), ClientError> {
        let mut filled = 0;
        while filled < buffer.len() {
            stream.set_read_timeout(Some(self.left(deadline)?)).map_err(|err| self.broken(err))?;
            match stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(ClientError::HungUp { path: self.path.clone() }),
                Ok(len) => filled += len,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
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

    fn timed_out(&self) -> ClientError {
        ClientError::TimedOut { path: self.path.clone(), waited: self.timeout }
    }

    fn broken(&self, err: io::Error) -> ClientError {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, WouldBlock};
        match err.kind() {
            WouldBlock | TimedOut => self.timed_out(),
            BrokenPipe | ConnectionReset => ClientError::HungUp { path: self.path.clone() },
            _ => ClientError::Exchange { path: self.path.clone(), err },
        }
    }

    fn codec(&self, err: CodecError) -> ClientError {
        ClientError::Codec { path: self.path.clone(), err }
    }

    fn unexpected(&mut self, response: Response) -> ClientError {
        let path = self.path.clone();
        let answered = match response {
            Response::Rejected(rejection) => return ClientError::Rejected { path, rejection },
            Response::Status(_) => "a status",
            Response::IdentityKey(_) => "an identity key",
            Response::Signatures(_) => "signatures, not one for each that was asked",
            Response::Challenge(_) => "a challenge",
            Response::Done => "that it is done",
            Response::Evidence(_) => "evidence",
            Response::History(_) => "a history",
            Response::OrderDone(_) => "an order's outcome",
            Response::OrderLog(_) => "a log of orders",
            Response::TlsCertificate(_) => "a certificate",
        };
        // Whatever it is, the two sides no longer agree on whose turn it is.
        self.stream = None;
        ClientError::WrongAnswer { path, answered }
    }
}

fn repeatable(request: &Request) -> bool {
    !matches!(request, Request::Order(_))
}

/// A full batch takes about a second on the smallest board, most of it BLS; a duty has 4 s until it is due.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A new generation of a thousand shares, with a chip that needs half a second for each of its commands.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// Runs `serve` as the vault behind a socket, for one connection after the other.
    fn against(serve: impl Fn(usize, UnixStream) + Send + 'static, test: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vault.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                serve(number, stream.unwrap());
            }
        });
        test(&path);
    }

    fn request_of(stream: &mut UnixStream) -> Request {
        let mut header = [0; HEADER_LEN];
        stream.read_exact(&mut header).unwrap();
        let mut message = vec![0; codec::frame_len(header).unwrap()];
        stream.read_exact(&mut message).unwrap();
        codec::decode_request(&message).unwrap()
    }

    fn answer(stream: &mut UnixStream, response: &Response) {
        stream.write_all(&codec::encode_response(response).unwrap()).unwrap();
    }

    #[test]
    fn no_vault_names_the_socket_and_the_remedy() {
        let error = Client::connect(Path::new("/nonexistent/vault.sock")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot connect to the vault at /nonexistent/vault.sock: is holdfast-vault running, and with this --socket?"
        );
    }

    #[test]
    fn a_rejection_is_an_error_and_the_connection_goes_on() {
        let serve = |number, mut stream: UnixStream| {
            assert_eq!(number, 0, "one connection serves both calls");
            assert!(matches!(request_of(&mut stream), Request::IdentityKey));
            answer(&mut stream, &Response::Rejected(Rejection::Empty));
            assert!(matches!(request_of(&mut stream), Request::IdentityKey));
            answer(&mut stream, &Response::IdentityKey(IdentityKey([7; 32])));
        };
        against(serve, |path| {
            let mut client = Client::connect(path).unwrap();
            let refused = client.identity_key().unwrap_err();
            assert!(matches!(refused, ClientError::Rejected { rejection: Rejection::Empty, .. }), "{refused:?}");
            assert_eq!(client.identity_key().unwrap().0, [7; 32]);
        });
    }

    #[test]
    fn a_vault_that_hung_up_is_asked_once_more() {
        let serve = |number, mut stream: UnixStream| {
            request_of(&mut stream);
            if number == 1 {
                answer(&mut stream, &Response::IdentityKey(IdentityKey([7; 32])));
            }
        };
        against(serve, |path| {
            let mut client = Client::connect(path).unwrap();
            assert_eq!(client.identity_key().unwrap().0, [7; 32]);
            assert!(matches!(client.identity_key(), Err(ClientError::HungUp { .. })));
        });
    }

    #[test]
    fn a_silent_vault_times_out() {
        let kept = std::sync::Mutex::new(Vec::new());
        let serve = move |_, stream| kept.lock().unwrap().push(stream);
        against(serve, |path| {
            let mut client = Client::connect_with_timeout(path, Duration::from_millis(20)).unwrap();
            assert!(matches!(client.status(), Err(ClientError::TimedOut { .. })));
        });
    }

    #[test]
    fn other_answers_and_garbage_are_named() {
        let serve = |number, mut stream: UnixStream| {
            request_of(&mut stream);
            match number {
                0 => answer(&mut stream, &Response::Attestations(vec![])),
                1 => stream.write_all(&[0xff; 64]).unwrap(),
                _ => stream.write_all(&[0, 0, 0, 1, 0x77]).unwrap(),
            }
        };
        against(serve, |path| {
            let mut client = Client::connect(path).unwrap();
            assert!(matches!(client.status(), Err(ClientError::WrongAnswer { .. })));
            let long = client.status().unwrap_err();
            assert!(matches!(long, ClientError::Codec { err: CodecError::FrameTooLong { .. }, .. }), "{long:?}");
            let garbage = client.status().unwrap_err();
            assert!(matches!(garbage, ClientError::Codec { err: CodecError::Undecodable, .. }), "{garbage:?}");
        });
    }

    #[test]
    fn as_many_answers_as_asked_or_none() {
        let serve = |_, mut stream: UnixStream| {
            request_of(&mut stream);
            answer(&mut stream, &Response::Attestations(vec![Ok(PartialSignature([1; 96]))]));
        };
        against(serve, |path| {
            let mut client = Client::connect(path).unwrap();
            assert!(matches!(client.sign_attestations(vec![]), Err(ClientError::WrongAnswer { .. })));
        });
    }
}
