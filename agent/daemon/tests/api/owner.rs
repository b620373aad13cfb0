//! The box changes hands, and whatever is cut short: who commands it is whom its vault obeys.

use holdfast_api::{AuthorityChange, OrderRequest, ProblemId, RevocationList, RevocationRequest, Role, Version};
use holdfast_evidence::{Approval, Order};
use holdfast_provisioning::authority::Authority;
use holdfast_provisioning::client::{Client, ClientError};
use holdfast_types::{BoxName, P256Public};
use rand::rngs::OsRng;
use serde_json::Value;

use crate::changes::signed;
use crate::kit::{Bench, certificates, identity_of, problem};

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn change_to(next: &Authority, signer: &Authority, box_key: &P256Public) -> AuthorityChange {
    let certificates = certificates(next, box_key);
    AuthorityChange {
        order: signed(signer, to(next)),
        authority_certificate: base64(&certificates.authority),
        box_certificate: base64(&certificates.box_certificate),
    }
}

fn to(next: &Authority) -> Order {
    Order::ChangeAuthority { authority: next.public(), firmware: Approval::of_firmware(next.key(), [0; 32]) }
}

fn box_key(bench: &Bench) -> P256Public {
    bench.vault.sealed().box_key.public()
}

async fn change(client: &Client, change: &AuthorityChange) -> Result<(), ClientError> {
    let call = holdfast_provisioning::client::Call::post("/v1/vault/authority").json(change)?;
    client.call(call).await.map(|_| ())
}

async fn is_admitted(bench: &Bench, authority: &Authority) -> bool {
    bench.client_by(authority, Role::Admin).get::<Version>("/v1/version").await.is_ok()
}

/// Waits until who is admitted is this one.
async fn until_admitted(bench: &Bench, authority: &Authority) {
    for _ in 0..2_000 {
        if is_admitted(bench, authority).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the authority that the vault obeys is not admitted");
}

#[tokio::test]
async fn the_box_answers_only_to_the_next_authority_afterwards() {
    let bench = Bench::owned().await;
    let next = Authority::create(&mut OsRng).unwrap();
    let admin = bench.client(Role::Admin);
    let revoked = RevocationRequest { serial: identity_of(&bench.authority, Role::Reader).serial() };
    admin.post::<RevocationList>("/v1/certificates/revocations", &revoked).await.unwrap();
    assert!(!is_admitted(&bench, &next).await);
    change(&admin, &change_to(&next, &bench.authority, &box_key(&bench))).await.unwrap();
    assert!(is_admitted(&bench, &next).await, "the answer came before the next owner was admitted");
    // The connection that gave the order is judged anew as well.
    assert_eq!(problem(admin.get::<Version>("/v1/version").await), ProblemId::Unauthenticated);
    assert!(!is_admitted(&bench, &bench.authority).await);
    let list = bench.client_by(&next, Role::Admin).get::<RevocationList>("/v1/certificates/revocations").await.unwrap();
    assert_eq!(list.revocations, [], "what was revoked of the authority before is of no use any more");
    assert_eq!(bench.daemon.folder.next_owner().unwrap(), None);
    assert_eq!(bench.daemon.folder.owner().unwrap().unwrap().public(), Some(next.public()));
}

#[tokio::test]
async fn an_order_that_the_vault_refuses_changes_nothing() {
    let bench = Bench::owned().await;
    let next = Authority::create(&mut OsRng).unwrap();
    let admin = bench.client(Role::Admin);
    // Signed by the one who would like to have it.
    let refused = change(&admin, &change_to(&next, &next, &box_key(&bench))).await;
    assert_eq!(problem(refused), ProblemId::OrderRefused);
    assert!(is_admitted(&bench, &bench.authority).await && !is_admitted(&bench, &next).await);
    assert_eq!(bench.daemon.folder.next_owner().unwrap(), None);
}

#[tokio::test]
async fn what_would_leave_a_box_without_a_manager_never_reaches_the_vault() {
    let bench = Bench::owned().await;
    let [next, other] = [(); 2].map(|()| Authority::create(&mut OsRng).unwrap());
    let admin = bench.client(Role::Admin);
    let good = change_to(&next, &bench.authority, &box_key(&bench));
    let foreign_authority = AuthorityChange { authority_certificate: base64(other.certificate()), ..good.clone() };
    let of_box = next.issue_box(&BoxName([8; 32]), &box_key(&bench), holdfastd::clock::now(), &mut OsRng).unwrap();
    let other_box = AuthorityChange { box_certificate: base64(&of_box), ..good.clone() };
    let other_key = change_to(&next, &bench.authority, &other.public());
    for wrong in [foreign_authority, other_box, other_key] {
        assert_eq!(problem(change(&admin, &wrong).await), ProblemId::BadRequest);
    }
    let bare = OrderRequest { order: signed(&bench.authority, to(&next)) };
    assert_eq!(problem(admin.post::<Value>("/v1/vault/orders", &bare).await), ProblemId::OrderRefused);
    let reset = AuthorityChange { order: signed(&bench.authority, Order::Reset), ..good.clone() };
    assert_eq!(problem(change(&admin, &reset).await), ProblemId::OrderRefused);
    assert!(bench.vault.sealed().orders.is_empty());
    assert_eq!(problem(change(&bench.client(Role::Operator), &good).await), ProblemId::RoleForbids);
}

#[tokio::test]
async fn a_daemon_that_died_in_between_follows_its_vault() {
    for is_carried_out in [true, false] {
        let next = Authority::create(&mut OsRng).unwrap();
        let bench = Bench::owned_after(|vault, daemon| {
            let key = vault.sealed().box_key.public();
            daemon.folder.keep_next_owner(Some(&certificates(&next, &key))).unwrap();
            if is_carried_out {
                vault.sealed().authority = Some(next.public());
            }
        })
        .await;
        let (obeyed, not) = if is_carried_out { (&next, &bench.authority) } else { (&bench.authority, &next) };
        until_admitted(&bench, obeyed).await;
        assert!(!is_admitted(&bench, not).await);
        assert_eq!(bench.daemon.folder.next_owner().unwrap(), None);
    }
}

#[tokio::test]
async fn nobody_is_admitted_while_it_is_not_known_who_owns_the_box() {
    let next = Authority::create(&mut OsRng).unwrap();
    let bench = Bench::owned_after(|vault, daemon| {
        let key = vault.sealed().box_key.public();
        daemon.folder.keep_next_owner(Some(&certificates(&next, &key))).unwrap();
        std::fs::remove_file(&vault.socket).unwrap();
    })
    .await;
    for authority in [&bench.authority, &next] {
        let mut raw = bench.raw_unjudged(Some(&identity_of(authority, Role::Admin))).await;
        assert_eq!(raw.ask("GET /v1/version", &[], "").await.problem(), ProblemId::NotOwned);
    }
}

#[tokio::test]
async fn certificates_on_disk_make_nobody_an_owner() {
    let bench = Bench::owned().await;
    let thief = Authority::create(&mut OsRng).unwrap();
    bench.daemon.folder.keep_owner(&certificates(&thief, &box_key(&bench))).unwrap();
    bench.server.refresh();
    // Until it was looked at, the owner of before is admitted.
    while is_admitted(&bench, &bench.authority).await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(!is_admitted(&bench, &thief).await, "a file made an owner");
}
