//! What only the operator decides: exits and builder registrations. That the authority ordered them is checked before.

use holdfast_eth::BuilderRegistration;
use holdfast_eth::domain::exit_signing_root;
use holdfast_evidence::NetworkPins;
use holdfast_types::{Epoch, Millis, ValidatorIndex, ValidatorPublic};
use holdfast_vault_client::SigningRefused;

use super::window::{Outside, Present};
use super::{Admitted, held};

/// A voluntary exit, under the fork version that holds for ever (EIP-7044).
///
/// The epoch is the earliest at which it counts, and there is no lower bound: operators agree on an old epoch so that
/// their partial signatures are of the same exit. One ahead of the present by more than the window is a slip: the chain
/// would not take it now, and by then nobody may remember that it lies about.
///
/// # Errors
/// When the vault does not hold the share, or the epoch is too far ahead.
pub(crate) fn exit(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    validator: ValidatorPublic,
    index: ValidatorIndex,
    epoch: Epoch,
) -> Result<Admitted, SigningRefused> {
    held(validator, holds)?;
    exit_window(network, now, epoch)
        .map_err(|outside| outside.refuse(format!("exit of validator {} at epoch {epoch}", index.0)))?;
    let root = exit_signing_root(network.exit_fork_version, network.chain.genesis_validators_root, epoch, index);
    Ok(Admitted { validator, root })
}

/// A registration with builders: its domain has the genesis fork version and no chain's root.
///
/// Relays take the one with the latest time, so one far ahead of the clock could not be replaced for as long; a day is
/// for clocks and time zones that are set wrong. All operators put in the same time, which may be long ago.
///
/// # Errors
/// When the vault does not hold the share, the time is too far ahead, or the gas limit is none.
pub(crate) fn registration(
    network: &NetworkPins,
    now: Millis,
    holds: impl Fn(&ValidatorPublic) -> bool,
    asked: &BuilderRegistration,
) -> Result<Admitted, SigningRefused> {
    held(asked.pubkey, holds)?;
    registration_window(network, now, asked).map_err(|outside| {
        let BuilderRegistration { timestamp_s, gas_limit, .. } = asked;
        outside.refuse(format!("builder registration of time {timestamp_s} s with gas limit {gas_limit}"))
    })?;
    Ok(Admitted { validator: asked.pubkey, root: asked.signing_root(network.chain.genesis_fork_version) })
}

fn exit_window(network: &NetworkPins, now: Millis, epoch: Epoch) -> Result<(), Outside> {
    let present = Present::at(network, now)?;
    let last = present.last_epoch();
    if epoch <= last { Ok(()) } else { Err(Outside::EpochAhead { present: present.epoch(), last }) }
}

fn registration_window(network: &NetworkPins, now: Millis, asked: &BuilderRegistration) -> Result<(), Outside> {
    Present::at(network, now)?;
    let present_s = now.0 / 1_000;
    let last_s = present_s.saturating_add(REGISTRATION_AHEAD_S);
    if asked.timestamp_s > last_s {
        return Err(Outside::TimeAhead { present_s, last_s });
    }
    if !(GAS_LIMIT_MIN..=GAS_LIMIT_MAX).contains(&asked.gas_limit) {
        return Err(Outside::GasLimit { first: GAS_LIMIT_MIN, last: GAS_LIMIT_MAX });
    }
    Ok(())
}

/// A day.
const REGISTRATION_AHEAD_S: u64 = 24 * 60 * 60;
/// No block's gas limit may be lower (execution-specs, `GAS_LIMIT_MINIMUM`).
const GAS_LIMIT_MIN: u64 = 5_000;
/// Five times the highest that a public network plans (200 million, Sepolia with Gloas): what is above has a zero too many.
const GAS_LIMIT_MAX: u64 = 1_000_000_000;
