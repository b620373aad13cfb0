//! What is sealed opens again, in each generation; and no older copy ever does.

use holdfast_hal::tpm::NvIndex;
use holdfast_hal_sim::{Fault, Operation};
use holdfast_vault_client::ClosedId;
use holdfast_vault_client::codec::BATCH_LEN_MAX;

use super::*;

#[test]
fn an_empty_disk_is_an_empty_vault() {
    assert_eq!(Machine::new(1).view(), View::Nothing);
}

#[test]
fn what_was_sealed_opens_with_everything_in_it() {
    let machine = Machine::new(1);
    let first = machine.own();
    assert_eq!((first.generation, first.level, first.parent, first.born_at), (2, LEVEL, [0; 32], 0));
    let View::Open(opened) = machine.view() else { panic!("nothing is sealed") };
    let expected = Held { mac_key: [0x3c; 32], identity: None, pins: None, shares: Vec::new() };
    assert_eq!(*opened, (first.clone(), expected));

    let next = machine.change(|constants, keys| {
        constants.network = Some(network());
        keys.set_identity(&IdentityKey([0x5a; 32]));
        keys.take_shares(LOCK, ShareIndex(2), shares(&[1, 2]).iter().map(by_reference)).unwrap();
    });
    assert_eq!((next.generation, next.parent, next.born_at), (3, first.id, 40));
    let View::Open(opened) = machine.view() else { panic!("nothing is sealed") };
    let validators = [validator(1), validator(2)].into();
    let expected = Held {
        mac_key: [0x3c; 32],
        identity: Some([0x5a; 32]),
        pins: Some(Pins { lock_hash: LOCK, share_index: ShareIndex(2), validators }),
        shares: shares(&[1, 2]),
    };
    assert_eq!(opened.0.constants.network, Some(network()));
    assert_eq!(*opened, (next, expected));
}

#[test]
fn a_file_shows_no_secret_and_two_files_have_nothing_in_common() {
    let machine = Machine::with_shares(1);
    let (_, one) = machine.only_file();
    machine.change(|_, _| {});
    let (_, two) = machine.only_file();
    for secret in [[0x3c; 32], [0x5a; 32], [0xa1; 32], [0xa2; 32]] {
        assert!(!one.windows(8).any(|window| window == &secret[..8]), "{secret:?} is in the clear");
    }
    let [one, two] = [one, two].map(|bytes| bytes[bytes.len() - 2 * 48..].to_vec());
    let common = one.windows(8).filter(|window| two.windows(8).any(|other| other == *window)).count();
    assert_eq!(common, 0, "a key or a nonce was used twice");
}

#[test]
fn no_older_copy_opens_after_any_change() {
    let machine = Machine::new(1);
    machine.own();
    let mut older = vec![machine.files()];
    let changes: [fn(&mut Constants, &mut Keys); 4] = [
        |constants, _| constants.network = Some(network()),
        |_, keys| keys.take_shares(LOCK, ShareIndex(2), shares(&[1, 2, 3]).iter().map(by_reference)).unwrap(),
        |_, keys| keys.retire(&[validator(2)]),
        |_, _| {},
    ];
    for change in changes {
        machine.change(change);
        let present = machine.files();
        for (age, copy) in older.iter().enumerate() {
            machine.restore(copy);
            let refused = machine.closed(&Papers::usual());
            assert!(matches!(refused, SealError::RolledBack { .. }), "copy {age}: {refused:?}");
            assert_eq!(refused.closed_id(), ClosedId::HistoryRolledBack);
        }
        machine.restore(&present);
        assert!(matches!(machine.view(), View::Open(_)));
        older.push(present);
    }
    erase(&machine.disk(), &mut machine.tpm.clone()).unwrap();
    assert_eq!((machine.view(), machine.files()), (View::Nothing, Files::new()));
    for (age, copy) in older.iter().enumerate() {
        machine.restore(copy);
        let refused = machine.closed(&Papers::usual());
        assert!(matches!(refused, SealError::RolledBack { .. }), "copy {age} after a reset: {refused:?}");
    }
    erase(&machine.disk(), &mut machine.tpm.clone()).unwrap();
    machine.own();
    assert!(matches!(machine.view(), View::Open(_)));
}

#[test]
fn files_of_other_generations_are_ignored_and_taken_away() {
    let machine = Machine::with_shares(1);
    let (name, bytes) = machine.only_file();
    for other in ["sealed-1", "sealed-99", "sealed-03", "sealed-4.tmp", "sealed-x"] {
        fs::write(machine.disk().file(other), b"HFVAULT\x02 and nothing behind it").unwrap();
    }
    fs::write(machine.disk().file("sealed-4"), file::erased(4)).unwrap();
    assert!(matches!(machine.view(), View::Open(_)));
    assert_eq!(machine.only_file(), (name, bytes));
}

#[test]
fn another_tpm_and_a_cleared_one_are_named() {
    let machine = Machine::with_shares(1);
    let other = Machine { place: machine.place, tpm: Machine::new(2).tpm };
    let unopened = other.open_with(&Papers::usual()).err().unwrap();
    assert!(matches!(unopened.error, SealError::OtherMachine { key: "storage root key", .. }), "{:?}", unopened.error);
    assert_eq!(unopened.claimed.unwrap().constants.authority, authority().public());

    let machine = Machine::with_shares(3);
    machine.tpm.clear();
    let refused = machine.closed(&Papers::usual());
    assert_eq!(refused.closed_id(), ClosedId::OtherMachine, "{refused:?}");
    // The owner of a cleared TPM can begin again.
    erase(&machine.disk(), &mut machine.tpm.clone()).unwrap();
    assert_eq!(machine.view(), View::Nothing);
    machine.own();
    assert!(matches!(machine.view(), View::Open(_)));
}

#[test]
fn a_counter_that_is_not_ours_is_named() {
    type Place = fn(&SimTpm, NvIndex);
    let places: [(&str, Place); 3] = [
        ("gone", SimTpm::remove_index),
        ("no counter", SimTpm::place_ordinary_index),
        ("another counter", |tpm, index| tpm.place_foreign_counter(index, 3)),
    ];
    for (what, place) in places {
        let machine = Machine::with_shares(1);
        place(&machine.tpm, GENERATION_COUNTER);
        let refused = machine.closed(&Papers::usual());
        assert!(matches!(refused, SealError::TpmReplaced), "{what}: {refused:?}");
        assert_eq!(refused.closed_id(), ClosedId::TpmReplaced);
    }
    let machine = Machine::with_shares(1);
    machine.tpm.set_counter(GENERATION_COUNTER, 1);
    let refused = machine.closed(&Papers::usual());
    assert_eq!(refused.closed_id(), ClosedId::HistoryRolledBack, "{refused:?}");
}

#[test]
fn a_busy_tpm_is_asked_again_and_a_dead_one_is_named() {
    let machine = Machine::with_shares(1);
    let asked = [
        Operation::CounterRead,
        Operation::StorageRootName,
        Operation::AttestationKeyName,
        Operation::ReadPcrs,
        Operation::Unseal,
        Operation::Random,
    ];
    for operation in asked {
        for fault in [Fault::Refused, Fault::AnswerLost] {
            machine.tpm.fail_next(operation, fault);
            assert!(machine.open_with(&Papers::usual()).is_ok(), "{operation:?} {fault:?}");
        }
        (0..counter::TPM_TRIES).for_each(|_| machine.tpm.fail_next(operation, Fault::Refused));
        let unopened = machine.open_with(&Papers::usual()).err().unwrap();
        assert_eq!(unopened.error.closed_id(), ClosedId::TpmFailed, "{operation:?}: {:?}", unopened.error);
        assert_eq!(unopened.claimed.unwrap().generation, 3);
        assert!(machine.open_with(&Papers::usual()).is_ok(), "{operation:?} again");
    }
}

#[test]
fn the_room_comes_back_wiped_from_what_does_not_open() {
    let machine = Machine::with_shares(1);
    let (name, mut bytes) = machine.only_file();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(machine.disk().file(&name), bytes).unwrap();
    let unopened = machine.open_with(&Papers::usual()).err().unwrap();
    assert!(
        matches!(&unopened.error, SealError::Damaged { part, .. } if part == "share of validator 0x0202…0202"),
        "{:?}",
        unopened.error
    );
    // The first share had been opened by then.
    let mut keys = Keys::empty(unopened.room, &[0; 32]);
    keys.admit(LOCK, ShareIndex(1), (0..10).map(validator).collect()).unwrap();
    assert!(keys.shares().all(|(_, share)| *share == [0; 32]));
    assert_eq!(*keys.secrets(), [0; SECRETS_LEN]);
}

#[test]
fn a_thousand_shares_fit_into_a_file() {
    let machine = Machine::new(1);
    machine.own();
    let many: Vec<_> = (0..u16::try_from(BATCH_LEN_MAX).unwrap())
        .map(|number| {
            let mut validator = [0xee; 48];
            validator[..2].copy_from_slice(&number.to_be_bytes());
            (ValidatorPublic(validator), [number.to_le_bytes()[0]; 32])
        })
        .collect();
    machine.change(|_, keys| keys.take_shares(LOCK, ShareIndex(2), many.iter().map(by_reference)).unwrap());
    let (_, bytes) = machine.only_file();
    assert!(bytes.len() <= 400 * 1024, "{} bytes", bytes.len());
    let View::Open(opened) = machine.view() else { panic!("nothing is sealed") };
    assert_eq!(opened.1.shares, many);
}

#[test]
fn constants_that_are_too_long_are_refused_before_anything_happens() {
    let machine = Machine::with_shares(1);
    let (sealed, keys) = machine.open_with(&Papers::usual()).map_err(|unopened| unopened.error).unwrap();
    let mut constants = sealed.constants.clone();
    constants.board = "b".repeat(20_000);
    let refused = sealed.next(&machine.disk(), &mut machine.tpm.clone(), constants, LEVEL, &keys, 0).unwrap_err();
    assert!(matches!(refused, SealError::TooLong { .. }) && refused.changed_nothing(), "{refused:?}");
    assert!(matches!(machine.view(), View::Open(opened) if opened.0 == sealed));
}

#[test]
fn a_key_that_is_none_is_not_sealed_under() {
    let machine = Machine::with_shares(1);
    let (sealed, keys) = machine.open_with(&Papers::usual()).map_err(|unopened| unopened.error).unwrap();
    let mut constants = sealed.constants.clone();
    constants.authority.0 = [0xff; 33];
    let refused = sealed.next(&machine.disk(), &mut machine.tpm.clone(), constants, LEVEL, &keys, 0).unwrap_err();
    assert!(matches!(refused, SealError::UnusableKey { whose: "authority" }), "{refused:?}");
    assert!(matches!(machine.view(), View::Open(opened) if opened.0 == sealed));
}
