//! What peers can make us hold, and when a message shows a twin.

use holdfast_types::Slot;
use holdfast_wire::k1::NodeKey;
use holdfast_wire::qbft::MsgKind;

use super::*;
use crate::setup::tests::cluster;

const DUTY: DutyId = DutyId::attester(Slot(40));

fn msg(peer: u8, kind: MsgKind, round: u64, value: Option<ValueHash>) -> SignedMsg {
    let key = NodeKey::from_bytes(&[peer + 1; 32]).unwrap();
    let peer = OperatorIndex(peer);
    Msg { kind, duty: DUTY, peer, round, prepared_round: 0, value, prepared_value: None }.sign(&key)
}

fn value(number: u8, len: usize) -> Value {
    Value::DataSet(BTreeMap::from([(ValidatorPublic([1; 48]), vec![number; len])]))
}

fn vote(peer: u8, kind: MsgKind, round: u64, value: Value) -> ConsensusMsg {
    ConsensusMsg::new(msg(peer, kind, round, Some(value.hash())), Vec::new(), vec![value])
}

fn receive(consensus: &mut Consensus, message: ConsensusMsg) -> Result<Option<Decision>, PeerFault> {
    let cluster = cluster(1);
    let from = message.msg.msg().peer;
    consensus.receive(&cluster, from, message, cluster.duty_start(DUTY), &mut Vec::new())
}

#[test]
fn a_quorum_of_commits_decides_once_with_the_value() {
    let mut consensus = Consensus::default();
    let now = cluster(1).duty_start(DUTY);
    assert_eq!(consensus.participate(&cluster(1), DUTY, now, &mut Vec::new()), None);
    let commit = |peer| vote(peer, MsgKind::Commit, 1, value(7, 232));
    assert_eq!(receive(&mut consensus, commit(1)), Ok(None));
    assert_eq!(receive(&mut consensus, commit(2)), Ok(None));
    let decision = Decision { duty: DUTY, round: 1, value: value(7, 232) };
    assert_eq!(receive(&mut consensus, commit(3)), Ok(Some(decision)));
    assert_eq!(receive(&mut consensus, commit(3)), Ok(None));
}

#[test]
fn early_messages_wait_for_the_start() {
    let (mut consensus, cluster) = (Consensus::default(), cluster(1));
    for peer in 1..4 {
        assert_eq!(receive(&mut consensus, vote(peer, MsgKind::Commit, 1, value(7, 232))), Ok(None));
    }
    let start = cluster.duty_start(DUTY);
    assert_eq!(consensus.next_wake(), Some(start));
    assert_eq!(consensus.on_time(&cluster, Millis(start.0 - 1), &mut Vec::new()), []);
    assert_eq!(consensus.on_time(&cluster, start, &mut Vec::new()).len(), 1);
}

#[test]
fn values_that_no_attester_duty_has_are_refused() {
    let mut consensus = Consensus::default();
    let strange = [
        Value::PriorityResult(vec![1]),
        Value::DataSet(BTreeMap::new()),
        value(1, ENTRY_LEN_MAX + 1),
        Value::DataSet((1..3).map(|number| (ValidatorPublic([number; 48]), Vec::new())).collect()),
    ];
    for value in strange {
        let refused = receive(&mut consensus, vote(1, MsgKind::Prepare, 1, value));
        assert_eq!(refused, Err(PeerFault::UnusableValue { duty: DUTY }));
    }
    assert_eq!(consensus.load(), (0, 0));
}

#[test]
fn a_peer_can_fill_its_own_room_only() {
    let mut consensus = Consensus::default();
    let flood = |number: u8| vote(1, MsgKind::Prepare, u64::from(number) + 1, value(number, ENTRY_LEN_MAX));
    let answers: Vec<_> = (0..20).map(|number| receive(&mut consensus, flood(number))).collect();
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(taken, 8, "two values for each of four leaders of one validator");
    assert_eq!(answers[19], Err(PeerFault::Flood { duty: DUTY }));
    assert_eq!(consensus.load().1, brought_bytes_max(&cluster(1)));
    assert_eq!(receive(&mut consensus, vote(2, MsgKind::Prepare, 1, value(200, 232))), Ok(None));
    let cluster = cluster(1);
    consensus.drop_expired(&cluster, cluster.duty_end(DUTY).plus(1));
    assert_eq!(consensus.load(), (0, 0));
}

#[test]
fn the_value_of_a_refused_message_is_not_held() {
    let mut consensus = Consensus::default();
    receive(&mut consensus, vote(1, MsgKind::Prepare, 1, value(1, 232))).unwrap();
    let held = consensus.load();
    let refused = receive(&mut consensus, vote(1, MsgKind::Prepare, 1, value(2, 232)));
    assert!(matches!(refused, Err(PeerFault::Consensus { .. })));
    assert_eq!(consensus.load(), held);
}

#[test]
fn our_own_message_is_a_twins_unless_we_sent_it() {
    let (mut consensus, cluster) = (Consensus::default(), cluster(1));
    let round_change = |round| ConsensusMsg::new(msg(0, MsgKind::RoundChange, round, None), Vec::new(), Vec::new());
    let start = cluster.duty_start(DUTY);
    let mut out = Vec::new();
    consensus.participate(&cluster, DUTY, start, &mut out);
    consensus.on_time(&cluster, start.plus(1000), &mut out);
    assert!(matches!(out.as_slice(), [Effect::SignConsensus(sent)] if sent.msg == *round_change(2).msg.msg()));
    assert_eq!(consensus.find_twin(&cluster, &round_change(2)), None);
    let twin = Alarm::Twin { operator: OperatorIndex(0), duty: DUTY, kind: MsgKind::RoundChange, round: 3 };
    assert_eq!(consensus.find_twin(&cluster, &round_change(3)), Some(twin));
    let message = vote(1, MsgKind::Prepare, 1, value(1, 232));
    assert_eq!(consensus.find_twin(&cluster, &message), None);
}

#[test]
fn the_slots_of_before_this_boot_show_no_twin() {
    let mut booted_later = cluster(1);
    booted_later.boot = Millis(booted_later.chain.slot_start(DUTY.slot).0 - 11_999);
    let message = ConsensusMsg::new(msg(0, MsgKind::RoundChange, 2, None), Vec::new(), Vec::new());
    assert_eq!(Consensus::default().find_twin(&booted_later, &message), None);
    booted_later.boot.0 -= 1;
    assert!(Consensus::default().find_twin(&booted_later, &message).is_some());
}

#[test]
fn what_did_not_begin_can_be_given_up() {
    let mut consensus = Consensus::default();
    receive(&mut consensus, vote(1, MsgKind::Prepare, 1, value(1, 232))).unwrap();
    consensus.drop_unstarted();
    assert!(!consensus.hosts(DUTY) && consensus.load() == (0, 0));
}
