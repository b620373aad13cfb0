//! The two signing keys, held against an independent implementation.

use holdfast_evidence::verify;
use holdfast_hal::tpm::{PcrIndex, Tpm, TpmError, TpmName};
use holdfast_hal_tpm::EsapiTpm;
use holdfast_types::{P256Public, P256Signature};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::lab::{Lab, clear, extend, sized, start};

#[test]
fn a_quote_verifies_under_the_key_whose_name_is_known() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    lab.done(&extend(11));
    let name = tpm.attestation_key_name().unwrap();
    for qualifying in [[0x5a; 32], [0; 32]] {
        let quote = tpm.quote(&[PcrIndex(11), PcrIndex(7)], &qualifying).unwrap();
        assert_eq!(name, name_of(&quote.key));
        assert_eq!(quote.key[4..8], 0x0005_0472u32.to_be_bytes(), "restricted, signing, fixed to this TPM");
        assert!(verify(&point_of(&quote.key), &quote.message, &quote.signature));
        let mut changed = quote.message.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(!verify(&point_of(&quote.key), &changed, &quote.signature));

        let [of_7, of_11] = tpm.read_pcrs(&[PcrIndex(7), PcrIndex(11)]).unwrap()[..] else { panic!("two values") };
        let selected = [0, 0, 0, 1, 0, 0x0b, 3, 0x80, 0x08, 0];
        let registers = [&selected[..], &sized(&Sha256::digest([of_7, of_11].concat()))].concat();
        assert!(quote.message.starts_with(b"\xffTCG\x80\x18"));
        assert!(quote.message.ends_with(&registers), "it states the registers' values");
        assert_eq!(quote.message[42..76], sized(&qualifying), "and what it was asked to");
    }
    assert_eq!(lab.handles(), 1);
}

#[test]
fn the_box_key_signs_digests() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let key = tpm.box_key().unwrap();
    // Enough of them that a number with a leading zero byte is likely among them.
    for round in 0..200u8 {
        let digest = [round; 32];
        assert!(verifies(&key, &digest, &tpm.sign_with_box_key(&digest).unwrap()), "round {round}");
    }
    assert!(!verifies(&key, &[1; 32], &tpm.sign_with_box_key(&[0; 32]).unwrap()));
    assert_eq!(lab.handles(), 1);
}

#[test]
fn the_keys_are_the_same_after_a_restart_and_each_tpm_has_its_own() {
    let state = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let swtpm = start(state.path());
        let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
        seen.push((tpm.attestation_key_name().unwrap(), tpm.box_key().unwrap()));
    }
    assert_eq!(seen[0], seen[1]);
    let lab = Lab::new();
    let mut other = lab.open();
    assert_ne!(other.attestation_key_name().unwrap(), seen[0].0);
    assert_ne!(other.box_key().unwrap(), seen[0].1);
}

#[test]
fn a_clearing_is_noticed_and_changes_all_but_the_attestation_key() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let (root, name, key) =
        (tpm.storage_root_name().unwrap(), tpm.attestation_key_name().unwrap(), tpm.box_key().unwrap());
    lab.done(&clear());
    assert!(matches!(tpm.random(1), Err(TpmError::Refused { .. })), "the storage root key is gone");
    let refused = tpm.random(1);
    assert!(matches!(refused, Err(TpmError::OtherTpm { sealed, present }) if sealed == root && present != root));
    drop(tpm);
    let mut tpm = lab.open();
    assert_ne!(tpm.storage_root_name().unwrap(), root);
    assert_eq!(tpm.attestation_key_name().unwrap(), name);
    assert_ne!(tpm.box_key().unwrap(), key);
}

/// The Name of an object with this public area.
fn name_of(area: &[u8]) -> TpmName {
    TpmName([&[0, 0x0b][..], &Sha256::digest(area)].concat())
}

/// The point at the end of a public area.
fn point_of(area: &[u8]) -> P256Public {
    let point = &area[area.len() - 68..];
    let point = p256::EncodedPoint::from_affine_coordinates(point[2..34].into(), point[36..].into(), true);
    P256Public::from_slice(point.as_bytes()).unwrap()
}

fn verifies(key: &P256Public, digest: &[u8; 32], signature: &P256Signature) -> bool {
    let key = VerifyingKey::from_sec1_bytes(&key.0).unwrap();
    key.verify_prehash(digest, &Signature::from_slice(&signature.0).unwrap()).is_ok()
}
