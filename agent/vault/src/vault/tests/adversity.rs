//! Attacks on whole vaults: each test is one way to a second signature, to a box that never signs again, or to an order
//! that must not count.

use std::time::Duration;

use holdfast_evidence::{Order, OrderText, SignedOrder, SigningKey};
use holdfast_hal::tpm::Tpm;
use holdfast_hal_sim::{Fault, Operation};
use holdfast_test_operator::Shares;
use holdfast_types::{AttestationMark, ForkVersion, HistoryMarks, ValidatorMarks, ValidatorPublic};
use holdfast_vault_client::BlockToSign;

use super::*;
use crate::sealed::counter::{GENERATION_COUNTER, LEASE_COUNTER};
use crate::testing::images::{Image, kept_while, start_watched};
use crate::vault::{Upkeep, Vault};

fn order(place: &TestBox, vault: &mut Vault, order: Order) -> Result<(), String> {
    let done = place.operator.order(&mut InProcess(|request| vault.answer(request)), order);
    done.map(drop).map_err(|error| crate::vault::in_full(&error))
}

/// Whether the vault signs it, whatever keeps it from that.
pub(super) fn signs(vault: &mut Vault, validator: ValidatorPublic, data: holdfast_eth::AttestationData) -> bool {
    let asked = Request::SignAttestations(vec![holdfast_vault_client::AttestationToSign { validator, data }]);
    match vault.answer(asked) {
        Response::Signatures(answers) => answers[0].is_ok(),
        Response::Rejected(_) => false,
        other => panic!("{other:?}"),
    }
}

/// The attestation in the first slot of its target, over another block than the usual one.
pub(super) fn other_vote(source: u64, target: u64) -> holdfast_eth::AttestationData {
    let mut data = vote(source, target);
    data.beacon_block_root.0[0] ^= 1;
    data
}

pub(super) fn vote(source: u64, target: u64) -> holdfast_eth::AttestationData {
    attestation(target * 32, source)
}

/// Lets the time go on, epoch by epoch, with the vault doing what is due.
fn live_until(place: &TestBox, vault: &mut Vault, epoch: u64) {
    for epoch in place.present().0..=epoch {
        place.clock.set_epoch(epoch);
        settle(vault);
    }
}

fn mark(source: u64, target: u64) -> HistoryMarks {
    let attestation = AttestationMark { source: Epoch(source), target: Epoch(target), root: None };
    let marks = ValidatorMarks { validator: VALIDATOR, attestation: Some(attestation), block: None };
    HistoryMarks { genesis_validators_root: chain().genesis_validators_root, validators: vec![marks] }
}

const SECOND: ValidatorPublic = ValidatorPublic([5; 48]);

fn second(epoch: u64, history: HistoryClaim) -> Shares {
    Shares { secrets: vec![(SECOND, [8; 32])], ..shares(Epoch(epoch), history) }
}

/// The clock ran ahead, so a vote far ahead was signed. The new terms must reach as far, or their end of a lease is
/// before that vote.
#[test]
fn a_new_counter_covers_what_a_clock_that_was_ahead_had_signed() {
    let (place, mut vault) = TestBox::with_share();
    let before = Image::of(&place);
    live_until(&place, &mut vault, 60);
    assert!(signs(&mut vault, VALIDATOR, vote(59, 60)));
    place.clock.set_epoch(5);
    order(&place, &mut vault, Order::NewCounter { epoch: Epoch(7) }).unwrap();
    drop(vault);
    before.put_history(&place);
    let mut vault = place.start();
    live_until(&place, &mut vault, 60);
    assert!(!signs(&mut vault, VALIDATOR, other_vote(59, 60)), "a double vote");
    live_until(&place, &mut vault, 80);
    assert!(!signs(&mut vault, VALIDATOR, vote(57, 80)), "it surrounds the vote");
    assert!(signs(&mut vault, VALIDATOR, vote(79, 80)));
}

/// The same with the lease cut off before the order, so that only the terms say how far it went.
#[test]
fn a_new_counter_covers_all_that_the_terms_before_allowed() {
    let (place, mut vault) = TestBox::with_share();
    let before = Image::of(&place);
    live_until(&place, &mut vault, 60);
    assert!(signs(&mut vault, VALIDATOR, vote(59, 60)));
    drop(vault);
    place.clock.set_epoch(5);
    let mut vault = place.start();
    order(&place, &mut vault, Order::NewCounter { epoch: Epoch(7) }).unwrap();
    drop(vault);
    before.put_history(&place);
    let mut vault = place.start();
    live_until(&place, &mut vault, 60);
    assert!(!signs(&mut vault, VALIDATOR, other_vote(59, 60)), "a double vote");
}

#[test]
fn an_epoch_is_accepted_as_far_ahead_as_the_refusal_says() {
    for epoch in [5, 19, 20, 100, 3 + 225] {
        let (place, mut vault) = TestBox::with_share();
        order(&place, &mut vault, Order::NewCounter { epoch: Epoch(epoch) }).unwrap();
        assert_eq!(closed(&mut vault), None, "epoch {epoch}");
        assert_eq!(status(&mut vault).lease.unwrap().first_epoch, Epoch(epoch));
        live_until(&place, &mut vault, epoch);
        assert!(!signs(&mut vault, VALIDATOR, vote(epoch - 2, epoch - 1)));
        assert!(signs(&mut vault, VALIDATOR, vote(epoch - 1, epoch)), "epoch {epoch}");
    }
    let (place, mut vault) = TestBox::with_share();
    assert!(order(&place, &mut vault, Order::NewCounter { epoch: Epoch(3 + 226) }).is_err());
    assert!(order(&place, &mut vault, Order::NewCounter { epoch: Epoch(4) }).is_err());
    assert_eq!(closed(&mut vault), None);
}

/// The record of the lease names the highest source of its time; marks that come later must be covered by it too.
#[test]
fn marks_that_were_imported_are_not_forgotten_with_an_older_history() {
    let (place, mut vault) = TestBox::with_share();
    for epoch in 4..=12 {
        place.clock.set_epoch(epoch);
        settle(&mut vault);
        // A daemon that pretends that the chain stands still.
        assert!(signs(&mut vault, VALIDATOR, vote(1, epoch)));
    }
    let before = Image::of(&place);
    order(&place, &mut vault, Order::ImportHistory(mark(11, 13))).unwrap();
    drop(vault);
    before.put_history(&place);
    let mut vault = place.start();
    live_until(&place, &mut vault, 40);
    assert!(!signs(&mut vault, VALIDATOR, vote(3, 40)), "it surrounds the vote that was imported");
}

/// The lease is behind, and nothing lets it tick: marks of the present are beyond its end.
#[test]
fn marks_beyond_the_lease_are_covered_or_refused() {
    let (place, mut vault) = TestBox::with_share();
    let before = Image::of(&place);
    place.clock.set_epoch(30);
    for _ in 0..200 {
        place.tpm.fail_next(Operation::CounterIncrement, Fault::Refused);
    }
    let imported = order(&place, &mut vault, Order::ImportHistory(mark(29, 30)));
    drop(vault);
    while place.tpm.clone().counter_increment(LEASE_COUNTER).is_err() {}
    if imported.is_ok() {
        before.put_history(&place);
    }
    let mut vault = place.start();
    live_until(&place, &mut vault, 30);
    assert!(imported.is_err() || !signs(&mut vault, VALIDATOR, other_vote(29, 30)), "a double vote");
}

#[test]
fn a_share_that_begins_far_ahead_is_covered_or_refused() {
    for first in [5, 19, 40] {
        let (mut place, mut vault) = TestBox::with_share();
        let before = Image::of(&place);
        let shares = second(3, HistoryClaim::Lost { first: Epoch(first) });
        let imported = place.operator.import(&mut InProcess(|request| vault.answer(request)), &shares);
        assert_eq!(imported.is_ok(), first < 40, "{first}");
        drop(vault);
        if imported.is_ok() {
            before.put_history(&place);
        }
        let mut vault = place.start();
        live_until(&place, &mut vault, 60);
        for target in 4..first {
            place.clock.set_epoch(target);
            assert!(!signs(&mut vault, SECOND, vote(target - 1, target)), "{target} is before {first}");
        }
    }
}

/// Until that epoch the share may be in use elsewhere.
#[test]
fn a_share_of_which_the_history_is_lost_surrounds_nothing_before_its_first_epoch() {
    let (mut place, mut vault) = TestBox::with_share();
    let shares = second(3, HistoryClaim::Lost { first: Epoch(12) });
    place.operator.import(&mut InProcess(|request| vault.answer(request)), &shares).unwrap();
    live_until(&place, &mut vault, 14);
    assert!(!signs(&mut vault, SECOND, vote(5, 14)), "it surrounds a vote of source 9 and target 10");
    assert!(signs(&mut vault, SECOND, vote(13, 14)));
}

/// The operator takes the backup to another box: it must say all that may have been signed.
#[test]
fn a_backup_of_the_history_says_what_is_barred() {
    let (place, mut vault) = TestBox::with_share();
    let marks = |vault: &mut Vault| match vault.answer(Request::HistoryBackup { after: None }) {
        Response::History(marks) => marks.validators,
        other => panic!("{other:?}"),
    };
    assert_eq!(marks(&mut vault), []);
    assert!(signs(&mut vault, VALIDATOR, attestation(100, 2)));
    let exact = marks(&mut vault);
    assert_eq!(exact[0].attestation.unwrap().target, Epoch(3));
    let last = status(&mut vault).lease.unwrap().last_epoch;
    drop(vault);
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), Some(ClosedId::LeaseUnclean));
    let covered = |marks: &[ValidatorMarks]| {
        let (vote, block) = (marks[0].attestation.unwrap(), marks[0].block.unwrap());
        vote.target >= last && vote.source >= Epoch(last.0 - 1) && block.slot.0 >= last.0 * 32 + 31
    };
    assert!(covered(&marks(&mut vault)), "while it waits");
    live_until(&place, &mut vault, last.0);
    assert_eq!(closed(&mut vault), None);
    assert!(covered(&marks(&mut vault)), "once it signs again");
}

/// An increment happened, its read-back was lost, and before it is asked for again an order changes what is sealed.
#[test]
fn an_order_after_a_lost_answer_leaves_a_box_that_opens() {
    let place = TestBox::with_share().0;
    place.clock.set_epoch(3);
    let mut vault = place.start();
    order(&place, &mut vault, Order::VouchDisk).unwrap();
    vault.stop().unwrap();
    let mut vault = start_watched(&place);
    let last = status(&mut vault).lease.unwrap().last_epoch;
    place.clock.set_epoch(last.0);
    place.tpm.fail_next(Operation::CounterRead, Fault::Refused);
    vault.maintain();
    let images = kept_while(place.state(), place.tpm.clone(), || {
        drop(order(&place, &mut vault, Order::Retire(vec![VALIDATOR])))
    });
    drop(vault);
    for (number, image) in images.iter().enumerate() {
        image.put(&place);
        let mut vault = place.start();
        let found = status(&mut vault).closed;
        let found_id = found.as_ref().map(|closed| closed.id);
        assert_ne!(found_id, Some(ClosedId::HistoryRolledBack), "{found:?} at {number}");
    }
}

#[test]
fn a_clock_that_jumps_does_not_run_the_lease_away() {
    let (place, mut vault) = TestBox::with_share();
    let before = place.tpm.clone().counter_read(LEASE_COUNTER).unwrap().value;
    place.clock.set_epoch(10_000_000);
    for _ in 0..200 {
        assert_ne!(vault.maintain(), Upkeep::Exit);
    }
    assert!(!signs(&mut vault, VALIDATOR, vote(9_999_999, 10_000_000)), "it bars the validator for years");
    assert_eq!(place.tpm.clone().counter_read(LEASE_COUNTER).unwrap().value, before);
    assert_eq!(closed(&mut vault), Some(ClosedId::CatchingUp));
    place.clock.set_epoch(4);
    settle(&mut vault);
    assert!(signs(&mut vault, VALIDATOR, vote(3, 4)));
}

#[test]
fn a_clock_that_was_wrong_at_the_start_is_looked_at_again() {
    let (place, vault) = TestBox::with_share();
    vault.stop().unwrap();
    place.clock.set_epoch(10_000_000);
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), Some(ClosedId::CatchingUp));
    place.clock.set_epoch(4);
    settle(&mut vault);
    assert!(signs(&mut vault, VALIDATOR, vote(3, 4)));
}

/// A cut while the clock was ahead: the operator can say that the disk is what it was, and get a lease of the present.
#[test]
fn a_lease_far_ahead_that_was_cut_off_can_be_lifted() {
    let (place, mut vault) = TestBox::with_share();
    live_until(&place, &mut vault, 1_000);
    drop(vault);
    place.clock.set_epoch(5);
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), Some(ClosedId::LeaseUnclean));
    order(&place, &mut vault, Order::VouchDisk).unwrap();
    assert_eq!(closed(&mut vault), Some(ClosedId::LeaseAhead));
    order(&place, &mut vault, Order::NewCounter { epoch: Epoch(7) }).unwrap();
    assert_eq!(closed(&mut vault), None);
    live_until(&place, &mut vault, 7);
    assert!(signs(&mut vault, VALIDATOR, vote(6, 7)));
}

#[test]
fn an_import_that_is_refused_pins_no_network() {
    let mut place = TestBox::new();
    let mainnet = holdfast_eth::networks::public(ForkVersion([0; 4])).unwrap();
    place.clock.set_ms(mainnet.chain.slot_start(mainnet.chain.first_slot(Epoch(400_000))).0);
    let mut vault = place.start();
    place.operator.own(&mut InProcess(|request| vault.answer(request))).unwrap();
    let lost = HistoryClaim::Lost { first: Epoch(400_000) };
    let shares = Shares { genesis_fork_version: ForkVersion([0; 4]), ..shares(Epoch(400_000), lost) };
    let refused = place.operator.import(&mut InProcess(|request| vault.answer(request)), &shares);
    assert!(refused.is_err(), "the first epoch is not ahead");
    place.clock.set_epoch(3);
    order(&place, &mut vault, Order::SetNetwork { network: network(), epoch: Epoch(3) }).unwrap();
}

#[test]
fn an_import_with_another_epoch_than_the_clock_s_is_refused_later_too() {
    let (mut place, mut vault) = TestBox::with_share();
    place.clock.set_epoch(9);
    settle(&mut vault);
    // Somebody has set the clock back; "two epochs on" would be long ago.
    place.clock.set_epoch(5);
    let shares = second(9, HistoryClaim::NeverSigned);
    assert!(place.operator.import(&mut InProcess(|request| vault.answer(request)), &shares).is_err());
}

/// Damage must not be worse than loss: the box says so, and an order lifts it.
#[test]
fn a_damaged_history_is_no_end() {
    for clean in [true, false] {
        let (place, mut vault) = TestBox::with_share();
        assert!(signs(&mut vault, VALIDATOR, attestation(100, 2)));
        if clean {
            vault.stop().unwrap()
        } else {
            drop(vault)
        }
        damage_history(&place);
        let mut vault = place.start();
        let found = closed(&mut vault);
        assert_eq!(found, Some(ClosedId::HistoryLost), "clean: {clean}");
        assert!(!signs(&mut vault, VALIDATOR, other_vote(2, 3)));
        order(&place, &mut vault, Order::AcceptFloor { epoch: Epoch(5) }).unwrap();
        live_until(&place, &mut vault, 20);
        assert!(signs(&mut vault, VALIDATOR, vote(19, 20)));
        drop(vault);
        let mut vault = place.start();
        assert_eq!(closed(&mut vault), Some(ClosedId::LeaseUnclean));
    }
    let mut place = TestBox::new();
    drop(place.start());
    damage_history(&place);
    let mut vault = place.start();
    place.import(&mut vault);
    assert_eq!(closed(&mut vault), None);
}

fn damage_history(place: &TestBox) {
    let path = place.state().join("history.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_tpm_that_does_not_count_is_asked_with_pauses() {
    let (place, vault) = TestBox::with_share();
    vault.stop().unwrap();
    for _ in 0..50 {
        place.tpm.fail_next(Operation::CounterIncrement, Fault::Refused);
    }
    let mut vault =
        place.start_on(Box::new(crate::state::StateFolder::open(&place.state()).unwrap()), Box::new(place.tpm.clone()));
    for _ in 0..20 {
        let Upkeep::Again(pause) = vault.maintain() else { panic!("it gives up") };
        assert!(pause > Duration::ZERO);
    }
    let found = status(&mut vault).closed.unwrap();
    assert_eq!(found.id, ClosedId::TpmFailed);
    assert!(!found.reason.contains("NewCounter"), "{found}");
}

#[test]
fn a_vault_that_closed_while_it_ran_can_be_reset() {
    let (place, mut vault) = TestBox::with_share();
    vault.standing.history().unwrap().break_writes();
    assert!(!signs(&mut vault, VALIDATOR, attestation(100, 2)));
    assert_eq!(closed(&mut vault), Some(ClosedId::HistoryUnusable));
    drop(order(&place, &mut vault, Order::Reset));
    drop(vault);
    assert_eq!(closed(&mut place.start()), Some(ClosedId::NotOwned));
}

/// Another process on the same TPM ticked, and may have signed at its values.
#[test]
fn a_counter_that_somebody_else_moved_bars_what_it_stands_for() {
    let (place, mut vault) = TestBox::with_share();
    let last = status(&mut vault).lease.unwrap().last_epoch;
    place.clock.set_epoch(last.0);
    for _ in 0..4 {
        place.tpm.clone().counter_increment(LEASE_COUNTER).unwrap();
    }
    vault.maintain();
    assert_eq!(closed(&mut vault), Some(ClosedId::TpmRolledBack));
    order(&place, &mut vault, Order::NewCounter { epoch: Epoch(last.0 + 2) }).unwrap();
    assert!(status(&mut vault).lease.unwrap().first_epoch.0 > last.0 + 4 * 8);
}

/// The counter was taken away and the record with it; what the new one begins at says how far the old one was at most.
#[test]
fn a_counter_that_was_made_anew_bars_what_its_value_stands_for() {
    let (place, mut vault) = TestBox::with_share();
    let before = Image::of(&place);
    live_until(&place, &mut vault, 60);
    assert!(signs(&mut vault, VALIDATOR, vote(59, 60)));
    drop(vault);
    place.tpm.remove_index(LEASE_COUNTER);
    before.put_files(&place, |name| name == "lease" || name.starts_with("history"));
    place.clock.set_epoch(5);
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), Some(ClosedId::TpmReplaced));
    assert!(order(&place, &mut vault, Order::NewCounter { epoch: Epoch(1) }).is_err());
    assert_eq!(closed(&mut vault), Some(ClosedId::TpmReplaced));
    assert!(place.tpm.clone().counter_read(LEASE_COUNTER).is_err(), "a refused order makes no counter");
    order(&place, &mut vault, Order::NewCounter { epoch: Epoch(7) }).unwrap();
    live_until(&place, &mut vault, 60);
    assert!(!signs(&mut vault, VALIDATOR, other_vote(59, 60)), "a double vote");
}

#[test]
fn a_new_counter_s_lease_is_not_ended_by_one_tick_that_failed() {
    let (place, mut vault) = TestBox::with_share();
    place.tpm.fail_next(Operation::CounterIncrement, Fault::Refused);
    order(&place, &mut vault, Order::NewCounter { epoch: Epoch(5) }).unwrap();
    assert_eq!(closed(&mut vault), None);
}

/// Restored onto the generation counter, an attempt that was cut short must not bring a retired share back, whichever of
/// the older files come with it.
#[test]
fn an_attempt_that_never_counted_does_not_count_later() {
    let (place, vault) = TestBox::with_share();
    vault.stop().unwrap();
    let mut vault = start_watched(&place);
    let before = Image::of(&place);
    let attempt =
        kept_while(place.state(), place.tpm.clone(), || drop(order(&place, &mut vault, Order::Identity(MADE_HERE))))
            .into_iter()
            .rfind(|image| image.counters[1] == before.counters[1] && image.files.len() > before.files.len())
            .unwrap();
    drop(vault);
    attempt.put(&place);
    let name = attempt.files.keys().rfind(|name| name.starts_with("sealed-")).unwrap().clone();
    let mut vault = place.start();
    order(&place, &mut vault, Order::Retire(vec![VALIDATOR])).unwrap();
    let after = Image::of(&place);
    assert!(after.files.contains_key(&name), "the same generation");
    drop(vault);
    for record_too in [true, false] {
        after.put(&place);
        attempt.put_files(&place, |file| file == name || record_too && file == "lease");
        let mut vault = place.start();
        assert!(status(&mut vault).closed.is_some());
        live_until(&place, &mut vault, place.present().0 + 40);
        let now = place.present().0;
        assert!(!signs(&mut vault, VALIDATOR, vote(now - 1, now)), "record: {record_too}");
    }
    assert_eq!(place.tpm.clone().counter_read(GENERATION_COUNTER).ok().map(|reading| reading.value), after.counters[1]);
}

const MADE_HERE: holdfast_evidence::IdentityOrder = holdfast_evidence::IdentityOrder::MadeHere;

/// Whoever has the socket may send anything in any order: no order of his counts.
#[test]
fn orders_that_do_not_count_change_nothing() {
    let (place, mut vault) = TestBox::with_share();
    let box_name = status(&mut vault).box_name;
    let challenge = |vault: &mut Vault| match vault.answer(Request::Challenge) {
        Response::Challenge(challenge) => challenge,
        other => panic!("{other:?}"),
    };
    let refused = |vault: &mut Vault, signed: SignedOrder| {
        let answer = vault.answer(Request::Order(signed));
        assert!(matches!(answer, Response::Rejected(Rejection::Order { .. })), "{answer:?}");
    };
    let retire = || Order::Retire(vec![VALIDATOR]);
    let void = challenge(&mut vault);
    let fresh = challenge(&mut vault);
    refused(&mut vault, place.operator.sign(box_name, void, retire()));
    let thief = SigningKey::from_bytes(&[3; 32]).unwrap();
    refused(&mut vault, SignedOrder::sign(&OrderText { to: box_name, challenge: fresh, order: retire() }, &thief));
    let mut elsewhere = box_name;
    elsewhere.0[0] ^= 1;
    refused(&mut vault, place.operator.sign(elsewhere, fresh, retire()));
    place.clock.pass(Duration::from_secs(601));
    refused(&mut vault, place.operator.sign(box_name, fresh, retire()));
    let fresh = challenge(&mut vault);
    let signed = place.operator.sign(box_name, fresh, Order::Downgrade { version: "1.0".into() });
    assert!(matches!(vault.answer(Request::Order(signed.clone())), Response::OrderDone(_)));
    refused(&mut vault, signed);
    assert_eq!(status(&mut vault).validators, [VALIDATOR]);
    assert_eq!(closed(&mut vault), None);
}

/// Blocks are barred by the slot, in the same places.
#[test]
fn no_second_block_is_signed_with_an_older_history() {
    let (place, mut vault) = TestBox::with_share();
    let before = Image::of(&place);
    let mut header = holdfast_eth::BeaconBlockHeader {
        slot: Slot(100),
        proposer_index: 1,
        parent_root: holdfast_types::Root([1; 32]),
        state_root: holdfast_types::Root([2; 32]),
        body_root: holdfast_types::Root([3; 32]),
    };
    let signs = |vault: &mut Vault, header| {
        let asked = Request::SignBlock(BlockToSign { validator: VALIDATOR, header });
        matches!(vault.answer(asked), Response::Signatures(answers) if answers[0].is_ok())
    };
    assert!(signs(&mut vault, header));
    header.body_root.0[0] ^= 1;
    assert!(!signs(&mut vault, header));
    drop(vault);
    before.put_history(&place);
    let mut vault = place.start();
    assert!(!signs(&mut vault, header));
    live_until(&place, &mut vault, 40);
    assert_eq!(closed(&mut vault), None);
    assert!(!signs(&mut vault, header));
}
