//! Who is let in, and for what.

use holdfast_api::routes::ROUTES;
use holdfast_api::{AuditList, ProblemId, RevocationList, RevocationRequest, Role, Status, Version};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::ClientError;
use rand::rngs::OsRng;
use serde_json::Value;

use crate::kit::{Bench, identity_of, problem};

#[tokio::test]
async fn every_route_is_served_and_each_role_has_its_own() {
    let bench = Bench::owned().await;
    for role in Role::ALL {
        let mut raw = bench.raw(Some(&bench.identity(role))).await;
        for route in ROUTES.iter().filter(|route| route.path != "/v1/events") {
            let path = route.path.replace("{action}", "drain").replace("{id}", "0");
            let headers: &[&str] =
                if route.problems.contains(&415) { &["content-type: application/json"] } else { &[] };
            let body = if route.problems.contains(&415) { "[]" } else { "" };
            let line = format!("{} {path}", route.method);
            let answer = raw.ask(&line, headers, body).await;
            let is_allowed = route.role.is_none_or(|needs| needs <= role);
            if !is_allowed {
                assert_eq!(answer.problem(), ProblemId::RoleForbids, "{role}: {line}");
                continue;
            }
            let documented = route.problems.iter().chain(&[200, 202, 204, 400]).any(|status| *status == answer.status);
            assert!(documented, "{role}: {line}: {answer:?}");
            assert!(answer.status >= 400 || body.is_empty(), "{role}: {line} took an empty list");
            let is_served = answer.body["detail"] != "this box does not have this resource";
            assert!(is_served, "{line}");
        }
    }
}

#[tokio::test]
async fn without_a_certificate_there_is_nothing_but_the_reason() {
    let bench = Bench::owned().await;
    let mut raw = bench.raw(None).await;
    for line in ["GET /v1/version", "GET /v1/status", "PUT /v1/configuration", "POST /v1/actions/reboot"] {
        let answer = raw.ask(line, &[], "").await;
        assert_eq!((answer.status, answer.problem()), (401, ProblemId::Unauthenticated), "{line}");
    }
    assert!(bench.daemon.folder.audit(0, 10).unwrap().is_empty(), "a stranger fills the audit log");
}

#[tokio::test]
async fn a_box_without_an_owner_says_so() {
    let bench = Bench::free().await;
    let tls = holdfast_provisioning::tls::pairing_client_config().unwrap();
    let client = holdfast_provisioning::client::Client::new(bench.target(), tls);
    assert_eq!(problem(client.get::<Status>("/v1/status").await), ProblemId::NotOwned);
}

#[tokio::test]
async fn certificates_of_others_end_the_handshake() {
    let bench = Bench::owned().await;
    let other = Authority::create(&mut OsRng).unwrap();
    let foreign = identity_of(&other, Role::Admin);
    let self_signed = {
        let mut identity = bench.identity(Role::Admin);
        identity.certificate = identity.key.self_signed().unwrap();
        identity
    };
    for identity in [foreign, self_signed] {
        let refused = bench.client_of(Some(&identity)).get::<Version>("/v1/version").await.unwrap_err();
        assert!(matches!(refused, ClientError::CertificateRefused { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_revocation_counts_for_connections_that_are_open() {
    let bench = Bench::owned().await;
    let identity = bench.identity(Role::Operator);
    let (admin, operator) = (bench.client(Role::Admin), bench.client_of(Some(&identity)));
    operator.get::<Version>("/v1/version").await.unwrap();
    let request = RevocationRequest { serial: identity.serial() };
    let list: RevocationList = admin.post("/v1/certificates/revocations", &request).await.unwrap();
    assert_eq!(list.revocations.len(), 1);
    assert_eq!(problem(operator.get::<Version>("/v1/version").await), ProblemId::CertificateRevoked);
    let anew = bench.client_of(Some(&identity)).get::<Version>("/v1/version").await.unwrap_err();
    assert!(matches!(anew, ClientError::CertificateRefused { reason: "it was revoked", .. }), "{anew:?}");
    let log: AuditList = admin.get("/v1/audit").await.unwrap();
    let told: Vec<(&str, Option<&str>)> =
        log.entries.iter().map(|entry| (entry.request.as_str(), entry.problem.as_deref())).collect();
    let expected = [("POST /v1/certificates/revocations", None), ("GET /v1/version", Some("certificate-revoked"))];
    assert_eq!(told, expected);
    assert!(log.entries[1].by.contains(&identity.serial()), "{:?}", log.entries[1]);
}

#[tokio::test]
async fn an_admin_does_not_revoke_the_certificate_that_he_uses() {
    let bench = Bench::owned().await;
    let identity = bench.identity(Role::Admin);
    let request = RevocationRequest { serial: identity.serial() };
    let answer = bench.client_of(Some(&identity)).post::<Value>("/v1/certificates/revocations", &request).await;
    assert_eq!(problem(answer), ProblemId::Conflict);
}

#[tokio::test]
async fn a_refusal_for_the_role_is_in_the_audit_log() {
    let bench = Bench::owned().await;
    let reader = bench.client(Role::Reader);
    assert_eq!(problem(reader.get::<Value>("/v1/configuration").await), ProblemId::RoleForbids);
    let audit = bench.daemon.folder.audit(0, 10).unwrap();
    assert_eq!((audit.len(), audit[0].problem.as_deref()), (1, Some("role-forbids")));
    assert!(audit[0].by.starts_with("ada (0x"), "{:?}", audit[0]);
}

#[tokio::test]
async fn answers_are_not_stored_by_others_and_name_their_request() {
    let bench = Bench::owned().await;
    let mut raw = bench.raw(Some(&bench.identity(Role::Reader))).await;
    for line in ["GET /v1/status", "GET /v1/nothing", "DELETE /v1/status", "GET /v1/duties?wrong=1"] {
        let answer = raw.ask(line, &[], "").await;
        for header in ["cache-control: no-store", "x-request-id: ", "x-content-type-options: nosniff"] {
            assert!(answer.head.contains(header), "{line}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn certificates_change_under_connections_that_go_on() {
    let bench = Bench::owned().await;
    let mut raw = bench.raw(Some(&bench.identity(Role::Reader))).await;
    for _ in 0..3 {
        bench.server.refresh();
        assert_eq!(raw.ask("GET /v1/version", &[], "").await.status, 200);
        bench.until_certified().await;
    }
    assert_eq!(raw.ask("GET /v1/version", &[], "").await.status, 200);
}

#[tokio::test]
async fn without_its_vault_the_box_still_says_what_is_wrong() {
    let bench = Bench::owned_without_vault().await;
    let identity = bench.identity(Role::Reader);
    // Nobody certifies the daemon's key, so whoever looks has to look past that.
    let mut raw = bench.raw_unjudged(Some(&identity)).await;
    assert_eq!(raw.ask("GET /v1/version", &[], "").await.status, 200);
    assert_eq!(raw.ask("GET /v1/vault", &[], "").await.problem(), ProblemId::VaultUnavailable);
    let mut raw = bench.raw_unjudged(None).await;
    assert_eq!(raw.ask("GET /v1/version", &[], "").await.problem(), ProblemId::Unauthenticated);
}

#[tokio::test]
async fn what_was_begun_is_done_and_told_also_when_the_asker_hangs_up() {
    let bench = Bench::owned().await;
    let mut raw = bench.raw(Some(&bench.identity(Role::Operator))).await;
    raw.write("POST /v1/actions/drain HTTP/1.1\r\nhost: box\r\n\r\n").await;
    drop(raw);
    let mut newest = bench.daemon.events.newest();
    let audited = || !bench.daemon.folder.audit(0, 1).unwrap().is_empty();
    while !audited() {
        newest.changed().await.unwrap();
    }
    assert_eq!(bench.daemon.control.operations().len(), 1);
}
