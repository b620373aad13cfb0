//! Approvals of boot states: whatever is handed over again, the one that the next start needs is there.

use holdfast_evidence::Approval;
use holdfast_hal::tpm::PcrIndex;
use holdfast_test_operator::Operator;
use holdfast_types::P256Signature;
use p256::ecdsa::Signature;

use super::*;
use crate::vault::Vault;

fn approve(vault: &mut Vault, approval: Approval) {
    assert!(matches!(vault.answer(Request::ApproveFirmware(approval)), Response::Done));
}

/// Approvals of other boot states by the box's authority, as a daemon has seen them over the years.
fn old_ones(place: &TestBox, vault: &mut Vault, firmware: std::ops::Range<u8>) {
    for value in firmware {
        place.operator.approve_firmware(&mut InProcess(|request| vault.answer(request)), [value; 32]).unwrap();
    }
}

#[track_caller]
fn opens(place: &TestBox) {
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), None);
    vault.stop().unwrap();
}

#[test]
fn old_approvals_do_not_push_out_the_present_one() {
    let (place, mut vault) = TestBox::with_share();
    old_ones(&place, &mut vault, 1..40);
    vault.stop().unwrap();
    opens(&place);
}

#[test]
fn nor_do_they_when_a_later_boot_state_is_the_present_one() {
    let (place, mut vault) = TestBox::with_share();
    old_ones(&place, &mut vault, 1..6);
    vault.stop().unwrap();
    place.tpm.set_pcr(PcrIndex(7), [3; 32]);
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), None);
    old_ones(&place, &mut vault, 10..50);
    vault.stop().unwrap();
    opens(&place);
}

#[test]
fn the_other_form_of_a_signature_takes_no_second_place() {
    let (mut place, mut vault) = TestBox::with_share();
    let present = place.operator.approve_present(&mut InProcess(|request| vault.answer(request))).unwrap();
    let turned = Signature::from_slice(&present.signature.0).unwrap();
    let turned = Signature::from_scalars(turned.r().to_bytes(), (-*turned.s()).to_bytes()).unwrap();
    let turned = Approval { signature: P256Signature(turned.to_bytes().into()), ..present.clone() };
    assert_ne!(turned, present);
    for _ in 0..10 {
        approve(&mut vault, turned.clone());
        approve(&mut vault, present.clone());
    }
    assert_eq!(super::super::upkeep::firmware_approvals(vault.disk.as_ref()), [present]);
    vault.stop().unwrap();
    opens(&place);
}

#[test]
fn the_one_to_come_is_there_after_the_flood_as_well() {
    let (place, mut vault) = TestBox::with_share();
    old_ones(&place, &mut vault, 1..40);
    old_ones(&place, &mut vault, 77..78);
    vault.stop().unwrap();
    opens(&place);
    place.tpm.set_pcr(PcrIndex(7), [77; 32]);
    opens(&place);
}

#[test]
fn a_change_of_authority_leaves_the_approval_of_the_next() {
    let (place, mut vault) = TestBox::with_share();
    old_ones(&place, &mut vault, 1..40);
    let mut next = Operator::from_seed(2);
    place.operator.hand_over(&mut InProcess(|request| vault.answer(request)), &mut next).unwrap();
    let place = TestBox { operator: next, ..place };
    old_ones(&place, &mut vault, 40..80);
    vault.stop().unwrap();
    opens(&place);
}
