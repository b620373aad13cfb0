//! The client: one connection, one request at a time, blocking, every call with a deadline.
//!
//! After a failed call the connection is given up, since an answer may still be under way; the next call connects anew.
//! A vault that hung up since the last call, because it was restarted or needed the place, is asked once more by itself:
//! every request but an order may be asked twice.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_evidence::{Approval, Credential, Evidence, EvidenceKind, LoggedOrder, SignedOrder};
use holdfast_types::{Challenge, Epoch, HistoryMarks, P256Public, PartialSignature, Root, Slot, ValidatorPublic};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt::SendTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};
use zeroize::Zeroizing;

use crate::codec::{self, CodecError, HEADER_LEN};
use crate::message::{
    AttestationToSign, BlockToSign, IdentityKey, OrderOutcome, Rejection, Request, Response, RootToSign,
    SigningRefused, VaultStatus,
};

/// For each entry of a batch, in its order, a partial signature or why there is none.
pub type Signatures = Vec<Result<PartialSignature, SigningRefused>>;

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
    /// [`ClientError::Connect`] when no vault is there, [`ClientError::TimedOut`] when it takes no more connections.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        Self::connect_with_timeout(path, CALL_TIMEOUT)
    }

    /// As [`Client::connect`], with another bound on each call. What seals anew or makes keys may take twelve times as long.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect_with_timeout(path: &Path, timeout: Duration) -> Result<Self, ClientError> {
        let mut client = Self { path: path.to_owned(), stream: None, timeout };
        client.stream = Some(client.open(Deadline::of(timeout))?);
        Ok(client)
    }

    /// Asks once and waits for the answer, [`Response::Rejected`] included.
    ///
    /// # Errors
    /// When the vault cannot be reached or understood, or not in time. Whether it did what was asked is then unknown.
    pub fn call(&mut self, request: &Request) -> Result<Response, ClientError> {
        let frame = codec::encode_request(request).map_err(|err| self.codec(err))?;
        let deadline = Deadline::of(if takes_long(request) { self.timeout * LONG } else { self.timeout });
        if let Some(stream) = self.stream.take() {
            match self.ask(stream, &frame, deadline) {
                Err(ClientError::HungUp { .. }) if repeatable(request) => {}
                answered => return answered,
            }
        }
        let stream = self.open(deadline)?;
        self.ask(stream, &frame, deadline)
    }

    fn ask(&mut self, mut stream: UnixStream, frame: &[u8], deadline: Deadline) -> Result<Response, ClientError> {
        let message = self.exchange(&mut stream, frame, deadline)?;
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

    /// A week's certificate in DER for the daemon's TLS key, by the box key.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn certify_tls_key(&mut self, key: P256Public) -> Result<Vec<u8>, ClientError> {
        match self.call(&Request::CertifyTlsKey { key })? {
            Response::TlsCertificate(certificate) => Ok(certificate),
            other => Err(self.unexpected(other)),
        }
    }

    /// A page of the watermarks: of the validators that follow `after`, from the first on when it is `None`. An empty
    /// page is the end.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn history_backup(&mut self, after: Option<ValidatorPublic>) -> Result<HistoryMarks, ClientError> {
        match self.call(&Request::HistoryBackup { after })? {
            Response::History(page) => Ok(page),
            other => Err(self.unexpected(other)),
        }
    }

    /// Something that the TPM signs about this box.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn evidence(&mut self, kind: EvidenceKind, nonce: [u8; 32]) -> Result<Evidence, ClientError> {
        match self.call(&Request::Evidence { kind, nonce })? {
            Response::Evidence(evidence) => Ok(*evidence),
            other => Err(self.unexpected(other)),
        }
    }

    /// Has the TPM open a credential that was made for its endorsement key and this box's attestation key.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn activate_credential(&mut self, credential: Credential) -> Result<[u8; 32], ClientError> {
        match self.call(&Request::ActivateCredential(credential))? {
            Response::Activated(secret) => Ok(secret),
            other => Err(self.unexpected(other)),
        }
    }

    /// Has everything sealed anew, to the level of the image that runs.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn raise_level(&mut self) -> Result<(), ClientError> {
        self.done(&Request::RaiseLevel)
    }

    /// Has an approval of a boot state kept until the next boot, when the TPM judges it.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn approve_firmware(&mut self, approval: Approval) -> Result<(), ClientError> {
        self.done(&Request::ApproveFirmware(approval))
    }

    /// Signs attestations, each recorded first.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_attestations(&mut self, batch: Vec<AttestationToSign>) -> Result<Signatures, ClientError> {
        let asked = batch.len();
        self.signatures(&Request::SignAttestations(batch), asked)
    }

    /// Signs a block, recorded first.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_block(&mut self, block: BlockToSign) -> Result<Result<PartialSignature, SigningRefused>, ClientError> {
        let mut answers = self.signatures(&Request::SignBlock(block), 1)?;
        Ok(answers.remove(0))
    }

    /// Signs the RANDAO reveals of an epoch.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_randao(&mut self, epoch: Epoch, validators: Vec<ValidatorPublic>) -> Result<Signatures, ClientError> {
        let asked = validators.len();
        self.signatures(&Request::SignRandao { epoch, validators }, asked)
    }

    /// Signs the proofs of having been selected as aggregator of a slot.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_selection(&mut self, slot: Slot, validators: Vec<ValidatorPublic>) -> Result<Signatures, ClientError> {
        let asked = validators.len();
        self.signatures(&Request::SignSelection { slot, validators }, asked)
    }

    /// Signs the proofs of having been selected as sync contributor of a slot, each for a subcommittee.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_sync_selection(
        &mut self,
        slot: Slot,
        selections: Vec<(ValidatorPublic, u64)>,
    ) -> Result<Signatures, ClientError> {
        let asked = selections.len();
        self.signatures(&Request::SignSyncSelection { slot, selections }, asked)
    }

    /// Signs the sync committee messages of a slot for one block.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_sync_message(
        &mut self,
        slot: Slot,
        block_root: Root,
        validators: Vec<ValidatorPublic>,
    ) -> Result<Signatures, ClientError> {
        let asked = validators.len();
        self.signatures(&Request::SignSyncMessage { slot, block_root, validators }, asked)
    }

    /// Signs aggregates with their proofs.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_aggregates(&mut self, batch: Vec<RootToSign>) -> Result<Signatures, ClientError> {
        let asked = batch.len();
        self.signatures(&Request::SignAggregate(batch), asked)
    }

    /// Signs sync contributions with their proofs.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn sign_contributions(&mut self, batch: Vec<RootToSign>) -> Result<Signatures, ClientError> {
        let asked = batch.len();
        self.signatures(&Request::SignContribution(batch), asked)
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

    /// Hands over an order of the authority. It is carried out at most once; an order whose outcome is not known may
    /// have been.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn order(&mut self, order: SignedOrder) -> Result<OrderOutcome, ClientError> {
        match self.call(&Request::Order(order))? {
            Response::OrderDone(outcome) => Ok(outcome),
            other => Err(self.unexpected(other)),
        }
    }

    /// A page of the log of orders: the entries after a number, from the first that is kept on when it is 0. An empty
    /// page is the end.
    ///
    /// # Errors
    /// As [`Client::call`], and [`ClientError::Rejected`].
    pub fn order_log(&mut self, after: u64) -> Result<Vec<LoggedOrder>, ClientError> {
        match self.call(&Request::OrderLog { after })? {
            Response::OrderLog(page) => Ok(page),
            other => Err(self.unexpected(other)),
        }
    }

    fn signatures(&mut self, request: &Request, asked: usize) -> Result<Signatures, ClientError> {
        match self.call(request)? {
            Response::Signatures(answers) if answers.len() == asked => Ok(answers),
            other => Err(self.unexpected(other)),
        }
    }

    fn done(&mut self, request: &Request) -> Result<(), ClientError> {
        match self.call(request)? {
            Response::Done => Ok(()),
            other => Err(self.unexpected(other)),
        }
    }

    fn open(&self, deadline: Deadline) -> Result<UnixStream, ClientError> {
        loop {
            match connect_within(&self.path, self.left(deadline)?) {
                Ok(stream) => return Ok(stream),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Err(self.timed_out(deadline)),
                Err(err) => return Err(ClientError::Connect { path: self.path.clone(), err }),
            }
        }
    }

    fn exchange(
        &self,
        stream: &mut UnixStream,
        frame: &[u8],
        deadline: Deadline,
    ) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let mut sent = 0;
        while sent < frame.len() {
            stream.set_write_timeout(Some(self.left(deadline)?)).map_err(|err| self.broken(deadline, err))?;
            match stream.write(&frame[sent..]) {
                Ok(len) => sent += len,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.broken(deadline, err)),
            }
        }
        let mut header = [0; HEADER_LEN];
        self.fill(stream, &mut header, deadline)?;
        let len = codec::frame_len(header).map_err(|err| self.codec(err))?;
        let mut message = Zeroizing::new(vec![0; len]);
        self.fill(stream, &mut message, deadline)?;
        Ok(message)
    }

    fn fill(&self, stream: &mut UnixStream, buffer: &mut [u8], deadline: Deadline) -> Result<(), ClientError> {
        let mut filled = 0;
        while filled < buffer.len() {
            stream.set_read_timeout(Some(self.left(deadline)?)).map_err(|err| self.broken(deadline, err))?;
            match stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(ClientError::HungUp { path: self.path.clone() }),
                Ok(len) => filled += len,
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.broken(deadline, err)),
            }
        }
        Ok(())
    }

    /// The time left; never zero, which the system would take for "no timeout".
    fn left(&self, deadline: Deadline) -> Result<Duration, ClientError> {
        let left = deadline.at.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.timed_out(deadline)) } else { Ok(left) }
    }

    fn timed_out(&self, deadline: Deadline) -> ClientError {
        ClientError::TimedOut { path: self.path.clone(), waited: deadline.waited }
    }

    fn broken(&self, deadline: Deadline, err: io::Error) -> ClientError {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, WouldBlock};
        match err.kind() {
            WouldBlock | TimedOut => self.timed_out(deadline),
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
            Response::Activated(_) => "what a credential holds",
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

/// When a call must be over, and how long it was given.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    waited: Duration,
}

impl Deadline {
    fn of(timeout: Duration) -> Self {
        Self { at: Instant::now() + timeout, waited: timeout }
    }
}

/// Connects, and waits at most `left` for a place when the listener's queue is full: the standard library would wait
/// for ever. The time to send bounds that wait too; a queue that stays full is `WouldBlock`.
fn connect_within(path: &Path, left: Duration) -> io::Result<UnixStream> {
    let left_us = i64::try_from(left.as_micros()).unwrap_or(i64::MAX).max(1);
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, SendTimeout, &TimeVal::microseconds(left_us))?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(socket))
}

fn repeatable(request: &Request) -> bool {
    !matches!(request, Request::Order(_))
}

fn takes_long(request: &Request) -> bool {
    // An RSA endorsement key takes a chip up to eight seconds when it is asked for first.
    let makes_keys = matches!(request, Request::Evidence { .. } | Request::ActivateCredential(_));
    makes_keys || matches!(request, Request::Order(_) | Request::RaiseLevel)
}

/// A full batch takes about a second on the smallest board, most of it BLS; a duty has 4 s until it is due.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many times longer a new generation may take: a minute for a thousand shares and a chip that needs half a second
/// for each of its commands.
const LONG: u32 = 12;

#[cfg(test)]
mod tests;
