//! What changes something: configuration, cluster, orders, actions, and what happens when it is asked twice.

use holdfast_api::{
    ApiSettings, ChallengeAnswer, Cluster, Configuration, ConfigurationChange, ConfigurationHistory, EvidenceAnswer,
    EvidenceKind, EvidenceRequest, Identity, LockAccepted, Operation, OrderAnswer, OrderRequest, ProblemId, Role,
    ValidatorList, VaultState, Version,
};
use holdfast_cluster::{CreateParams, CreatedCluster, Networks, create, write_lock};
use holdfast_eth::{AddressText, ValidatorAddresses};
use holdfast_evidence::{Approval, Order, OrderText, SignedOrder};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::Call;
use holdfast_types::{ForkVersion, LockHash};
use holdfastd::settings::etag;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

use crate::kit::vault::{BOX_NAME, CHALLENGE};
use crate::kit::{Bench, problem};

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn signed(authority: &Authority, order: Order) -> String {
    let text = OrderText { to: BOX_NAME, challenge: CHALLENGE, order };
    base64(&SignedOrder::sign(&text, authority.key()).to_bytes())
}

pub(crate) fn own(authority: &Authority) -> Order {
    Order::Own { authority: authority.public(), firmware: Approval::of_firmware(authority.key(), [0; 32]) }
}

#[tokio::test]
async fn a_configuration_is_replaced_only_by_who_has_seen_it() {
    let bench = Bench::owned().await;
    let admin = bench.client(Role::Admin);
    let shown = admin.call(Call::get("/v1/configuration")).await.unwrap();
    let tag = shown.etag().unwrap().to_owned();
    let mut after: Configuration = shown.json().unwrap();
    after.nickname = "one".to_owned();
    let put =
        |path: &str, tag: &str, after: &Configuration| admin.call(Call::put(path).json(after).unwrap().if_match(tag));
    assert_eq!(problem(admin.put::<Value>("/v1/configuration", &after).await), ProblemId::PreconditionRequired);
    let dry: ConfigurationChange = put("/v1/configuration?dryRun=true", &tag, &after).await.unwrap().json().unwrap();
    assert_eq!((dry.dry_run, dry.changes.len(), dry.etag.as_str()), (true, 1, tag.as_str()));
    assert_eq!(bench.host.configuration().nickname, "");
    let done = put("/v1/configuration", &tag, &after).await.unwrap();
    let change: ConfigurationChange = done.json().unwrap();
    assert_eq!((Some(change.etag.as_str()), change.etag.clone()), (done.etag(), etag(&after)));
    assert_eq!(problem(put("/v1/configuration", &tag, &after).await), ProblemId::ConfigurationStale);
    after.nickname = "x".repeat(33);
    let wrong = put("/v1/configuration", &change.etag, &after).await.unwrap_err();
    assert_eq!(wrong.problem().unwrap().detail, "/nickname: longer than 32 bytes");
    let history: ConfigurationHistory = admin.get("/v1/configuration/history").await.unwrap();
    assert_eq!((history.entries.len(), history.entries[0].by.as_str()), (1, "ada"));
}

#[tokio::test]
async fn a_change_that_may_lock_out_waits_for_its_confirmation() {
    let bench = Bench::owned().await;
    let admin = bench.client(Role::Admin);
    let confirm = || admin.post_nothing::<ConfigurationChange>("/v1/configuration/confirmation");
    assert_eq!(problem(confirm().await), ProblemId::Conflict);
    let before = bench.host.configuration();
    let api = ApiSettings { listen: "0.0.0.0:4444".to_owned(), ..before.api.clone() };
    let after = Configuration { api, ..before.clone() };
    let call = Call::put("/v1/configuration").json(&after).unwrap().if_match(etag(&before));
    let change: ConfigurationChange = admin.call(call).await.unwrap().json().unwrap();
    assert!(change.confirm_by.is_some());
    assert_eq!(confirm().await.unwrap().etag, etag(&after));
    assert_eq!(problem(confirm().await), ProblemId::Conflict);
}

#[tokio::test]
async fn a_key_does_its_request_once() {
    let bench = Bench::owned().await;
    let identity = bench.identity(Role::Operator);
    let operator = bench.client_of(Some(&identity));
    let drain = |key: &str| operator.call(Call::post("/v1/actions/drain").idempotency_key(key));
    let first = drain("a").await.unwrap();
    assert_eq!(first.status(), 202);
    let again = drain("a").await.unwrap();
    assert_eq!((again.status(), again.json::<Operation>().unwrap()), (202, first.json::<Operation>().unwrap()));
    assert_eq!(problem(drain("b").await), ProblemId::Conflict);
    let other = Call::post("/v1/actions/resume").idempotency_key("a");
    assert_eq!(problem(operator.call(other).await), ProblemId::IdempotencyConflict);
    // Another client's keys are his own.
    let other = bench.client(Role::Operator).call(Call::post("/v1/actions/drain").idempotency_key("a")).await;
    assert_eq!(problem(other), ProblemId::Conflict);
    assert_eq!(bench.daemon.control.operations().len(), 1);
    assert_eq!(problem(drain("no spaces").await), ProblemId::BadRequest);
}

#[tokio::test]
async fn orders_are_carried_and_a_reset_is_followed() {
    let bench = Bench::owned().await;
    let admin = bench.client(Role::Admin);
    let state: VaultState = admin.get("/v1/vault").await.unwrap();
    assert_eq!(state.authority, Some(bench.authority.public().to_string()));
    let challenge: ChallengeAnswer = admin.post_nothing("/v1/vault/challenges").await.unwrap();
    assert_eq!(challenge.challenge, CHALLENGE.to_string());
    let order = |order| OrderRequest { order: signed(&bench.authority, order) };
    let refused = admin.post::<OrderAnswer>("/v1/vault/orders", &order(Order::VouchDisk)).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().detail, "order VouchDisk refused: not today");
    assert_eq!(problem::<OrderAnswer>(Err(refused)), ProblemId::OrderRefused);
    let done: OrderAnswer = admin.post("/v1/vault/orders", &order(Order::Reset)).await.unwrap();
    assert_eq!(done, OrderAnswer { signature: None });
    assert_eq!(bench.daemon.folder.owner().unwrap(), None);
    assert_eq!(problem(admin.get::<Version>("/v1/version").await), ProblemId::NotOwned);
}

#[tokio::test]
async fn evidence_is_given_at_a_rate_that_leaves_the_tpm_to_duties() {
    let bench = Bench::owned().await;
    let operator = bench.client(Role::Operator);
    let request = EvidenceRequest { kind: EvidenceKind::Boot, nonce: format!("0x{}", "07".repeat(32)) };
    let mut given = 0;
    let refused = loop {
        match operator.post::<EvidenceAnswer>("/v1/vault/evidence", &request).await {
            Ok(_) => given += 1,
            Err(refused) => break refused,
        }
    };
    assert!((10..15).contains(&given), "{given} were given");
    assert_eq!(problem::<EvidenceAnswer>(Err(refused)), ProblemId::TooManyRequests);
    operator.get::<Version>("/v1/version").await.unwrap();
}

fn cluster() -> CreatedCluster {
    let network = Networks::public().find(ForkVersion([0x10, 0, 0x09, 0x10])).unwrap().clone();
    let address: AddressText = format!("0x{}", "11".repeat(20)).parse().unwrap();
    let validator = ValidatorAddresses { fee_recipient: address.clone(), withdrawal: address };
    let params = CreateParams {
        name: "trial".to_owned(),
        network,
        operators: 4,
        threshold: 3,
        validators: vec![validator],
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: 60_000_000,
        compounding: false,
        timestamp: String::new(),
    };
    create(&params, &mut StdRng::seed_from_u64(1)).unwrap()
}

#[tokio::test]
async fn a_lock_is_taken_when_it_holds_and_this_box_is_in_it() {
    let bench = Bench::owned().await;
    let admin = bench.client(Role::Admin);
    let made = cluster();
    let file = write_lock(made.lock.lock());
    let put = |path: &str, file: &str| admin.call(Call::put(path).body(file.as_bytes().to_vec()));
    assert_eq!(problem(admin.get::<Value>("/v1/cluster/lock").await), ProblemId::NotFound);
    assert_eq!(problem(put("/v1/cluster/lock", &file).await), ProblemId::Conflict);

    bench.vault.sealed().identity = Some([7; 32]);
    let other = put("/v1/cluster/lock", &file).await.unwrap_err().problem().unwrap().clone();
    let own: Identity = admin.get("/v1/identity").await.unwrap();
    assert_eq!(other.id(), Some(ProblemId::IdentityMismatch));
    for enr in made.lock.enrs().iter().map(holdfast_cluster::Enr::text).chain(own.enr.as_deref()) {
        assert!(other.detail.contains(enr), "{enr} is not in {}", other.detail);
    }

    bench.vault.sealed().identity = Some(*made.nodes[2].key.expose());
    let broken = file.replace("trial", "trail");
    assert_eq!(problem(put("/v1/cluster/lock", &broken).await), ProblemId::LockInvalid);
    let dry: LockAccepted = put("/v1/cluster/lock?dryRun=true", &file).await.unwrap().json().unwrap();
    assert_eq!((dry.operator, dry.dry_run, bench.daemon.folder.lock().unwrap().is_none()), (2, true, true));
    let taken: LockAccepted = put("/v1/cluster/lock", &file).await.unwrap().json().unwrap();
    assert_eq!((taken.operator, taken.lock.network.as_str(), taken.lock.validators), (2, "hoodi", 1));
    let shown: Cluster = admin.get("/v1/cluster").await.unwrap();
    assert_eq!((shown.operator, shown.lock), (Some(2), Some(taken.lock)));
    let back = admin.call(Call::get("/v1/cluster/lock")).await.unwrap();
    assert_eq!(back.body().as_ref(), file.as_bytes());

    bench.vault.sealed().lock_hash = Some(LockHash([1; 32]));
    assert_eq!(problem(put("/v1/cluster/lock", &file).await), ProblemId::Conflict);
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let bench = Bench::owned().await;
    let reader = bench.client(Role::Reader);
    let mut seen = 0;
    let mut path = "/v1/validators?limit=3".to_owned();
    loop {
        let page: ValidatorList = reader.get(&path).await.unwrap();
        seen += page.validators.len();
        let Some(cursor) = page.cursor else { break };
        path = format!("/v1/validators?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, crate::kit::host::VALIDATORS);
}

#[tokio::test]
async fn the_support_bundle_shows_no_token() {
    let bench = Bench::owned().await;
    let node =
        holdfast_api::BeaconNode { name: "a".to_owned(), url: "https://me:s3cret@node.example/t0ken".to_owned() };
    let before = bench.host.configuration();
    let after = Configuration { beacon_nodes: vec![node], ..before.clone() };
    bench.host.apply(&etag(&before), after, "ada").unwrap();
    let answer = bench.client(Role::Operator).call(Call::get("/v1/support-bundle")).await.unwrap();
    let text = String::from_utf8(answer.body().to_vec()).unwrap();
    assert!(text.contains("node.example") && !text.contains("s3cret") && !text.contains("t0ken"), "{text}");
    let bundle: Value = answer.json().unwrap();
    for part in ["version", "status", "vault", "configuration", "logs", "audit", "operations"] {
        assert!(!bundle[part].is_null(), "{part}");
    }
}

#[tokio::test]
async fn a_vault_that_is_away_is_named() {
    let bench = Bench::owned().await;
    std::fs::remove_file(&bench.vault.socket).unwrap();
    let reader = bench.client(Role::Reader);
    assert_eq!(problem(reader.get::<VaultState>("/v1/vault").await), ProblemId::VaultUnavailable);
    reader.get::<Version>("/v1/version").await.unwrap();
}
