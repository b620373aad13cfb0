//! What goes wrong, as RFC 9457 writes it. The ids never change once released; the words are the same in the API, the
//! command and on the screen.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem: `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URL under the documentation; its last part is the stable id.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id's meaning in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and what to do.
    pub detail: String,
    /// The request's id, which is also in the log.
    pub instance: String,
}

/// Every kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemId {
    /// The request cannot be read.
    BadRequest,
    /// The beacon node is on another network, or not usable.
    BeaconMismatch,
    /// The body is too large.
    BodyTooLarge,
    /// The box is busy.
    Busy,
    /// The certificate was revoked.
    CertificateRevoked,
    /// The configuration cannot be right.
    ConfigurationInvalid,
    /// The configuration would lock its operator out.
    ConfigurationLocksOut,
    /// The configuration was changed meanwhile.
    ConfigurationStale,
    /// The box is not in a state for this.
    Conflict,
    /// The idempotency key was used for another request.
    IdempotencyConflict,
    /// The node identity matches no operator of the lock.
    IdentityMismatch,
    /// The box made a mistake.
    Internal,
    /// The cluster lock does not verify.
    LockInvalid,
    /// The resource has no such method.
    MethodNotAllowed,
    /// There is no such resource.
    NotFound,
    /// Nobody owns the box yet.
    NotOwned,
    /// The vault refused the order.
    OrderRefused,
    /// The box has an owner already.
    Owned,
    /// The pairing code has expired.
    PairingExpired,
    /// The pairing code is wrong.
    PairingFailed,
    /// The request needs If-Match.
    PreconditionRequired,
    /// The role of the certificate does not allow this.
    RoleForbids,
    /// Too many requests.
    TooManyRequests,
    /// A client certificate of the authority is needed.
    Unauthenticated,
    /// The body is of another type.
    UnsupportedMediaType,
    /// The vault does not answer.
    VaultUnavailable,
}

impl Problem {
    /// A problem of this kind.
    #[must_use]
    pub fn new(id: ProblemId, detail: impl Into<String>, instance: impl Into<String>) -> Self {
        Self {
            kind: format!("{DOCS_URL}{id}"),
            title: id.title().to_owned(),
            status: id.status(),
            detail: detail.into(),
            instance: instance.into(),
        }
    }

    /// Its kind; `None` when a newer box names one that this version does not know.
    #[must_use]
    pub fn id(&self) -> Option<ProblemId> {
        let name = self.kind.rsplit('/').next()?;
        ProblemId::ALL.into_iter().find(|id| id.name() == name)
    }
}

impl ProblemId {
    /// Every kind.
    pub const ALL: [Self; 26] = [
        Self::BadRequest,
        Self::BeaconMismatch,
        Self::BodyTooLarge,
        Self::Busy,
        Self::CertificateRevoked,
        Self::ConfigurationInvalid,
        Self::ConfigurationLocksOut,
        Self::ConfigurationStale,
        Self::Conflict,
        Self::IdempotencyConflict,
        Self::IdentityMismatch,
        Self::Internal,
        Self::LockInvalid,
        Self::MethodNotAllowed,
        Self::NotFound,
        Self::NotOwned,
        Self::OrderRefused,
        Self::Owned,
        Self::PairingExpired,
        Self::PairingFailed,
        Self::PreconditionRequired,
        Self::RoleForbids,
        Self::TooManyRequests,
        Self::Unauthenticated,
        Self::UnsupportedMediaType,
        Self::VaultUnavailable,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::BeaconMismatch => "beacon-mismatch",
            Self::BodyTooLarge => "body-too-large",
            Self::Busy => "busy",
            Self::CertificateRevoked => "certificate-revoked",
            Self::ConfigurationInvalid => "configuration-invalid",
            Self::ConfigurationLocksOut => "configuration-locks-out",
            Self::ConfigurationStale => "configuration-stale",
            Self::Conflict => "conflict",
            Self::IdempotencyConflict => "idempotency-conflict",
            Self::IdentityMismatch => "identity-mismatch",
            Self::Internal => "internal",
            Self::LockInvalid => "lock-invalid",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::NotFound => "not-found",
            Self::NotOwned => "not-owned",
            Self::OrderRefused => "order-refused",
            Self::Owned => "owned",
            Self::PairingExpired => "pairing-expired",
            Self::PairingFailed => "pairing-failed",
            Self::PreconditionRequired => "precondition-required",
            Self::RoleForbids => "role-forbids",
            Self::TooManyRequests => "too-many-requests",
            Self::Unauthenticated => "unauthenticated",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::VaultUnavailable => "vault-unavailable",
        }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::BeaconMismatch => 422,
            Self::BodyTooLarge => 413,
            Self::Busy => 503,
            Self::CertificateRevoked => 403,
            Self::ConfigurationInvalid => 422,
            Self::ConfigurationLocksOut => 422,
            Self::ConfigurationStale => 412,
            Self::Conflict => 409,
            Self::IdempotencyConflict => 409,
            Self::IdentityMismatch => 422,
            Self::Internal => 500,
            Self::LockInvalid => 422,
            Self::MethodNotAllowed => 405,
            Self::NotFound => 404,
            Self::NotOwned => 403,
            Self::OrderRefused => 422,
            Self::Owned => 403,
            Self::PairingExpired => 410,
            Self::PairingFailed => 403,
            Self::PreconditionRequired => 428,
            Self::RoleForbids => 403,
            Self::TooManyRequests => 429,
            Self::Unauthenticated => 401,
            Self::UnsupportedMediaType => 415,
            Self::VaultUnavailable => 503,
        }
    }

    /// Its meaning in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "the request cannot be read",
            Self::BeaconMismatch => "the beacon node is on another network, or not usable",
            Self::BodyTooLarge => "the body is too large",
            Self::Busy => "the box is busy",
            Self::CertificateRevoked => "the certificate was revoked",
            Self::ConfigurationInvalid => "the configuration cannot be right",
            Self::ConfigurationLocksOut => "the configuration would lock its operator out",
            Self::ConfigurationStale => "the configuration was changed meanwhile",
            Self::Conflict => "the box is not in a state for this",
            Self::IdempotencyConflict => "the idempotency key was used for another request",
            Self::IdentityMismatch => "the node identity matches no operator of the lock",
            Self::Internal => "the box made a mistake",
            Self::LockInvalid => "the cluster lock does not verify",
            Self::MethodNotAllowed => "the resource has no such method",
            Self::NotFound => "there is no such resource",
            Self::NotOwned => "nobody owns the box yet",
            Self::OrderRefused => "the vault refused the order",
            Self::Owned => "the box has an owner already",
            Self::PairingExpired => "the pairing code has expired",
            Self::PairingFailed => "the pairing code is wrong",
            Self::PreconditionRequired => "the request needs If-Match",
            Self::RoleForbids => "the role of the certificate does not allow this",
            Self::TooManyRequests => "too many requests",
            Self::Unauthenticated => "a client certificate of the authority is needed",
            Self::UnsupportedMediaType => "the body is of another type",
            Self::VaultUnavailable => "the vault does not answer",
        }
    }
}

impl fmt::Display for ProblemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where each kind of problem is explained.
pub const DOCS_URL: &str = "https://holdfast.example/docs/problems/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_known_by_the_last_part_of_its_type() {
        for id in ProblemId::ALL {
            let problem = Problem::new(id, "because", "7");
            let read: Problem = serde_json::from_str(&serde_json::to_string(&problem).unwrap()).unwrap();
            assert_eq!((read.id(), read.status), (Some(id), id.status()));
        }
        assert_eq!(Problem { kind: "about:blank".into(), ..Problem::new(ProblemId::Busy, "", "") }.id(), None);
    }
}
