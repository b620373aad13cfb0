//! Input that only an attacker or a broken disk makes: it is refused by name and never verifies.

use blstrs::{G1Affine, G2Affine};
use holdfast_bls::{
    AggregateError, BatchItem, CombineError, HashedRoot, InvalidSecret, ShareSecret, SplitError, ValidatorSecret,
    VerifyError, aggregate, combine, fast_aggregate_verify, interpolate_public, sign_with, verify_batch, verify_group,
    verify_partial,
};
use holdfast_types::{PartialSignature, ShareIndex, SharePublic, Signature, ValidatorPublic};

use crate::{deal, rng, root};

const ORDER: &str = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

fn order() -> [u8; 32] {
    hex::decode(ORDER).unwrap().try_into().unwrap()
}

/// A compressed encoding with this first byte and zeros.
fn tagged<const N: usize>(first: u8) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[0] = first;
    bytes
}

/// A point of the curve of the public keys that is outside the subgroup.
fn stray_public() -> SharePublic {
    let found = (1..=255).map(|byte| {
        let mut bytes = tagged::<48>(0x80);
        bytes[47] = byte;
        bytes
    });
    let stray = |bytes: &[u8; 48]| {
        let point: Option<G1Affine> = G1Affine::from_compressed_unchecked(bytes).into();
        point.is_some_and(|point| bool::from(point.is_on_curve()) && !bool::from(point.is_torsion_free()))
    };
    SharePublic(found.into_iter().find(stray).unwrap())
}

/// A point of the curve of the signatures that is outside the subgroup.
fn stray_signature() -> PartialSignature {
    let found = (1..=255).map(|byte| {
        let mut bytes = tagged::<96>(0x80);
        bytes[95] = byte;
        bytes
    });
    let stray = |bytes: &[u8; 96]| {
        let point: Option<G2Affine> = G2Affine::from_compressed_unchecked(bytes).into();
        point.is_some_and(|point| bool::from(point.is_on_curve()) && !bool::from(point.is_torsion_free()))
    };
    PartialSignature(found.into_iter().find(stray).unwrap())
}

#[test]
fn secrets_that_are_none_are_refused() {
    let mut above = order();
    above[31] += 1;
    let mut below = order();
    below[31] -= 1;
    for bytes in [[0; 32], order(), above, [0xff; 32]] {
        assert_eq!(ShareSecret::from_bytes(&bytes).unwrap_err(), InvalidSecret);
        assert_eq!(ValidatorSecret::from_bytes(&bytes).unwrap_err(), InvalidSecret);
        assert_eq!(sign_with(&bytes, &HashedRoot::new(root(0))), Err(InvalidSecret));
    }
    assert!(ShareSecret::from_bytes(&below).is_ok());
}

#[test]
fn secrets_do_not_show_in_debug_text() {
    let (whole, dealt) = deal(2, 3, 1);
    assert_eq!(format!("{whole:?} {:?}", dealt[0]), "ValidatorSecret(..) (ShareIndex(1), ShareSecret(..))");
}

#[test]
fn keys_and_signatures_that_are_no_points_never_verify() {
    let (_, dealt) = deal(2, 3, 2);
    let (public, signature) = (dealt[0].1.public(), dealt[0].1.sign(root(1)));
    assert_eq!(verify_partial(&public, root(1), &signature), Ok(()));

    let mut uncompressed = public;
    uncompressed.0[0] &= 0x7f;
    let mut dirty_infinity = SharePublic(tagged(0xc0));
    dirty_infinity.0[47] = 1;
    for bad in [
        SharePublic([0; 48]),
        SharePublic(tagged(0xc0)),
        SharePublic(tagged(0x40)),
        SharePublic([0xff; 48]),
        dirty_infinity,
        uncompressed,
        stray_public(),
    ] {
        assert_eq!(verify_partial(&bad, root(1), &signature), Err(VerifyError::BadPublic), "{bad}");
        assert_eq!(
            verify_group(&ValidatorPublic(bad.0), root(1), &Signature(signature.0)),
            Err(VerifyError::BadPublic)
        );
        assert_eq!(
            fast_aggregate_verify(&[public, bad], &[1; 32], &Signature(signature.0)),
            Err(VerifyError::BadPublic),
            "{bad}"
        );
        assert_eq!(verify_batch(&[BatchItem::partial(bad, root(1), signature)], &[0; 32]), [false]);
        assert_eq!(interpolate_public(&[(ShareIndex(2), bad)]), Err(CombineError::BadPoint(ShareIndex(2))));
    }
    for bad in [
        PartialSignature([0; 96]),
        PartialSignature(tagged(0xc0)),
        PartialSignature(tagged(0x40)),
        PartialSignature([0xff; 96]),
        stray_signature(),
    ] {
        assert_eq!(verify_partial(&public, root(1), &bad), Err(VerifyError::BadSignature), "{bad}");
        assert_eq!(combine(&[(ShareIndex(3), bad)]), Err(CombineError::BadPoint(ShareIndex(3))));
        assert_eq!(aggregate(&[signature, bad]), Err(AggregateError::BadPoint(2)));
        let items = [BatchItem::partial(public, root(1), signature), BatchItem::partial(public, root(1), bad)];
        assert_eq!(verify_batch(&items, &[0; 32]), [true, false], "{bad}");
    }
}

#[test]
fn infinity_under_infinity_does_not_verify() {
    let (public, signature) = (SharePublic(tagged(0xc0)), PartialSignature(tagged(0xc0)));
    assert_eq!(verify_partial(&public, root(1), &signature), Err(VerifyError::BadPublic));
    assert_eq!(verify_batch(&[BatchItem::partial(public, root(1), signature); 3], &[0; 32]), [false; 3]);
}

#[test]
fn opposite_keys_and_signatures_that_cancel_are_refused() {
    let (_, dealt) = deal(2, 3, 3);
    let (public, signature) = (dealt[0].1.public(), dealt[0].1.sign(root(1)));
    let (mut opposite_public, mut opposite_signature) = (public, signature);
    opposite_public.0[0] ^= 0x20;
    opposite_signature.0[0] ^= 0x20;
    // Each of the two is right by itself, so a batch must accept both although their plain sums cancel.
    assert_eq!(verify_partial(&opposite_public, root(1), &opposite_signature), Ok(()));
    let items = [
        BatchItem::partial(public, root(1), signature),
        BatchItem::partial(opposite_public, root(1), opposite_signature),
    ];
    assert_eq!(verify_batch(&items, &[0; 32]), [true, true]);
    assert_eq!(aggregate(&[signature, opposite_signature]), Err(AggregateError::Infinity));
    assert_eq!(
        fast_aggregate_verify(&[public, opposite_public], &[1; 32], &Signature(signature.0)),
        Err(VerifyError::BadPublic)
    );
}

#[test]
fn indices_that_no_share_has_or_that_repeat_are_refused() {
    let (_, dealt) = deal(2, 3, 4);
    let partial = dealt[0].1.sign(root(1));
    let public = dealt[0].1.public();
    for index in [0, 33, 255].map(ShareIndex) {
        assert_eq!(combine(&[(index, partial)]), Err(CombineError::Index(index)));
        assert_eq!(interpolate_public(&[(index, public)]), Err(CombineError::Index(index)));
    }
    let twice = ShareIndex(2);
    assert_eq!(
        combine(&[(twice, partial), (ShareIndex(1), partial), (twice, partial)]),
        Err(CombineError::Duplicate(twice))
    );
    assert_eq!(combine(&[]), Err(CombineError::Empty));
    assert_eq!(aggregate(&[]), Err(AggregateError::Empty));
    assert_eq!(fast_aggregate_verify(&[], &[1; 32], &Signature(partial.0)), Err(VerifyError::BadPublic));
}

#[test]
fn a_key_is_not_split_beyond_its_bounds() {
    let whole = ValidatorSecret::random(&mut rng(5));
    for (threshold, shares) in [(0, 4), (5, 4), (1, 0), (3, 33)] {
        assert_eq!(whole.split(threshold, shares, &mut rng(6)).unwrap_err(), SplitError { threshold, shares });
    }
}
