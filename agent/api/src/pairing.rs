//! The first contact: who knows the code becomes the owner.
//!
//! All of it happens on one TLS connection, to whose keys the exchange is bound. `start` and `finish` carry the
//! messages of the password-authenticated key exchange; the other two answer only after it, on that connection.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `POST /v1/pairing/start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairingStart {
    /// The first message, in base64 (OPAQUE, RFC 9807: KE1).
    pub message: String,
}

/// Answers `POST /v1/pairing/start`. By then the try is counted on the box's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairingStarted {
    /// The second message, in base64 (KE2).
    pub message: String,
    /// How many tries are left after this one.
    pub tries_left: u8,
}

/// The body of `POST /v1/pairing/finish`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairingFinish {
    /// The third message, in base64 (KE3).
    pub message: String,
}

/// Answers `POST /v1/pairing/finish`: the code was right, and is used up. The screen shows the four words now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PairingFinished {
    /// The box's whole name, `0x` hex.
    pub box_name: String,
    /// The public key of the box key, compressed, `0x` hex; the evidence of kind `boot` confirms it.
    pub box_key: String,
    /// The one-time number for the order `Own`, `0x` hex.
    pub challenge: String,
}

/// The body of `POST /v1/pairing/own`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PairingOwn {
    /// The signed order `Own`, in base64.
    pub order: String,
    /// The authority's certificate, DER in base64.
    pub authority_certificate: String,
    /// The certificate of the box key by the authority, DER in base64.
    pub box_certificate: String,
}
