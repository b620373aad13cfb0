//! How good a beacon node is at present, so that its answer can be preferred over that of one that is behind.

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_types::Slot;

/// What is known of one beacon node; written by its state poll and its event stream, read by every question.
#[derive(Debug)]
pub(super) struct Standing {
    /// Slots behind, as it says itself; [`NOT_FOLLOWING`] when it does not follow the chain or was not asked yet.
    behind: AtomicU64,
    /// The slot of the newest head that its event stream told.
    head: AtomicU64,
}

const NOT_FOLLOWING: u64 = u64::MAX;
const NO_HEAD: u64 = u64::MAX;

impl Default for Standing {
    fn default() -> Self {
        Self { behind: AtomicU64::new(NOT_FOLLOWING), head: AtomicU64::new(NO_HEAD) }
    }
}

impl Standing {
    pub(super) fn follows(&self, slots_behind: u64) {
        self.behind.store(slots_behind, Ordering::Relaxed);
    }

    pub(super) fn does_not_follow(&self) {
        self.behind.store(NOT_FOLLOWING, Ordering::Relaxed);
    }

    pub(super) fn has_head(&self, slot: Slot) {
        self.head.store(slot.0, Ordering::Relaxed);
    }

    pub(super) fn slots_behind(&self) -> u64 {
        self.behind.load(Ordering::Relaxed)
    }

    /// 0 for the best: nodes at most one slot behind the one that is furthest, `best_behind`. Among them, when it is about
    /// a slot, those that have its block already: others would attest to an older head.
    pub(super) fn rank(&self, best_behind: u64, slot: Option<Slot>) -> u8 {
        let is_behind = self.slots_behind() > best_behind.saturating_add(1);
        let lacks_block = slot.is_some_and(|slot| self.head.load(Ordering::Relaxed) != slot.0);
        2 * u8::from(is_behind) + u8::from(lacks_block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_behind_ranks_after_one_that_lacks_the_newest_block() {
        let (new, old) = (Standing::default(), Standing::default());
        assert_eq!((new.rank(NOT_FOLLOWING, None), old.rank(NOT_FOLLOWING, None)), (0, 0));
        new.follows(0);
        old.follows(5);
        old.has_head(Slot(9));
        assert_eq!((new.rank(0, Some(Slot(9))), old.rank(0, Some(Slot(9)))), (1, 2));
        new.has_head(Slot(9));
        new.follows(1);
        assert_eq!((new.rank(0, Some(Slot(9))), new.rank(0, None)), (0, 0));
    }
}
