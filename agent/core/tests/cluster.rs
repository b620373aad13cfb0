//! Whole clusters of nodes through good days and bad ones.

mod cluster_sim;
mod sim_runs;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cluster_sim::{Misdeed, OPERATORS, Sim};
use holdfast_core::io::{BeaconStatus, Input, VaultFailure, VaultState};
use holdfast_core::qbft::operators::Operators;
use holdfast_types::{DutyId, Epoch, Mode, OperatorIndex, Slot};
use holdfast_wire::qbft::{ConsensusMsg, Msg, MsgKind};
use rand::Rng;

const ALL: [usize; OPERATORS] = [0, 1, 2, 3];

fn leader(duty: DutyId, round: u64) -> usize {
    usize::from(Operators::new(OPERATORS).expect("four can be a cluster").leader(duty, round).0)
}

#[test]
fn a_healthy_cluster_attests_everything_in_round_one() {
    let mut sim = Sim::new(1, 6);
    sim.run_to_slot(26);
    assert_eq!(sim.lacking(0..24, &ALL), []);
    for index in ALL {
        assert_eq!(sim.node(index).mode(), Mode::Ready);
        assert_eq!(sim.rounds(index).values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1]));
        assert_eq!(sim.complaints(index), Vec::<String>::new());
    }
}

#[test]
fn without_one_node_the_others_go_on_and_its_rounds_pass_to_the_next() {
    let mut sim = Sim::new(2, 6);
    sim.run_to_slot(1);
    sim.kill(3);
    sim.run_to_slot(34);
    assert_eq!(sim.lacking(1..32, &[0, 1, 2]), []);
    let rounds = sim.rounds(0);
    for (duty, round) in rounds.iter().filter(|(duty, _)| duty.slot >= Slot(1)) {
        assert_eq!(*round, if leader(*duty, 1) == 3 { 2 } else { 1 }, "{duty}");
    }
    assert!(rounds.values().any(|round| *round == 2), "the dead node led some duty");
    assert_eq!(sim.node(0).reason(), "signing: 3 of 4 operators connected; missing: operator 3");
}

#[test]
fn without_two_nodes_nothing_is_signed_until_both_are_back() {
    let mut sim = Sim::new(3, 4);
    sim.run_to_slot(8);
    sim.kill(1);
    sim.kill(3);
    let before = sim.operators[0].vault.count();
    sim.run_to_slot(19);
    assert_eq!(sim.operators[0].vault.count(), before);
    assert_eq!(sim.node(0).mode(), Mode::Syncing);
    assert_eq!(
        sim.node(0).reason(),
        "signing stopped: 2 of 4 operators connected, 3 are needed; missing: operators 1, 3"
    );
    let missed = sim.complaints(0).into_iter().find(|text| text.starts_with("missed")).unwrap();
    assert!(missed.contains("did not decide") && missed.contains("operators 1, 3"), "{missed}");
    sim.start(1);
    sim.start(3);
    sim.run_to_slot(34);
    assert_eq!(sim.lacking(20..32, &ALL), []);
    assert!(ALL.iter().all(|index| sim.node(*index).mode() == Mode::Ready));
}

#[test]
fn late_data_is_decided_in_a_later_round() {
    let mut sim = Sim::new(4, 4);
    ALL.iter().for_each(|index| sim.operators[*index].beacon.data_after_ms = 4500);
    sim.run_to_slot(10);
    assert_eq!(sim.lacking(0..8, &ALL), []);
    assert!(sim.rounds(0).values().all(|round| *round > 1), "{:?}", sim.rounds(0));
}

#[test]
fn a_node_whose_beacon_node_gives_no_data_signs_what_the_others_decide() {
    let mut sim = Sim::new(5, 4);
    sim.operators[2].beacon.data_after_ms = 60_000;
    sim.run_to_slot(18);
    assert_eq!(sim.lacking(0..16, &ALL), []);
    assert_eq!(sim.operators[2].vault.count(), 8);
}

#[test]
fn a_node_without_a_beacon_node_signs_nothing_and_the_others_attest() {
    let mut sim = Sim::new(6, 4);
    sim.set_beacon(1, false);
    sim.run_to_slot(18);
    assert_eq!(sim.lacking(0..16, &[0, 2, 3]), []);
    assert_eq!(sim.operators[1].vault.count(), 0);
    assert!(sim.node(1).reason().contains("connection refused"), "{}", sim.node(1).reason());
    sim.set_beacon(1, true);
    sim.run_to_slot(34);
    assert_eq!(sim.lacking(18..32, &ALL), []);
}

#[test]
fn a_node_that_knows_no_duties_signs_what_the_others_decide() {
    let mut sim = Sim::new(15, 4);
    sim.kill(1);
    sim.operators[1].beacon.up = false;
    sim.start(1);
    sim.input(1, Input::BeaconStatus(BeaconStatus::Synced));
    // With another node down the cluster needs this one.
    sim.run_to_slot(1);
    sim.kill(2);
    sim.run_to_slot(18);
    assert_eq!(sim.lacking(1..16, &[0, 3]), []);
    assert!(sim.operators[1].vault.count() >= 6);
}

#[test]
fn a_closed_vault_is_asked_for_nothing_and_makes_up_for_it_when_it_opens() {
    let mut sim = Sim::new(16, 4);
    sim.run_to_slot(8);
    sim.input(0, closed_vault());
    assert_eq!(sim.node(0).mode(), Mode::Enrolled);
    assert_eq!(sim.node(0).reason(), "signing stopped: the vault is closed: the lease ran out");
    let before = sim.operators[0].vault.count();
    sim.run_to_slot(16);
    assert_eq!(sim.operators[0].vault.count(), before);
    assert_eq!(sim.lacking(8..16, &ALL), [], "it combines and submits what the others sign");
    sim.input(0, Input::Vault(VaultState::Open));
    sim.run_to_slot(17);
    assert!(sim.operators[0].vault.count() >= before + 4);
}

fn closed_vault() -> Input {
    Input::Vault(VaultState::Closed(VaultFailure("the lease ran out".to_owned())))
}

#[test]
fn a_node_whose_vault_is_closed_still_helps_to_decide() {
    let mut sim = Sim::new(18, 4);
    sim.input(0, closed_vault());
    sim.run_to_slot(1);
    // Now nothing is decided without node 0, and nothing is signed before its vault opens.
    sim.kill(3);
    sim.run_to_slot(9);
    let expected: usize = (1..8).map(|slot| sim.chain.duties_at(Slot(slot)).len()).sum();
    assert_ne!(expected, 0);
    for index in [0, 1, 2] {
        let decided: BTreeSet<u64> = sim.rounds(index).keys().map(|duty| duty.slot.0).collect();
        let lacking = sim.lacking(1..8, &[index]);
        assert_eq!(lacking.len(), expected, "node {index} submitted what nobody can have combined");
        assert!(lacking.iter().all(|(slot, _)| decided.contains(&slot.0)), "node {index} decided only {decided:?}");
    }
    assert_eq!(sim.operators[0].vault.count(), 0);
    let own = sim.complaints(0).join("\n");
    let says =
        "missing: operators 0, 3; our own was held back: signing stopped: the vault is closed: the lease ran out";
    assert!(own.contains(says), "{own}");
    let others = sim.complaints(1);
    assert!(others.iter().any(|text| text.ends_with("missing: operators 0, 3")), "{others:?}");
    sim.input(0, Input::Vault(VaultState::Open));
    sim.run_to_slot(10);
    assert_eq!(sim.lacking(1..8, &[0, 1, 2]), [], "what was decided meanwhile is made up for");
}

#[test]
fn a_vault_with_other_shares_is_an_alarm_at_home_and_a_fault_elsewhere() {
    let mut sim = Sim::new(17, 4);
    sim.operators[0].vault.foreign = true;
    sim.run_to_slot(18);
    assert_eq!(sim.lacking(0..16, &[1, 2, 3]), []);
    let own = sim.complaints(0).join("\n");
    assert!(own.contains("our own partial signature") && own.contains("check that the vault"), "{own}");
    assert!(sim.complaints(1).iter().all(|text| text.starts_with("operator 0") && text.contains("do not verify")));
}

#[test]
fn a_submission_that_fails_is_tried_again() {
    let mut sim = Sim::new(7, 4);
    ALL.iter().for_each(|index| sim.operators[*index].beacon.takes_submissions = false);
    sim.run_to_slot(4);
    assert!(sim.submitted.is_empty());
    let missed = sim.complaints(0).join("\n");
    assert!(missed.contains("the beacon node did not take it: 400"), "{missed}");
    ALL.iter().for_each(|index| sim.operators[*index].beacon.takes_submissions = true);
    sim.run_to_slot(10);
    assert_eq!(sim.lacking(0..8, &ALL), []);
}

#[test]
fn garbage_partials_are_their_senders_fault_and_do_no_harm() {
    let mut sim = Sim::new(8, 4);
    sim.operators[3].misdeed = Some(Misdeed::Garbage);
    sim.run_to_slot(18);
    assert_eq!(sim.lacking(0..16, &[0, 1, 2]), []);
    let complaints = sim.complaints(0);
    assert!(!complaints.is_empty());
    assert!(
        complaints
            .iter()
            .all(|text| text.starts_with("operator 3 sent 2 partial signatures") && text.contains("do not verify")),
        "{complaints:?}"
    );
}

#[test]
fn a_second_different_partial_is_a_fault_and_the_first_one_counts() {
    let mut sim = Sim::new(9, 4);
    sim.operators[2].misdeed = Some(Misdeed::Equivocation);
    // With one node down every partial is needed, the liar's first one too.
    sim.run_to_slot(1);
    sim.kill(0);
    sim.run_to_slot(18);
    assert_eq!(sim.lacking(1..16, &[1, 2, 3]), []);
    let complaints = sim.complaints(1);
    assert!(complaints.iter().any(|text| text.starts_with("operator 2 sent a second, different")), "{complaints:?}");
}

/// A vote for round 2 of this slot's duty that the operator's key signed and its node did not send.
fn forged(sim: &Sim, operator: usize, slot: u64) -> ConsensusMsg {
    let msg = Msg {
        kind: MsgKind::RoundChange,
        duty: DutyId::attester(Slot(slot)),
        peer: OperatorIndex(operator as u8),
        round: 2,
        prepared_round: 0,
        value: None,
        prepared_value: None,
    };
    ConsensusMsg::new(msg.sign(sim.key(operator)), Vec::new(), Vec::new())
}

#[test]
fn a_twin_halts_the_node_and_not_the_cluster() {
    let mut sim = Sim::new(10, 4);
    sim.run_to_slot(5);
    let message = forged(&sim, 0, 4);
    sim.input(0, Input::Consensus { from: OperatorIndex(1), message });
    assert_eq!(sim.node(0).mode(), Mode::Halted);
    assert!(sim.node(0).reason().contains("a twin is alive: operator 0"), "{}", sim.node(0).reason());
    let signed = sim.operators[0].vault.count();
    sim.run_to_slot(26);
    assert_eq!(sim.operators[0].vault.count(), signed);
    assert_eq!(sim.lacking(6..24, &[1, 2, 3]), []);
}

#[test]
fn a_twin_in_a_justification_halts_the_node_too() {
    let mut sim = Sim::new(11, 4);
    sim.run_to_slot(5);
    let (own, mut message) = (forged(&sim, 0, 4), forged(&sim, 1, 4));
    message.justification = vec![own.msg];
    sim.input(0, Input::Consensus { from: OperatorIndex(1), message });
    assert_eq!(sim.node(0).mode(), Mode::Halted);
}

#[test]
fn what_a_node_said_before_its_last_boot_is_no_twin() {
    let mut sim = Sim::new(12, 4);
    sim.run_to_slot(6);
    sim.kill(0);
    sim.run_to(sim.now.plus(100));
    sim.start(0);
    let old: Vec<ConsensusMsg> = sim.sent.clone();
    assert!(old.iter().any(|message| message.msg.msg().peer == OperatorIndex(0)));
    for message in old {
        sim.input(0, Input::Consensus { from: OperatorIndex(1), message });
    }
    assert_ne!(sim.node(0).mode(), Mode::Halted);
    sim.run_to_slot(10);
    // Its own messages of this boot, handed back by a peer, are known.
    for message in sim.sent.clone() {
        sim.input(0, Input::Consensus { from: OperatorIndex(2), message });
    }
    assert_ne!(sim.node(0).mode(), Mode::Halted);
}

#[test]
fn duties_that_a_reorg_moves_are_attested_in_their_new_slots() {
    let mut sim = Sim::new(13, 6);
    sim.run_to(sim.chain.spec.slot_start(Slot(15)).plus(6000));
    sim.chain.shuffle = (1, Epoch(2));
    sim.run_to_slot(34);
    assert_eq!(sim.lacking(16..32, &ALL), []);
    assert!(ALL.iter().all(|index| sim.complaints(*index).is_empty()), "{:?}", sim.complaints(0));
}

#[test]
fn draining_finishes_what_began_and_begins_nothing() {
    let mut sim = Sim::new(14, 4);
    sim.run_to(sim.chain.spec.slot_start(Slot(8 + 1)).plus(4100));
    assert_eq!(sim.chain.duties_at(Slot(9)).len(), 2, "a duty is under way");
    sim.input(1, Input::Drain);
    assert!(!sim.node(1).has_drained());
    sim.run_to_slot(12);
    assert!(sim.node(1).has_drained());
    assert_eq!(sim.lacking(9..10, &ALL), []);
    let signed = sim.operators[1].vault.count();
    sim.run_to_slot(34);
    assert_eq!(sim.operators[1].vault.count(), signed);
    assert_eq!(sim.lacking(10..32, &[0, 2, 3]), []);
}

/// Random faults in every slot; then everything is mended, and the cluster must be whole again by itself.
/// `HOLDFAST_SIM_RUNS=2` runs only the first two seeds.
#[test]
fn random_faults_never_break_an_invariant_and_always_heal() {
    for seed in sim_runs::first(100..108) {
        let run = catch_unwind(AssertUnwindSafe(|| random_run(seed)));
        if let Err(panic) = run {
            eprintln!("failing seed: {seed}");
            resume_unwind(panic);
        }
    }
}

fn random_run(seed: u64) {
    let mut sim = Sim::new(seed, 4);
    for step in 0..60 {
        sim.run_to(sim.now.plus(3500));
        let (index, other) = (sim.rng.gen_range(0..OPERATORS), sim.rng.gen_range(0..OPERATORS));
        let up = sim.operators[index].node.is_some();
        match sim.rng.gen_range(0..9) {
            0 if up => sim.kill(index),
            0 | 1 if !up => sim.start(index),
            2 => sim.set_line(index, other, false),
            3 => sim.set_line(index, other, true),
            4 => sim.set_beacon(index, false),
            5 => sim.set_beacon(index, true),
            6 => sim.operators[index].beacon.data_after_ms = sim.rng.gen_range(10..5000),
            7 => sim.operators[index].beacon.takes_submissions = sim.rng.r#gen(),
            8 if step > 20 => {
                sim.chain.shuffle = (sim.rng.gen_range(0..2), Epoch(sim.chain.spec.epoch_of(sim.chain.head).0 + 2))
            }
            _ => {}
        }
    }
    for index in ALL {
        for other in ALL {
            sim.set_line(index, other, true);
        }
        sim.set_beacon(index, true);
        sim.operators[index].beacon.data_after_ms = 20;
        sim.operators[index].beacon.takes_submissions = true;
        if sim.operators[index].node.is_none() {
            sim.start(index);
        }
    }
    let slot = sim.chain.head.0 + 2;
    sim.run_to_slot(slot + 18);
    assert_eq!(sim.lacking(slot..slot + 16, &ALL), []);
}
