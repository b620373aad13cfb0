//! The justified messages that an instance holds, per source and bounded.

use std::collections::VecDeque;

use holdfast_wire::qbft::SignedMsg;

use super::operators::Operators;

/// A justified message with the part of its justification that is worth keeping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) msg: SignedMsg,
    pub(super) justification: Vec<SignedMsg>,
}

/// What became of a message that was to be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is held now.
    New,
    /// It was held already, or is of an earlier round than everything that there is room for.
    Known,
    /// Its source said something else for the same round before; it is not held.
    Contradicts,
}

/// All messages of an instance, in a FIFO per source.
#[derive(Clone, Debug)]
pub(super) struct Held {
    by_source: Vec<VecDeque<Entry>>,
}

impl Held {
    pub(super) fn new(operators: Operators) -> Self {
        Self { by_source: vec![VecDeque::new(); operators.count()] }
    }

    /// Holds a message of a known operator.
    ///
    /// One message per source, type and round. An honest operator sends no other, and anybody may hand on an
    /// operator's old messages: holding each again would let a peer wash the newer ones out of that operator's FIFO. For the
    /// same reason the lowest round makes room and not the oldest arrival, which for an honest operator is the same.
    pub(super) fn add(&mut self, entry: Entry) -> Added {
        let msg = *entry.msg.msg();
        let fifo = &mut self.by_source[usize::from(msg.peer.0)];
        if let Some(known) =
            fifo.iter().map(|known| known.msg.msg()).find(|known| (known.kind, known.round) == (msg.kind, msg.round))
        {
            return if *known == msg { Added::Known } else { Added::Contradicts };
        }
        if fifo.len() == HELD_PER_SOURCE_MAX {
            let lowest = fifo.iter().enumerate().min_by_key(|(_, held)| held.msg.msg().round);
            let Some((at, round)) = lowest.map(|(at, held)| (at, held.msg.msg().round)) else { return Added::Known };
            if round > msg.round {
                return Added::Known;
            }
            fifo.remove(at);
        }
        fifo.push_back(entry);
        Added::New
    }

    /// Every message, and every message that justifies one.
    pub(super) fn all(&self) -> impl Iterator<Item = &SignedMsg> + Clone {
        self.entries().flat_map(|entry| std::iter::once(&entry.msg).chain(&entry.justification))
    }

    /// The messages with what justifies them: by source, oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.by_source.iter().flatten()
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.by_source.iter_mut().for_each(|fifo| *fifo = VecDeque::new());
    }
}

/// As the reference has it (7.8). An honest operator sends at most four messages a round, so this is 25 full rounds, or
/// 100 rounds in which nothing but ROUND-CHANGEs happened; an older message can no longer matter.
const HELD_PER_SOURCE_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use holdfast_types::{DutyId, OperatorIndex, Slot};
    use holdfast_wire::k1::NodeKey;
    use holdfast_wire::qbft::{Msg, MsgKind};

    use super::*;

    fn round_change(round: u64) -> Entry {
        let (kind, duty, peer) = (MsgKind::RoundChange, DutyId::attester(Slot(1)), OperatorIndex(1));
        let msg = Msg { kind, duty, peer, round, prepared_round: 0, value: None, prepared_value: None };
        Entry { msg: msg.sign(&NodeKey::from_bytes(&[2; 32]).unwrap()), justification: Vec::new() }
    }

    fn rounds(held: &Held) -> Vec<u64> {
        held.entries().map(|entry| entry.msg.msg().round).collect()
    }

    #[test]
    fn old_messages_that_are_handed_on_again_do_not_make_the_newer_go() {
        let mut held = Held::new(Operators::new(4).unwrap());
        let last = HELD_PER_SOURCE_MAX as u64 + 20;
        for round in 1..=last {
            assert_eq!(held.add(round_change(round)), Added::New);
        }
        let newest: Vec<u64> = (21..=last).collect();
        assert_eq!(rounds(&held), newest);
        for round in 1..=20 {
            assert_eq!(held.add(round_change(round)), Added::Known);
        }
        assert_eq!(rounds(&held), newest);
    }
}
