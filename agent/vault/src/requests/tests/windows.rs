use super::*;

fn at_slot(kind: Kind, slot: u64) -> Asked {
    // The target follows, so that only the window decides.
    Asked { slot: Slot(slot), epoch: Epoch(slot / 32), ..asked(kind) }
}

/// Everything that is allowed of one window among many, as ranges: the window is exact when the neighbours are not in it.
fn allowed(all: impl Iterator<Item = u64>, one: impl Fn(u64) -> Asked) -> Vec<u64> {
    all.filter(|number| one(*number).refused().is_none()).collect()
}

#[test]
fn nothing_ahead_of_the_next_slot_can_be_slashed() {
    for kind in [Kind::Attestation, Kind::Block] {
        // What is old, the history decides on.
        assert_eq!(allowed(0..300, |slot| at_slot(kind, slot)), (0..=101).collect::<Vec<_>>(), "{kind:?}");
        let ahead = "the vault's clock is at slot 100, the last it signs is 101";
        for slot in [102, 128, u64::MAX] {
            assert_eq!(at_slot(kind, slot).refused().as_deref(), Some(ahead), "{kind:?} of slot {slot}");
        }
        let just_before = Millis(NOW.0 - 1);
        assert!(at_slot(kind, 101).at(just_before).is_err());
        assert!(at_slot(kind, 100).at(just_before).is_ok());
    }
}

#[test]
fn the_target_is_the_epoch_of_the_slot() {
    for epoch in [0, 2, 4, u64::MAX] {
        let asked = Asked { epoch: Epoch(epoch), ..asked(Kind::Attestation) };
        assert_eq!(asked.refused().as_deref(), Some("the slot is in epoch 3"), "target {epoch}");
    }
}

#[test]
fn reveals_and_proofs_are_of_four_epochs() {
    let reveal = |epoch| Asked { epoch: Epoch(epoch), ..asked(Kind::Randao) };
    assert_eq!(allowed(0..300, reveal), [2, 3, 4, 5]);
    for kind in [Kind::Selection, Kind::SyncSelection] {
        assert_eq!(allowed(0..300, |slot| at_slot(kind, slot)), (64..192).collect::<Vec<_>>(), "{kind:?}");
    }
    let outside = "the vault's clock is in epoch 3, it signs epochs 2 to 5";
    for epoch in [1, 6, u64::MAX] {
        assert_eq!(reveal(epoch).refused().as_deref(), Some(outside), "epoch {epoch}");
    }
}

#[test]
fn what_is_made_within_its_slot_is_neither_old_nor_ahead() {
    for kind in Kind::OPAQUE {
        assert_eq!(allowed(0..300, |slot| at_slot(kind, slot)), (64..=101).collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn there_are_four_subcommittees() {
    let of = |subcommittee| Asked { subcommittee, ..asked(Kind::SyncSelection) };
    assert_eq!(allowed(0..100, of), [0, 1, 2, 3]);
    assert_eq!(of(u64::MAX).refused().as_deref(), Some("the last sync subcommittee is 3"));
}

#[test]
fn an_exit_is_of_any_epoch_up_to_the_second_next() {
    let at = |epoch| Asked { epoch: Epoch(epoch), ..asked(Kind::Exit) };
    assert_eq!(allowed(0..300, at), [0, 1, 2, 3, 4, 5]);
    assert_eq!(at(u64::MAX).refused().as_deref(), Some("the vault's clock is in epoch 3, the last it signs is 5"));
}

#[test]
fn a_registration_is_at_most_a_day_ahead_with_a_gas_limit_that_is_one() {
    let at = |timestamp_s| Asked { timestamp_s, ..asked(Kind::Registration) };
    for timestamp_s in [0, 1_000, 1_200, 87_600] {
        assert_eq!(at(timestamp_s).refused(), None, "time {timestamp_s}");
    }
    let ahead = "the vault's clock is at 1200 s, the last time it signs is 87600 s";
    for timestamp_s in [87_601, u64::MAX] {
        assert_eq!(at(timestamp_s).refused().as_deref(), Some(ahead), "time {timestamp_s}");
    }
    let with = |gas_limit| Asked { gas_limit, ..asked(Kind::Registration) };
    for gas_limit in [5_000, 36_000_000, 200_000_000, 1_000_000_000] {
        assert_eq!(with(gas_limit).refused(), None, "gas limit {gas_limit}");
    }
    for gas_limit in [0, 4_999, 1_000_000_001, u64::MAX] {
        let reason = with(gas_limit).refused();
        assert_eq!(reason.as_deref(), Some("a gas limit is from 5000 to 1000000000"), "gas limit {gas_limit}");
    }
}

#[test]
fn nothing_is_signed_before_genesis() {
    for kind in Kind::ALL {
        let first = Asked { slot: Slot(0), epoch: Epoch(0), timestamp_s: 0, ..asked(kind) };
        let Err(SigningRefused::OutOfRange { reason, .. }) = first.at(Millis(999_999)) else { panic!("{kind:?}") };
        assert_eq!(reason, "the vault's clock is before genesis", "{kind:?}");
        assert!(first.at(Millis(1_000_000)).is_ok(), "{kind:?}");
    }
}

#[test]
fn a_refusal_names_what_was_asked() {
    let names = [
        (Kind::Attestation, "attestation for slot 900, target epoch 90"),
        (Kind::Block, "block of slot 900"),
        (Kind::Randao, "RANDAO reveal of epoch 90"),
        (Kind::Selection, "selection proof of slot 900"),
        (Kind::SyncSelection, "sync selection proof of slot 900, subcommittee 2"),
        (Kind::SyncMessage, "sync message of slot 900"),
        (Kind::Aggregate, "aggregate of slot 900"),
        (Kind::Contribution, "sync contribution of slot 900"),
        (Kind::Exit, "exit of validator 8 at epoch 90"),
        (Kind::Registration, "builder registration of time 90000 s with gas limit 60000000"),
    ];
    assert_eq!(names.map(|(kind, _)| kind), Kind::ALL);
    for (kind, expected) in names {
        let ahead = Asked { slot: Slot(900), epoch: Epoch(90), timestamp_s: 90_000, ..asked(kind) };
        let Err(SigningRefused::OutOfRange { what, .. }) = ahead.at(NOW) else { panic!("{kind:?}") };
        assert_eq!(what, expected);
    }
}

#[test]
fn a_candidate_says_what_the_history_needs() {
    let attestation = AttestationToSign { validator: VALIDATOR, data: asked(Kind::Attestation).data() };
    let candidate = attestations(&network(), NOW, holds, &[attestation]).unwrap().remove(0).unwrap();
    let root = holdfast_eth::domain::attestation_signing_root(&network().chain, &attestation.data);
    let (source, target, slot) = (Epoch(2), Epoch(3), Slot(100));
    assert_eq!(candidate, Candidate::Attestation { validator: VALIDATOR, source, target, root, slot });

    let header = asked(Kind::Block).header();
    let candidate = block(&network(), NOW, holds, &BlockToSign { validator: VALIDATOR, header }).unwrap();
    let root = holdfast_eth::domain::block_signing_root(&network().chain, slot, header.hash_tree_root());
    assert_eq!(candidate, Candidate::Block { validator: VALIDATOR, slot, root });
}
