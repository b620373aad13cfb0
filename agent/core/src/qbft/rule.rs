//! Which rule of the algorithm a justified message sets off (`cluster-wire.md` section 7.8.2).

use std::collections::BTreeMap;

use holdfast_types::OperatorIndex;
use holdfast_wire::qbft::{Msg, MsgKind, SignedMsg};

use super::held::{Entry, Held};
use super::justify::{deciding_commits, find_for_leader, one_per_source};
use super::operators::Operators;

/// The rules, in the order of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    /// The leader proposes, and may.
    JustifiedPrePrepare,
    /// A quorum prepared one value in our round.
    QuorumPrepares,
    /// A quorum committed to one value in our round.
    QuorumCommits,
    /// Somebody proves that a quorum committed.
    JustifiedDecided,
    /// So many went on to later rounds that one of them is honest.
    FaultyPlusOneRoundChanges,
    /// A quorum came to our round, we lead it, and they justify a proposal.
    QuorumRoundChanges,
    /// A quorum came to our round, but they justify no proposal yet.
    UnjustQuorumRoundChanges,
}

/// A rule with the messages that satisfy it.
#[derive(Clone, Debug)]
pub(super) struct Match {
    pub(super) rule: Rule,
    pub(super) set: Vec<SignedMsg>,
}

/// Where an instance stands when a message arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standpoint<'a> {
    pub(super) operators: Operators,
    pub(super) own: OperatorIndex,
    pub(super) round: u64,
    pub(super) held: &'a Held,
}

impl Standpoint<'_> {
    /// The rule for a message that is held already.
    pub(super) fn rule_for(&self, entry: &Entry) -> Option<Match> {
        let msg = entry.msg.msg();
        match msg.kind {
            MsgKind::Decided => {
                let set = deciding_commits(self.operators, msg, &entry.justification)?;
                Some(Match { rule: Rule::JustifiedDecided, set })
            }
            MsgKind::PrePrepare => {
                (msg.round >= self.round).then_some(Match { rule: Rule::JustifiedPrePrepare, set: Vec::new() })
            }
            MsgKind::Prepare => self.quorum_of_votes(msg, Rule::QuorumPrepares),
            MsgKind::Commit => self.quorum_of_votes(msg, Rule::QuorumCommits),
            MsgKind::RoundChange if msg.round > self.round => self.round_changes_ahead(),
            MsgKind::RoundChange if msg.round == self.round => self.round_changes_here(msg),
            MsgKind::RoundChange => None,
        }
    }

    fn quorum_of_votes(&self, vote: &Msg, rule: Rule) -> Option<Match> {
        if vote.round != self.round {
            return None;
        }
        let same = |msg: &Msg| msg.kind == vote.kind && msg.round == vote.round && msg.value == vote.value;
        let set = one_per_source(self.held.all(), same);
        (set.len() >= self.operators.quorum()).then_some(Match { rule, set })
    }

    /// Scans until F+1 sources are found that are ahead of us, with the highest round seen of each.
    fn round_changes_ahead(&self) -> Option<Match> {
        let mut highest: BTreeMap<OperatorIndex, SignedMsg> = BTreeMap::new();
        for signed in self.held.all() {
            let msg = signed.msg();
            if msg.kind != MsgKind::RoundChange || msg.round <= self.round {
                continue;
            }
            let known = highest.entry(msg.peer).or_insert(*signed);
            if known.msg().round < msg.round {
                *known = *signed;
            }
            if highest.len() > self.operators.faulty() {
                let set = highest.into_values().collect();
                return Some(Match { rule: Rule::FaultyPlusOneRoundChanges, set });
            }
        }
        None
    }

    fn round_changes_here(&self, vote: &Msg) -> Option<Match> {
        let here = |msg: &Msg| msg.kind == MsgKind::RoundChange && msg.round == vote.round;
        if one_per_source(self.held.all(), here).len() < self.operators.quorum() {
            return None;
        }
        match find_for_leader(self.operators, self.held.all(), vote.round) {
            None => Some(Match { rule: Rule::UnjustQuorumRoundChanges, set: Vec::new() }),
            Some(set) if self.operators.leader(vote.duty, vote.round) == self.own => {
                Some(Match { rule: Rule::QuorumRoundChanges, set })
            }
            Some(_) => None,
        }
    }
}
