//! The cluster: its lock, and who this box is in it.

use std::sync::Arc;

use holdfast_api::{Cluster, Configuration, DryRunQuery, Identity, LockAccepted, LockSummary, ProblemId};
use holdfast_cluster::{Enr, Network, Networks, NodeKey, VerifiedLock, read_lock};
use holdfast_eth::ClusterLock;
use holdfast_types::OperatorIndex;
use holdfast_vault_client::{ClientError, Rejection};

use super::blocking;
use crate::edge::api::Api;
use crate::edge::api::answer::{Answer, Fail, chain};
use crate::edge::api::asked::Asked;

pub(super) async fn show(api: &Api) -> Result<Answer, Fail> {
    let host = Arc::clone(&api.host);
    let networks = networks(&api.host.configuration());
    let lock = blocking(move || {
        let file = host.lock()?;
        // It was checked before it was kept, which takes seconds; what it says is shown without that.
        Ok::<_, Fail>(file.and_then(|file| read_lock(&file).ok()).map(|lock| summary(&lock, &networks)))
    })
    .await??;
    let enr = identity_of(api).await.ok().flatten();
    let operator = lock.as_ref().zip(enr).and_then(|(lock, enr)| position(&lock.operators, &enr));
    Answer::json(&Cluster { lock, operator })
}

pub(super) async fn lock(api: &Api) -> Result<Answer, Fail> {
    let host = Arc::clone(&api.host);
    let file = blocking(move || host.lock()).await??;
    let none =
        || Fail::new(ProblemId::NotFound, "the box has no cluster lock yet: import one with holdfast cluster import");
    Ok(Answer::raw(file.ok_or_else(none)?).named("cluster-lock.json"))
}

pub(super) async fn put_lock(api: &Api, asked: &Asked) -> Result<Answer, Fail> {
    let DryRunQuery { dry_run } = asked.query()?;
    let _changing = api.changing.lock().await;
    let networks = networks(&api.host.configuration());
    let file = asked.body.clone();
    // Every signature of every validator: seconds of work.
    let verified =
        blocking(move || verify(&file, &networks).map(|lock| (lock.lock_hash(), summary(lock.lock(), &networks))))
            .await??;
    let (lock_hash, lock) = verified;
    let status = api.vault.read(|vault| vault.status()).await?;
    if let Some(held) = status.lock_hash.filter(|held| *held != lock_hash) {
        return Err(Fail::conflict(format!(
            "the vault holds shares of the cluster with lock {held}: reset the box before it joins another"
        )));
    }
    let enr = identity_of(api).await?;
    let enr = enr.ok_or_else(|| Fail::conflict("the box has no node identity yet: holdfast cluster enr makes one"))?;
    let operator = position(&lock.operators, &enr).ok_or_else(|| mismatch(&lock, &enr))?;
    if !dry_run {
        let (host, file) = (Arc::clone(&api.host), asked.body.clone());
        blocking(move || host.keep_lock(&file)).await??;
    }
    Answer::json(&LockAccepted { lock, operator, dry_run })
}

pub(super) async fn identity(api: &Api) -> Result<Answer, Fail> {
    let Some(enr) = identity_of(api).await? else { return Answer::json(&Identity { enr: None, peer_id: None }) };
    let key = libp2p::identity::secp256k1::PublicKey::try_from_bytes(&enr.public())
        .map_err(|error| Fail::internal(&error))?;
    let peer_id = libp2p::PeerId::from_public_key(&key.into()).to_string();
    Answer::json(&Identity { enr: Some(enr.text().to_owned()), peer_id: Some(peer_id) })
}

/// The node record of the vault's identity; `None` while it has none. The key itself goes no further.
pub(super) async fn identity_of(api: &Api) -> Result<Option<Enr>, Fail> {
    let enr = api.vault.read(|vault| match vault.identity_key() {
        Ok(key) => Ok(NodeKey::from_bytes(&key.0).map(|key| Enr::make(&key))),
        Err(ClientError::Rejected { rejection: Rejection::NoIdentity, .. }) => Ok(None),
        Err(other) => Err(other),
    });
    enr.await
}

fn verify(file: &[u8], networks: &Networks) -> Result<VerifiedLock, Fail> {
    let invalid = |error: &(dyn std::error::Error + 'static)| {
        Fail::new(ProblemId::LockInvalid, format!("the cluster lock does not hold: {}", chain(error)))
    };
    let lock = read_lock(file).map_err(|error| invalid(&error))?;
    VerifiedLock::verify(lock, networks).map_err(|error| invalid(&error))
}

fn summary(lock: &ClusterLock, networks: &Networks) -> LockSummary {
    let definition = &lock.definition;
    let network = networks.find(definition.fork_version);
    LockSummary {
        name: definition.name.clone(),
        lock_hash: lock.lock_hash.to_string(),
        network: network.map_or_else(|| definition.fork_version.to_string(), |network| network.name.to_string()),
        operators: definition.operators.iter().map(|operator| operator.enr.clone()).collect(),
        threshold: definition.threshold,
        validators: lock.validators.len(),
    }
}

/// The networks that locks are looked up in.
fn networks(configuration: &Configuration) -> Networks {
    let custom = configuration.network.as_ref().and_then(|custom| {
        Some(Network {
            name: custom.name.clone().into(),
            chain_id: custom.chain_id,
            genesis_fork_version: custom.genesis_fork_version.parse().ok()?,
            genesis_time_s: custom.genesis_time,
        })
    });
    custom.map_or_else(Networks::public, Networks::with_custom)
}

fn position(operators: &[String], own: &Enr) -> Option<u8> {
    let is_own = |text: &String| Enr::parse(text).is_ok_and(|enr| enr.public() == own.public());
    (0..).map(OperatorIndex).zip(operators).find(|(_, text)| is_own(text)).map(|(operator, _)| operator.0)
}

fn mismatch(lock: &LockSummary, own: &Enr) -> Fail {
    let detail = format!(
        "the identity of this box is none of the operators' of the lock. The box has\n{}\nthe lock has\n{}",
        own.text(),
        lock.operators.join("\n"),
    );
    Fail::new(ProblemId::IdentityMismatch, detail)
}
