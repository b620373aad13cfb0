//! What each path takes and answers, for the document. The functions are only described, never called.

#![expect(dead_code, reason = "utoipa describes functions, and these have no other use")]

use crate::{
    Action, AfterQuery, ApprovalRequest, AuditList, AuthorityChange, BeaconTest, BeaconTested, ChallengeAnswer,
    Cluster, Configuration, ConfigurationChange, ConfigurationHistory, CredentialAnswer, CredentialRequest,
    DryRunQuery, DutyList, DutyQuery, EvidenceAnswer, EvidenceRequest, Identity, LockAccepted, LogList, Operation,
    OperationList, OrderAnswer, OrderLog, OrderLogQuery, OrderRequest, PageQuery, PairingFinish, PairingFinished,
    PairingOwn, PairingStart, PairingStarted, PeerList, RevocationList, RevocationRequest, Status, ValidatorList,
    VaultState, Version,
};

/// The version of the agent.
#[utoipa::path(
    get, path = "/v1/version",
    responses((status = 200, description = "done", body = Version))
)]
const fn version() {}

/// This document.
#[utoipa::path(
    get, path = "/v1/openapi.json",
    responses((status = 200, description = "done", body = serde_json::Value))
)]
const fn openapi() {}

/// What the box is doing.
#[utoipa::path(
    get, path = "/v1/status",
    responses((status = 200, description = "done", body = Status))
)]
const fn status() {}

/// The operators of the cluster.
#[utoipa::path(
    get, path = "/v1/peers",
    responses((status = 200, description = "done", body = PeerList))
)]
const fn peers() {}

/// What became of duties.
#[utoipa::path(
    get, path = "/v1/duties",
    params(DutyQuery),
    responses((status = 200, description = "done", body = DutyList))
)]
const fn duties() {}

/// The validators of the cluster.
#[utoipa::path(
    get, path = "/v1/validators",
    params(PageQuery),
    responses((status = 200, description = "done", body = ValidatorList))
)]
const fn validators() {}

/// The cluster, and who this box is in it.
#[utoipa::path(
    get, path = "/v1/cluster",
    responses((status = 200, description = "done", body = Cluster))
)]
const fn cluster() {}

/// The lock file as it was imported.
#[utoipa::path(
    get, path = "/v1/cluster/lock",
    responses((status = 200, description = "done", body = serde_json::Value))
)]
const fn cluster_lock() {}

/// Keeps a cluster lock that verifies and names this box.
#[utoipa::path(
    put, path = "/v1/cluster/lock",
    params(DryRunQuery),
    request_body = serde_json::Value,
    responses((status = 200, description = "done", body = LockAccepted))
)]
const fn put_cluster_lock() {}

/// The node identity.
#[utoipa::path(
    get, path = "/v1/identity",
    responses((status = 200, description = "done", body = Identity))
)]
const fn identity() {}

/// The configuration, with its ETag; beacon URLs may carry tokens.
#[utoipa::path(
    get, path = "/v1/configuration",
    responses((status = 200, description = "done", body = Configuration))
)]
const fn configuration() {}

/// Replaces the configuration that If-Match names.
#[utoipa::path(
    put, path = "/v1/configuration",
    params(DryRunQuery, ("If-Match" = String, Header, description = "the ETag of the configuration that is replaced")),
    request_body = Configuration,
    responses((status = 200, description = "done", body = ConfigurationChange))
)]
const fn put_configuration() {}

/// Confirms a change that would be taken back otherwise.
#[utoipa::path(
    post, path = "/v1/configuration/confirmation",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    responses((status = 200, description = "done", body = ConfigurationChange))
)]
const fn confirm_configuration() {}

/// The JSON schema of the configuration.
#[utoipa::path(
    get, path = "/v1/configuration/schema",
    responses((status = 200, description = "done", body = serde_json::Value))
)]
const fn configuration_schema() {}

/// What was applied before.
#[utoipa::path(
    get, path = "/v1/configuration/history",
    responses((status = 200, description = "done", body = ConfigurationHistory))
)]
const fn configuration_history() {}

/// Tries a beacon node against the lock: network, genesis, lag.
#[utoipa::path(
    post, path = "/v1/beacon-nodes/tests",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    request_body = BeaconTest,
    responses((status = 200, description = "done", body = BeaconTested))
)]
const fn test_beacon_node() {}

/// What the vault is and holds.
#[utoipa::path(
    get, path = "/v1/vault",
    responses((status = 200, description = "done", body = VaultState))
)]
const fn vault() {}

/// What the TPM signs about this box.
#[utoipa::path(
    post, path = "/v1/vault/evidence",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    request_body = EvidenceRequest,
    responses((status = 200, description = "done", body = EvidenceAnswer))
)]
const fn vault_evidence() {}

/// Answers a challenge to the TPM.
#[utoipa::path(
    post, path = "/v1/vault/credential",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    request_body = CredentialRequest,
    responses((status = 200, description = "done", body = CredentialAnswer))
)]
const fn vault_credential() {}

/// A one-time number for an order.
#[utoipa::path(
    post, path = "/v1/vault/challenges",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    responses((status = 200, description = "done", body = ChallengeAnswer))
)]
const fn vault_challenge() {}

/// The log of orders and refusals.
#[utoipa::path(
    get, path = "/v1/vault/orders",
    params(OrderLogQuery),
    responses((status = 200, description = "done", body = OrderLog))
)]
const fn vault_orders() {}

/// Carries a signed order to the vault.
#[utoipa::path(
    post, path = "/v1/vault/orders",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    request_body = OrderRequest,
    responses((status = 200, description = "done", body = OrderAnswer))
)]
const fn vault_order() {}

/// The slashing history in the minimal form of EIP-3076.
#[utoipa::path(
    get, path = "/v1/vault/history",
    responses((status = 200, description = "done", body = serde_json::Value))
)]
const fn vault_history() {}

/// Keeps an approval of a boot state for the next boot.
#[utoipa::path(
    post, path = "/v1/vault/firmware-approvals",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    request_body = ApprovalRequest,
    responses((status = 204, description = "done"))
)]
const fn vault_approval() {}

/// Hands the box to another authority: from the answer on only certificates of that one count.
#[utoipa::path(
    post, path = "/v1/vault/authority",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    request_body = AuthorityChange,
    responses((status = 204, description = "done"))
)]
const fn vault_authority() {}

/// Seals anew, to the level of the image that runs.
#[utoipa::path(
    post, path = "/v1/vault/level",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    responses((status = 204, description = "done"))
)]
const fn vault_level() {}

/// Begins an operation.
#[utoipa::path(
    post, path = "/v1/actions/{action}",
    params(("action" = Action, Path, description = "what to do"), ("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    responses((status = 202, description = "begun", body = Operation))
)]
const fn act() {}

/// What the box was asked to do.
#[utoipa::path(
    get, path = "/v1/operations",
    responses((status = 200, description = "done", body = OperationList))
)]
const fn operations() {}

/// One operation.
#[utoipa::path(
    get, path = "/v1/operations/{id}",
    params(("id" = String, Path, description = "the operation's id")),
    responses((status = 200, description = "done", body = Operation))
)]
const fn operation() {}

/// What happens, as server-sent events.
#[utoipa::path(
    get, path = "/v1/events",
    params(("Last-Event-ID" = Option<u64>, Header, description = "go on after this event")),
    responses((status = 200, description = "a stream of events", body = crate::EventMessage, content_type = "text/event-stream"))
)]
const fn events() {}

/// The daemon's log.
#[utoipa::path(
    get, path = "/v1/logs",
    params(AfterQuery),
    responses((status = 200, description = "done", body = LogList))
)]
const fn logs() {}

/// Who asked for what.
#[utoipa::path(
    get, path = "/v1/audit",
    params(AfterQuery),
    responses((status = 200, description = "done", body = AuditList))
)]
const fn audit() {}

/// What helps to find a fault, without secrets.
#[utoipa::path(
    get, path = "/v1/support-bundle",
    responses((status = 200, description = "done", body = serde_json::Value))
)]
const fn support_bundle() {}

/// Certificates that count no more.
#[utoipa::path(
    get, path = "/v1/certificates/revocations",
    responses((status = 200, description = "done", body = RevocationList))
)]
const fn revocations() {}

/// Revokes a certificate, but not the one in use.
#[utoipa::path(
    post, path = "/v1/certificates/revocations",
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key gives the same answer for a day, at most 64 visible characters")),
    request_body = RevocationRequest,
    responses((status = 200, description = "done", body = RevocationList))
)]
const fn revoke() {}

/// The first step of pairing.
#[utoipa::path(
    post, path = "/v1/pairing/start",
    request_body = PairingStart,
    responses((status = 200, description = "done", body = PairingStarted)),
    security(())
)]
const fn pairing_start() {}

/// The second step of pairing, on the same connection.
#[utoipa::path(
    post, path = "/v1/pairing/finish",
    request_body = PairingFinish,
    responses((status = 200, description = "done", body = PairingFinished)),
    security(())
)]
const fn pairing_finish() {}

/// Evidence for the one who knew the code, on the same connection.
#[utoipa::path(
    post, path = "/v1/pairing/evidence",
    request_body = EvidenceRequest,
    responses((status = 200, description = "done", body = EvidenceAnswer)),
    security(())
)]
const fn pairing_evidence() {}

/// Answers a challenge to the TPM, on the same connection.
#[utoipa::path(
    post, path = "/v1/pairing/credential",
    request_body = CredentialRequest,
    responses((status = 200, description = "done", body = CredentialAnswer)),
    security(())
)]
const fn pairing_credential() {}

/// Makes the one who knew the code the owner, on the same connection.
#[utoipa::path(
    post, path = "/v1/pairing/own",
    request_body = PairingOwn,
    responses((status = 204, description = "done")),
    security(())
)]
const fn pairing_own() {}
