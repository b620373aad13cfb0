//! An operator that lies: it may send anything that it can sign, and hand on anything that it heard.

use holdfast_types::OperatorIndex;
use holdfast_wire::qbft::{Msg, MsgKind, SignedMsg};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::qbft_support::Cluster;

/// Something that the liar sends to one operator.
pub(crate) type Lie = (u8, SignedMsg, Vec<SignedMsg>);

/// A liar with its memory.
pub(crate) struct Liar {
    own: u8,
    heard: Vec<(SignedMsg, Vec<SignedMsg>)>,
    /// How many more times it lies. A liar that leads every third round for ever could delay a decision for ever.
    lies_left: u32,
}

impl Liar {
    pub(crate) fn new(own: u8) -> Self {
        Self { own, heard: Vec::new(), lies_left: 60 }
    }

    /// Hears a message, or that the duty began, and lies about it.
    pub(crate) fn act(
        &mut self,
        heard: Option<(SignedMsg, Vec<SignedMsg>)>,
        cluster: &Cluster,
        rng: &mut StdRng,
    ) -> Vec<Lie> {
        let begins = heard.is_none();
        let invited = heard.as_ref().is_some_and(|(signed, _)| {
            signed.msg().kind == MsgKind::RoundChange && cluster.leader(signed.msg().round) == self.own
        });
        self.heard.extend(heard);
        if self.lies_left == 0 || !(begins || invited || rng.gen_bool(0.2)) {
            return Vec::new();
        }
        self.lies_left -= 1;
        match rng.gen_range(0..7) {
            _ if invited => self.propose(cluster, rng),
            0 | 1 => self.propose(cluster, rng),
            2 | 3 => self.vote_for_everything(cluster, rng),
            4 => self.forge_round_change(cluster, rng),
            5 => self.forge_decided(cluster, rng),
            _ => self.replay(cluster, rng),
        }
    }

    /// Proposes one value to all, or several, in a round that it leads, with whatever justification it can find or
    /// twist; and votes for it.
    fn propose(&self, cluster: &Cluster, rng: &mut StdRng) -> Vec<Lie> {
        let highest = self.pool().map(|signed| signed.msg().round).max().unwrap_or(1);
        let mut led = (1..=highest).rev().take(12).filter(|round| cluster.leader(*round) == self.own);
        let Some(round) = led.next() else { return Vec::new() };
        let mut justification: Vec<SignedMsg> = self
            .pool()
            .filter(|signed| signed.msg().kind == MsgKind::RoundChange && signed.msg().round == round)
            .copied()
            .collect();
        justification.push(cluster.round_change(self.own, round, None));
        if rng.gen_bool(0.5) {
            // Hides that others prepared something.
            justification.retain(|signed| signed.msg().prepared_round == 0);
        } else {
            justification.extend(self.pool().filter(|signed| signed.msg().kind == MsgKind::Prepare).copied());
        }
        justification.sort();
        justification.dedup_by_key(|signed| (signed.msg().kind, signed.msg().peer));
        let equivocates = rng.gen_bool(0.5);
        let mut value = rng.gen_range(1..=3);
        let mut lies = Vec::new();
        for to in 0..cluster.operators.count() as u8 {
            if equivocates {
                value = rng.gen_range(1..=3);
            }
            lies.push((to, cluster.about(MsgKind::PrePrepare, self.own, round, value), justification.clone()));
            lies.push((to, cluster.prepare(self.own, round, value), Vec::new()));
            lies.push((to, cluster.commit(self.own, round, value), Vec::new()));
        }
        lies
    }

    /// Votes for every proposal it knows of, in each of its rounds.
    fn vote_for_everything(&self, cluster: &Cluster, rng: &mut StdRng) -> Vec<Lie> {
        let mut lies = Vec::new();
        for signed in self.pool().filter(|signed| signed.msg().kind == MsgKind::PrePrepare) {
            let Msg { round, value, .. } = *signed.msg();
            for kind in [MsgKind::Prepare, MsgKind::Commit] {
                let vote = cluster.sign(Msg {
                    kind,
                    duty: cluster.duty,
                    peer: OperatorIndex(self.own),
                    round,
                    prepared_round: 0,
                    value,
                    prepared_value: None,
                });
                lies.extend(self.to_all(cluster, vote, &[]));
            }
        }
        lies.shuffle(rng);
        lies.truncate(40);
        lies
    }

    /// Claims to have prepared what was never prepared.
    fn forge_round_change(&self, cluster: &Cluster, rng: &mut StdRng) -> Vec<Lie> {
        let round = rng.gen_range(2..6);
        let (prepared_round, value) = (rng.gen_range(1..round), rng.gen_range(1..=3));
        let own = cluster.prepare(self.own, prepared_round, value);
        let mut justification = vec![own; cluster.operators.quorum()];
        if rng.gen_bool(0.5) {
            justification = self.pool().filter(|signed| signed.msg().kind == MsgKind::Prepare).copied().collect();
            justification.truncate(cluster.operators.quorum());
        }
        self.to_all(cluster, cluster.round_change(self.own, round, Some((prepared_round, value))), &justification)
    }

    /// Claims a decision that no quorum committed to.
    fn forge_decided(&self, cluster: &Cluster, rng: &mut StdRng) -> Vec<Lie> {
        let (round, value) = (rng.gen_range(1..4), rng.gen_range(1..=3));
        let own = cluster.commit(self.own, round, value);
        let mut justification = vec![own; cluster.operators.quorum()];
        if rng.gen_bool(0.5) {
            justification = self.pool().filter(|signed| signed.msg().kind != MsgKind::RoundChange).copied().collect();
            justification.shuffle(rng);
            justification.truncate(2 * cluster.operators.count());
        }
        self.to_all(cluster, cluster.about(MsgKind::Decided, self.own, round, value), &justification)
    }

    /// Hands on an old message, sometimes with another one's justification.
    fn replay(&self, cluster: &Cluster, rng: &mut StdRng) -> Vec<Lie> {
        let (Some((msg, own)), Some((_, other))) = (self.heard.choose(rng), self.heard.choose(rng)) else {
            return Vec::new();
        };
        self.to_all(cluster, *msg, if rng.gen_bool(0.5) { own } else { other })
    }

    fn to_all(&self, cluster: &Cluster, msg: SignedMsg, justification: &[SignedMsg]) -> Vec<Lie> {
        (0..cluster.operators.count() as u8).map(|to| (to, msg, justification.to_vec())).collect()
    }

    /// Every signed message that it ever saw, and those that a value of its own would need.
    fn pool(&self) -> impl Iterator<Item = &SignedMsg> {
        self.heard.iter().flat_map(|(msg, justification)| std::iter::once(msg).chain(justification))
    }
}
