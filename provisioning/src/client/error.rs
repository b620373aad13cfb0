//! Why there is no answer, in the words of the command.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use holdfast_api::Problem;
use rustls::{AlertDescription, CertificateError as TlsRefusal};

use super::Target;
use crate::pake::PakeError;
use crate::tls::TlsError;

/// Why a box did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The answer is not what the API says.
    #[error("the box's answer is not one of this API: {what}. Are command and box of the same version?")]
    Answer {
        /// What is wrong with it.
        what: String,
    },
    /// More than anything that a box has to say.
    #[error("the box's answer is larger than {len_max} bytes")]
    AnswerTooLarge {
        /// The bound.
        len_max: usize,
    },
    /// The box does not want our certificate.
    #[error("{target} refuses your certificate: {reason}")]
    CertificateRefused {
        /// Which box.
        target: Target,
        /// Why.
        reason: &'static str,
    },
    /// The connection broke.
    #[error("the connection to {target} broke: try again")]
    Interrupted {
        /// Which box.
        target: Target,
        /// How.
        #[source]
        err: hyper::Error,
    },
    /// Nothing is there.
    #[error("{target} is not reached: is it on, and in this network?")]
    NotReachable {
        /// Which box.
        target: Target,
        /// Why.
        #[source]
        err: io::Error,
    },
    /// The exchange with the code failed.
    #[error("the box was not paired; {tries_left} tries are left")]
    Pairing {
        /// How.
        source: PakeError,
        /// How many tries this code has left.
        tries_left: u8,
    },
    /// The box says why.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The request has no form.
    #[error("cannot write the request")]
    Request {
        /// Why.
        #[source]
        err: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It takes too long.
    #[error("{target} did not answer for {} s", after.as_secs())]
    TimedOut {
        /// Which box.
        target: Target,
        /// How long.
        after: Duration,
    },
    /// TLS.
    #[error("cannot set up TLS")]
    Tls(#[from] TlsError),
    /// Another box, or none of ours.
    #[error("{target} is not the box that it should be: {reason}")]
    WrongBox {
        /// Who was asked.
        target: Target,
        /// What was seen.
        reason: &'static str,
    },
}

impl ClientError {
    /// The problem that the box named, if it did.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// What a failed handshake, or the failed first request after it, means.
    pub(super) fn of_io(target: &Target, err: io::Error) -> Self {
        let target = target.clone();
        match err.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(refusal)) => Self::WrongBox { target, reason: wrong_box(refusal) },
            Some(rustls::Error::AlertReceived(alert)) => match refused(*alert) {
                Some(reason) => Self::CertificateRefused { target, reason },
                None => Self::NotReachable { target, err },
            },
            _ => Self::NotReachable { target, err },
        }
    }

    /// What a failed request means. In TLS 1.3 the box judges our certificate after the handshake is over for us.
    pub(super) fn of_hyper(target: &Target, err: hyper::Error) -> Self {
        let io = err.source().and_then(|source| source.downcast_ref::<io::Error>());
        let tls = io.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let target = target.clone();
        match tls {
            Some(rustls::Error::AlertReceived(alert)) if let Some(reason) = refused(*alert) => {
                Self::CertificateRefused { target, reason }
            }
            _ => Self::Interrupted { target, err },
        }
    }
}

fn wrong_box(refusal: &TlsRefusal) -> &'static str {
    match refusal {
        TlsRefusal::Expired | TlsRefusal::ExpiredContext { .. } => "its certificate by your authority has expired",
        TlsRefusal::NotValidForName | TlsRefusal::NotValidForNameContext { .. } => {
            "it is another box of your authority, or has another key than at the pairing"
        }
        _ => "your authority does not know it. If the box was reset, pair it again",
    }
}

fn refused(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateExpired => Some("it has expired, or does not count yet by the box's clock"),
        AlertDescription::CertificateRevoked => Some("it was revoked"),
        AlertDescription::UnknownCA => Some("it is not by the box's authority"),
        AlertDescription::AccessDenied
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => Some("it is of the wrong kind"),
        _ => None,
    }
}
