//! What a vault proves about itself, as whoever verifies it sees it.

use holdfast_evidence::verifier::{Expected, ImageVerdict, KnownImage, KnownReleases, TpmVerdict, Verified, verify};
use holdfast_evidence::{
    Custody, Emulated, Evidence, EvidenceKind, HeldShares, Order, Origin, Tier, Unproven, VendorRoots,
};
use holdfast_hal::tpm::{NvIndex, PcrIndex, Tpm as _};
use holdfast_hal_sim::{Operation, SimTpm};
use holdfast_test_operator::Shares;
use holdfast_types::{BoxName, Millis};
use rand_core::OsRng;

use super::*;
use crate::sealed::counter::LEASE_COUNTER;
use crate::sealed::tests::watched::Watched;
use crate::state::StateFolder;
use crate::testing::situations::Situation;
use crate::tier::Machine;
use crate::vault::Vault;
use crate::vault::standing::Standing;

const NONCE: [u8; 32] = [9; 32];
const KINDS: [EvidenceKind; 3] = [EvidenceKind::Boot, EvidenceKind::ImportKey, EvidenceKind::Custody];

fn evidence(vault: &mut Vault, kind: EvidenceKind) -> Evidence {
    match vault.answer(Request::Evidence { kind, nonce: NONCE }) {
        // As it travels.
        Response::Evidence(evidence) => Evidence::from_bytes(&evidence.to_bytes()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn verified(vault: &mut Vault, kind: EvidenceKind) -> Verified {
    let vendors = VendorRoots::default();
    let box_name = Some(status(vault).box_name);
    let evidence = evidence(vault, kind);
    verify(&evidence, &Expected { nonce: NONCE, kind, box_name, vendors: &vendors, releases: None, now: Millis(0) })
        .unwrap()
}

#[test]
fn evidence_of_each_kind_verifies_in_every_situation_in_which_it_is_given() {
    for situation in Situation::ALL {
        let (place, mut vault) = situation.set_up();
        for kind in KINDS {
            let sealed_shut = matches!(vault.standing, Standing::Closed(ref broken) if broken.owned.is_none());
            if kind == EvidenceKind::Custody && sealed_shut {
                let answer = vault.answer(Request::Evidence { kind, nonce: NONCE });
                assert!(matches!(answer, Response::Rejected(Rejection::Closed(_))), "{situation:?}: {answer:?}");
                continue;
            }
            let verified = verified(&mut vault, kind);
            assert_eq!(verified.box_key, place.tpm.clone().box_key().unwrap(), "{situation:?}");
            assert_eq!(verified.authority, status(&mut vault).authority, "{situation:?}");
            assert_eq!(verified.tier, Tier::C);
            assert_eq!(verified.tpm, TpmVerdict::Emulated(Emulated::BoxSays));
            assert_eq!(verified.import_key.is_some(), kind == EvidenceKind::ImportKey);
            assert_eq!(verified.custody.is_some(), kind == EvidenceKind::Custody);
            let counter = place.tpm.clone().counter_read(LEASE_COUNTER).ok().map(|reading| reading.value);
            assert_eq!(verified.counter, counter, "{situation:?}");
        }
    }
}

#[test]
fn the_custody_is_what_the_vault_holds() {
    let custody = |vault: &mut Vault| verified(vault, EvidenceKind::Custody).custody.unwrap();
    let (place, mut vault) = TestBox::with_share();
    let Custody { shares, orders_logged, orders_head } = custody(&mut vault);
    let told = vault.status();
    assert_eq!((orders_logged, orders_head), (told.orders_logged, told.orders_head));
    assert!(orders_logged > 0 && orders_head != [0; 32], "{told:?}");
    let Shares { lock_hash, share_index, .. } = shares_of_the_box();
    assert_eq!(shares, Some(HeldShares { lock_hash, share_index, validators: vec![(VALIDATOR, Origin::Imported)] }));
    place.operator.retire(&mut InProcess(|request| vault.answer(request)), vec![VALIDATOR]).unwrap();
    let after = custody(&mut vault);
    assert_eq!((after.shares, after.orders_logged), (None, orders_logged + 1));
    let nothing = Custody { shares: None, orders_logged: 0, orders_head: [0; 32] };
    assert_eq!(custody(&mut TestBox::new().start()), nothing);
}

fn shares_of_the_box() -> Shares {
    shares(Epoch(3), HistoryClaim::NeverSigned)
}

#[test]
fn what_is_kept_for_another_nonce_kind_or_box_is_worth_nothing() {
    let (_place, mut vault) = TestBox::with_share();
    let vendors = VendorRoots::default();
    let name = status(&mut vault).box_name;
    for kind in KINDS {
        let kept = evidence(&mut vault, kind);
        let right =
            Expected { nonce: NONCE, kind, box_name: Some(name), vendors: &vendors, releases: None, now: Millis(0) };
        assert!(verify(&kept, &right).is_ok());
        assert!(verify(&kept, &Expected { nonce: [8; 32], ..right }).is_err());
        assert!(verify(&kept, &Expected { box_name: Some(BoxName([1; 32])), ..right }).is_err());
        for other in KINDS.into_iter().filter(|other| *other != kind) {
            assert!(verify(&kept, &Expected { kind: other, ..right }).is_err(), "{kind:?} for {other:?}");
        }
    }
}

#[test]
fn the_image_is_held_against_the_releases_that_are_known() {
    let place = TestBox::new();
    let images =
        place.release.approvals.iter().map(|approval| KnownImage { pcr_11: [0; 32], approval: approval.clone() });
    let releases = KnownReleases { key: place.release.key, images: images.collect() };
    let vendors = VendorRoots::default();
    let image = |place: &TestBox| {
        let kind = EvidenceKind::Boot;
        let evidence = evidence(&mut place.start(), kind);
        let releases = Some(&releases);
        let expected = Expected { nonce: NONCE, kind, box_name: None, vendors: &vendors, releases, now: Millis(0) };
        verify(&evidence, &expected).unwrap().image
    };
    assert_eq!(image(&place), ImageVerdict::Released { board: "test".into(), level: 2 });
    place.tpm.set_pcr(PcrIndex(12), [1; 32]);
    assert_eq!(image(&place), ImageVerdict::Unknown);
}

#[test]
fn a_credential_opens_in_the_box_that_it_is_for_only() {
    let place = TestBox::new();
    let machine = Machine { tier: Tier::B, reason: "a test".into() };
    let disk = Box::new(StateFolder::open(&place.state()).unwrap());
    let tpm = Box::new(place.tpm.clone().as_device());
    let mut vault = Vault::open(disk, tpm, Box::new(place.clock.clone()), place.release.clone(), machine).unwrap();
    let mut other = TestBox { tpm: SimTpm::new(2), ..TestBox::new() }.start();
    let proved = verified(&mut vault, EvidenceKind::Boot);
    assert_eq!(proved.tpm, TpmVerdict::Unproven(Unproven::NoCertificate));
    let challenge = proved.challenge(&mut OsRng).unwrap();
    let ask = |vault: &mut Vault| vault.answer(Request::ActivateCredential(challenge.credential.clone()));
    assert!(matches!(ask(&mut other), Response::Rejected(Rejection::Credential)));
    match ask(&mut vault) {
        Response::Activated(secret) => {
            assert!(proved.clone().activated(&challenge, &[0; 32]).is_err(), "any answer is taken");
            drop(proved.activated(&challenge, &secret).unwrap());
        }
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn registers_that_change_at_a_quote_are_read_and_quoted_anew() {
    for (changes, told) in [(1, true), (3, true), (1_000, false)] {
        let place = TestBox::new();
        let mut left = changes;
        let tpm = Watched::new(&place.tpm, move |operation, tpm: &SimTpm| {
            if operation == Operation::Quote && left > 0 {
                left -= 1;
                tpm.set_pcr(PcrIndex(11), [left as u8; 32]);
            }
            None
        });
        let disk = Box::new(StateFolder::open(&place.state()).unwrap());
        let mut vault = place.start_on(disk, Box::new(tpm));
        if told {
            assert_eq!(verified(&mut vault, EvidenceKind::Boot).register(11), Some([0; 32]));
        } else {
            let answer = vault.answer(Request::Evidence { kind: EvidenceKind::Boot, nonce: NONCE });
            assert!(matches!(answer, Response::Rejected(Rejection::Tpm(_))), "{answer:?}");
        }
    }
}

/// A relay: the certificate and the endorsement key of another machine's TPM under the evidence of this one.
#[test]
fn another_tpm_s_endorsement_key_opens_nothing_for_this_box() {
    let (_place, mut vault) = TestBox::with_share();
    let mut other = SimTpm::new(2);
    let mut relayed = evidence(&mut vault, EvidenceKind::Boot);
    relayed.endorsement.public = other.endorsement_key().unwrap().public;
    let vendors = VendorRoots::default();
    let kind = EvidenceKind::Boot;
    let expected = Expected { nonce: NONCE, kind, box_name: None, vendors: &vendors, releases: None, now: Millis(0) };
    let challenge = verify(&relayed, &expected).unwrap().challenge(&mut OsRng).unwrap();
    let credential = &challenge.credential;
    assert!(other.activate_credential(&credential.id_object, &credential.secret).is_err());
    let answer = vault.answer(Request::ActivateCredential(credential.clone()));
    assert!(matches!(answer, Response::Rejected(Rejection::Credential)));
}

#[test]
fn a_tpm_that_does_not_say_where_its_counter_is_has_a_remedy() {
    let (_place, mut vault) = Situation::Undecided.set_up();
    let reason = status(&mut vault).closed.unwrap().reason;
    assert!(reason.contains("asked again by itself; if it stays, reboot"), "{reason}");
}

#[test]
fn what_lies_in_the_counter_s_place_is_named_with_what_to_do() {
    let (place, mut vault) = TestBox::with_share();
    place.tpm.place_ordinary_index(NvIndex(0x0180_4801));
    let order = Order::NewCounter { epoch: Epoch(5) };
    let refused = place.operator.order(&mut InProcess(|request| vault.answer(request)), order).unwrap_err();
    let refused = crate::vault::in_full(&refused);
    assert!(refused.contains("take it away with `tpm2_nvundefine 0x01804801`"), "{refused}");
    place.tpm.remove_index(NvIndex(0x0180_4801));
    let order = Order::NewCounter { epoch: Epoch(5) };
    assert!(place.operator.order(&mut InProcess(|request| vault.answer(request)), order).is_ok());
}
