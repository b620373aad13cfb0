//! A batch says what single checks say.

use holdfast_bls::{BatchItem, combine, verify_batch, verify_partial};
use holdfast_types::{PartialSignature, ShareIndex, SharePublic, SigningRoot};
use proptest::prelude::*;

use crate::{deal, root};

/// What is done to a signature before it goes into the batch.
#[derive(Clone, Copy, Debug)]
enum Change {
    None,
    OtherRoot,
    OtherKey,
    Garbage,
    Infinity,
    InfinityKey,
    Twice,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => Just(Change::None),
        1 => Just(Change::OtherRoot),
        1 => Just(Change::OtherKey),
        1 => Just(Change::Garbage),
        1 => Just(Change::Infinity),
        1 => Just(Change::InfinityKey),
        1 => Just(Change::Twice),
    ]
}

fn items(changes: &[Change], roots: u8) -> Vec<(SharePublic, SigningRoot, PartialSignature)> {
    let (_, dealt) = deal(2, 8, 30);
    let mut items = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        let (share, over) = (&dealt[at % 8].1, root(at as u8 % roots));
        let mut item = (share.public(), over, share.sign(over));
        match change {
            Change::None => {}
            Change::OtherRoot => item.1 = root(200),
            Change::OtherKey => item.0 = dealt[(at + 1) % 8].1.public(),
            Change::Garbage => item.2.0[40] ^= 0x10,
            Change::Infinity => item.2 = infinity(),
            Change::InfinityKey => item.0.0 = infinity().0[..48].try_into().unwrap(),
            Change::Twice => items.push(item),
        }
        items.push(item);
    }
    items
}

fn infinity() -> PartialSignature {
    let mut bytes = [0; 96];
    bytes[0] = 0xc0;
    PartialSignature(bytes)
}

fn batch(items: &[(SharePublic, SigningRoot, PartialSignature)], seed: &[u8; 32]) -> Vec<bool> {
    let items: Vec<_> =
        items.iter().map(|(public, root, partial)| BatchItem::partial(*public, *root, *partial)).collect();
    verify_batch(&items, seed)
}

fn singles(items: &[(SharePublic, SigningRoot, PartialSignature)]) -> Vec<bool> {
    items.iter().map(|(public, root, partial)| verify_partial(public, *root, partial).is_ok()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batch_and_singles_agree(
        changes in prop::collection::vec(change(), 0..24), roots in 1..5_u8, seed in any::<[u8; 32]>(),
    ) {
        let items = items(&changes, roots);
        prop_assert_eq!(batch(&items, &seed), singles(&items));
    }
}

#[test]
fn a_whole_batch_over_many_roots_passes() {
    let items = items(&[Change::None; 40], 20);
    assert_eq!(batch(&items, &[1; 32]), vec![true; 40]);
}

#[test]
fn a_batch_larger_than_the_small_sum_path_passes_and_names_one_wrong_item() {
    let mut changes = [Change::None; 80];
    assert_eq!(batch(&items(&changes, 1), &[1; 32]), vec![true; 80]);
    changes[63] = Change::OtherRoot;
    let expected: Vec<bool> = (0..80).map(|at| at != 63).collect();
    assert_eq!(batch(&items(&changes, 1), &[1; 32]), expected);
}

/// Two signatures of one message, swapped: each is wrong and the plain sum is right, so only the blinding tells.
#[test]
fn two_wrong_signatures_do_not_make_up_for_each_other() {
    let (_, dealt) = deal(2, 2, 40);
    let (first, second) = (&dealt[0].1, &dealt[1].1);
    let good = [first.sign(root(1)), second.sign(root(1))];
    let swapped = [(first.public(), root(1), good[1]), (second.public(), root(1), good[0])];
    assert!(sums_agree(&good, &[swapped[0].2, swapped[1].2]));
    for seed in 0..8 {
        assert_eq!(batch(&swapped, &[seed; 32]), [false, false]);
    }
}

fn sums_agree(left: &[PartialSignature], right: &[PartialSignature]) -> bool {
    holdfast_bls::aggregate(left).unwrap() == holdfast_bls::aggregate(right).unwrap()
}

#[test]
fn group_and_partial_items_mix() {
    let (whole, dealt) = deal(2, 3, 50);
    let partials: Vec<(ShareIndex, PartialSignature)> =
        dealt.iter().map(|(index, share)| (*index, share.sign(root(2)))).collect();
    let signature = combine(&partials).unwrap().prove(&whole.public(), root(2)).unwrap();
    let (_, strangers) = deal(1, 1, 51);
    let items = [
        BatchItem::group(whole.public(), root(2), signature),
        BatchItem::partial(dealt[0].1.public(), root(2), partials[0].1),
        BatchItem::partial(strangers[0].1.public(), root(2), partials[1].1),
    ];
    assert_eq!(verify_batch(&items, &[9; 32]), [true, true, false]);
}
