//! Consensus on the value of one duty: an instance of QBFT (`cluster-wire.md` section 7).
//!
//! An instance is a function of its calls: it reads no clock, sends nothing and signs nothing. It works on hashes; the
//! values themselves, their checks and the signatures are the business of others. It does not compare the leader's
//! value with our own before it votes (section 7.8.5, a feature that is off by default).
//!
//! Our own messages are messages like any other: an instance asks for one with [`Output::Broadcast`] and counts it only
//! when it comes back, signed, through [`Instance::on_message`]. It is correct however late that is, or if it never is.

mod held;
mod justify;
pub mod operators;
mod rule;
mod timer;

use std::collections::BTreeSet;

use holdfast_types::{DutyId, Millis, OperatorIndex};
use holdfast_wire::qbft::{Msg, MsgKind, SignedMsg, ValueHash};

use self::held::{Added, Entry, Held};
use self::operators::Operators;
use self::rule::{Match, Rule, Standpoint};
use self::timer::Timer;

/// What an instance is about.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// How many operators the cluster has.
    pub operators: Operators,
    /// Which of them we are.
    pub own: OperatorIndex,
    /// The duty.
    pub duty: DutyId,
    /// The duty's start, from which rounds are counted (7.9): for an attester a third into the slot.
    pub start: Millis,
    /// The duty's deadline (5.1). After it the instance does nothing any more.
    pub end: Millis,
}

/// What an instance wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Sign the message, send it to every peer with the values of all its hashes, and give it back to
    /// [`Instance::on_message`].
    Broadcast {
        /// What to say.
        msg: Msg,
        /// Messages of all operators that justify it.
        justification: Vec<SignedMsg>,
    },
    /// The cluster decided. Comes at most once.
    Decided {
        /// The hash of the value.
        value: ValueHash,
        /// The round in which a quorum committed to it.
        round: u64,
        /// The COMMITs of that quorum: the proof.
        commits: Vec<SignedMsg>,
    },
}

/// Why a message was refused. The one who signed it is not always at fault: a message can be handed on by anybody, and
/// with another justification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The signer said something else for the same round before.
    #[error("{kind:?} of operator {operator} for round {round} contradicts an earlier one")]
    Contradiction {
        /// The signer.
        operator: OperatorIndex,
        /// The message's type.
        kind: MsgKind,
        /// Its round.
        round: u64,
    },
    /// The message, or one that justifies it, is about another duty or of nobody in the cluster.
    #[error("message does not belong to consensus on {duty}")]
    Foreign {
        /// The duty of the instance.
        duty: DutyId,
    },
    /// The justification is longer than any honest one.
    #[error("{len} justifying messages are more than the {len_max} that a message may carry")]
    Overlong {
        /// How many came.
        len: usize,
        /// How many may come.
        len_max: usize,
    },
    /// The duty's deadline is past.
    #[error("consensus on {duty} is over")]
    Over {
        /// The duty.
        duty: DutyId,
    },
    /// What came with the message does not justify it.
    #[error("{kind:?} of operator {operator} for round {round} is not justified")]
    Unjustified {
        /// The signer.
        operator: OperatorIndex,
        /// The message's type.
        kind: MsgKind,
        /// Its round.
        round: u64,
    },
}

/// An instance of QBFT.
#[derive(Clone, Debug)]
pub struct Instance {
    params: Params,
    started: bool,
    round: u64,
    input: Option<ValueHash>,
    /// The justification with which we propose as soon as there is something to propose.
    waiting: Option<Vec<SignedMsg>>,
    prepared: Option<Prepared>,
    decided: Option<Decided>,
    held: Held,
    /// The rules that set something off in this round. Of other rounds nothing is kept: every rule that a message of
    /// another round can set off takes us out of this one.
    fired: BTreeSet<Rule>,
    timer: Timer,
}

#[derive(Clone, Debug)]
struct Prepared {
    round: u64,
    value: ValueHash,
    prepares: Vec<SignedMsg>,
}

#[derive(Clone, Debug)]
struct Decided {
    value: ValueHash,
    round: u64,
    commits: Vec<SignedMsg>,
    /// What each operator that came late was told, by its index.
    answers: Vec<Answers>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Answers {
    highest_round: u64,
    given: u8,
}

impl Instance {
    /// An instance that only collects messages until it is [started](Self::start).
    ///
    /// # Panics
    ///
    /// When the cluster has no such operator as `own`.
    #[must_use]
    pub fn new(params: Params) -> Self {
        assert!(params.operators.contains(params.own), "our own operator index is one of the cluster's");
        Self {
            params,
            started: false,
            round: 1,
            input: None,
            waiting: None,
            prepared: None,
            decided: None,
            held: Held::new(params.operators),
            fired: BTreeSet::new(),
            timer: Timer::new(params.duty.kind, params.start),
        }
    }

    /// Takes part from now on, with or without a value of our own. Only the first call counts.
    pub fn start(&mut self, now: Millis, out: &mut Vec<Output>) {
        if self.started || now > self.params.end {
            return;
        }
        self.started = true;
        if self.leads(1) {
            self.propose(Vec::new(), out);
        }
        self.timer.restart(1);
        // Each early message is judged again, as if it came now.
        for entry in self.held.entries().cloned().collect::<Vec<_>>() {
            if self.decided.is_none() {
                self.react(&entry, out);
            }
        }
        self.on_time(now, out);
    }

    /// Gives the value that we propose when we lead. Only the first call counts.
    pub fn set_input(&mut self, value: ValueHash, now: Millis, out: &mut Vec<Output>) {
        if self.input.is_some() || now > self.params.end {
            return;
        }
        self.input = Some(value);
        if let Some(justification) = self.waiting.take() {
            self.broadcast(MsgKind::PrePrepare, value, justification, out);
        }
    }

    /// Takes a verified message of an operator, or one of our own that was signed.
    ///
    /// # Errors
    ///
    /// When the message is not to be believed; the instance is as before.
    pub fn on_message(
        &mut self,
        msg: &SignedMsg,
        justification: &[SignedMsg],
        now: Millis,
        out: &mut Vec<Output>,
    ) -> Result<(), Refused> {
        self.check_form(msg, justification, now)?;
        if self.decided.is_some() {
            self.answer(msg.msg(), out);
            return Ok(());
        }
        let Msg { peer: operator, kind, round, .. } = *msg.msg();
        if !justify::is_justified(self.params.operators, msg.msg(), justification) {
            return Err(Refused::Unjustified { operator, kind, round });
        }
        let kept = justify::worth_keeping(msg.msg(), justification).to_vec();
        let entry = Entry { msg: *msg, justification: kept };
        if self.held.add(entry.clone()) == Added::Contradicts {
            return Err(Refused::Contradiction { operator, kind, round });
        }
        if self.started {
            self.react(&entry, out);
        }
        Ok(())
    }

    /// Ends every round whose time is over. To be called at [`deadline`](Self::deadline); too early does no harm.
    ///
    /// A call ends no more rounds than there are seconds from the duty's start to its end.
    pub fn on_time(&mut self, now: Millis, out: &mut Vec<Output>) {
        if now > self.params.end {
            return;
        }
        while self.timer.deadline().is_some_and(|deadline| deadline <= now) {
            self.change_round(self.round.saturating_add(1));
            self.timer.restart(self.round);
            self.broadcast_round_change(out);
        }
    }

    /// When [`on_time`](Self::on_time) has something to do; `None` when never.
    #[must_use]
    pub fn deadline(&self) -> Option<Millis> {
        self.timer.deadline().filter(|deadline| *deadline <= self.params.end)
    }

    /// The round that the instance is in, from 1; after the decision the round that decided.
    #[must_use]
    pub const fn round(&self) -> u64 {
        self.round
    }

    /// The last round and value that a quorum prepared while we were there.
    #[must_use]
    pub fn prepared(&self) -> Option<(u64, ValueHash)> {
        self.prepared.as_ref().map(|prepared| (prepared.round, prepared.value))
    }

    /// The decided value and the round that decided.
    #[must_use]
    pub fn decided(&self) -> Option<(u64, ValueHash)> {
        self.decided.as_ref().map(|decided| (decided.round, decided.value))
    }

    /// The hash of every value that a later broadcast can need. Other values can be forgotten.
    #[must_use]
    pub fn values_in_use(&self) -> BTreeSet<ValueHash> {
        let held = self.held.all().flat_map(|signed| [signed.msg().value, signed.msg().prepared_value]);
        let own = [self.input, self.prepared().map(|(_, value)| value), self.decided().map(|(_, value)| value)];
        held.chain(own).flatten().collect()
    }

    /// Refuses what could not be ours to judge. Most of it was refused at decoding already.
    fn check_form(&self, msg: &SignedMsg, justification: &[SignedMsg], now: Millis) -> Result<(), Refused> {
        let Params { operators, duty, end, .. } = self.params;
        let (len, len_max) = (justification.len(), operators.justification_len_max());
        let ours = |signed: &SignedMsg| signed.msg().duty == duty && operators.contains(signed.msg().peer);
        if now > end {
            return Err(Refused::Over { duty });
        }
        if len > len_max {
            return Err(Refused::Overlong { len, len_max });
        }
        if !ours(msg) || !justification.iter().all(ours) {
            return Err(Refused::Foreign { duty });
        }
        Ok(())
    }

    /// Lets a justified message set off its rule, once a round (7.8.1 step 4).
    fn react(&mut self, entry: &Entry, out: &mut Vec<Output>) {
        let Params { operators, own, .. } = self.params;
        let standpoint = Standpoint { operators, own, round: self.round, held: &self.held };
        let Some(Match { rule, set }) = standpoint.rule_for(entry) else { return };
        let msg = entry.msg.msg();
        if msg.round == self.round && !self.fired.insert(rule) {
            return;
        }
        match rule {
            Rule::JustifiedPrePrepare => self.on_proposal(msg, out),
            Rule::QuorumPrepares => self.on_prepared(msg, set, out),
            Rule::QuorumCommits | Rule::JustifiedDecided => self.on_decision(msg, set, out),
            Rule::FaultyPlusOneRoundChanges => self.on_others_ahead(&set, out),
            Rule::QuorumRoundChanges => self.on_leading(set, out),
            Rule::UnjustQuorumRoundChanges => {}
        }
    }

    fn on_proposal(&mut self, proposal: &Msg, out: &mut Vec<Output>) {
        let Some(value) = proposal.value else { return };
        self.change_round(proposal.round);
        // Once more, for changing the round forgot it: a second proposal of this round is the leader's equivocation.
        self.fired.insert(Rule::JustifiedPrePrepare);
        self.timer.restart(self.round);
        self.broadcast(MsgKind::Prepare, value, Vec::new(), out);
    }

    fn on_prepared(&mut self, vote: &Msg, prepares: Vec<SignedMsg>, out: &mut Vec<Output>) {
        let Some(value) = vote.value else { return };
        self.prepared = Some(Prepared { round: self.round, value, prepares });
        self.broadcast(MsgKind::Commit, value, Vec::new(), out);
    }

    fn on_decision(&mut self, vote: &Msg, commits: Vec<SignedMsg>, out: &mut Vec<Output>) {
        let Some(value) = vote.value else { return };
        self.change_round(vote.round);
        self.timer.stop();
        // From here on only the decision and its proof are needed.
        self.held.clear();
        self.prepared = None;
        self.waiting = None;
        let answers = vec![Answers::default(); self.params.operators.count()];
        self.decided = Some(Decided { value, round: vote.round, commits: commits.clone(), answers });
        out.push(Output::Decided { value, round: vote.round, commits });
    }

    fn on_others_ahead(&mut self, ahead: &[SignedMsg], out: &mut Vec<Output>) {
        let Some(lowest) = ahead.iter().map(|signed| signed.msg().round).min() else { return };
        self.change_round(lowest);
        self.timer.restart(lowest);
        self.broadcast_round_change(out);
    }

    fn on_leading(&mut self, justification: Vec<SignedMsg>, out: &mut Vec<Output>) {
        match justify::prepared_pair(self.params.operators, &justification) {
            Some((_, value)) => self.broadcast(MsgKind::PrePrepare, value, justification, out),
            None => self.propose(justification, out),
        }
    }

    /// Tells a latecomer what was decided (7.8.1 step 1). Its justification does not matter.
    fn answer(&mut self, msg: &Msg, out: &mut Vec<Output>) {
        let Some(decided) = &mut self.decided else { return };
        if msg.kind != MsgKind::RoundChange || msg.peer == self.params.own {
            return;
        }
        let answers = &mut decided.answers[usize::from(msg.peer.0)];
        if msg.round <= answers.highest_round || answers.given == ANSWERS_PER_OPERATOR_MAX {
            return;
        }
        *answers = Answers { highest_round: msg.round, given: answers.given + 1 };
        let (value, commits) = (decided.value, decided.commits.clone());
        self.broadcast(MsgKind::Decided, value, commits, out);
    }

    fn change_round(&mut self, round: u64) {
        if round != self.round {
            self.round = round;
            self.fired.clear();
            self.waiting = None;
        }
    }

    /// Proposes our own value, or remembers to do so when it comes.
    fn propose(&mut self, justification: Vec<SignedMsg>, out: &mut Vec<Output>) {
        match self.input {
            Some(value) => self.broadcast(MsgKind::PrePrepare, value, justification, out),
            None => self.waiting = Some(justification),
        }
    }

    fn broadcast(&self, kind: MsgKind, value: ValueHash, justification: Vec<SignedMsg>, out: &mut Vec<Output>) {
        let Params { duty, own: peer, .. } = self.params;
        let round = self.round;
        let msg = Msg { kind, duty, peer, round, prepared_round: 0, value: Some(value), prepared_value: None };
        out.push(Output::Broadcast { msg, justification });
    }

    fn broadcast_round_change(&self, out: &mut Vec<Output>) {
        let Params { duty, own: peer, .. } = self.params;
        let (prepared_round, prepared_value) = self.prepared().map_or((0, None), |(round, value)| (round, Some(value)));
        let justification = self.prepared.as_ref().map_or_else(Vec::new, |prepared| prepared.prepares.clone());
        let (kind, round) = (MsgKind::RoundChange, self.round);
        let msg = Msg { kind, duty, peer, round, prepared_round, value: None, prepared_value };
        out.push(Output::Broadcast { msg, justification });
    }

    fn leads(&self, round: u64) -> bool {
        self.params.operators.leader(self.params.duty, round) == self.params.own
    }
}

/// As the reference has it (7.8.1). A latecomer sends one ROUND-CHANGE a second, so it gets 16 chances to hear of the
/// decision; more would let one operator make us send to all others without end.
const ANSWERS_PER_OPERATOR_MAX: u8 = 16;
