//! What one instance does with one message after another. Operator 0 leads round 1, 1 leads round 2, and so on.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod qbft_support;

use holdfast_core::qbft::{Instance, Output, Refused};
use holdfast_types::{DutyId, Millis, OperatorIndex, Slot};
use holdfast_wire::qbft::{Msg, MsgKind, SignedMsg};

use qbft_support::{Cluster, DUTY_MS, after_start, hash, said};

/// An instance under test, whose own messages come back to it only when the test says so.
struct Script {
    cluster: Cluster,
    instance: Instance,
    now: Millis,
    /// What the instance said and did not get back yet.
    unsigned: Vec<(Msg, Vec<SignedMsg>)>,
}

impl Script {
    fn new(n: usize, own: u8) -> Self {
        let cluster = Cluster::new(n);
        let instance = cluster.instance(own);
        Self { cluster, instance, now: after_start(0), unsigned: Vec::new() }
    }

    fn started(n: usize, own: u8) -> Self {
        let mut script = Self::new(n, own);
        script.start();
        script
    }

    fn start(&mut self) -> Vec<String> {
        self.call(|instance, now, out| instance.start(now, out))
    }

    fn input(&mut self, value: u8) -> Vec<String> {
        self.call(|instance, now, out| instance.set_input(hash(value), now, out))
    }

    /// Lets time pass, and every timer run out on the way.
    fn at(&mut self, ms: u64) -> Vec<String> {
        self.now = after_start(ms);
        self.call(|instance, now, out| instance.on_time(now, out))
    }

    fn hears(&mut self, msg: SignedMsg) -> Vec<String> {
        self.hears_with(msg, &[])
    }

    fn hears_with(&mut self, msg: SignedMsg, justification: &[SignedMsg]) -> Vec<String> {
        self.call(|instance, now, out| instance.on_message(&msg, justification, now, out).unwrap())
    }

    fn refuses(&mut self, msg: SignedMsg, justification: &[SignedMsg]) -> Refused {
        let mut out = Vec::new();
        let refused = self.instance.on_message(&msg, justification, self.now, &mut out);
        assert_eq!(out, [], "a refused message sets nothing off");
        refused.expect_err("the message should be refused")
    }

    /// Gives the instance back everything that it said, and what it says to that.
    fn hears_itself(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for (msg, justification) in std::mem::take(&mut self.unsigned) {
            let signed = self.cluster.sign(msg);
            all.extend(self.hears_with(signed, &justification));
        }
        all
    }

    fn call(&mut self, call: impl FnOnce(&mut Instance, Millis, &mut Vec<Output>)) -> Vec<String> {
        let mut out = Vec::new();
        call(&mut self.instance, self.now, &mut out);
        let said = said(&out);
        for output in out {
            if let Output::Broadcast { msg, justification } = output {
                self.unsigned.push((msg, justification));
            }
        }
        said
    }

    /// As operator 2 of 4: takes part in round 1 until value 7 is prepared, and then runs out of time.
    fn prepared_then_round_2() -> Self {
        let mut script = Self::started(4, 2);
        assert_eq!(script.hears(script.cluster.proposal(1, 7)), ["PREPARE r1 v7"]);
        script.hears(script.cluster.prepare(0, 1, 7));
        script.hears(script.cluster.prepare(1, 1, 7));
        assert_eq!(script.hears_itself(), ["COMMIT r1 v7"]);
        let said = script.at(2000);
        assert_eq!(said[0], "ROUND-CHANGE r2 prepared r1 v7 by 3");
        script
    }

    fn prepares(&self, round: u64, value: u8) -> Vec<SignedMsg> {
        (0..3).map(|peer| self.cluster.prepare(peer, round, value)).collect()
    }
}

#[test]
fn a_round_with_a_live_leader_decides() {
    let mut script = Script::new(4, 0);
    assert!(script.input(7).is_empty(), "nothing is proposed before the start");
    assert_eq!(script.start(), ["PRE-PREPARE r1 v7"]);
    assert_eq!(script.hears_itself(), ["PREPARE r1 v7"]);
    assert!(script.hears(script.cluster.prepare(1, 1, 7)).is_empty());
    assert!(script.hears(script.cluster.prepare(2, 1, 7)).is_empty(), "our own PREPARE is not signed yet");
    assert_eq!(script.hears_itself(), ["COMMIT r1 v7"]);
    script.hears(script.cluster.commit(1, 1, 7));
    script.hears(script.cluster.commit(3, 1, 7));
    assert_eq!(script.hears_itself(), ["decided r1 v7 by 3"]);
    assert_eq!(script.instance.decided(), Some((1, hash(7))));
    assert_eq!(script.instance.deadline(), None);
}

#[test]
fn a_leader_without_a_value_proposes_when_it_comes() {
    let mut script = Script::started(4, 0);
    assert_eq!(script.input(7), ["PRE-PREPARE r1 v7"]);
    assert!(script.input(8).is_empty(), "only the first value counts");
}

#[test]
fn a_value_that_comes_after_the_round_is_not_proposed() {
    let mut script = Script::started(4, 0);
    assert_eq!(script.at(1000), ["ROUND-CHANGE r2"]);
    assert!(script.input(7).is_empty());
}

#[test]
fn a_single_operator_decides_alone() {
    let mut script = Script::new(1, 0);
    script.input(7);
    script.start();
    assert_eq!(script.hears_itself(), ["PREPARE r1 v7"]);
    assert_eq!(script.hears_itself(), ["COMMIT r1 v7"]);
    assert_eq!(script.hears_itself(), ["decided r1 v7 by 1"]);
}

#[test]
fn messages_before_the_start_count_at_the_start() {
    let mut script = Script::new(4, 2);
    for peer in [0, 1, 3] {
        assert!(script.hears(script.cluster.commit(peer, 1, 7)).is_empty());
    }
    assert_eq!(script.start(), ["decided r1 v7 by 3"]);
}

#[test]
fn a_late_start_runs_through_the_rounds_that_are_past() {
    let mut script = Script::new(4, 2);
    script.now = after_start(3500);
    assert_eq!(script.start(), ["ROUND-CHANGE r2", "ROUND-CHANGE r3", "ROUND-CHANGE r4"]);
    assert_eq!(script.instance.deadline(), Some(after_start(4000)));
}

#[test]
fn commits_that_overtake_the_proposal_decide_with_our_own() {
    let mut script = Script::started(4, 2);
    script.at(1000);
    script.hears(script.cluster.commit(0, 2, 7));
    script.hears(script.cluster.commit(3, 2, 7));
    let votes: Vec<_> = [0, 1, 3].map(|peer| script.cluster.round_change(peer, 2, None)).into();
    assert_eq!(script.hears_with(script.cluster.proposal(2, 7), &votes), ["PREPARE r2 v7"]);
    script.hears(script.cluster.prepare(0, 2, 7));
    script.hears(script.cluster.prepare(3, 2, 7));
    assert_eq!(script.hears_itself(), ["COMMIT r2 v7"]);
    assert_eq!(script.hears_itself(), ["decided r2 v7 by 3"]);
}

#[test]
fn own_votes_that_come_back_after_their_round_are_harmless() {
    let mut script = Script::started(4, 2);
    script.hears(script.cluster.proposal(1, 7));
    script.hears(script.cluster.prepare(0, 1, 7));
    script.hears(script.cluster.prepare(1, 1, 7));
    assert_eq!(script.at(2000)[0], "ROUND-CHANGE r2");
    assert!(script.hears_itself().is_empty(), "the quorum for round 1 came together too late");
    assert_eq!(script.instance.prepared(), None);
}

#[test]
fn a_prepared_round_has_twice_the_time_and_the_next_rounds_rush_by() {
    let mut script = Script::started(4, 2);
    script.hears(script.cluster.proposal(1, 7));
    assert_eq!(script.instance.deadline(), Some(after_start(2000)));
    assert_eq!(script.at(2000), ["ROUND-CHANGE r2", "ROUND-CHANGE r3"]);
    assert_eq!(script.instance.deadline(), Some(after_start(3000)));
}

#[test]
fn f_plus_one_operators_ahead_pull_us_along_to_the_nearest_of_them() {
    let mut script = Script::started(4, 2);
    assert!(script.hears(script.cluster.round_change(0, 5, None)).is_empty());
    assert_eq!(script.hears(script.cluster.round_change(3, 4, None)), ["ROUND-CHANGE r4"]);
    assert_eq!(script.instance.deadline(), Some(after_start(4000)));
}

#[test]
fn a_leader_of_an_unprepared_quorum_proposes_its_own_value() {
    let mut script = Script::started(4, 1);
    script.input(9);
    script.at(1000);
    script.hears(script.cluster.round_change(0, 2, None));
    script.hears(script.cluster.round_change(3, 2, None));
    assert_eq!(script.hears_itself(), ["PRE-PREPARE r2 v9 by 3"]);
    assert_eq!(script.hears_itself(), ["PREPARE r2 v9"], "its own proposal is justified");
}

#[test]
fn a_leader_of_a_prepared_quorum_proposes_what_was_prepared() {
    let mut script = Script::started(4, 1);
    script.input(9);
    script.at(1000);
    let prepares = script.prepares(1, 7);
    script.hears(script.cluster.round_change(0, 2, None));
    script.hears_itself();
    let claim = script.cluster.round_change(2, 2, Some((1, 7)));
    assert_eq!(script.hears_with(claim, &prepares), ["PRE-PREPARE r2 v7 by 6"]);
    assert_eq!(script.hears_itself(), ["PREPARE r2 v7"]);
}

#[test]
fn a_leader_equivocates_in_vain() {
    let mut script = Script::started(4, 2);
    assert_eq!(script.hears(script.cluster.proposal(1, 7)), ["PREPARE r1 v7"]);
    let refused = script.refuses(script.cluster.proposal(1, 8), &[]);
    assert!(matches!(refused, Refused::Contradiction { operator: OperatorIndex(0), round: 1, .. }), "{refused}");
    assert!(script.hears(script.cluster.proposal(1, 7)).is_empty(), "nor is the first one answered twice");
}

/// Each of these would, if believed, let one liar overturn or invent a decision.
#[test]
fn forged_justifications_are_refused() {
    let script = Script::prepared_then_round_2();
    let c = &script.cluster;
    let unprepared = |peer, round| c.round_change(peer, round, None);
    let claim = |peer| c.round_change(peer, 2, Some((1, 7)));
    let with = |votes: &[SignedMsg], prepares: &[SignedMsg]| [votes, prepares].concat();
    let votes = [claim(0), unprepared(1, 2), unprepared(3, 2)];
    let not_leader = c.about(MsgKind::PrePrepare, 3, 2, 8);
    let cases: Vec<(&str, SignedMsg, Vec<SignedMsg>)> = vec![
        ("a later proposal with nothing", c.proposal(2, 8), vec![]),
        ("too few votes", c.proposal(2, 8), vec![unprepared(0, 2), unprepared(1, 2)]),
        ("one vote three times", c.proposal(2, 8), vec![unprepared(1, 2); 3]),
        ("votes for another round", c.proposal(2, 8), (0..3).map(|peer| unprepared(peer, 3)).collect()),
        ("not the leader", not_leader, vec![unprepared(0, 2), unprepared(1, 2), unprepared(3, 2)]),
        ("prepared votes without PREPAREs", c.proposal(2, 7), votes.to_vec()),
        ("another value than was prepared", c.proposal(2, 8), with(&votes, &script.prepares(1, 7))),
        ("PREPAREs for what no vote claims", c.proposal(2, 8), with(&votes, &script.prepares(1, 8))),
        (
            "a vote with a higher prepared round",
            c.proposal(3, 7),
            with(
                &[c.round_change(0, 3, Some((2, 8))), c.round_change(1, 3, Some((1, 7))), unprepared(3, 3)],
                &script.prepares(1, 7),
            ),
        ),
        ("one PREPARE three times", c.proposal(2, 7), with(&votes, &[c.prepare(0, 1, 7); 3])),
        ("a claim with nothing", c.round_change(0, 3, Some((1, 8))), vec![]),
        ("a claim with too few PREPAREs", c.round_change(0, 3, Some((1, 7))), script.prepares(1, 7)[..2].to_vec()),
        ("a claim of another round", c.round_change(0, 3, Some((2, 7))), script.prepares(1, 7)),
        ("a claim of another value", c.round_change(0, 3, Some((1, 8))), script.prepares(1, 7)),
        ("no claim with PREPAREs", unprepared(0, 3), script.prepares(1, 7)),
        (
            "a claim with a COMMIT",
            c.round_change(0, 3, Some((1, 7))),
            with(&[c.commit(3, 1, 7)], &script.prepares(1, 7)),
        ),
        ("a decision with nothing", c.about(MsgKind::Decided, 0, 1, 8), vec![]),
        ("a decision with too few", c.about(MsgKind::Decided, 0, 1, 8), vec![c.commit(0, 1, 8), c.commit(1, 1, 8)]),
        ("a decision with one COMMIT thrice", c.about(MsgKind::Decided, 0, 1, 8), vec![c.commit(0, 1, 8); 3]),
        ("a decision with PREPAREs", c.about(MsgKind::Decided, 0, 1, 7), script.prepares(1, 7)),
        (
            "a decision with COMMITs of several rounds",
            c.about(MsgKind::Decided, 0, 1, 8),
            vec![c.commit(0, 1, 8), c.commit(1, 2, 8), c.commit(3, 1, 8)],
        ),
    ];
    for (case, msg, justification) in cases {
        let mut script = Script::prepared_then_round_2();
        let refused = script.refuses(msg, &justification);
        assert!(matches!(refused, Refused::Unjustified { .. }), "{case}: {refused}");
    }
}

#[test]
fn a_vote_for_nothing_is_refused() {
    let mut script = Script::started(4, 2);
    let empty = Msg { value: None, ..*script.cluster.prepare(0, 1, 7).msg() };
    let refused = script.refuses(script.cluster.sign(empty), &[]);
    assert!(matches!(refused, Refused::Unjustified { .. }), "{refused}");
}

#[test]
fn what_is_not_of_this_duty_and_cluster_is_refused() {
    let mut script = Script::started(4, 2);
    let big = Cluster::new(7);
    assert_eq!(script.cluster.duty.slot, Slot(1));
    let other = Msg { duty: DutyId::attester(Slot(9)), ..*script.cluster.prepare(0, 1, 7).msg() };
    let other = script.cluster.sign(other);
    let stranger = Msg { duty: script.cluster.duty, ..*big.prepare(6, 1, 7).msg() };
    let stranger = big.sign(stranger);
    let ours = script.cluster.prepare(0, 1, 7);
    for (msg, justification) in [(other, vec![]), (stranger, vec![]), (ours, vec![other]), (ours, vec![stranger])] {
        assert!(matches!(script.refuses(msg, &justification), Refused::Foreign { .. }));
    }
    assert_eq!(script.refuses(ours, &[ours; 9]), Refused::Overlong { len: 9, len_max: 8 });
}

#[test]
fn a_proven_decision_of_an_earlier_round_is_believed() {
    let mut script = Script::prepared_then_round_2();
    let commits: Vec<_> = [0, 1, 3].map(|peer| script.cluster.commit(peer, 1, 7)).into();
    let mut justification = commits.clone();
    justification.push(script.cluster.prepare(0, 1, 7));
    let decided = script.cluster.about(MsgKind::Decided, 3, 1, 7);
    assert_eq!(script.hears_with(decided, &justification), ["decided r1 v7 by 3"]);
    // What did not prove anything is not handed on.
    assert_eq!(script.hears(script.cluster.round_change(1, 9, None)), ["DECIDED r1 v7 by 3"]);
}

#[test]
fn a_latecomer_is_told_once_a_round_and_sixteen_times_in_all() {
    let mut script = Script::started(4, 2);
    for peer in [0, 1, 3] {
        script.hears(script.cluster.commit(peer, 1, 7));
    }
    assert_eq!(script.hears(script.cluster.round_change(1, 5, None)), ["DECIDED r1 v7 by 3"]);
    assert!(script.hears(script.cluster.round_change(1, 5, None)).is_empty(), "the same round");
    assert!(script.hears(script.cluster.round_change(1, 4, None)).is_empty(), "an earlier round");
    assert!(script.hears(script.cluster.round_change(2, 6, None)).is_empty(), "our own");
    assert!(script.hears(script.cluster.prepare(1, 6, 7)).is_empty(), "another type");
    let unjustified = script.cluster.round_change(0, 2, Some((1, 8)));
    assert_eq!(script.hears(unjustified), ["DECIDED r1 v7 by 3"], "the justification does not matter");
    let answers: usize = (6..100).map(|round| script.hears(script.cluster.round_change(1, round, None)).len()).sum();
    assert_eq!(answers, 15);
    assert!(script.input(9).is_empty(), "a decided instance proposes nothing");
}

#[test]
fn after_the_deadline_nothing_happens() {
    let mut script = Script::started(4, 2);
    script.now = after_start(DUTY_MS + 1);
    let commit = script.cluster.commit(0, 1, 7);
    assert_eq!(script.refuses(commit, &[]), Refused::Over { duty: script.cluster.duty });
    assert!(script.at(DUTY_MS + 1).is_empty());
    let mut late = Script::new(4, 0);
    late.now = after_start(DUTY_MS + 1);
    assert!(late.input(7).is_empty() && late.start().is_empty());
    assert_eq!(late.instance.deadline(), None);
}

#[test]
fn rounds_end_with_the_duty() {
    let mut script = Script::started(4, 2);
    assert_eq!(script.at(DUTY_MS).len(), usize::try_from(DUTY_MS / 1000).unwrap());
    assert_eq!(script.instance.deadline(), None, "the next round would end after the duty");
}

#[test]
fn one_operator_cannot_make_us_hold_more_than_its_share() {
    let mut script = Script::started(4, 2);
    for round in 1..=150 {
        script.hears(script.cluster.prepare(0, round, round as u8));
    }
    let held = script.instance.values_in_use();
    assert_eq!(held.len(), 100);
    assert!(!held.contains(&hash(50)) && held.contains(&hash(51)), "the oldest go first");
}

#[test]
fn old_messages_handed_on_again_wash_nothing_out() {
    let mut script = Script::started(4, 2);
    script.hears(script.cluster.prepare(0, 1, 7));
    script.hears(script.cluster.prepare(1, 1, 7));
    for _ in 0..150 {
        script.hears(script.cluster.commit(0, 1, 7));
    }
    script.hears(script.cluster.proposal(1, 7));
    assert_eq!(script.hears_itself(), ["COMMIT r1 v7"], "the PREPARE of operator 0 is still there");
}

#[test]
fn a_vote_drags_no_ballast_along() {
    let mut script = Script::started(4, 2);
    script.hears_with(script.cluster.prepare(0, 1, 7), &[script.cluster.prepare(3, 1, 8)]);
    assert!(!script.instance.values_in_use().contains(&hash(8)));
}
