//! How a request reaches a vault, and what an operator learns when it does not do what was asked.

use std::convert::Infallible;
use std::error::Error;

use holdfast_types::{BoxName, Challenge};
use holdfast_vault_client::{Client, ClientError, Evidence, EvidenceKind, Rejection, Request, Response, VaultStatus};

/// A vault that can be asked.
pub trait Ask {
    /// Why there is no answer at all.
    type Error: Error + Send + Sync + 'static;

    /// Asks once and waits for the answer, [`Response::Rejected`] included.
    ///
    /// # Errors
    /// When the vault cannot be reached or understood.
    fn ask(&mut self, request: Request) -> Result<Response, Self::Error>;
}

impl Ask for Client {
    type Error = ClientError;

    fn ask(&mut self, request: Request) -> Result<Response, ClientError> {
        self.call(&request)
    }
}

/// A vault in the same process, as what answers its requests.
#[derive(Debug)]
pub struct InProcess<F>(pub F);

impl<F: FnMut(Request) -> Response> Ask for InProcess<F> {
    type Error = Infallible;

    fn ask(&mut self, request: Request) -> Result<Response, Infallible> {
        Ok((self.0)(request))
    }
}

/// Why the operator did not get what he asked for.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The vault refused.
    #[error("the vault refused")]
    Refused(#[source] Rejection),
    /// The vault gave no answer.
    #[error("the vault cannot be asked")]
    NoAnswer(#[source] Box<dyn Error + Send + Sync>),
    /// The answer is one to another question, or lacks what must be in it.
    #[error("the vault's answer to {asked} lacks {missing}")]
    Unfit {
        /// The question.
        asked: &'static str,
        /// What should be in the answer.
        missing: &'static str,
    },
}

impl OperatorError {
    /// The vault's refusal, where it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Rejection> {
        match self {
            Self::Refused(rejection) => Some(rejection),
            Self::NoAnswer(_) | Self::Unfit { .. } => None,
        }
    }
}

pub(crate) fn ask(vault: &mut impl Ask, request: Request) -> Result<Response, OperatorError> {
    match vault.ask(request).map_err(|error| OperatorError::NoAnswer(Box::new(error)))? {
        Response::Rejected(rejection) => Err(OperatorError::Refused(rejection)),
        answer => Ok(answer),
    }
}

pub(crate) fn status(vault: &mut impl Ask) -> Result<VaultStatus, OperatorError> {
    match ask(vault, Request::Status)? {
        Response::Status(status) => Ok(*status),
        _ => Err(OperatorError::Unfit { asked: "a status", missing: "the status" }),
    }
}

pub(crate) fn box_name(vault: &mut impl Ask) -> Result<BoxName, OperatorError> {
    Ok(status(vault)?.box_name)
}

pub(crate) fn challenge(vault: &mut impl Ask) -> Result<Challenge, OperatorError> {
    match ask(vault, Request::Challenge)? {
        Response::Challenge(challenge) => Ok(challenge),
        _ => Err(OperatorError::Unfit { asked: "a challenge", missing: "the challenge" }),
    }
}

pub(crate) fn evidence(vault: &mut impl Ask, kind: EvidenceKind, nonce: [u8; 32]) -> Result<Evidence, OperatorError> {
    match ask(vault, Request::Evidence { kind, nonce })? {
        Response::Evidence(evidence) => Ok(*evidence),
        _ => Err(OperatorError::Unfit { asked: "evidence", missing: "the evidence" }),
    }
}
