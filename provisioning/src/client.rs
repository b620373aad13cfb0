//! The client of the management API: typed, bounded, with one connection that it makes anew when it has to.

mod connection;
mod error;
mod events;
mod pairing;
mod sse;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::{Method, header};
use rand_core::{OsRng, RngCore};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

pub use connection::Answer;
use connection::{Connection, Sent};
pub use error::ClientError;
pub use events::EventStream;
pub use pairing::{Paired, PairingClient};
pub use target::{API_PORT, BadTarget, Target};

/// A client of one box. Its requests go one after the other.
pub struct Client {
    target: Target,
    tls: Arc<ClientConfig>,
    timeouts: Timeouts,
    connection: Mutex<Option<Connection>>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the connection and its handshake.
    pub connect: Duration,
    /// For the beginning of an answer. An order may take the vault and its TPM a while.
    pub answer: Duration,
    /// For the next part of an answer, and of events: the box says at least that it is there.
    pub idle: Duration,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    body: Option<(&'static str, Bytes)>,
    headers: Vec<(&'static str, String)>,
}

impl Client {
    /// A client that has not connected yet.
    #[must_use]
    pub fn new(target: Target, tls: Arc<ClientConfig>) -> Self {
        Self { target, tls, timeouts: Timeouts::default(), connection: Mutex::new(None) }
    }

    /// With other timeouts.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The box's address.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Reads.
    ///
    /// # Errors
    /// When the box is not reached, refuses, or answers with something else.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Call::get(path)).await?.json()
    }

    /// Asks for something to be done. The box does it once, also when the request has to be sent again.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ClientError> {
        self.call(Call::post(path).json(body)?).await?.json()
    }

    /// As [`Self::post`], where the path says it all.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post_nothing<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Call::post(path)).await?.json()
    }

    /// Replaces.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<T, ClientError> {
        self.call(Call::put(path).json(body)?).await?.json()
    }

    /// Any request; what is no success is an error.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn call(&self, call: Call) -> Result<Answer, ClientError> {
        let mut slot = self.connection.lock().await;
        // Taken out, so that a call which is given up half-way takes its connection along.
        let (kept, mut connection) = match slot.take().filter(Connection::is_open) {
            Some(connection) => (true, connection),
            None => (false, self.connect().await?),
        };
        let mut sent = connection.send(&call, &self.timeouts).await;
        // A connection that was idle may have been closed by the box without our noticing.
        if kept && matches!(&sent, Err(failed) if failed.may_repeat(&call)) {
            connection = self.connect().await?;
            sent = connection.send(&call, &self.timeouts).await;
        }
        let answer = sent.map_err(Sent::into_error)?;
        *slot = Some(connection);
        drop(slot);
        answer.or_problem()
    }

    /// What happens, from after this event on, or from now on. On a connection of its own.
    ///
    /// # Errors
    /// When the box is not reached or refuses.
    pub async fn events(&self, after: Option<u64>) -> Result<EventStream, ClientError> {
        EventStream::open(self.target.clone(), Arc::clone(&self.tls), self.timeouts, after).await
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        Connection::open(&self.target, &self.tls, &self.timeouts).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.target)
    }
}

impl Call {
    /// A request that reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, headers: Vec::new() }
    }

    /// A request that does something once, named by a random key.
    pub fn post(path: impl Into<String>) -> Self {
        let mut key = [0; 16];
        OsRng.fill_bytes(&mut key);
        Self { method: Method::POST, ..Self::get(path) }.header(IDEMPOTENCY_KEY, hex::encode(key))
    }

    /// A request that replaces.
    pub fn put(path: impl Into<String>) -> Self {
        Self { method: Method::PUT, ..Self::get(path) }
    }

    /// With this as its body.
    ///
    /// # Errors
    /// When it has no form in JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self, ClientError> {
        let bytes = serde_json::to_vec(body).map_err(|err| ClientError::Request { err: err.into() })?;
        Ok(self.body(bytes))
    }

    /// With these bytes of JSON as its body.
    #[must_use]
    pub fn body(mut self, json: Vec<u8>) -> Self {
        self.body = Some(("application/json", json.into()));
        self
    }

    /// Only if what it replaces is still this.
    #[must_use]
    pub fn if_match(self, etag: impl Into<String>) -> Self {
        self.header(header::IF_MATCH.as_str(), etag.into())
    }

    /// With another idempotency key than a random one, so that a later run of a program repeats this request.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.headers.retain(|(name, _)| *name != IDEMPOTENCY_KEY);
        self.header(IDEMPOTENCY_KEY, key.into())
    }

    fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Whether the box does the same when it gets it twice.
    fn repeats(&self) -> bool {
        self.method == Method::GET || self.headers.iter().any(|(name, _)| *name == IDEMPOTENCY_KEY)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(10), answer: seconds(120), idle: seconds(60) }
    }
}

/// The most that is taken of an answer: a support bundle is the largest.
pub const ANSWER_LEN_MAX: usize = 32 * 1024 * 1024;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
