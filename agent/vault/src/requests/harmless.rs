//! What the chain does not slash: reveals, proofs of selection, sync messages, aggregates and contributions.
//!
//! Each has one domain. All boxes of a cluster run the same daemon, so one bug in it would collect threshold many partial
//! signatures: that is why these have windows too.

use holdfast_eth::DomainType;
use holdfast_eth::domain::{
    randao_signing_root, selection_signing_root, signing_root_at, sync_message_signing_root,
    sync_selection_signing_root,
};
use holdfast_evidence::NetworkPins;
use holdfast_types::{Epoch, Millis, Root, SigningRoot, Slot, ValidatorPublic};
use holdfast_vault_client::{Rejection, RootToSign};

use super::window::{Outside, Present};
use super::{Admitted, Answers, each, held};

/// The RANDAO reveals of an epoch in the window.
///
/// # Errors
/// [`Rejection::TooLarge`].
pub(crate) fn randao(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    epoch: Epoch,
    validators: &[ValidatorPublic],
) -> Result<Answers, Rejection> {
    let window = Present::at(network, now).and_then(|present| present.contains_epoch(epoch));
    let what = || format!("RANDAO reveal of epoch {epoch}");
    for_all(holds, validators, randao_signing_root(&network.chain, epoch), &window, what)
}

/// The proofs of having been selected as aggregator of a slot in the window.
///
/// # Errors
/// [`Rejection::TooLarge`].
pub(crate) fn selection(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    slot: Slot,
    validators: &[ValidatorPublic],
) -> Result<Answers, Rejection> {
    let window = Present::at(network, now).and_then(|present| present.contains_epoch_of(slot));
    let what = || format!("selection proof of slot {slot}");
    for_all(holds, validators, selection_signing_root(&network.chain, slot), &window, what)
}

/// The proofs of having been selected as sync contributor of a slot in the window, each in its subcommittee.
///
/// # Errors
/// [`Rejection::TooLarge`].
pub(crate) fn sync_selection(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    slot: Slot,
    selections: &[(ValidatorPublic, u64)],
) -> Result<Answers, Rejection> {
    let window = Present::at(network, now).and_then(|present| present.contains_epoch_of(slot));
    each(selections, |&(validator, subcommittee)| {
        held(validator, &holds)?;
        let last = SYNC_COMMITTEE_SUBNET_COUNT - 1;
        let exists = if subcommittee <= last { Ok(()) } else { Err(Outside::Subcommittee { last }) };
        window.clone().and(exists).map_err(|outside| {
            outside.refuse(format!("sync selection proof of slot {slot}, subcommittee {subcommittee}"))
        })?;
        Ok(Admitted { validator, root: sync_selection_signing_root(&network.chain, slot, subcommittee) })
    })
}

/// The sync committee messages of a slot for one block.
///
/// # Errors
/// [`Rejection::TooLarge`].
pub(crate) fn sync_message(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    slot: Slot,
    block_root: Root,
    validators: &[ValidatorPublic],
) -> Result<Answers, Rejection> {
    let window = for_object(network, now, slot);
    let what = || format!("sync message of slot {slot}");
    for_all(holds, validators, sync_message_signing_root(&network.chain, slot, block_root), &window, what)
}

/// Aggregates with their proofs.
///
/// # Errors
/// [`Rejection::TooLarge`].
pub(crate) fn aggregate(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    batch: &[RootToSign],
) -> Result<Answers, Rejection> {
    objects(network, now, holds, batch, DomainType::AggregateAndProof, "aggregate")
}

/// Sync contributions with their proofs.
///
/// # Errors
/// [`Rejection::TooLarge`].
pub(crate) fn contribution(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    batch: &[RootToSign],
) -> Result<Answers, Rejection> {
    objects(network, now, holds, batch, DomainType::ContributionAndProof, "sync contribution")
}

/// One root for every validator whose share is held, when the window has it.
fn for_all(
    holds: impl Fn(&ValidatorPublic) -> bool,
    validators: &[ValidatorPublic],
    root: SigningRoot,
    window: &Result<(), Outside>,
    what: impl Fn() -> String,
) -> Result<Answers, Rejection> {
    each(validators, |&validator| {
        held(validator, &holds)?;
        window.clone().map_err(|outside| outside.refuse(what()))?;
        Ok(Admitted { validator, root })
    })
}

/// Opaque object roots under one domain, each by the fork of its own slot.
fn objects(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    batch: &[RootToSign],
    domain_type: DomainType,
    name: &str,
) -> Result<Answers, Rejection> {
    each(batch, |&RootToSign { validator, slot, root }| {
        held(validator, &holds)?;
        for_object(network, now, slot).map_err(|outside| outside.refuse(format!("{name} of slot {slot}")))?;
        let root = signing_root_at(&network.chain, domain_type, network.chain.epoch_of(slot), root);
        Ok(Admitted { validator, root })
    })
}

/// The window of what is made within its slot: it is not ahead of its time, and it is not old.
fn for_object(network: &NetworkPins, now: Millis, slot: Slot) -> Result<(), Outside> {
    let present = Present::at(network, now)?;
    present.reaches_slot(slot)?;
    present.contains_epoch_of(slot)
}

/// consensus-specs altair/validator.md, `SYNC_COMMITTEE_SUBNET_COUNT`.
const SYNC_COMMITTEE_SUBNET_COUNT: u64 = 4;
