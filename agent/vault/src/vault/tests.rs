//! Whole vaults on a simulated TPM: what they answer, over starts, stops, restored disks and orders.

mod adversity;
mod approvals;
mod cuts;
mod evidence;

use std::fs;
use std::path::Path;

use holdfast_evidence::HistoryClaim;
use holdfast_test_operator::InProcess;
use holdfast_types::{Epoch, Slot};
use holdfast_vault_client::{ClosedId, Rejection, Request, Response, SigningRefused, SlashingRefusal};

use crate::testing::*;

#[test]
fn an_empty_box_says_so_and_signs_nothing() {
    let mut vault = TestBox::new().start();
    assert_eq!(closed(&mut vault), Some(ClosedId::NotOwned));
    for request in [Request::SignAttestations(Vec::new()), Request::IdentityKey] {
        assert!(matches!(vault.answer(request), Response::Rejected(Rejection::Closed(_))));
    }
}

#[test]
fn a_share_that_was_ordered_in_signs_once() {
    let (_place, mut vault) = TestBox::with_share();
    assert_eq!(closed(&mut vault), None);
    let first = sign(&mut vault, attestation(100, 2)).unwrap();
    assert_eq!(sign(&mut vault, attestation(100, 2)).unwrap(), first, "the same root is signed again");
    let mut other = attestation(100, 2);
    other.beacon_block_root.0[0] ^= 1;
    let refused = sign(&mut vault, other).unwrap_err();
    assert!(matches!(refused, SigningRefused::Slashable(SlashingRefusal::DoubleVote { .. })), "{refused}");
}

#[test]
fn after_a_clean_stop_it_signs_at_once() {
    let (place, mut vault) = TestBox::with_share();
    sign(&mut vault, attestation(100, 2)).unwrap();
    vault.stop().unwrap();
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), None);
    place.clock.set_epoch(4);
    sign(&mut vault, attestation(128, 3)).unwrap();
}

#[test]
fn after_a_kill_it_waits_until_all_that_the_lease_allowed_is_behind() {
    let (place, mut vault) = TestBox::with_share();
    sign(&mut vault, attestation(100, 2)).unwrap();
    let last = status(&mut vault).lease.unwrap().last_epoch;
    drop(vault);
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), Some(ClosedId::LeaseUnclean));
    place.clock.set_epoch(last.0 - 1);
    settle(&mut vault);
    assert_eq!(closed(&mut vault), Some(ClosedId::LeaseUnclean));
    place.clock.set_epoch(last.0);
    settle(&mut vault);
    assert_eq!(closed(&mut vault), None);
    place.clock.set_epoch(last.0 + 1);
    settle(&mut vault);
    let slot = chain().first_slot(Epoch(last.0 + 1)).0;
    let refused = sign(&mut vault, attestation(slot - 1, last.0 - 1)).unwrap_err();
    assert!(matches!(refused, SigningRefused::Slashable(SlashingRefusal::BelowFloor { .. })), "{refused}");
    sign(&mut vault, attestation(slot, last.0)).unwrap();
}

#[test]
fn an_operator_who_vouches_for_the_disk_ends_the_wait() {
    let (place, mut vault) = TestBox::with_share();
    sign(&mut vault, attestation(100, 2)).unwrap();
    drop(vault);
    let mut vault = place.start();
    place.operator.vouch_disk(&mut InProcess(|request| vault.answer(request))).unwrap();
    assert_eq!(closed(&mut vault), None);
    place.clock.set_epoch(4);
    sign(&mut vault, attestation(128, 3)).unwrap();
}

#[test]
fn an_older_disk_does_not_sign_what_was_signed_since() {
    let (place, vault) = TestBox::with_share();
    vault.stop().unwrap();
    let older = tempfile::tempdir().unwrap();
    copy(&place.state(), older.path());
    let mut vault = place.start();
    sign(&mut vault, attestation(100, 2)).unwrap();
    vault.stop().unwrap();
    copy(older.path(), &place.state());
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), Some(ClosedId::LeaseUnclean));
    assert!(matches!(vault.answer(Request::SignAttestations(Vec::new())), Response::Rejected(_)));
}

#[test]
fn a_much_older_disk_is_refused_until_the_operator_names_an_epoch() {
    let (mut place, vault) = TestBox::with_share();
    vault.stop().unwrap();
    let older = tempfile::tempdir().unwrap();
    copy(&place.state(), older.path());
    for epoch in [12, 20, 28] {
        let mut vault = place.start();
        place.clock.set_epoch(epoch);
        settle(&mut vault);
        sign(&mut vault, attestation(epoch * 32, epoch - 1)).unwrap();
        vault.stop().unwrap();
    }
    copy(older.path(), &place.state());
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), Some(ClosedId::HistoryRolledBack));
    let mut ask = InProcess(|request| vault.answer(request));
    assert!(place.operator.accept_floor(&mut ask, Epoch(29)).is_err(), "one epoch ahead may have been signed");
    place.operator.accept_floor(&mut ask, Epoch(30)).unwrap();
    let _ = &mut place;
    let first = status(&mut vault).lease.unwrap().first_epoch;
    place.clock.set_epoch(first.0);
    settle(&mut vault);
    let below = sign(&mut vault, attestation(first.0 * 32 - 1, first.0 - 2)).unwrap_err();
    assert!(matches!(below, SigningRefused::Slashable(SlashingRefusal::BelowFloor { .. })), "{below}");
    sign(&mut vault, attestation(first.0 * 32, first.0 - 1)).unwrap();
}

#[test]
fn a_retired_share_does_not_come_back_with_an_older_disk() {
    let (mut place, mut vault) = TestBox::with_share();
    let older = tempfile::tempdir().unwrap();
    copy(&place.state(), older.path());
    place.operator.retire(&mut InProcess(|request| vault.answer(request)), vec![VALIDATOR]).unwrap();
    assert_eq!(closed(&mut vault), Some(ClosedId::NoShares));
    drop(vault);
    copy(older.path(), &place.state());
    let mut vault = place.start();
    assert_eq!(closed(&mut vault), Some(ClosedId::HistoryRolledBack));
    let lifted = place.operator.accept_floor(&mut InProcess(|request| vault.answer(request)), Epoch(8));
    assert!(lifted.is_err(), "no order lifts it");
    let _ = &mut place;
}

#[test]
fn watermarks_outlive_a_reset() {
    let (mut place, mut vault) = TestBox::with_share();
    sign(&mut vault, attestation(100, 2)).unwrap();
    place.operator.reset(&mut InProcess(|request| vault.answer(request))).unwrap();
    assert_eq!(closed(&mut vault), Some(ClosedId::NotOwned));
    place.import(&mut vault);
    assert_eq!(closed(&mut vault), None);
    let mut other = attestation(101, 2);
    other.beacon_block_root.0[0] ^= 1;
    let refused = sign(&mut vault, other).unwrap_err();
    assert!(matches!(refused, SigningRefused::Slashable(_)), "{refused}");
    // "Never signed" is not believed of a TPM that held a lease: the box begins two epochs on.
    place.clock.set_epoch(4);
    assert!(sign(&mut vault, attestation(128, 3)).is_err());
    place.clock.set_epoch(5);
    sign(&mut vault, attestation(160, 4)).unwrap();
}

#[test]
fn a_source_that_jumps_after_a_stall_is_signed_under_a_new_lease() {
    let (place, mut vault) = TestBox::with_share();
    for epoch in 4..=12 {
        place.clock.set_epoch(epoch);
        settle(&mut vault);
        sign(&mut vault, attestation(epoch * 32, 2)).unwrap();
    }
    let before = status(&mut vault).lease.unwrap().counter;
    place.clock.set_epoch(13);
    sign(&mut vault, attestation(13 * 32, 12)).unwrap();
    assert!(status(&mut vault).lease.unwrap().counter > before, "the record allowed sources up to 2 only");
}

#[test]
fn an_import_without_history_begins_at_the_epoch_that_was_named() {
    let mut place = TestBox::new();
    let mut vault = place.start();
    let mut ask = InProcess(|request| vault.answer(request));
    place.operator.own(&mut ask).unwrap();
    place.operator.set_network(&mut ask, network(), Epoch(3)).unwrap();
    let early = shares(Epoch(3), HistoryClaim::Lost { first: Epoch(4) });
    assert!(place.operator.import(&mut ask, &early).is_err());
    place.operator.import(&mut ask, &shares(Epoch(3), HistoryClaim::Lost { first: Epoch(5) })).unwrap();
    settle(&mut vault);
    assert!(sign(&mut vault, attestation(100, 2)).is_err());
    place.clock.set_epoch(5);
    assert_eq!(chain().epoch_of(Slot(160)), Epoch(5));
    sign(&mut vault, attestation(160, 4)).unwrap();
}

/// Puts a copy of a folder in the place of another.
fn copy(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
