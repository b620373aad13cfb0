//! Both ends of each window, by the vault's own clock.

use holdfast_types::Millis;

use super::*;

/// The slots up to 300 that a kind may be of, as far as the window goes: what the history refuses was in it.
fn window(kind: Kind, vault: &mut Vault) -> Vec<u64> {
    let in_window = |slot: &u64| match Asked::new(kind, *slot, &chain()).of(vault) {
        Ok(_) | Err(SigningRefused::Slashable(_)) => true,
        Err(SigningRefused::OutOfRange { .. }) => false,
        Err(other) => panic!("{kind:?} of slot {slot}: {other}"),
    };
    (0..300).filter(in_window).collect()
}

/// In slot `now`, from the first to the last slot.
fn expected(kind: Kind, now: u64) -> Vec<u64> {
    let epoch = now / 32;
    let first_of_epochs = epoch.saturating_sub(1) * 32;
    match kind {
        Kind::Attestation | Kind::Block => (0..=now + 1).collect(),
        Kind::Randao | Kind::Selection | Kind::SyncSelection => (first_of_epochs..(epoch + 3) * 32).collect(),
        Kind::SyncMessage | Kind::Aggregate | Kind::Contribution => (first_of_epochs..=now + 1).collect(),
    }
}

#[test]
fn each_window_has_its_two_ends_whatever_the_slot() {
    let (place, mut vault) = Situation::Open.set_up();
    for now in [96, 100, 127, 128, 160] {
        place.clock.set_slot(now);
        settle(&mut vault);
        for kind in Kind::ALL {
            assert_eq!(window(kind, &mut vault), expected(kind, now), "{kind:?} in slot {now}");
        }
    }
}

#[test]
fn a_window_moves_with_the_first_millisecond_of_a_slot() {
    let (place, mut vault) = Situation::Open.set_up();
    let start = chain().slot_start(Slot(128));
    for kind in Kind::ALL {
        place.clock.set(Millis(start.0 - 1));
        assert_eq!(window(kind, &mut vault), expected(kind, 127), "{kind:?}");
        place.clock.set(start);
        assert_eq!(window(kind, &mut vault), expected(kind, 128), "{kind:?}");
    }
}

#[test]
fn before_genesis_nothing_is_of_the_present() {
    let (place, mut vault) = Situation::Open.set_up();
    place.clock.set(Millis(999_999));
    for kind in Kind::ALL {
        for slot in [0, 1, 100] {
            let refused = Asked::new(kind, slot, &chain()).of(&mut vault).unwrap_err();
            assert!(refused.to_string().ends_with("the vault's clock is before genesis"), "{kind:?}: {refused}");
        }
    }
}

#[test]
fn what_is_outside_its_window_leaves_no_mark() {
    let (_place, mut vault) = Situation::Open.set_up();
    let before = marks(&mut vault);
    for kind in Kind::ALL {
        for slot in [300, u64::MAX] {
            let refused = Asked::new(kind, slot, &chain()).of(&mut vault).unwrap_err();
            assert!(matches!(refused, SigningRefused::OutOfRange { .. }), "{kind:?} of slot {slot}: {refused}");
        }
    }
    assert_eq!(marks(&mut vault), before);
    for kind in Kind::ALL {
        assert!(Asked::new(kind, 100, &chain()).of(&mut vault).is_ok(), "{kind:?}");
    }
}
