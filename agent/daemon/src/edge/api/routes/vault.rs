//! What the daemon carries between the operator and the vault, and can neither make nor change.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::{
    ApprovalRequest, ChallengeAnswer, CredentialAnswer, CredentialRequest, EvidenceAnswer, EvidenceKind,
    EvidenceRequest, LoggedOrder, OrderAnswer, OrderLog, OrderLogQuery, OrderRequest, ProblemId, Timestamp,
    VaultClosed, VaultLease, VaultState,
};
use holdfast_cluster::write_history;
use holdfast_evidence::{self as evidence, Approval, Credential, Order, SignedOrder};
use holdfast_types::{HistoryMarks, Millis};
use holdfast_vault_client::codec::HISTORY_PAGE_LEN;
use holdfast_vault_client::{Client, ClientError, OrderOutcome, VaultStatus};
use tokio::time::Instant;

use super::blocking;
use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail, chain};
use crate::edge::api::asked::{Asked, base64};
use crate::edge::api::tls::VaultOwner;

pub(super) async fn state(api: &Api) -> Result<Answer, Fail> {
    let status = api.vault.read(|vault| vault.status()).await?;
    Answer::json(&shown(&status))
}

pub(super) async fn evidence(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let request: EvidenceRequest = asked.json()?;
    let nonce = nonce(&request.nonce)?;
    let kind = match request.kind {
        EvidenceKind::Boot => evidence::EvidenceKind::Boot,
        EvidenceKind::Custody => evidence::EvidenceKind::Custody,
        EvidenceKind::ImportKey => evidence::EvidenceKind::ImportKey,
    };
    take_turn(api)?;
    let evidence = api.vault.act(move |vault| vault.evidence(kind, nonce)).await?;
    Answer::json(&EvidenceAnswer { evidence: STANDARD.encode(evidence.to_bytes()) })
}

pub(super) async fn credential(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let CredentialRequest { credential } = asked.json()?;
    let credential = base64("credential", &credential)?;
    let credential = Credential::from_bytes(&credential).map_err(|error| Fail::bad_request(error.to_string()))?;
    take_turn(api)?;
    let secret = api.vault.act(move |vault| vault.activate_credential(credential)).await?;
    Answer::json(&CredentialAnswer { secret: hex_of(&secret) })
}

pub(super) async fn challenge(api: &Api) -> Result<Answer, Fail> {
    let (status, challenge) = api.vault.act(|vault| Ok((vault.status()?, vault.challenge()?))).await?;
    Answer::json(&ChallengeAnswer { box_name: status.box_name.to_string(), challenge: challenge.to_string() })
}

pub(super) async fn order(api: &Arc<Api>, asked: &Asked) -> Result<Answer, Fail> {
    let OrderRequest { order } = asked.json()?;
    let order = read_order(&order)?;
    let kind = order.unverified().map_err(|error| Fail::new(ProblemId::OrderRefused, error.to_string()))?;
    if matches!(kind.order, Order::ChangeAuthority { .. }) {
        let detail = "this order goes to /v1/vault/authority with the next owner's certificates: without them the API \
                      would admit nobody any more";
        return Err(Fail::new(ProblemId::OrderRefused, detail));
    }
    let _changing = api.changing.lock().await;
    let outcome = api.vault.act(move |vault| vault.order(order)).await?;
    match kind.order {
        Order::Reset => forget(api).await?,
        // Shares or identity are others now; what the node is built from is looked at again.
        Order::Identity(_) | Order::Import(_) | Order::Retire(_) => api.host.reload(),
        _ => {}
    }
    let signature = match outcome {
        OrderOutcome::Done => None,
        OrderOutcome::Signed(signature) => Some(signature.to_string()),
    };
    Answer::json(&OrderAnswer { signature })
}

pub(super) async fn log(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let OrderLogQuery { after } = asked.query()?;
    let page = api.vault.read(move |vault| vault.order_log(after)).await?;
    let orders = page.into_iter().map(|logged| LoggedOrder {
        number: logged.number,
        at: Timestamp(Millis(logged.at_ms)),
        kind: logged.kind,
        order: hex_of(&logged.order),
        refused: logged.refused,
        hash: hex_of(&logged.hash),
    });
    Answer::json(&OrderLog { orders: orders.collect() })
}

pub(super) async fn history(api: &Api) -> Result<Answer, Fail> {
    let marks = api.vault.read(whole_history).await?;
    let text = blocking(move || write_history(&marks)).await?;
    Ok(Answer::raw(text).named("slashing-history.json"))
}

pub(super) async fn approve(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let ApprovalRequest { approval } = asked.json()?;
    let approval = base64("approval", &approval)?;
    let approval = Approval::from_bytes(&approval).map_err(|error| Fail::bad_request(error.to_string()))?;
    api.vault.act(move |vault| vault.approve_firmware(approval)).await?;
    Ok(Answer::done())
}

pub(super) async fn raise_level(api: &Api) -> Result<Answer, Fail> {
    api.vault.act(|vault| vault.raise_level()).await?;
    Ok(Answer::done())
}

/// Evidence and credentials share one bucket, whoever asks: they keep the TPM from those who sign.
fn take_turn(api: &Api) -> Result<(), Fail> {
    api.evidence_rate.take(&(), Instant::now()).map_err(|wait| Fail::too_many("requests that keep the TPM busy", wait))
}

/// The vault erased shares, identity and authority: what the daemon keeps of them goes too, and a new code is made.
async fn forget(api: &Arc<Api>) -> Result<(), Fail> {
    let (host, pairing) = (Arc::clone(&api.host), api.pairing.clone());
    let forgotten = blocking(move || {
        let rearmed = pairing.rearm();
        (host.forget(), rearmed)
    })
    .await?;
    api.renew_tls(Some(VaultOwner::Nobody), None).await;
    if let Err(error) = forgotten.1 {
        tracing::error!(error = chain(&error), "the old pairing code cannot be thrown away");
    }
    Ok(forgotten.0?)
}

/// All watermarks, page by page; a vault holds few pages of them.
fn whole_history(vault: &mut Client) -> Result<HistoryMarks, ClientError> {
    let mut all = vault.history_backup(None)?;
    let mut last_len = all.validators.len();
    for _ in 1..HISTORY_PAGES_MAX {
        let Some(last) = all.validators.last().filter(|_| last_len == HISTORY_PAGE_LEN) else { break };
        let page = vault.history_backup(Some(last.validator))?;
        last_len = page.validators.len();
        all.validators.extend(page.validators);
    }
    Ok(all)
}

pub(super) fn read_order(text: &str) -> Result<SignedOrder, Fail> {
    SignedOrder::from_bytes(&base64("order", text)?).map_err(|error| Fail::bad_request(error.to_string()))
}

fn nonce(text: &str) -> Result<[u8; 32], Fail> {
    let mut nonce = [0; 32];
    let digits = text.strip_prefix("0x").unwrap_or_default();
    hex::decode_to_slice(digits, &mut nonce)
        .map_err(|_| Fail::bad_request("the field nonce is not 0x and the hex of 32 bytes"))?;
    Ok(nonce)
}

pub(in crate::edge::api) fn shown(status: &VaultStatus) -> VaultState {
    VaultState {
        version: status.version.clone(),
        box_name: status.box_name.to_string(),
        authority: status.authority.map(|key| key.to_string()),
        lock_hash: status.lock_hash.map(|hash| hash.to_string()),
        share_index: status.share_index.map(|index| index.0),
        shares: status.validators.len(),
        tier: status.tier.to_string(),
        tier_reason: status.tier_reason.clone(),
        memory: status.memory.clone(),
        generation: status.generation,
        level: status.level,
        lease: status.lease.map(|lease| VaultLease {
            counter: lease.counter,
            first_epoch: lease.first_epoch,
            last_epoch: lease.last_epoch,
        }),
        orders_logged: status.orders_logged,
        orders_head: hex_of(&status.orders_head),
        closed: status
            .closed
            .as_ref()
            .map(|closed| VaultClosed { id: closed.id.to_string(), reason: closed.reason.clone() }),
    }
}

fn hex_of(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Validators that this box ever had a share of, by the thousand.
const HISTORY_PAGES_MAX: usize = 100;
