//! The first contact: who knows the code becomes the owner. All on one connection, to which the exchange is bound.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{PairingFinish, PairingFinished, PairingOwn, PairingStart, PairingStarted, ProblemId};
use holdfast_evidence::{EvidenceKind, Order};
use holdfast_provisioning::desk::DeskError;
use holdfast_provisioning::pake::BoxExchange;
use holdfast_provisioning::words::four_words;
use holdfast_vault_client::{Client, ClientError, VaultStatus};
use rand::rngs::OsRng;
use tokio::time::Instant;

use super::{blocking, owner, vault};
use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail, chain};
use crate::edge::api::asked::{Asked, base64};
use crate::edge::api::connection::Step;
use crate::edge::api::hall::Stage;
use crate::edge::api::tls::VaultOwner;
use crate::folder::Owner;

pub(super) async fn start(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let PairingStart { message } = asked.json()?;
    let message = base64("message", &message)?;
    unowned(api).await?;
    let (pairing, binding) = (api.pairing.clone(), asked.connection.binding);
    let answered = blocking(move || {
        let the_try = pairing.take_try().map_err(desk)?;
        let answer = BoxExchange::answer(&the_try.verifier, &message, &binding, &mut OsRng);
        let (exchange, message) = answer.map_err(|error| failed(&error))?;
        Ok::<_, Fail>((exchange, the_try, message))
    });
    let (exchange, the_try, message) = answered.await??;
    let started = PairingStarted { message: STANDARD.encode(message), tries_left: the_try.tries_left };
    asked.connection.set_step(Step::Started(Box::new(exchange), the_try));
    Answer::json(&started)
}

pub(super) async fn finish(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let PairingFinish { message } = asked.json()?;
    let message = base64("message", &message)?;
    let status = unowned(api).await?;
    let Step::Started(exchange, the_try) = asked.connection.take_step() else {
        return Err(Fail::conflict("no pairing was started on this connection: start one"));
    };
    let key = exchange.finish(&message).map_err(|error| failed(&error))?;
    // A vault that cannot go on is found out before the code is used up.
    let (box_key, challenge) = api.vault.act(|vault| Ok((box_key(vault)?, vault.challenge()?))).await?;
    let (pairing, words) = (api.pairing.clone(), four_words(&key));
    blocking(move || pairing.used(&the_try, words)).await?.map_err(desk)?;
    asked.connection.set_step(Step::Paired { until: Instant::now() + PAIRED });
    asked.connection.ticket.advance(Stage::Client, None);
    tracing::info!(from = %asked.address(), "the pairing code was given: it is used up, and its four words are shown");
    Answer::json(&PairingFinished { box_name: status.box_name.to_string(), box_key, challenge: challenge.to_string() })
}

pub(super) async fn evidence(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    paired(api, asked).await?;
    vault::evidence(api, asked).await
}

pub(super) async fn credential(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    paired(api, asked).await?;
    vault::credential(api, asked).await
}

pub(super) async fn own(api: &Arc<Api>, asked: &Asked) -> Result<Answer, Fail> {
    let request: PairingOwn = asked.json()?;
    let order = vault::read_order(&request.order)?;
    let certificates = Owner {
        authority: base64("authorityCertificate", &request.authority_certificate)?,
        box_certificate: base64("boxCertificate", &request.box_certificate)?,
    };
    let _changing = api.changing.lock().await;
    let status = paired(api, asked).await?;
    let Order::Own { authority, .. } = owner::read(&order)? else {
        return Err(Fail::new(ProblemId::OrderRefused, "this order does not make anybody the owner of a box"));
    };
    owner::check(&authority, &certificates, &status)?;
    // In this order: certificates of somebody whom the vault does not know count for nothing, but a vault with an owner
    // whose certificates were lost to a power cut would admit nobody any more.
    let host = Arc::clone(&api.host);
    blocking(move || host.keep_owner(&certificates)).await??;
    api.vault.act(move |vault| vault.order(order)).await?;
    api.pairing.done();
    asked.connection.set_step(Step::Nothing);
    // The owner connects again at once, and trusts only what the vault certified.
    api.renew_tls(Some(VaultOwner::Authority(authority)), None).await;
    if api.certify_key().await.is_err() {
        api.certify_now.notify_one();
    }
    tracing::info!(from = %asked.address(), "the box has an owner");
    Ok(Answer::done())
}

/// The public key of the box key. The command has it confirmed by evidence for a nonce of its own.
fn box_key(vault: &mut Client) -> Result<String, ClientError> {
    Ok(vault.evidence(EvidenceKind::Boot, [0; 32])?.body.box_key.to_string())
}

/// The vault's status, when nobody owns it.
async fn unowned(api: &Api) -> Result<VaultStatus, Fail> {
    let owned = || {
        let detail = "this box has an owner already: he can reset it, which erases its shares";
        Fail::new(ProblemId::Owned, detail)
    };
    if api.tls.judge().is_some() {
        return Err(owned());
    }
    let status = api.vault.read(|vault| vault.status()).await?;
    if status.authority.is_some() { Err(owned()) } else { Ok(status) }
}

async fn paired(api: &Api, asked: &Asked) -> Result<VaultStatus, Fail> {
    let status = unowned(api).await?;
    if !asked.connection.is_paired() {
        return Err(Fail::conflict(
            "the code was not given on this connection, or more than ten minutes ago: pair first",
        ));
    }
    Ok(status)
}

fn desk(error: DeskError) -> Fail {
    match error {
        DeskError::Expired | DeskError::NoCode | DeskError::WornOut => {
            Fail::new(ProblemId::PairingExpired, error.to_string())
        }
        DeskError::File(_) => {
            tracing::error!(error = chain(&error), "the tries of the pairing code cannot be counted");
            Fail::new(ProblemId::Internal, error.to_string())
        }
    }
}

fn failed(error: &holdfast_provisioning::pake::PakeError) -> Fail {
    Fail::new(ProblemId::PairingFailed, error.to_string())
}

/// From the code to the order: time to compare four words and to think of a passphrase.
const PAIRED: Duration = Duration::from_secs(10 * 60);
