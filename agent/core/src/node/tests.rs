//! What the node does with inputs that are not for any of its parts. Whole duties are in `tests/cluster.rs`.

use holdfast_types::Slot;
use holdfast_wire::k1::NodeKey;
use holdfast_wire::qbft::{Msg, MsgKind};

use super::*;
use crate::io::VaultState;
use crate::setup::tests::setup;

const NOW: Millis = Millis(1_000_000 + 40 * 12_000);

fn node() -> Node {
    Node::new(setup(1)).unwrap()
}

fn handle(node: &mut Node, now: Millis, input: Input) -> Vec<Effect> {
    let mut out = Vec::new();
    node.handle(now, input, &mut out);
    out
}

fn message(peer: u8, kind: DutyKind, slot: u64) -> Input {
    let msg = Msg {
        kind: MsgKind::RoundChange,
        duty: DutyId { slot: Slot(slot), kind },
        peer: OperatorIndex(peer),
        round: 2,
        prepared_round: 0,
        value: None,
        prepared_value: None,
    };
    let msg = msg.sign(&NodeKey::from_bytes(&[peer + 1; 32]).unwrap());
    Input::Consensus { from: OperatorIndex(1), message: ConsensusMsg::new(msg, Vec::new(), Vec::new()) }
}

#[test]
fn a_new_node_asks_to_be_woken_at_once_and_then_for_the_next_slot() {
    let mut node = node();
    assert!(node.next_wake().is_some_and(|at| at <= NOW));
    let out = handle(&mut node, NOW, Input::Wake);
    assert!(
        matches!(out.as_slice(), [Effect::FetchValidators(_), Effect::Mode { mode: Mode::Enrolled, .. }]),
        "{out:?}"
    );
    assert_eq!(node.next_wake(), Some(NOW.plus(12_000)));
}

#[test]
fn duties_out_of_the_gate_are_a_fault_and_old_ones_are_not() {
    let mut node = node();
    handle(&mut node, NOW, Input::Wake);
    let out = handle(&mut node, NOW, message(2, DutyKind::Attester, 4 * 32));
    assert!(matches!(out.as_slice(), [Effect::Fault { fault: PeerFault::OutsideGate { .. }, .. }]), "{out:?}");
    assert!(handle(&mut node, NOW, message(2, DutyKind::Attester, 1)).is_empty());
    assert_eq!(node.load(), Load::default());
}

#[test]
fn kinds_of_duties_that_the_node_does_not_do_are_left_to_the_others() {
    let mut node = node();
    handle(&mut node, NOW, Input::Wake);
    assert!(handle(&mut node, NOW, message(2, DutyKind::Aggregator, 40)).is_empty());
    assert_eq!(node.load(), Load::default());
    let out = handle(&mut node, NOW, message(0, DutyKind::Aggregator, 40));
    assert!(matches!(out.as_slice(), [Effect::Alarm(Alarm::Twin { .. }), Effect::Mode { mode: Mode::Halted, .. }]));
}

#[test]
fn a_halted_node_sleeps_and_does_nothing() {
    let mut node = node();
    handle(&mut node, NOW, Input::Wake);
    handle(&mut node, NOW, message(0, DutyKind::Attester, 40));
    assert_eq!((node.mode(), node.next_wake()), (Mode::Halted, None));
    for input in [Input::Wake, Input::Vault(VaultState::Open), message(2, DutyKind::Attester, 40), Input::Drain] {
        assert!(handle(&mut node, NOW.plus(5000), input).is_empty());
    }
    assert_eq!(node.mode(), Mode::Halted);
    assert!(node.has_drained(), "it has nothing to finish");
}

#[test]
fn a_beacon_node_that_catches_up_is_asked_again_for_our_validators() {
    let mut node = node();
    handle(&mut node, NOW, Input::BeaconStatus(BeaconStatus::Syncing { reason: "far behind".to_owned() }));
    let epoch = node.cluster.chain.epoch_of(node.cluster.slot_now(NOW));
    handle(&mut node, NOW, Input::Validators { epoch, result: Ok(Vec::new()) });
    let asks = |out: &[Effect]| out.iter().filter(|effect| matches!(effect, Effect::FetchValidators(_))).count();
    let synced = || Input::BeaconStatus(BeaconStatus::Synced);
    assert_eq!(asks(&handle(&mut node, NOW.plus(1000), synced())), 1);
    handle(&mut node, NOW.plus(1000), Input::Validators { epoch, result: Ok(Vec::new()) });
    assert_eq!(asks(&handle(&mut node, NOW.plus(2000), synced())), 0, "it was synced all the time");
}

#[test]
fn a_peer_that_speaks_for_a_duty_we_do_not_know_is_joined() {
    let mut node = node();
    handle(&mut node, NOW, Input::Wake);
    handle(&mut node, NOW, message(2, DutyKind::Attester, 40));
    assert_eq!(node.load().instances, 1);
    let start = NOW.plus(4000);
    assert_eq!(node.next_wake(), Some(start));
    handle(&mut node, start, Input::Wake);
    let out = handle(&mut node, start.plus(1000), Input::Wake);
    assert!(out.iter().any(|effect| matches!(effect, Effect::SignConsensus(_))), "votes for the next round: {out:?}");
}

/// An instance that starts late runs through every round that is past, and says so to everybody in each: one small
/// message for each slot of an epoch would have us send thousands.
#[test]
fn a_duty_that_began_long_ago_is_not_joined() {
    let mut node = node();
    handle(&mut node, NOW, Input::Wake);
    assert!(handle(&mut node, NOW, message(2, DutyKind::Attester, 38)).is_empty());
    assert_eq!(node.load().instances, 0);
    let out = handle(&mut node, NOW, message(2, DutyKind::Attester, 39));
    let rounds = out.iter().filter(|effect| matches!(effect, Effect::SignConsensus(_))).count();
    assert_eq!((node.load().instances, rounds), (1, 8), "eight seconds after its start");
}

#[test]
fn a_clock_that_jumps_and_comes_back_neither_shows_a_twin_nor_votes_again() {
    let mut node = node();
    handle(&mut node, NOW, Input::Wake);
    handle(&mut node, NOW, message(2, DutyKind::Attester, 40));
    let (start, later) = (NOW.plus(4000), NOW.plus(6500));
    let votes = |out: &[Effect]| out.iter().filter(|effect| matches!(effect, Effect::SignConsensus(_))).count();
    handle(&mut node, start, Input::Wake);
    assert_eq!(votes(&handle(&mut node, start.plus(1000), Input::Wake)), 1);
    handle(&mut node, NOW.plus(3_600_000), Input::Wake);
    assert_eq!(node.load().instances, 0);
    let echo = handle(&mut node, later, message(0, DutyKind::Attester, 40));
    assert!(!echo.iter().any(|effect| matches!(effect, Effect::Alarm(_))), "{echo:?}");
    let out = handle(&mut node, later, message(2, DutyKind::Attester, 40));
    assert_eq!((votes(&out), node.load().instances), (0, 0), "{out:?}");
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut node = node();
    handle(&mut node, NOW, Input::Wake);
    let duty = DutyId::attester(Slot(40));
    let failure = || Err(BeaconFailure("x".to_owned()));
    for input in [
        Input::AttestationData { slot: Slot(40), result: failure() },
        Input::AttestationsSigned { duty, results: vec![(ValidatorPublic([1; 48]), Ok(PartialSignature([1; 96])))] },
        Input::Submitted { duty, result: Ok(()) },
    ] {
        assert!(handle(&mut node, NOW, input).is_empty());
    }
}

#[test]
fn draining_with_nothing_under_way_is_over_at_once() {
    let mut node = node();
    handle(&mut node, NOW, Input::Wake);
    handle(&mut node, NOW, Input::Drain);
    assert!(node.mode() == Mode::Draining && node.has_drained());
}
