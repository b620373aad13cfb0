//! From a code to an owner, and everything that is no such way.

use holdfast_api::{AuditList, EvidenceKind, EvidenceRequest, PairingOwn, PairingStart, ProblemId, Role, Version};
use holdfast_evidence::Order;
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::{Call, ClientError, PairingClient, Timeouts};
use holdfast_provisioning::code::{CodeKind, PairingCode};
use holdfast_provisioning::pake::OperatorExchange;
use holdfast_types::BoxName;
use rand::rngs::OsRng;
use serde_json::Value;

use crate::changes::{own, signed};
use crate::kit::vault::BOX_NAME;
use crate::kit::{Bench, problem};
use holdfastd::clock::now;

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

async fn code(bench: &Bench) -> PairingCode {
    let pairing = bench.pairing.clone();
    let shown = tokio::task::spawn_blocking(move || pairing.show().unwrap().0).await.unwrap();
    shown.code.unwrap()
}

async fn stranger(bench: &Bench) -> PairingClient {
    PairingClient::connect(bench.target(), Timeouts::default()).await.unwrap()
}

/// What whoever has the code sends in the end.
fn request(bench: &Bench, authority: &Authority, name: &BoxName, order: Order) -> PairingOwn {
    let key = bench.vault.sealed().box_key.public();
    let of_box = authority.issue_box(name, &key, now(), &mut OsRng).unwrap();
    PairingOwn {
        order: signed(authority, order),
        authority_certificate: base64(authority.certificate()),
        box_certificate: base64(&of_box),
    }
}

#[tokio::test]
async fn who_knows_the_code_becomes_the_owner() {
    let bench = Bench::free().await;
    let code = code(&bench).await;
    let mut client = stranger(&bench).await;
    let paired = client.pair(&code).await.unwrap();
    assert_eq!(bench.pairing.four_words().as_deref(), Some(paired.words.as_str()));
    assert_eq!(paired.said.box_name, BOX_NAME.to_string());
    assert_eq!(paired.said.box_key, bench.vault.sealed().box_key.public().to_string());
    let nonce = format!("0x{}", "05".repeat(32));
    client.evidence(&EvidenceRequest { kind: EvidenceKind::Boot, nonce }).await.unwrap();
    client.own(&request(&bench, &bench.authority, &BOX_NAME, own(&bench.authority))).await.unwrap();
    assert_eq!(bench.vault.sealed().orders, ["Own"]);
    assert!(bench.pairing.four_words().is_none());
    bench.until_certified().await;
    let admin = bench.client(Role::Admin);
    admin.get::<Version>("/v1/version").await.unwrap();
    let log: AuditList = admin.get("/v1/audit").await.unwrap();
    let told: Vec<&str> = log.entries.iter().map(|entry| entry.request.as_str()).collect();
    let steps = ["start", "finish", "evidence", "own"].map(|step| format!("POST /v1/pairing/{step}"));
    assert_eq!(told, steps);
    assert!(log.entries.iter().all(|entry| entry.by == "nobody" && entry.from == "127.0.0.1"));
}

#[tokio::test]
async fn a_wrong_code_costs_a_try_and_five_of_them_the_code() {
    let bench = Bench::free().await;
    let right = code(&bench).await;
    for left in (0..5).rev() {
        let wrong = PairingCode::random(CodeKind::Screen, &mut OsRng);
        let refused = stranger(&bench).await.pair(&wrong).await.unwrap_err();
        assert!(matches!(refused, ClientError::Pairing { tries_left, .. } if tries_left == left), "{refused:?}");
    }
    let refused = stranger(&bench).await.pair(&right).await;
    assert_eq!(problem(refused), ProblemId::PairingExpired);
    assert!(bench.daemon.folder.owner().unwrap().is_none());
}

#[tokio::test]
async fn no_step_is_left_out() {
    let bench = Bench::free().await;
    code(&bench).await;
    let mut raw = bench.raw_unjudged(None).await;
    let json = ["content-type: application/json"];
    let own = serde_json::to_string(&request(&bench, &bench.authority, &BOX_NAME, own(&bench.authority))).unwrap();
    for (path, body) in [
        ("POST /v1/pairing/finish", "{\"message\":\"AAAA\"}"),
        ("POST /v1/pairing/evidence", "{\"kind\":\"boot\",\"nonce\":\"0x00\"}"),
        ("POST /v1/pairing/credential", "{\"credential\":\"AAAA\"}"),
        ("POST /v1/pairing/own", &own),
    ] {
        assert_eq!(raw.ask(path, &json, body).await.problem(), ProblemId::Conflict, "{path}");
    }
    // A third message that is wrong takes the exchange with it.
    let (_, ke1) = OperatorExchange::start(&PairingCode::random(CodeKind::Screen, &mut OsRng), &mut OsRng);
    let start = serde_json::to_string(&PairingStart { message: base64(&ke1) }).unwrap();
    assert_eq!(raw.ask("POST /v1/pairing/start", &json, &start).await.status, 200);
    let finish = format!("{{\"message\":\"{}\"}}", base64(&[7; 64]));
    assert_eq!(raw.ask("POST /v1/pairing/finish", &json, &finish).await.problem(), ProblemId::PairingFailed);
    assert_eq!(raw.ask("POST /v1/pairing/finish", &json, &finish).await.problem(), ProblemId::Conflict);
    assert!(bench.vault.sealed().orders.is_empty());
}

#[tokio::test]
async fn certificates_that_do_not_fit_the_order_never_reach_the_vault() {
    let bench = Bench::free().await;
    let other = Authority::create(&mut OsRng).unwrap();
    let code = code(&bench).await;
    let mut paired = stranger(&bench).await;
    paired.pair(&code).await.unwrap();
    let mut swapped = request(&bench, &bench.authority, &BOX_NAME, own(&bench.authority));
    swapped.authority_certificate = base64(other.certificate());
    assert_eq!(problem(paired.own(&swapped).await), ProblemId::BadRequest);
    bench.pairing.rearm().unwrap();
    let code = self::code(&bench).await;
    let mut paired = stranger(&bench).await;
    paired.pair(&code).await.unwrap();
    let of_another = request(&bench, &bench.authority, &BoxName([8; 32]), own(&bench.authority));
    assert_eq!(problem(paired.own(&of_another).await), ProblemId::BadRequest);
    assert!(bench.vault.sealed().orders.is_empty() && bench.daemon.folder.owner().unwrap().is_none());
}

#[tokio::test]
async fn an_owned_box_is_not_paired() {
    let bench = Bench::owned().await;
    let right = code(&bench).await;
    let mut raw = bench.raw(None).await;
    let own = serde_json::to_string(&request(&bench, &bench.authority, &BOX_NAME, own(&bench.authority))).unwrap();
    for (path, body) in [
        ("POST /v1/pairing/start", "{\"message\":\"AAAA\"}"),
        ("POST /v1/pairing/finish", "{\"message\":\"AAAA\"}"),
        ("POST /v1/pairing/evidence", "{\"kind\":\"boot\",\"nonce\":\"0x00\"}"),
        ("POST /v1/pairing/credential", "{\"credential\":\"AAAA\"}"),
        ("POST /v1/pairing/own", &own),
    ] {
        let answer = raw.ask(path, &["content-type: application/json"], body).await;
        assert_eq!(answer.problem(), ProblemId::Owned, "{path}");
    }
    assert_eq!(problem(stranger(&bench).await.pair(&right).await), ProblemId::Owned);
    // Nor is one whose daemon lost the certificates.
    bench.daemon.folder.forget().unwrap();
    bench.server.refresh();
    assert_eq!(problem(stranger(&bench).await.pair(&right).await), ProblemId::Owned);
    assert!(bench.vault.sealed().orders.is_empty());
}

#[tokio::test]
async fn after_a_reset_there_is_a_new_code() {
    let bench = Bench::owned().await;
    let old = code(&bench).await;
    let admin = bench.client(Role::Admin);
    let order = holdfast_api::OrderRequest { order: signed(&bench.authority, Order::Reset) };
    admin.call(Call::post("/v1/vault/orders").json(&order).unwrap()).await.unwrap().json::<Value>().unwrap();
    let new = code(&bench).await;
    assert_ne!(old.to_string(), new.to_string());
    stranger(&bench).await.pair(&new).await.unwrap();
}

#[tokio::test]
async fn certificates_of_an_order_that_was_refused_count_for_nothing() {
    let bench = Bench::free().await;
    let code = code(&bench).await;
    let mut client = stranger(&bench).await;
    client.pair(&code).await.unwrap();
    let mut forged = request(&bench, &bench.authority, &BOX_NAME, own(&bench.authority));
    // The order names this authority's key, and another has signed it.
    forged.order = signed(&Authority::create(&mut OsRng).unwrap(), own(&bench.authority));
    assert_eq!(problem(client.own(&forged).await), ProblemId::OrderRefused);
    bench.server.refresh();
    let new = {
        bench.pairing.rearm().unwrap();
        self::code(&bench).await
    };
    let mut client = stranger(&bench).await;
    client.pair(&new).await.unwrap();
    client.own(&request(&bench, &bench.authority, &BOX_NAME, own(&bench.authority))).await.unwrap();
    bench.until_certified().await;
    bench.client(Role::Admin).get::<Version>("/v1/version").await.unwrap();
}
