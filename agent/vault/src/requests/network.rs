//! Whether the facts of a network that an order pins can be signed by: the arithmetic of slots and epochs relies on them.
//!
//! It cannot know whether they are true; only that they do not pass for a public network with other facts.

use holdfast_eth::networks;
use holdfast_evidence::NetworkPins;
use holdfast_types::Epoch;

/// Why a network cannot be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnsoundNetwork {
    /// There are no forks, or too many, or they are not in order from epoch 0 on.
    #[error(
        "the network's forks must be 1 to {FORKS_LEN_MAX}, in order, the first at epoch 0: compare with its beacon nodes"
    )]
    Forks,
    /// Its genesis is that of a public network, and its facts are not.
    #[error(
        "the network has the genesis of {name} and other facts: give those of {name}, or the private network's own"
    )]
    NotThePublicOne {
        /// The public network.
        name: &'static str,
    },
    /// A slot has no length, or one that no network has.
    #[error("the network's slots must have 1 to {SLOT_MS_MAX} ms: compare with its beacon nodes")]
    SlotLength,
    /// An epoch has no slots, or more than any network.
    #[error("the network's epochs must have 1 to {SLOTS_PER_EPOCH_MAX} slots: compare with its beacon nodes")]
    SlotsPerEpoch,
}

/// Checks the facts of a network that is to be pinned.
///
/// A public network may be pinned too, with all that is built in and with forks that were scheduled after the release.
///
/// # Errors
/// When they cannot be signed by.
pub(crate) fn check_network(network: &NetworkPins) -> Result<(), UnsoundNetwork> {
    let chain = &network.chain;
    if !(1..=SLOT_MS_MAX).contains(&chain.slot_ms) {
        return Err(UnsoundNetwork::SlotLength);
    }
    if !(1..=SLOTS_PER_EPOCH_MAX).contains(&chain.slots_per_epoch) {
        return Err(UnsoundNetwork::SlotsPerEpoch);
    }
    let first = chain.forks.first().map(|fork| fork.epoch);
    let in_order = chain.forks.is_sorted_by_key(|fork| fork.epoch);
    if chain.forks.len() > FORKS_LEN_MAX || first != Some(Epoch(0)) || !in_order {
        return Err(UnsoundNetwork::Forks);
    }
    let same_genesis = |public: &networks::NetworkFacts| {
        public.chain.genesis_validators_root == chain.genesis_validators_root
            || public.chain.genesis_fork_version == chain.genesis_fork_version
    };
    match networks::all().find(same_genesis) {
        Some(public) if !extends(network, &public) => Err(UnsoundNetwork::NotThePublicOne { name: public.name }),
        _ => Ok(()),
    }
}

/// Whether the facts are those of the public network, but for forks after the last that is built in.
fn extends(network: &NetworkPins, public: &networks::NetworkFacts) -> bool {
    let mut chain = network.chain.clone();
    chain.forks.truncate(public.chain.forks.len());
    chain == public.chain && network.exit_fork_version == public.exit_fork_version
}

/// Public networks have 5 or 12 s, test chains less.
const SLOT_MS_MAX: u64 = 60_000;
/// Public networks have 16 or 32.
const SLOTS_PER_EPOCH_MAX: u64 = 1_024;
/// Public networks have seven or eight, one more a year.
const FORKS_LEN_MAX: usize = 64;
