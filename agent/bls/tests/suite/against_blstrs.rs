//! Keys, signatures, dealing and combination against blstrs, on random input.

use blstrs::{G1Affine, G1Projective, G2Affine, G2Projective, Scalar, pairing};
use holdfast_bls::{
    HashedRoot, ShareSecret, ValidatorSecret, aggregate, combine, fast_aggregate_verify, interpolate_public, public_of,
    sign_with, verify_partial,
};
use holdfast_types::{LockHash, OPERATORS_MAX, PartialSignature, ShareIndex, SigningRoot};
use proptest::prelude::*;

use crate::rng;

const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";
const GENERATOR: &str =
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb";

fn generator() -> G1Affine {
    G1Affine::from_compressed(&hex::decode(GENERATOR).unwrap().try_into().unwrap()).unwrap()
}

fn their_scalar(bytes: &[u8; 32]) -> Scalar {
    Scalar::from_bytes_be(bytes).unwrap()
}

fn their_public(secret: &Scalar) -> [u8; 48] {
    G1Affine::from(G1Projective::from(generator()) * secret).to_compressed()
}

fn their_signature(secret: &Scalar, message: &[u8; 32]) -> [u8; 96] {
    G2Affine::from(G2Projective::hash_to_curve(message, DST, &[]) * secret).to_compressed()
}

/// A secret key below the group order: the top bits are cleared.
fn secret_bytes() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>().prop_map(|mut bytes| {
        bytes[0] &= 0x3f;
        bytes[31] |= 1;
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_and_signatures_agree(bytes in secret_bytes(), message in any::<[u8; 32]>()) {
        let (ours, theirs) = (ShareSecret::from_bytes(&bytes).unwrap(), their_scalar(&bytes));
        prop_assert_eq!(*ours.expose(), bytes);
        prop_assert_eq!(ours.public().0, their_public(&theirs));
        prop_assert_eq!(public_of(&bytes).unwrap(), ours.public());
        let signature = ours.sign(SigningRoot(message));
        prop_assert_eq!(signature.0, their_signature(&theirs, &message));
        prop_assert_eq!(sign_with(&bytes, &HashedRoot::new(SigningRoot(message))).unwrap(), signature);
        prop_assert_eq!(ours.sign_lock_hash(LockHash(message)), signature);
        let whole = ValidatorSecret::from_bytes(&bytes).unwrap();
        prop_assert_eq!(whole.public().0, ours.public().0);
        prop_assert_eq!(whole.sign(SigningRoot(message)).0, signature.0);
    }

    #[test]
    fn verification_agrees(bytes in secret_bytes(), message in any::<[u8; 32]>(), other in any::<[u8; 32]>()) {
        let secret = ShareSecret::from_bytes(&bytes).unwrap();
        let signature = secret.sign(SigningRoot(other));
        let hashed = G2Affine::from(G2Projective::hash_to_curve(&message, DST, &[]));
        let public = G1Affine::from_compressed(&secret.public().0).unwrap();
        let decoded = G2Affine::from_compressed(&signature.0).unwrap();
        let theirs = pairing(&public, &hashed) == pairing(&generator(), &decoded);
        prop_assert_eq!(verify_partial(&secret.public(), SigningRoot(message), &signature).is_ok(), theirs);
        prop_assert_eq!(verify_partial(&secret.public(), SigningRoot(other), &signature), Ok(()));
    }

    /// The shares are points of one polynomial of the right degree: any threshold of them, evaluated by blstrs, agree.
    #[test]
    fn combination_is_the_signature_of_the_whole_key(
        bytes in secret_bytes(), message in any::<[u8; 32]>(), shares in 1..=32_u8, cut in any::<proptest::sample::Index>(),
        order in any::<u64>(),
    ) {
        let threshold = cut.index(usize::from(shares)) as u8 + 1;
        let whole = ValidatorSecret::from_bytes(&bytes).unwrap();
        let mut dealt = whole.split(threshold, shares, &mut rng(order)).unwrap();
        rand::seq::SliceRandom::shuffle(&mut dealt[..], &mut rng(order));
        dealt.truncate(threshold.into());
        let message = SigningRoot(message);
        let partials: Vec<_> = dealt.iter().map(|(index, share)| (*index, share.sign(message))).collect();
        let signature = combine(&partials).unwrap().prove(&whole.public(), message).unwrap();
        prop_assert_eq!(signature.0, their_signature(&their_scalar(&bytes), &message.0));
        let publics: Vec<_> = dealt.iter().map(|(index, share)| (*index, share.public())).collect();
        prop_assert_eq!(interpolate_public(&publics).unwrap().0, their_public(&their_scalar(&bytes)));
    }

    #[test]
    fn plain_sums_agree(first in secret_bytes(), second in secret_bytes(), message in any::<[u8; 32]>()) {
        let secrets = [first, second].map(|bytes| ShareSecret::from_bytes(&bytes).unwrap());
        let sum = aggregate(&secrets.each_ref().map(|secret| secret.sign(SigningRoot(message)))).unwrap();
        let theirs = their_scalar(&first) + their_scalar(&second);
        prop_assert_eq!(sum.0, their_signature(&theirs, &message));
        let publics = secrets.each_ref().map(ShareSecret::public);
        prop_assert_eq!(fast_aggregate_verify(&publics, &message, &sum), Ok(()));
        prop_assert!(fast_aggregate_verify(&publics[..1], &message, &sum).is_err());
    }
}

#[test]
fn a_dealing_of_threshold_three_lies_on_a_quadratic() {
    let whole = ValidatorSecret::random(&mut rng(1));
    let dealt = whole.split(3, OPERATORS_MAX as u8, &mut rng(2)).unwrap();
    assert_eq!(dealt.len(), OPERATORS_MAX);
    let value = |index: usize| their_scalar(&dealt[index].1.expose());
    for start in 0..OPERATORS_MAX - 3 {
        // Third differences of a quadratic are 0, first and second ones of a random one are not.
        let [a, b, c, d] = [0, 1, 2, 3].map(|offset| value(start + offset));
        assert_eq!(d - c - c - c + b + b + b - a, Scalar::from(0), "at {start}");
        assert_ne!(c - b - b + a, Scalar::from(0), "at {start}");
    }
    assert_eq!(dealt[31].0, ShareIndex(32));
}

#[test]
fn a_signature_of_one_share_is_its_own_combination_at_threshold_one() {
    let whole = ValidatorSecret::random(&mut rng(3));
    let message = SigningRoot([7; 32]);
    for (index, share) in whole.split(1, 4, &mut rng(4)).unwrap() {
        let partial: PartialSignature = share.sign(message);
        let signature = combine(&[(index, partial)]).unwrap().prove(&whole.public(), message).unwrap();
        assert_eq!(signature.0, partial.0);
    }
}
