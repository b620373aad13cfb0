//! How many votes decide, how many operators may fail, and who leads (`cluster-wire.md` sections 7.6 and 7.7).

use holdfast_types::{DutyId, OPERATORS_MAX, OperatorIndex};

/// The number of operators of a cluster, from 1 to [`OPERATORS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operators(u8);

impl Operators {
    /// Takes the number when a cluster can have it.
    #[must_use]
    pub fn new(count: usize) -> Option<Self> {
        u8::try_from(count).ok().filter(|_| (1..=OPERATORS_MAX).contains(&count)).map(Self)
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0 as usize
    }

    /// How many votes it takes to prepare, to decide and to justify a round: two thirds, rounded up.
    #[must_use]
    pub const fn quorum(self) -> usize {
        (2 * self.count()).div_ceil(3)
    }

    /// How many operators may fail in any way without harm: F.
    #[must_use]
    pub const fn faulty(self) -> usize {
        (self.count() - 1) / 3
    }

    /// Who may propose in a round of a duty.
    #[must_use]
    pub const fn leader(self, duty: DutyId, round: u64) -> OperatorIndex {
        let n = self.0 as u64;
        // Each term is reduced first, so that no slot or round of a peer's making can overflow the sum.
        let index = (duty.slot.0 % n + duty.kind.number() as u64 % n + round % n) % n;
        OperatorIndex(index as u8)
    }

    /// Whether the cluster has this operator.
    #[must_use]
    pub const fn contains(self, operator: OperatorIndex) -> bool {
        operator.0 < self.0
    }

    /// The longest justification that a message may carry (7.5 step 3): a vote for the round and a PREPARE of everyone.
    #[must_use]
    pub const fn justification_len_max(self) -> usize {
        2 * self.count()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{DutyKind, Slot};

    use super::*;

    /// The table of `cluster-wire.md` section 7.7.
    #[test]
    fn quorum_and_faulty_are_as_the_table_says() {
        const QUORUM: [usize; 22] = [1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11, 12, 12, 13, 14, 14, 15];
        const FAULTY: [usize; 22] = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6, 6, 7];
        for n in 1..=22 {
            let operators = Operators::new(n).unwrap();
            assert_eq!((operators.quorum(), operators.faulty()), (QUORUM[n - 1], FAULTY[n - 1]), "n = {n}");
        }
    }

    /// What safety and progress rest on, for every cluster that can be.
    #[test]
    fn two_quorums_share_an_honest_operator_and_the_honest_are_a_quorum() {
        for n in 1..=OPERATORS_MAX {
            let operators = Operators::new(n).unwrap();
            assert!(2 * operators.quorum() - n > operators.faulty(), "n = {n}");
            assert!(n - operators.faulty() >= operators.quorum(), "n = {n}");
        }
        assert_eq!(Operators::new(0), None);
        assert_eq!(Operators::new(OPERATORS_MAX + 1), None);
    }

    /// The leaders of `cluster-wire.md` section 14.3.
    #[test]
    fn leaders_rotate_with_slot_type_and_round() {
        let operators = Operators::new(4).unwrap();
        let duty = DutyId::attester(Slot(123_456));
        let leaders: Vec<u8> = (1..=4).map(|round| operators.leader(duty, round).0).collect();
        assert_eq!(leaders, [3, 0, 1, 2]);
        let last = DutyId { slot: Slot(u64::MAX), kind: DutyKind::InfoSync };
        assert!(operators.contains(operators.leader(last, u64::MAX)));
    }
}
