//! Attestations and blocks: what the chain slashes when it is signed twice.

use holdfast_eth::domain::{attestation_signing_root, block_signing_root};
use holdfast_evidence::NetworkPins;
use holdfast_types::{Millis, ValidatorPublic};
use holdfast_vault_client::{AttestationToSign, BlockToSign, Rejection, SigningRefused};

use super::window::{Outside, Present};
use super::{Candidate, each, held};

/// For each entry of a batch, in its order, what the history has to decide on, or why there is nothing to decide.
pub(crate) type Triage = Vec<Result<Candidate, SigningRefused>>;

/// Checks that the vault holds the share, that the target is the slot's epoch, and that neither is more than one ahead of
/// the clock.
///
/// # Errors
/// [`Rejection::TooLarge`].
pub(crate) fn attestations(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    batch: &[AttestationToSign],
) -> Result<Triage, Rejection> {
    each(batch, |asked| {
        held(asked.validator, &holds)?;
        attestation(network, now, asked).map_err(|outside| {
            let AttestationToSign { data, .. } = asked;
            outside.refuse(format!("attestation for slot {}, target epoch {}", data.slot, data.target.epoch))
        })
    })
}

/// Checks that the vault holds the share, and that the slot is at most one ahead of the clock.
///
/// # Errors
/// When one of the two is not so.
pub(crate) fn block(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    asked: &BlockToSign,
) -> Result<Candidate, SigningRefused> {
    let BlockToSign { validator, header } = asked;
    held(*validator, holds)?;
    Present::at(network, now)
        .and_then(|present| present.reaches_slot(header.slot))
        .map_err(|outside| outside.refuse(format!("block of slot {}", header.slot)))?;
    let root = block_signing_root(&network.chain, header.slot, header.hash_tree_root());
    Ok(Candidate::Block { validator: *validator, slot: header.slot, root })
}

fn attestation(network: &NetworkPins, now: Millis, asked: &AttestationToSign) -> Result<Candidate, Outside> {
    let AttestationToSign { validator, data } = asked;
    let epoch = network.chain.epoch_of(data.slot);
    if data.target.epoch != epoch {
        return Err(Outside::Target(epoch));
    }
    // With the slot the target is bounded too: one slot ahead is at most one epoch ahead.
    Present::at(network, now)?.reaches_slot(data.slot)?;
    Ok(Candidate::Attestation {
        validator: *validator,
        source: data.source.epoch,
        target: data.target.epoch,
        root: attestation_signing_root(&network.chain, data),
        slot: data.slot,
    })
}
