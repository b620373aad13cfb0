//! One duty through its life, and what of a decision may be signed.

use holdfast_eth::Checkpoint;
use holdfast_types::{Root, Signature};

use super::*;
use crate::setup::tests::cluster;

const DUTY: DutyId = DutyId::attester(Slot(40));

fn validator(number: u8) -> ValidatorPublic {
    ValidatorPublic([number; 48])
}

fn duty(number: u8) -> AttesterDuty {
    AttesterDuty {
        validator: validator(number),
        index: ValidatorIndex(u64::from(number)),
        slot: Slot(40),
        committee_index: 3,
        committee_length: 128,
        committees_at_slot: 16,
        position: 5,
    }
}

fn data() -> AttestationData {
    AttestationData {
        slot: Slot(40),
        index: 0,
        beacon_block_root: Root([1; 32]),
        source: Checkpoint { epoch: Epoch(0), root: Root([2; 32]) },
        target: Checkpoint { epoch: Epoch(1), root: Root([3; 32]) },
    }
}

fn value(number: u8) -> AttesterValue {
    AttesterValue { data: data(), duty: to_wire(&duty(number)) }
}

fn set(values: &[(u8, AttesterValue)]) -> Value {
    Value::DataSet(values.iter().map(|(number, value)| (validator(*number), value.encode())).collect())
}

fn run(resolved: &[u8]) -> AttesterRun {
    let resolved = resolved.iter().map(|number| (validator(*number), duty(*number))).collect();
    AttesterRun::new(&cluster(2), DUTY, Some(resolved), true)
}

/// A run whose duties our own beacon node has not told.
fn unresolved() -> AttesterRun {
    AttesterRun::new(&cluster(2), DUTY, None, true)
}

/// The rule for which a value of validator 1 is not signed; `None` when it is.
fn fault(value: &AttesterValue) -> Option<String> {
    let mut run = run(&[1]);
    run.decide(&cluster(2), &set(&[(1, *value)]));
    assert_eq!(run.waits_for_vault(), run.refused.is_empty());
    run.take_refused().map(|refused| refused.join("; "))
}

#[test]
fn only_data_that_fits_the_slot_is_signed() {
    assert_eq!(fault(&value(1)), None);
    let refused = |change: fn(&mut AttesterValue)| {
        let mut value = value(1);
        change(&mut value);
        fault(&value).unwrap()
    };
    assert!(refused(|value| value.data.slot = Slot(41)).contains("another slot"));
    assert!(refused(|value| value.data.index = 1).contains("not 0"));
    assert!(refused(|value| value.data.target.epoch = Epoch(2)).contains("not the epoch of the slot"));
    assert!(refused(|value| value.data.source.epoch = Epoch(1)).contains("source is not before"));
    assert!(refused(|value| value.data.source.epoch = Epoch(7)).contains("source is not before"));
    assert!(refused(|value| value.duty.slot = Slot(41)).contains("is another by our own beacon node"));
    assert!(refused(|value| value.duty.validator = validator(2)).contains("is another"));
    assert!(refused(|value| value.duty.committee_index = 4).contains("is another"));
}

#[test]
fn in_the_first_epoch_source_and_target_are_the_same() {
    let epoch_0 =
        AttestationData { slot: Slot(3), target: Checkpoint::default(), source: Checkpoint::default(), ..data() };
    assert_eq!(check_data(&cluster(1), Slot(3), &epoch_0), Ok(()));
    let mut above = epoch_0;
    above.source.epoch = Epoch(1);
    assert_eq!(check_data(&cluster(1), Slot(3), &above), Err("the source is after the target"));
}

#[test]
fn a_bad_entry_does_not_spoil_the_others() {
    let mut run = run(&[1, 2]);
    let mut bad = value(2);
    bad.data.slot = Slot(39);
    run.decide(&cluster(2), &set(&[(1, value(1)), (2, bad), (9, value(9))]));
    let mut out = Vec::new();
    run.ask_vault(&mut out);
    run.ask_vault(&mut out);
    let [Effect::SignAttestations { batch, .. }] = out.as_slice() else { panic!("asked once: {out:?}") };
    assert_eq!(batch.as_slice(), [(validator(1), data())]);
    let results = vec![(validator(1), Ok(PartialSignature([4; 96]))), (validator(2), Ok(PartialSignature([4; 96])))];
    let (signed, refused) = run.take_signed(&cluster(2), results);
    assert_eq!(signed.len(), 1, "what was not asked for is not taken");
    assert_eq!(
        (signed[0].1.version, signed[0].1.validator, signed[0].1.committee),
        (6, Some(ValidatorIndex(1)), Some(3))
    );
    assert_eq!(refused.len(), 2, "{refused:?}");
}

#[test]
fn a_duty_that_only_the_others_know_is_signed_by_what_they_say() {
    let mut run = unresolved();
    run.decide(&cluster(2), &set(&[(2, value(2))]));
    run.ask_vault(&mut Vec::new());
    let (signed, _) = run.take_signed(&cluster(2), vec![(validator(2), Ok(PartialSignature([4; 96])))]);
    assert_eq!(signed[0].1.committee, Some(3));
}

/// One bad leader would otherwise take from each of our validators the one attestation that it has in this epoch.
#[test]
fn a_validator_without_a_duty_in_the_slot_is_not_signed_for() {
    for mut run in [run(&[1]), run(&[])] {
        run.decide(&cluster(2), &set(&[(2, value(2))]));
        assert!(!run.waits_for_vault());
        assert!(run.take_refused().unwrap()[0].contains("has no duty in this slot"));
    }
    let mut told_late = unresolved();
    told_late.resolve(&cluster(2), BTreeMap::new());
    told_late.decide(&cluster(2), &set(&[(2, value(2))]));
    assert!(!told_late.waits_for_vault());
}

#[test]
fn garbage_that_was_decided_is_refused_as_a_whole() {
    for garbage in [Value::PriorityResult(vec![1]), Value::DataSet(BTreeMap::from([(validator(1), vec![1, 2])]))] {
        let mut run = run(&[1]);
        run.decide(&cluster(2), &garbage);
        assert!(!run.waits_for_vault());
        assert_eq!(run.take_refused().unwrap(), ["it does not decode as a set of attester values"]);
        assert_eq!(run.take_refused(), None, "told once");
    }
}

fn asks(run: &mut AttesterRun, now: Millis) -> bool {
    let mut out = Vec::new();
    run.on_time(now, &mut out);
    assert!(out.len() <= 1);
    matches!(out.pop(), Some(Effect::FetchAttestationData(Slot(40))))
}

#[test]
fn data_is_asked_for_at_the_start_or_at_the_head_and_once() {
    let start = cluster(2).duty_start(DUTY);
    let before = Millis(start.0 - 1);
    let mut waits = run(&[1]);
    assert!(!asks(&mut waits, before));
    assert_eq!(waits.next_wake(), Some(start));
    assert!(asks(&mut waits, start) && !asks(&mut waits, start));
    let mut sees_head = run(&[1]);
    sees_head.on_head(before);
    assert!(asks(&mut sees_head, before));
    sees_head.take_data(&cluster(2), data(), before).unwrap();
    sees_head.on_head(before);
    assert!(!asks(&mut sees_head, start.plus(50_000)));
    assert!(!asks(&mut run(&[]), start), "without a duty there is nothing to ask");
}

#[test]
fn data_that_failed_or_is_of_no_use_is_asked_for_again_until_the_decision() {
    let start = cluster(2).duty_start(DUTY);
    let mut run = run(&[1]);
    assert!(asks(&mut run, start));
    run.data_failed(start);
    assert!(!asks(&mut run, start) && asks(&mut run, start.plus(FETCH_AGAIN_MS)));
    let other = AttestationData { slot: Slot(39), ..data() };
    assert_eq!(run.take_data(&cluster(2), other, start), Err("it is of another slot"));
    assert!(asks(&mut run, start.plus(1000)));
    run.data_failed(start);
    run.decide(&cluster(2), &set(&[(1, value(1))]));
    assert!(!asks(&mut run, start.plus(9000)) && run.next_wake().is_none());
}

#[test]
fn the_proposal_is_made_once_and_not_before_the_start() {
    let start = cluster(2).duty_start(DUTY);
    let mut run = run(&[1, 2]);
    run.take_data(&cluster(2), data(), start).unwrap();
    assert_eq!(run.take_proposal(&cluster(2), Millis(start.0 - 1)), None);
    assert_eq!(run.take_proposal(&cluster(2), start), Some(set(&[(1, value(1)), (2, value(2))])));
    assert_eq!(run.take_proposal(&cluster(2), start), None);
}

#[test]
fn new_duties_count_until_we_proposed() {
    let start = cluster(2).duty_start(DUTY);
    let mut run = run(&[1]);
    run.resolve(&cluster(2), BTreeMap::from([(validator(2), duty(2))]));
    assert_eq!(run.resolved_validators(), BTreeSet::from([validator(2)]));
    run.take_data(&cluster(2), data(), start).unwrap();
    run.take_proposal(&cluster(2), start).unwrap();
    run.resolve(&cluster(2), BTreeMap::new());
    assert_eq!(run.resolved_validators(), BTreeSet::from([validator(2)]));
}

fn whole(number: u8) -> Whole {
    Whole { validator: validator(number), data: data(), signature: Signature([1; 96]), said: None }
}

fn submits(run: &mut AttesterRun, now: Millis) -> usize {
    let mut out = Vec::new();
    run.on_time(now, &mut out);
    let count = |effect: &Effect| match effect {
        Effect::SubmitAttestations { attestations, .. } => attestations.len(),
        _ => 0,
    };
    out.iter().map(count).sum()
}

#[test]
fn what_combines_while_a_submission_is_under_way_goes_with_the_next() {
    let now = cluster(2).duty_start(DUTY);
    let mut run = run(&[1, 2]);
    assert!(run.take_whole(vec![whole(1)], now).is_empty());
    assert_eq!(submits(&mut run, now), 1);
    run.take_whole(vec![whole(2)], now);
    assert_eq!(submits(&mut run, now), 0);
    assert_eq!(run.submitted(true, now), 1);
    assert_eq!(submits(&mut run, now), 1);
    assert_eq!(run.submitted(true, now), 1);
    assert_eq!(submits(&mut run, now.plus(9000)), 0);
}

#[test]
fn a_failed_submission_is_repeated_with_all_that_is_ready() {
    let now = cluster(2).duty_start(DUTY);
    let mut run = run(&[1, 2]);
    run.take_whole(vec![whole(1)], now);
    assert_eq!(submits(&mut run, now), 1);
    run.take_whole(vec![whole(2)], now);
    assert_eq!(run.submitted(false, now), 0);
    assert_eq!(submits(&mut run, now), 0);
    assert_eq!(submits(&mut run, now.plus(SUBMIT_AGAIN_MS)), 2);
    assert_eq!(run.submitted(true, now), 2);
}

#[test]
fn an_attestation_whose_committee_nobody_knows_is_not_submitted() {
    let now = cluster(2).duty_start(DUTY);
    let mut run = unresolved();
    assert_eq!(run.take_whole(vec![whole(1)], now), [validator(1)]);
    assert_eq!(submits(&mut run, now), 0);
    let said = Whole { said: Some((ValidatorIndex(1), 3)), ..whole(1) };
    assert!(run.take_whole(vec![said], now).is_empty());
    assert_eq!(submits(&mut run, now), 1);
}
