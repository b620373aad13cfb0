//! The box changes hands: the vault gets the order, and the API follows whom the vault obeys.
//!
//! The next owner's certificates are on disk before the vault has the order, and the present one's stay until the vault
//! says that it obeys the other: cut short at any moment, the box admits the one of the two whom its vault obeys.

use std::sync::Arc;

use holdfast_api::{AuthorityChange, ProblemId};
use holdfast_evidence::{Order, SignedOrder};
use holdfast_provisioning::certificate;
use holdfast_provisioning::tls::{ClientJudge, Revocations};
use holdfast_types::P256Public;
use holdfast_vault_client::VaultStatus;

use super::{blocking, vault};
use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail};
use crate::edge::api::asked::{Asked, base64};
use crate::folder::Owner;

pub(super) async fn change(api: &Arc<Api>, asked: &Asked) -> Result<Answer, Fail> {
    let request: AuthorityChange = asked.json()?;
    let order = vault::read_order(&request.order)?;
    let Order::ChangeAuthority { authority, .. } = read(&order)? else {
        return Err(Fail::new(ProblemId::OrderRefused, "this order does not hand the box to another authority"));
    };
    let next = Owner {
        authority: base64("authorityCertificate", &request.authority_certificate)?,
        box_certificate: base64("boxCertificate", &request.box_certificate)?,
    };
    let _changing = api.changing.lock().await;
    let status = api.vault.read(|vault| vault.status()).await?;
    check(&authority, &next, &status)?;
    let host = Arc::clone(&api.host);
    blocking(move || {
        same_box(host.owner()?, &next)?;
        Ok::<_, Fail>(host.keep_next_owner(&next)?)
    })
    .await??;
    let carried_out = api.vault.act(move |vault| vault.order(order)).await;
    let obeyed = match &carried_out {
        Ok(_) => Some(Some(authority)),
        Err(_) => api.vault.read(|vault| vault.status()).await.ok().map(|status| status.authority),
    };
    match obeyed {
        Some(authority) => api.settle_owner(authority).await,
        // What became of the order is found out as soon as the vault answers.
        None => api.certify_now.notify_one(),
    }
    carried_out?;
    Ok(Answer::done())
}

/// What an order says, whoever signed it.
pub(super) fn read(order: &SignedOrder) -> Result<Order, Fail> {
    let text = order.unverified().map_err(|error| Fail::new(ProblemId::OrderRefused, error.to_string()))?;
    Ok(text.order)
}

/// Certificates that do not fit the order would leave a box that nobody can manage.
pub(super) fn check(authority: &P256Public, owner: &Owner, status: &VaultStatus) -> Result<(), Fail> {
    let judge = ClientJudge::new(owner.authority.clone().into(), Arc::new(Revocations::default()), || {
        unreachable!("this judge is asked nothing")
    });
    if judge.is_err() || owner.public() != Some(*authority) {
        return Err(wrong("authorityCertificate is not the certificate of the key in the order"));
    }
    let of_box = certificate::box_identity(&owner.box_certificate)
        .map_err(|_| wrong("boxCertificate is not a certificate of a box"))?;
    if of_box.common_name != holdfast_evidence::names::common_name(&status.box_name) {
        return Err(wrong("boxCertificate is the certificate of another box"));
    }
    Ok(())
}

/// The box key stays the same, whoever owns the box.
fn same_box(present: Option<Owner>, next: &Owner) -> Result<(), Fail> {
    let key = |owner: &Owner| certificate::box_identity(&owner.box_certificate).ok().map(|identity| identity.key);
    if present.is_some_and(|present| key(&present) != key(next)) {
        return Err(wrong("boxCertificate is not for the key of this box"));
    }
    Ok(())
}

fn wrong(what: &str) -> Fail {
    Fail::bad_request(format!("the field {what}"))
}
