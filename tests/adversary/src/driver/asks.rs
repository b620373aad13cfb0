//! What is asked to be signed: what an honest daemon would ask, and what a hostile one does.

use holdfast_eth::{AttestationData, BeaconBlockHeader, Checkpoint};
use holdfast_types::{ChainSpec, Epoch, Root, Slot};

use crate::rng::Rng;

/// The chain as the daemon sees it.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The justified epoch.
    pub(super) justified: Epoch,
    /// Whether nothing is justified any more.
    pub(super) stalled: bool,
}

impl View {
    /// Follows the chain to an epoch, unless it stalls.
    pub(super) fn follow(&mut self, present: Epoch) {
        if !self.stalled {
            self.justified = Epoch(present.0.saturating_sub(1)).max(self.justified);
        }
    }
}

/// What an honest validator attests in a slot.
pub(super) fn honest_vote(chain: &ChainSpec, view: &View, slot: Slot) -> AttestationData {
    vote(slot, view.justified.min(chain.epoch_of(slot)), chain.epoch_of(slot), 0)
}

/// A vote for another head than the honest one.
pub(super) fn other_vote(chain: &ChainSpec, view: &View, slot: Slot) -> AttestationData {
    AttestationData { beacon_block_root: root(1), ..honest_vote(chain, view, slot) }
}

/// A vote of any kind, most of them close to what may be signed.
pub(super) fn any_vote(chain: &ChainSpec, view: &View, slot: Slot, rng: &mut Rng) -> AttestationData {
    let honest = honest_vote(chain, view, slot);
    let (source, target) = (honest.source.epoch.0, honest.target.epoch.0);
    // Close to the present one most of the rules lie; further back is what an older disk does not know of.
    let back = if rng.one_in(2) { rng.between(1, 3) } else { rng.between(1, BACK_MAX) };
    let branch = rng.between(1, 3);
    match rng.below(32) {
        0..12 => honest,
        12..16 => vote(slot, Epoch(source), Epoch(target), branch),
        16..19 => vote(earlier(chain, slot, back), Epoch(source), Epoch(target.saturating_sub(back)), branch),
        19..22 => vote(later(chain, slot, 1), Epoch(source.saturating_sub(back)), Epoch(target + 1), branch),
        22..25 => vote(earlier(chain, slot, 1), Epoch(source + 1), Epoch(target.saturating_sub(1)), branch),
        25..27 => vote(later(chain, slot, 1), Epoch(source), Epoch(target + 1), 0),
        27 => vote(slot, Epoch(source.saturating_sub(back)), Epoch(target), 0),
        28 => vote(slot, Epoch(target), Epoch(target), branch),
        29 => vote(slot, Epoch(target + 1), Epoch(target), 0),
        30 => vote(later(chain, slot, 1000), Epoch(source), Epoch(target + 1000), 0),
        _ => vote(slot, Epoch(source), Epoch(target + 1), 0),
    }
}

/// A block of any kind.
pub(super) fn any_block(chain: &ChainSpec, slot: Slot, rng: &mut Rng) -> BeaconBlockHeader {
    let slot = match rng.below(16) {
        0..9 => slot,
        9..11 => Slot(slot.0 + 1),
        11..13 => Slot(slot.0.saturating_sub(1)),
        13 => earlier(chain, slot, 1),
        14 => later(chain, slot, 1),
        _ => later(chain, slot, 1000),
    };
    let branch = if rng.one_in(2) { 0 } else { rng.between(1, 3) };
    BeaconBlockHeader {
        slot,
        proposer_index: 7,
        parent_root: root(branch),
        state_root: root(branch),
        body_root: root(branch),
    }
}

fn vote(slot: Slot, source: Epoch, target: Epoch, branch: u64) -> AttestationData {
    AttestationData {
        slot,
        index: 0,
        beacon_block_root: root(branch),
        source: Checkpoint { epoch: source, root: root(0) },
        target: Checkpoint { epoch: target, root: root(branch / 2) },
    }
}

fn earlier(chain: &ChainSpec, slot: Slot, epochs: u64) -> Slot {
    Slot(slot.0.saturating_sub(epochs * chain.slots_per_epoch))
}

fn later(chain: &ChainSpec, slot: Slot, epochs: u64) -> Slot {
    Slot(slot.0 + epochs * chain.slots_per_epoch)
}

fn root(branch: u64) -> Root {
    Root([u8::try_from(branch).unwrap_or(u8::MAX); 32])
}

/// Some leases.
const BACK_MAX: u64 = 24;
