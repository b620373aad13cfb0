//! The command's side of a pairing: one connection from the first message to the order that makes the box ours.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{
    CredentialAnswer, CredentialRequest, EvidenceAnswer, EvidenceRequest, PairingFinish, PairingFinished, PairingOwn,
    PairingStart, PairingStarted,
};
use rand_core::OsRng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::connection::{Connection, Sent};
use super::{Call, ClientError, Target, Timeouts};
use crate::code::PairingCode;
use crate::pake::OperatorExchange;
use crate::tls::pairing_client_config;
use crate::words::four_words;

/// A connection to a box that is not known yet.
pub struct PairingClient {
    target: Target,
    timeouts: Timeouts,
    connection: Connection,
}

/// The code was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paired {
    /// What the box says of itself. Its evidence confirms it.
    pub said: PairingFinished,
    /// What the box's screen shows as well.
    pub words: String,
}

impl PairingClient {
    /// Connects. Who is at the other end is not known before [`Self::pair`] has succeeded.
    ///
    /// # Errors
    /// When nobody is reached.
    pub async fn connect(target: Target, timeouts: Timeouts) -> Result<Self, ClientError> {
        let connection = Connection::open(&target, &pairing_client_config()?, &timeouts).await?;
        Ok(Self { target, timeouts, connection })
    }

    /// Tries the code. From then on the other end is the box that has shown it, or whose medium it came with.
    ///
    /// # Errors
    /// When the code is wrong, someone is in between, or the box refuses.
    pub async fn pair(&mut self, code: &PairingCode) -> Result<Paired, ClientError> {
        let (exchange, ke1) = OperatorExchange::start(code, &mut OsRng);
        let start = PairingStart { message: STANDARD.encode(ke1) };
        let started: PairingStarted = self.post("/v1/pairing/start", &start).await?;
        let ke2 = STANDARD.decode(&started.message).map_err(|err| ClientError::Answer { what: err.to_string() })?;
        let binding = *self.connection.binding();
        // Half a second of Argon2 in a program that may have other boxes to talk to.
        let finished = tokio::task::spawn_blocking(move || exchange.finish(&ke2, &binding, &mut OsRng)).await;
        let finished = finished.map_err(|err| ClientError::Request { err: err.into() })?;
        let (key, ke3) = finished.map_err(|source| ClientError::Pairing { source, tries_left: started.tries_left })?;
        let said = self.post("/v1/pairing/finish", &PairingFinish { message: STANDARD.encode(ke3) }).await?;
        Ok(Paired { said, words: four_words(&key) })
    }

    /// Asks for the box's evidence, after [`Self::pair`].
    ///
    /// # Errors
    /// When the box does not give it.
    pub async fn evidence(&mut self, request: &EvidenceRequest) -> Result<EvidenceAnswer, ClientError> {
        self.post("/v1/pairing/evidence", request).await
    }

    /// Has the box's TPM prove that it has both keys, after [`Self::pair`].
    ///
    /// # Errors
    /// When it does not.
    pub async fn credential(&mut self, request: &CredentialRequest) -> Result<CredentialAnswer, ClientError> {
        self.post("/v1/pairing/credential", request).await
    }

    /// Makes the box ours.
    ///
    /// # Errors
    /// When the vault refuses the order.
    pub async fn own(mut self, own: &PairingOwn) -> Result<(), ClientError> {
        let _: serde::de::IgnoredAny = self.post("/v1/pairing/own", own).await?;
        Ok(())
    }

    /// On this connection or not at all: the pairing is bound to it.
    async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ClientError> {
        let call = Call::post(path).json(body)?;
        self.connection.send(&call, &self.timeouts).await.map_err(Sent::into_error)?.or_problem()?.json()
    }
}

impl fmt::Debug for PairingClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairingClient({})", self.target)
    }
}
