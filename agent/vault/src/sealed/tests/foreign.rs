//! Whatever is changed in a file, by somebody who has approvals for what he puts in: it does not open.

use holdfast_hal::tpm::TpmName;
use holdfast_vault_client::ClosedId;

use super::*;

/// Changes the parts of the one sealed file, and says why it stays closed. Approvals of everybody are at hand.
fn refusal_after(machine: &Machine, change: impl FnOnce(&mut SealedFile)) -> SealError {
    let (name, bytes) = machine.only_file();
    let generation = file::generation_of(&name).unwrap();
    let Read::Sealed(mut file) = SealedFile::read(&bytes, generation) else { panic!("the file is whole") };
    change(&mut file);
    let changed =
        SealedFile { constants_bytes: file.constants.to_bytes(), contents_bytes: file.contents.to_bytes(), ..*file }
            .to_bytes();
    assert_ne!(changed, bytes, "nothing was changed");
    fs::write(machine.disk().file(&name), &changed).unwrap();
    let refused = machine.closed(&everybodys_papers());
    fs::write(machine.disk().file(&name), &bytes).unwrap();
    assert!(machine.open_with(&everybodys_papers()).is_ok(), "the file as it was opens");
    refused
}

/// Approvals by the true keys and by others, for this board and for another one, of all levels.
fn everybodys_papers() -> Papers {
    let mut papers = Papers::usual();
    for signer in [release(), key(9)] {
        for board in [BOARD, "other"] {
            papers.releases.extend((1..=9).map(|level| Approval::of_image(&signer, board, level, IMAGE)));
        }
    }
    papers.firmware.push(Approval::of_firmware(&key(9), BOOT_STATE));
    papers
}

#[test]
fn foreign_constants_open_nothing() {
    type Change = fn(&mut Constants);
    // Those that nothing guards but the salt: the TPM knows nothing of them.
    let salted: [(&str, Change); 8] = [
        ("lease counter", |constants| constants.lease_counter.index += 1),
        ("lease counter's Name", |constants| constants.lease_counter.name[5] ^= 1),
        ("tier", |constants| constants.tier = Tier::A),
        ("fresh counter", |constants| constants.fresh_counter = None),
        ("network", |constants| constants.network.as_mut().unwrap().pins.chain.genesis_validators_root.0[0] ^= 1),
        ("no network", |constants| constants.network = None),
        ("first epoch", |constants| constants.network.as_mut().unwrap().terms.first_epoch.0 += 1),
        ("length of the lease", |constants| constants.network.as_mut().unwrap().terms.epochs = 9_999),
    ];
    // Those that the TPM judges: the halves are sealed under them.
    let sealed_under: [(&str, Change); 3] = [
        ("authority", |constants| constants.authority = key(9).public()),
        ("release key", |constants| constants.release = key(9).public()),
        ("board", |constants| constants.board = "other".into()),
    ];
    let machine = Machine::with_shares(1);
    machine.change(|constants, _| constants.network = Some(network()));
    for (field, change) in salted {
        let refused = refusal_after(&machine, |file| change(&mut file.constants));
        assert!(
            matches!(&refused, SealError::Damaged { part, .. } if part == "part with the keys"),
            "{field}: {refused:?}"
        );
    }
    for (field, change) in sealed_under {
        let refused = refusal_after(&machine, |file| change(&mut file.constants));
        assert!(
            matches!(&refused, SealError::Damaged { part, .. } if part.starts_with("half for")),
            "{field}: {refused:?}"
        );
    }
}

#[test]
fn another_machine_is_told_by_its_keys() {
    let machine = Machine::with_shares(1);
    let refused = refusal_after(&machine, |file| file.constants.storage_root[9] ^= 1);
    assert!(matches!(refused, SealError::OtherMachine { key: "storage root key", .. }), "{refused:?}");
    let refused = refusal_after(&machine, |file| file.constants.attestation_key[9] ^= 1);
    assert!(matches!(refused, SealError::OtherMachine { key: "attestation key", .. }), "{refused:?}");
    let refused = refusal_after(&machine, |file| file.constants.generation_counter.name[9] ^= 1);
    assert_eq!(refused.closed_id(), ClosedId::TpmReplaced);
    let refused = refusal_after(&machine, |file| file.constants.generation_counter.index += 1);
    assert_eq!(refused.closed_id(), ClosedId::TpmReplaced);
}

#[test]
fn a_file_that_claims_to_be_another_machines_does_not_open_there() {
    let machine = Machine::with_shares(1);
    let other = Machine::with_shares(2);
    let constants = other.constants();
    let (name, bytes) = machine.only_file();
    let Read::Sealed(mut file) = SealedFile::read(&bytes, 3) else { panic!("the file is whole") };
    file.constants.storage_root.clone_from(&constants.storage_root);
    file.constants.attestation_key.clone_from(&constants.attestation_key);
    file.constants_bytes = file.constants.to_bytes();
    for half in [&mut file.halves.image, &mut file.halves.boot_state] {
        half.storage_root = TpmName(constants.storage_root.clone());
    }
    fs::write(other.disk().file(&name), file.to_bytes()).unwrap();
    let refused = other.closed(&Papers::usual());
    assert_eq!(refused.closed_id(), ClosedId::SealDamaged, "{refused:?}");
}

#[test]
fn contents_that_were_changed_open_nothing() {
    type Change = fn(&mut SealedFile);
    let changes: [(&str, Change); 9] = [
        ("level", |file| file.contents.level -= 1),
        ("parent", |file| file.contents.parent[0] ^= 1),
        ("birth", |file| file.contents.born_at += 1),
        ("lock", |file| file.contents.pins.as_mut().unwrap().lock_hash.0[0] ^= 1),
        ("share index", |file| file.contents.pins.as_mut().unwrap().share_index.0 += 1),
        ("a share less", |file| {
            file.contents.pins.as_mut().unwrap().validators.pop_last();
            file.shares.pop();
        }),
        ("no shares", |file| {
            file.contents.pins = None;
            file.shares.clear();
        }),
        ("shares swapped", |file| file.shares.swap(0, 1)),
        ("halves swapped", |file| std::mem::swap(&mut file.halves.image, &mut file.halves.boot_state)),
    ];
    let machine = Machine::with_shares(1);
    for (field, change) in changes {
        let refused = refusal_after(&machine, change);
        assert_eq!(refused.closed_id(), ClosedId::SealDamaged, "{field}: {refused:?}");
    }
}

#[test]
fn no_part_of_an_older_file_passes_for_a_part_of_the_present_one() {
    type Change = fn(&mut SealedFile, SealedFile);
    let parts: [(&str, Change); 5] = [
        ("keys", |file, older| file.keys = older.keys),
        ("shares", |file, older| file.shares = older.shares),
        ("half for the image", |file, older| file.halves.image = older.halves.image),
        ("half for the boot state", |file, older| file.halves.boot_state = older.halves.boot_state),
        ("halves, keys and shares", |file, older| {
            file.halves = older.halves;
            file.keys = older.keys;
            file.shares = older.shares;
        }),
    ];
    let machine = Machine::with_shares(1);
    let (_, older) = machine.only_file();
    machine.change(|_, _| {});
    for (part, change) in parts {
        let Read::Sealed(older) = SealedFile::read(&older, 3) else { panic!("the file is whole") };
        let refused = refusal_after(&machine, |file| change(file, *older));
        assert_eq!(refused.closed_id(), ClosedId::SealDamaged, "{part}: {refused:?}");
    }
    // Under the present name, a whole older file is no better.
    fs::write(machine.disk().file("sealed-4"), &older).unwrap();
    let refused = machine.closed(&Papers::usual());
    assert_eq!(refused.closed_id(), ClosedId::SealDamaged, "{refused:?}");
}

#[test]
fn every_byte_of_a_file_counts() {
    let machine = Machine::with_shares(1);
    let (name, whole) = machine.only_file();
    let papers = Papers::usual();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(machine.disk().file(&name), &changed).unwrap();
        assert!(machine.open_with(&papers).is_err(), "byte {at} does not count");
        assert!(matches!(SealedFile::read(&whole[..at], 3), Read::Unreadable(_)), "it is read when it is cut at {at}");
    }
    fs::write(machine.disk().file(&name), [&whole[..], &[0]].concat()).unwrap();
    assert!(machine.open_with(&papers).is_err(), "it opens with a byte behind its end");
    fs::write(machine.disk().file(&name), &whole).unwrap();
    assert!(machine.open_with(&papers).is_ok());
}

#[test]
fn lengths_that_claim_too_much_are_refused() {
    let machine = Machine::with_shares(1);
    let (_, whole) = machine.only_file();
    for len in [u32::MAX, 1 << 31, 20_000] {
        let mut claims = whole.clone();
        claims[8..12].copy_from_slice(&len.to_be_bytes());
        assert!(matches!(SealedFile::read(&claims, 3), Read::Unreadable("part of the constants")));
    }
}
