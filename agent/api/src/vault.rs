//! The vault, as far as the daemon carries for it: evidence, orders, their log, the slashing history.
//!
//! What the vault and the operator say to each other travels as it was signed, in base64: the daemon can neither make
//! nor change it.

use holdfast_types::Epoch;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Timestamp, VaultClosed};

/// Answers `GET /v1/vault`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultState {
    /// The vault's version.
    pub version: String,
    /// The box's whole name, `0x` hex; orders name it.
    pub box_name: String,
    /// The authority's public key, compressed, `0x` hex; absent while nobody owns the box.
    pub authority: Option<String>,
    /// The lock that its shares belong to, `0x` hex.
    pub lock_hash: Option<String>,
    /// The index of its shares, from 1.
    pub share_index: Option<u8>,
    /// How many shares it holds.
    pub shares: usize,
    /// What the seal means on this machine: `A`, `B` or `C`.
    pub tier: String,
    /// Why it is no better tier.
    pub tier_reason: String,
    /// How keys are kept out of reach: `memfd_secret` or `mlock`.
    pub memory: String,
    /// The generation of what is sealed.
    pub generation: Option<u64>,
    /// The level it is sealed to.
    pub level: Option<u64>,
    /// Until when it may sign.
    pub lease: Option<VaultLease>,
    /// How many orders and refusals were logged.
    pub orders_logged: u64,
    /// The head of their hash chain, `0x` hex.
    pub orders_head: String,
    /// Why it signs nothing at present, if so.
    pub closed: Option<VaultClosed>,
}

/// Until when the vault may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultLease {
    /// The value of the TPM's counter.
    pub counter: u64,
    /// The first epoch that may be signed.
    #[schema(value_type = u64)]
    pub first_epoch: Epoch,
    /// The last epoch that may be signed.
    #[schema(value_type = u64)]
    pub last_epoch: Epoch,
}

/// What evidence is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// The boot state and the box's keys.
    Boot,
    /// The shares that the vault holds.
    Custody,
    /// A one-time key for an import.
    ImportKey,
}

/// The body of `POST /v1/vault/evidence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceRequest {
    /// About what.
    pub kind: EvidenceKind,
    /// 32 fresh bytes of the asker's, `0x` hex.
    #[schema(pattern = "^0x[0-9a-fA-F]{64}$")]
    pub nonce: String,
}

/// Answers `POST /v1/vault/evidence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceAnswer {
    /// The evidence as the vault wrote it, in base64; the operator's command verifies it.
    pub evidence: String,
}

/// The body of `POST /v1/vault/credential`: a challenge that only the TPM with both the endorsement key and the
/// attestation key can answer (TPM 2.0 Library Part 1, section 24).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialRequest {
    /// The challenge as `holdfast` made it, in base64.
    pub credential: String,
}

/// Answers `POST /v1/vault/credential`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialAnswer {
    /// What was inside, `0x` hex.
    pub secret: String,
}

/// Answers `POST /v1/vault/challenges`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChallengeAnswer {
    /// The box's whole name, `0x` hex.
    pub box_name: String,
    /// The one-time number for an order, `0x` hex; it counts for ten minutes.
    pub challenge: String,
}

/// The body of `POST /v1/vault/orders`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OrderRequest {
    /// The signed order, in base64.
    pub order: String,
}

/// Answers `POST /v1/vault/orders`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderAnswer {
    /// The partial signature that an exit or a registration gave, `0x` hex.
    pub signature: Option<String>,
}

/// The body of `POST /v1/vault/authority`: an order for the vault, and what the API needs to follow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorityChange {
    /// The order `ChangeAuthority`, signed by the present authority, in base64.
    pub order: String,
    /// The next authority's certificate, DER in base64.
    pub authority_certificate: String,
    /// The certificate of the box key by the next authority, DER in base64.
    pub box_certificate: String,
}

/// The body of `POST /v1/vault/firmware-approvals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRequest {
    /// The authority's approval of a boot state, in base64.
    pub approval: String,
}

/// The query of `GET /v1/vault/orders`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrderLogQuery {
    /// Those after this number.
    #[serde(default)]
    pub after: u64,
}

/// Answers `GET /v1/vault/orders`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderLog {
    /// Orders and refusals, oldest first.
    pub orders: Vec<LoggedOrder>,
}

/// One entry of the vault's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoggedOrder {
    /// Its number, from 1 on.
    pub number: u64,
    /// When, by the vault's clock.
    pub at: Timestamp,
    /// The kind of the order, or of the request that was refused.
    pub kind: String,
    /// SHA-256 of the order as it came, `0x` hex; zero for other requests.
    pub order: String,
    /// Why it was refused, if it was.
    pub refused: Option<String>,
    /// SHA-256 over the hash before and this entry, `0x` hex.
    pub hash: String,
}
