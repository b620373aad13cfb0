//! Why a message may say what it says (`cluster-wire.md` sections 7.8.3 and 7.8.4).
//!
//! Pure functions of messages: they know nothing of the state of an instance. That is possible because the comparison
//! of values before voting (section 7.8.5, a feature that is off by default) is not done here.

use std::collections::BTreeMap;

use holdfast_types::OperatorIndex;
use holdfast_wire::qbft::{Msg, MsgKind, SignedMsg, ValueHash};

use super::operators::Operators;

/// What a leader may propose in a later round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freedom {
    /// Anything: nobody can have decided.
    Any,
    /// Only this value: it was prepared, so somebody may have decided on it.
    Only(ValueHash),
}

/// Whether a message is justified by what it carries.
///
/// A PREPARE or COMMIT needs no justification, but we refuse one that votes for nothing: no honest operator sends it.
pub(super) fn is_justified(operators: Operators, msg: &Msg, justification: &[SignedMsg]) -> bool {
    match msg.kind {
        MsgKind::PrePrepare => is_justified_pre_prepare(operators, msg, justification),
        MsgKind::Prepare | MsgKind::Commit => msg.value.is_some(),
        MsgKind::RoundChange => is_justified_round_change(operators, msg, justification),
        MsgKind::Decided => deciding_commits(operators, msg, justification).is_some(),
    }
}

/// The part of a justification that is worth keeping with a justified message.
///
/// Votes and the first round's proposal need none, so what comes with them only costs memory.
pub(super) fn worth_keeping<'a>(msg: &Msg, justification: &'a [SignedMsg]) -> &'a [SignedMsg] {
    match msg.kind {
        MsgKind::Prepare | MsgKind::Commit => &[],
        MsgKind::PrePrepare if msg.round == 1 => &[],
        MsgKind::PrePrepare | MsgKind::RoundChange | MsgKind::Decided => justification,
    }
}

/// The COMMITs that prove a DECIDED; `None` when they do not.
pub(super) fn deciding_commits(
    operators: Operators,
    decided: &Msg,
    justification: &[SignedMsg],
) -> Option<Vec<SignedMsg>> {
    decided.value?;
    let commits = one_per_source(justification.iter(), |commit| {
        commit.kind == MsgKind::Commit && commit.round == decided.round && commit.value == decided.value
    });
    (commits.len() >= operators.quorum()).then_some(commits)
}

/// The justification with which we may lead a round (7.8.4); `None` when what we hold does not make one.
pub(super) fn find_for_leader<'a>(
    operators: Operators,
    all: impl Iterator<Item = &'a SignedMsg> + Clone,
    round: u64,
) -> Option<Vec<SignedMsg>> {
    let for_round = |msg: &Msg| msg.kind == MsgKind::RoundChange && msg.round == round;
    let unprepared = one_per_source(all.clone(), |msg| for_round(msg) && prepared(msg) == (0, None));
    if unprepared.len() >= operators.quorum() {
        return Some(unprepared);
    }
    for ((prepared_round, value), prepares) in prepares_by_value(all.clone()) {
        if prepares.len() < operators.quorum() {
            continue;
        }
        let mut chosen = one_per_source(all.clone(), |msg| for_round(msg) && msg.prepared_round <= prepared_round);
        let bound = chosen.iter().any(|vote| prepared(vote.msg()) == (prepared_round, Some(value)));
        if chosen.len() >= operators.quorum() && bound {
            chosen.extend(prepares.into_values());
            return Some(chosen);
        }
    }
    None
}

/// The round and value that the PREPAREs of a list prepared; `None` when they are not one quorum for one value.
pub(super) fn prepared_pair(operators: Operators, justification: &[SignedMsg]) -> Option<(u64, ValueHash)> {
    let mut prepares = justification.iter().map(SignedMsg::msg).filter(|msg| msg.kind == MsgKind::Prepare).peekable();
    let first = *prepares.peek()?;
    let mut sources = BTreeMap::new();
    for prepare in prepares {
        let agrees = prepare.round == first.round && prepare.value == first.value;
        if !agrees || sources.insert(prepare.peer, ()).is_some() {
            return None;
        }
    }
    (sources.len() >= operators.quorum()).then_some((first.round, first.value?))
}

/// The first message of each source that passes, in the order of the sources.
pub(super) fn one_per_source<'a>(
    messages: impl Iterator<Item = &'a SignedMsg>,
    passes: impl Fn(&Msg) -> bool,
) -> Vec<SignedMsg> {
    let mut by_source = BTreeMap::new();
    for signed in messages.filter(|signed| passes(signed.msg())) {
        by_source.entry(signed.msg().peer).or_insert(*signed);
    }
    by_source.into_values().collect()
}

fn is_justified_pre_prepare(operators: Operators, msg: &Msg, justification: &[SignedMsg]) -> bool {
    let Some(value) = msg.value else { return false };
    if msg.peer != operators.leader(msg.duty, msg.round) {
        return false;
    }
    msg.round == 1
        || match freedom(operators, justification, msg.round) {
            Some(Freedom::Any) => true,
            Some(Freedom::Only(prepared)) => prepared == value,
            None => false,
        }
}

fn is_justified_round_change(operators: Operators, msg: &Msg, justification: &[SignedMsg]) -> bool {
    if justification.is_empty() {
        return prepared(msg) == (0, None);
    }
    let only_prepares = justification.iter().all(|signed| signed.msg().kind == MsgKind::Prepare);
    let claimed = msg.prepared_value.map(|value| (msg.prepared_round, value));
    only_prepares && claimed.is_some() && prepared_pair(operators, justification) == claimed
}

/// What a quorum of ROUND-CHANGEs for a round leaves open; `None` without a justified quorum.
fn freedom(operators: Operators, justification: &[SignedMsg], round: u64) -> Option<Freedom> {
    let votes = one_per_source(justification.iter(), |msg| msg.kind == MsgKind::RoundChange && msg.round == round);
    if votes.len() < operators.quorum() {
        return None;
    }
    if votes.iter().all(|vote| prepared(vote.msg()) == (0, None)) {
        return Some(Freedom::Any);
    }
    let (prepared_round, value) = prepared_pair(operators, justification)?;
    let none_higher = votes.iter().all(|vote| vote.msg().prepared_round <= prepared_round);
    let one_exact = votes.iter().any(|vote| prepared(vote.msg()) == (prepared_round, Some(value)));
    (none_higher && one_exact).then_some(Freedom::Only(value))
}

/// All PREPAREs by what they prepare, one per source.
fn prepares_by_value<'a>(
    all: impl Iterator<Item = &'a SignedMsg>,
) -> BTreeMap<(u64, ValueHash), BTreeMap<OperatorIndex, SignedMsg>> {
    let mut sets: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for signed in all.filter(|signed| signed.msg().kind == MsgKind::Prepare) {
        if let Some(value) = signed.msg().value {
            sets.entry((signed.msg().round, value)).or_default().entry(signed.msg().peer).or_insert(*signed);
        }
    }
    sets
}

const fn prepared(msg: &Msg) -> (u64, Option<ValueHash>) {
    (msg.prepared_round, msg.prepared_value)
}
