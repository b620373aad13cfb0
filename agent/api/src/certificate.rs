//! Certificates of clients, and those that count no more.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// Answers `GET /v1/certificates/revocations` and `POST` there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevocationList {
    /// What was revoked, oldest first.
    pub revocations: Vec<Revocation>,
}

/// A certificate that counts no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The serial number, `0x` hex.
    pub serial: String,
    /// When it was revoked.
    pub at: Timestamp,
    /// By whom: the subject of the certificate.
    pub by: String,
}

/// The body of `POST /v1/certificates/revocations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevocationRequest {
    /// The serial number in hex, `0x` before it or not, at most 20 bytes.
    #[schema(pattern = "^(0x)?([0-9a-fA-F]{2}){1,20}$")]
    pub serial: String,
}
