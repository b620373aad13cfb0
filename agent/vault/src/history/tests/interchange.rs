//! Merging, and what EIP-3076 demands after an import, at the level of watermarks.
//!
//! The file's form is read elsewhere; what arrives here is the highest of what it lists, as in its minimal form.

use proptest::prelude::*;

use super::*;

#[test]
fn merging_takes_the_greater_of_each() {
    Script::new()
        .records(vote(3, 10))
        .records(block(50))
        .merges(marks(Some((5, 9, None)), Some((40, None))))
        .refuses(vote(4, 11), source_too_low(4, 5))
        .refuses(vote(5, 9), target_too_low(9, 10))
        .refuses(block(49), slot_too_low(49, 50))
        .records(block(50))
        .merges(marks(Some((2, 20, None)), Some((60, None))))
        .refuses(vote(4, 21), source_too_low(4, 5))
        .refuses(vote(6, 20), double_vote_unknown(20))
        .refuses(block(60), DoubleProposal { slot: Slot(60), signed: None })
        .records(vote(5, 21))
        .records(block(61))
        .run();
}

#[test]
fn a_root_survives_when_it_belongs_to_the_highest_alone() {
    Script::new()
        .records(vote(3, 10))
        .merges(marks(Some((0, 9, Some(OTHER))), None))
        .records(vote(3, 10))
        .merges(marks(Some((3, 11, Some(OTHER))), Some((5, Some(OTHER)))))
        .records(vote(3, 11).with_root(OTHER))
        .records(block(5).with_root(OTHER))
        .refuses(vote(3, 10), target_too_low(10, 11))
        .run();
}

#[test]
fn of_two_with_the_same_height_the_root_survives_only_when_they_agree() {
    let known = || Script::new().records(vote(3, 10)).records(block(50));
    known()
        .merges(marks(Some((3, 10, Some(ROOT))), Some((50, Some(ROOT)))))
        .records(vote(3, 10))
        .records(block(50))
        .run();
    for theirs in [None, Some(OTHER)] {
        known()
            .merges(marks(Some((3, 10, theirs)), Some((50, theirs))))
            .refuses(vote(3, 10), double_vote_unknown(10))
            .refuses(vote(3, 10).with_root(OTHER), double_vote_unknown(10))
            .refuses(block(50), DoubleProposal { slot: Slot(50), signed: None })
            .refuses(block(50).with_root(OTHER), DoubleProposal { slot: Slot(50), signed: None })
            .run();
    }
}

#[test]
fn a_vote_below_the_highest_source_is_not_signed_again() {
    Script::new()
        .records(vote(3, 10))
        .merges(marks(Some((4, 9, None)), None))
        .refuses(vote(3, 10), source_too_low(3, 4))
        .run();
}

#[test]
fn what_one_kind_brings_leaves_the_other_free() {
    Script::new().merges(marks(None, Some((5, None)))).records(vote(0, 0)).refuses(block(4), slot_too_low(4, 5)).run();
    Script::new()
        .merges(marks(Some((1, 2, None)), None))
        .records(block(0))
        .refuses(vote(1, 1), target_too_low(1, 2))
        .run();
}

#[test]
fn empty_marks_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    let before = history.digest();
    history.merge(&[marks(None, None)]).unwrap();
    history.merge(&[]).unwrap();
    assert_eq!((history.digest(), history.page(None, 9)), (before, vec![]));
}

#[test]
fn one_validator_may_come_twice_in_an_import() {
    let twice = [marks(Some((5, 9, None)), None), marks(Some((2, 20, None)), Some((7, Some(ROOT))))];
    Script::new()
        .step(Step::Merge(twice.to_vec()))
        .refuses(vote(4, 21), source_too_low(4, 5))
        .refuses(vote(5, 20), double_vote_unknown(20))
        .records(block(7))
        .run();
}

/// What a file lists of one validator.
#[derive(Clone, Debug)]
struct Listed {
    /// Source, target, and the signing root if the file has it.
    attestations: Vec<(u64, u64, Option<u8>)>,
    /// Slot, and the signing root if the file has it.
    blocks: Vec<(u64, Option<u8>)>,
}

fn root(byte: u8) -> SigningRoot {
    SigningRoot([byte; 32])
}

/// The root of all that have the highest number, if there is one.
fn common_root(all: impl Iterator<Item = (u64, Option<u8>)> + Clone, highest: u64) -> Option<SigningRoot> {
    let mut roots = all.filter(|(height, _)| *height == highest).map(|(_, root)| root);
    let first = roots.next().flatten()?;
    roots.all(|other| other == Some(first)).then_some(root(first))
}

impl Listed {
    fn marks(&self) -> ValidatorMarks {
        let source = self.attestations.iter().map(|(source, ..)| *source).max();
        let target = self.attestations.iter().map(|(_, target, _)| *target).max();
        let slot = self.blocks.iter().map(|(slot, _)| *slot).max();
        let attestations = self.attestations.iter().map(|(_, target, root)| (*target, *root));
        marks(
            source.zip(target).map(|(source, target)| (source, target, common_root(attestations, target))),
            slot.map(|slot| (slot, common_root(self.blocks.iter().copied(), slot))),
        )
    }

    /// The EIP's conditions that forbid to sign a block: 1 and 2 of its five.
    fn forbids_block(&self, slot: u64, root: u8) -> bool {
        let repeat = self.blocks.contains(&(slot, Some(root)));
        let minimum = self.blocks.iter().map(|(slot, _)| *slot).min();
        let too_low = minimum.is_some_and(|minimum| slot <= minimum) && !repeat;
        let slashable = self.blocks.iter().any(|(signed, signed_root)| *signed == slot && *signed_root != Some(root));
        too_low || slashable
    }

    /// The EIP's conditions that forbid to sign an attestation: 3, 4 and 5 of its five.
    fn forbids_attestation(&self, source: u64, target: u64, root: u8) -> bool {
        let all = &self.attestations;
        let slashable = all.iter().any(|&(s, t, signed_root)| {
            let double = t == target && signed_root != Some(root);
            double || (s < source && target < t) || (source < s && t < target)
        });
        let repeat = all.contains(&(source, target, Some(root)));
        let source_too_low = all.iter().map(|(source, ..)| *source).min().is_some_and(|minimum| source < minimum);
        let target_too_low = all.iter().map(|(_, target, _)| *target).min().is_some_and(|minimum| target <= minimum);
        slashable || source_too_low || (target_too_low && !repeat)
    }
}

fn listed() -> impl Strategy<Value = Listed> {
    let attestation = (0..6u64, 0..6u64, proptest::option::of(0..3u8)).prop_map(|(source, more, root)| {
        (source, source + more, root.map(|root| root + 10 * u8::try_from(source).unwrap()))
    });
    let block = (0..8u64, proptest::option::of(0..3u8));
    (proptest::collection::vec(attestation, 0..6), proptest::collection::vec(block, 0..6))
        .prop_map(|(attestations, blocks)| Listed { attestations, blocks })
}

fn some_marks() -> impl Strategy<Value = ValidatorMarks> {
    listed().prop_map(|listed| listed.marks())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn after_an_import_nothing_is_signed_that_the_eip_forbids(file in listed()) {
        let known = watermark::merge(&watermark::none(ALICE), &file.marks());
        let allows = |candidate| watermark::check(&Floor::default(), &FAR, &known, &candidate).is_ok();
        for (height, byte) in (0..14).flat_map(|height| (0..3).map(move |byte| (height, byte))) {
            let signed = allows(block(height).with_root(root(byte)));
            prop_assert!(!(signed && file.forbids_block(height, byte)), "block {height} with root {byte}");
            for source in 0..=height {
                // A root stands for one content, so the source is a part of it.
                let byte = byte + 10 * u8::try_from(source).unwrap();
                let signed = allows(vote(source, height).with_root(root(byte)));
                prop_assert!(!(signed && file.forbids_attestation(source, height, byte)), "vote {source} to {height}");
            }
        }
        // It must not bar for ever either.
        prop_assert!(allows(block(14)) && allows(vote(13, 14)));
    }

    #[test]
    fn merging_never_lowers_and_knows_no_order(one in some_marks(), two in some_marks(), three in some_marks()) {
        let merge = watermark::merge;
        prop_assert_eq!(merge(&one, &one), one);
        prop_assert_eq!(merge(&one, &watermark::none(ALICE)), one);
        prop_assert_eq!(merge(&one, &two), merge(&two, &one));
        prop_assert_eq!(merge(&merge(&one, &two), &three), merge(&one, &merge(&two, &three)));
        // Whatever one of them bars, both together bar.
        let both = merge(&one, &two);
        for (source, target, byte) in (0..14).flat_map(|target| (0..=target).map(move |source| (source, target, source % 6 * 10))) {
            let candidates = [vote(source, target), block(target)].map(|made| made.with_root(root(u8::try_from(byte).unwrap())));
            for candidate in candidates {
                let allowed = |marks| watermark::check(&Floor::default(), &FAR, marks, &candidate).is_ok();
                prop_assert!(!allowed(&both) || (allowed(&one) && allowed(&two)), "{candidate:?}");
            }
        }
    }
}
