//! Scripts of what happens to a history, each run twice: in one go, and with a restart after every step.

mod disk;
mod interchange;
mod logged;
mod random;

use std::path::Path;

use holdfast_types::{AttestationMark, BlockMark, Root, Slot};
use holdfast_vault_client::SlashingRefusal::{self, *};

use super::*;

const ALICE: ValidatorPublic = ValidatorPublic([0xa1; 48]);
const BOB: ValidatorPublic = ValidatorPublic([0xb0; 48]);
const ROOT: SigningRoot = SigningRoot([0x11; 32]);
const OTHER: SigningRoot = SigningRoot([0xbb; 32]);
/// A lease that bars nothing.
const FAR: Reach = Reach { target: Epoch(u64::MAX), source: Epoch(u64::MAX), slot: Slot(u64::MAX) };

/// The history of a test in a folder of its own.
fn database(folder: &Path) -> Database {
    Database { path: folder.join("history.sqlite"), vfs: None }
}

/// A vote of Alice, in the first slot of its target.
fn vote(source: u64, target: u64) -> Candidate {
    let slot = Slot(target.saturating_mul(32));
    Candidate::Attestation { validator: ALICE, source: Epoch(source), target: Epoch(target), root: ROOT, slot }
}

/// A block of Alice.
fn block(slot: u64) -> Candidate {
    Candidate::Block { validator: ALICE, slot: Slot(slot), root: ROOT }
}

impl Candidate {
    fn of(mut self, whose: ValidatorPublic) -> Self {
        let (Self::Attestation { validator, .. } | Self::Block { validator, .. }) = &mut self;
        *validator = whose;
        self
    }

    fn with_root(mut self, other: SigningRoot) -> Self {
        let (Self::Attestation { root, .. } | Self::Block { root, .. }) = &mut self;
        *root = other;
        self
    }
}

/// Marks of Alice: source, target and root of attestations; slot and root of blocks.
fn marks(
    attestation: Option<(u64, u64, Option<SigningRoot>)>,
    block: Option<(u64, Option<SigningRoot>)>,
) -> ValidatorMarks {
    ValidatorMarks {
        validator: ALICE,
        attestation: attestation.map(|(source, target, root)| AttestationMark {
            source: Epoch(source),
            target: Epoch(target),
            root,
        }),
        block: block.map(|(slot, root)| BlockMark { slot: Slot(slot), root }),
    }
}

fn double_vote(target: u64) -> SlashingRefusal {
    DoubleVote { target: Epoch(target), signed: Some(Root(ROOT.0)) }
}

fn double_vote_unknown(target: u64) -> SlashingRefusal {
    DoubleVote { target: Epoch(target), signed: None }
}

fn double_proposal(slot: u64) -> SlashingRefusal {
    DoubleProposal { slot: Slot(slot), signed: Some(Root(ROOT.0)) }
}

fn target_too_low(target: u64, highest_target: u64) -> SlashingRefusal {
    TargetTooLow { target: Epoch(target), highest_target: Epoch(highest_target) }
}

fn source_too_low(source_epoch: u64, highest_source: u64) -> SlashingRefusal {
    SourceTooLow { source_epoch: Epoch(source_epoch), highest_source: Epoch(highest_source) }
}

fn slot_too_low(slot: u64, highest_slot: u64) -> SlashingRefusal {
    SlotTooLow { slot: Slot(slot), highest_slot: Slot(highest_slot) }
}

fn below_floor(up_to: u64) -> SlashingRefusal {
    BelowFloor { up_to: Epoch(up_to) }
}

/// What the caller would be told about the lease.
fn outside(what: &str, reason: &str) -> SigningRefused {
    SigningRefused::OutsideLease { what: what.into(), reason: reason.into() }
}

/// A batch under a lease, with the refusal that each candidate must get, if any; or a change that must succeed.
enum Step {
    Batch(Reach, Vec<(Candidate, Option<SigningRefused>)>),
    Floor(Floor),
    Merge(Vec<ValidatorMarks>),
}

struct Script {
    reach: Reach,
    steps: Vec<Step>,
}

impl Script {
    fn new() -> Self {
        Self { reach: FAR, steps: Vec::new() }
    }

    /// What the steps from here on run under.
    fn reach(mut self, target: u64, source: u64, slot: u64) -> Self {
        self.reach = Reach { target: Epoch(target), source: Epoch(source), slot: Slot(slot) };
        self
    }

    fn floor(self, target: Option<u64>, source: u64, slot: Option<u64>) -> Self {
        self.step(Step::Floor(Floor { target: target.map(Epoch), source: Epoch(source), slot: slot.map(Slot) }))
    }

    fn merges(self, marks: ValidatorMarks) -> Self {
        self.step(Step::Merge(vec![marks]))
    }

    fn records(self, candidate: Candidate) -> Self {
        self.batch(vec![(candidate, None)])
    }

    fn refuses(self, candidate: Candidate, refusal: impl Into<SigningRefused>) -> Self {
        self.batch(vec![(candidate, Some(refusal.into()))])
    }

    fn batch(self, batch: Vec<(Candidate, Option<SigningRefused>)>) -> Self {
        let reach = self.reach;
        self.step(Step::Batch(reach, batch))
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn run(self) {
        for restarting in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let database = database(folder.path());
            let mut history = History::open_or_create(&database).unwrap();
            history.store.sync_never();
            for (number, step) in self.steps.iter().enumerate() {
                match step {
                    Step::Batch(reach, batch) => {
                        expect(&mut history, reach, batch, &format!("step {number}, restarting {restarting}"));
                    }
                    Step::Floor(floor) => history.raise_floor(*floor).unwrap(),
                    Step::Merge(marks) => history.merge(marks).unwrap(),
                }
                if restarting {
                    let contents = history.contents.clone();
                    drop(history);
                    history = History::open_or_create(&database).unwrap();
                    history.store.sync_never();
                    assert_eq!(history.contents, contents, "after step {number}");
                }
            }
        }
    }
}

fn expect(history: &mut History, reach: &Reach, batch: &[(Candidate, Option<SigningRefused>)], place: &str) {
    let candidates: Vec<_> = batch.iter().map(|(candidate, _)| *candidate).collect();
    let verdicts = history.check_and_record(reach, &candidates).unwrap();
    assert_eq!(verdicts.len(), batch.len());
    for (verdict, (candidate, expected)) in verdicts.iter().zip(batch) {
        assert_eq!(verdict.as_ref().err(), expected.as_ref(), "{candidate:?}, {place}");
        if let Ok(proof) = verdict {
            assert_eq!((proof.validator(), proof.root()), (&candidate.validator(), candidate.root()));
        }
    }
}

/// The verdict on one candidate.
fn sign(history: &mut History, candidate: Candidate) -> Result<(), SigningRefused> {
    history.check_and_record(&FAR, &[candidate]).unwrap().remove(0).map(|_| ())
}

fn slashable(refusal: SlashingRefusal) -> Result<(), SigningRefused> {
    Err(SigningRefused::Slashable(refusal))
}

#[test]
fn a_double_vote_is_refused_and_the_same_vote_again_is_not() {
    Script::new()
        .records(vote(1, 2))
        .refuses(vote(1, 2).with_root(OTHER), double_vote(2))
        .records(vote(1, 2))
        .refuses(vote(2, 2).with_root(OTHER), double_vote(2))
        .records(vote(1, 2))
        .run();
}

#[test]
fn a_vote_that_surrounds_is_refused() {
    Script::new()
        .records(vote(3, 4))
        .refuses(vote(2, 5), source_too_low(2, 3))
        .refuses(vote(0, 9), source_too_low(0, 3))
        .records(vote(3, 5))
        .run();
}

#[test]
fn a_vote_that_is_surrounded_is_refused() {
    Script::new()
        .records(vote(1, 9))
        .refuses(vote(2, 8), target_too_low(8, 9))
        .refuses(vote(1, 8), target_too_low(8, 9))
        .records(vote(1, 10))
        .run();
}

#[test]
fn an_earlier_target_is_refused_even_with_its_own_root() {
    Script::new()
        .records(vote(1, 2))
        .records(vote(2, 3).with_root(OTHER))
        .refuses(vote(1, 2), target_too_low(2, 3))
        .run();
}

#[test]
fn a_source_above_its_target_is_refused() {
    let refusal = SourceAboveTarget { source_epoch: Epoch(3), target: Epoch(2) };
    Script::new().refuses(vote(3, 2), refusal).records(vote(2, 2)).records(vote(0, 3).of(BOB)).run();
}

#[test]
fn a_double_proposal_is_refused_and_the_same_block_again_is_not() {
    Script::new()
        .records(block(5))
        .refuses(block(5).with_root(OTHER), double_proposal(5))
        .records(block(5))
        .refuses(block(4), slot_too_low(4, 5))
        .records(block(6).with_root(OTHER))
        .refuses(block(5), slot_too_low(5, 6))
        .records(block(0).of(BOB))
        .run();
}

#[test]
fn blocks_and_attestations_do_not_bar_each_other() {
    Script::new().records(block(900)).records(vote(1, 2)).records(vote(1, 40)).records(block(901)).run();
}

#[test]
fn a_refusal_leaves_no_trace() {
    Script::new()
        .records(vote(3, 4))
        .refuses(vote(2, 7), source_too_low(2, 3))
        .refuses(vote(9, 4), SourceAboveTarget { source_epoch: Epoch(9), target: Epoch(4) })
        .records(vote(3, 5))
        .reach(9, 9, 2)
        .refuses(block(3), outside("block of slot 3", "its slot is after 2, the last that the lease reaches"))
        .reach(9, 9, 3)
        .records(block(3).with_root(OTHER))
        .run();
}

#[test]
fn a_batch_with_some_refused_records_the_others() {
    Script::new()
        .batch(vec![(vote(1, 2), None), (vote(1, 2).of(BOB).with_root(OTHER), None), (block(7), None)])
        .batch(vec![(vote(0, 3), Some(source_too_low(0, 1).into())), (vote(1, 3).of(BOB), None)])
        .refuses(vote(1, 3).of(BOB).with_root(OTHER), double_vote(3))
        .records(vote(1, 3))
        .refuses(block(7).with_root(OTHER), double_proposal(7))
        .run();
}

#[test]
fn candidates_of_one_batch_count_for_each_other() {
    Script::new()
        .batch(vec![
            (vote(1, 2), None),
            (vote(1, 2).with_root(OTHER), Some(double_vote(2).into())),
            (vote(1, 2), None),
            (block(3), None),
            (vote(0, 3), Some(source_too_low(0, 1).into())),
            (vote(2, 3), None),
            (block(3).with_root(OTHER), Some(double_proposal(3).into())),
            (vote(1, 4), Some(source_too_low(1, 2).into())),
        ])
        .refuses(vote(1, 5), source_too_low(1, 2))
        .run();
}

#[test]
fn the_floor_bars_all_validators_and_both_kinds_but_nothing_above_it() {
    Script::new()
        .floor(Some(10), 8, Some(352))
        .refuses(vote(9, 10), below_floor(10))
        .refuses(vote(7, 11), source_too_low(7, 8))
        .refuses(block(352).of(BOB), SlotBelowFloor { up_to: Slot(352) })
        .records(vote(8, 11))
        .records(block(353).of(BOB))
        .run();
}

#[test]
fn below_the_floor_not_even_the_same_may_be_signed_again() {
    Script::new()
        .records(vote(1, 2))
        .records(block(5))
        .floor(Some(2), 0, Some(5))
        .refuses(vote(1, 2), below_floor(2))
        .refuses(block(5), SlotBelowFloor { up_to: Slot(5) })
        .run();
}

#[test]
fn the_floor_only_rises_each_part_on_its_own() {
    Script::new()
        .floor(Some(10), 3, None)
        .floor(None, 8, Some(0))
        .floor(Some(4), 2, None)
        .refuses(vote(9, 10), below_floor(10))
        .refuses(vote(7, 11), source_too_low(7, 8))
        .refuses(block(0), SlotBelowFloor { up_to: Slot(0) })
        .run();
}

#[test]
fn without_a_floor_epoch_and_slot_zero_may_be_signed() {
    Script::new().records(vote(0, 0)).records(block(0)).refuses(block(0).with_root(OTHER), double_proposal(0)).run();
}

#[test]
fn the_lease_bars_what_lies_beyond_it_in_words() {
    Script::new()
        .reach(10, 8, 351)
        .refuses(
            vote(8, 11),
            outside(
                "attestation for slot 352, target epoch 11",
                "its target is after epoch 10, the last that the lease reaches",
            ),
        )
        .refuses(
            vote(9, 10),
            outside(
                "attestation for slot 320, target epoch 10",
                "its source 9 is after epoch 8, the highest source of this lease",
            ),
        )
        .refuses(block(352), outside("block of slot 352", "its slot is after 351, the last that the lease reaches"))
        .records(vote(8, 10))
        .records(block(351))
        .run();
}

#[test]
fn the_floor_is_named_before_the_lease_and_the_lease_before_a_slashing_rule() {
    Script::new()
        .records(vote(5, 20))
        .floor(Some(12), 0, None)
        .reach(10, 8, 0)
        .refuses(vote(1, 12), below_floor(12))
        .refuses(
            vote(1, 13),
            outside(
                "attestation for slot 416, target epoch 13",
                "its target is after epoch 10, the last that the lease reaches",
            ),
        )
        .run();
}

#[test]
fn numbers_up_to_the_end_come_back_whole() {
    Script::new()
        .records(vote(u64::MAX, u64::MAX))
        .records(block(u64::MAX))
        .refuses(vote(1, 2), target_too_low(2, u64::MAX))
        .refuses(block(1 << 63), slot_too_low(1 << 63, u64::MAX))
        .records(vote((1 << 63) - 1, 1 << 63).of(BOB))
        .refuses(vote(0, (1 << 63) - 1).of(BOB), target_too_low((1 << 63) - 1, 1 << 63))
        .floor(Some(u64::MAX), u64::MAX, Some(u64::MAX))
        .refuses(vote(u64::MAX, u64::MAX), below_floor(u64::MAX))
        .run();
}

#[test]
fn the_latest_attestation_is_that_with_the_highest_target() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    assert_eq!(history.latest(), None);
    sign(&mut history, block(900)).unwrap();
    assert_eq!(history.latest(), None);
    for (candidate, latest) in [(vote(3, 4), (3, 4)), (vote(1, 9).of(BOB), (1, 9)), (vote(4, 5), (1, 9))] {
        sign(&mut history, candidate).unwrap();
        assert_eq!(history.latest(), Some((Epoch(latest.0), Epoch(latest.1))));
    }
    drop(history);
    assert_eq!(History::open_or_create(&database(folder.path())).unwrap().latest(), Some((Epoch(1), Epoch(9))));
}

#[test]
fn pages_show_every_validator_once_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    let keys: Vec<_> = (0..10).map(|byte| ValidatorPublic([byte; 48])).collect();
    let batch: Vec<_> = keys.iter().rev().map(|key| vote(1, 2).of(*key)).collect();
    history.check_and_record(&FAR, &batch).unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = history.backup(after, 3, &BTreeSet::new(), Floor::default());
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.validator);
        found.extend(page.iter().map(|marks| marks.validator));
    }
    assert_eq!(found, keys);
    assert_eq!(history.page(None, 1), [ValidatorMarks { validator: keys[0], ..marks(Some((1, 2, Some(ROOT))), None) }]);
}

#[test]
fn the_last_64_imports_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    let import = |byte| HistoryDigest([byte; 32]);
    (0..64).for_each(|byte| history.note_import(import(byte)).unwrap());
    // Noted once more, the first is the newest; so the second is forgotten before it.
    history.note_import(import(0)).unwrap();
    history.note_import(import(64)).unwrap();
    let digest = history.digest();
    drop(history);
    let history = History::open_or_create(&database(folder.path())).unwrap();
    assert_eq!(history.digest(), digest);
    assert_eq!((0..=65).filter(|byte| !history.knows_import(&import(*byte))).collect::<Vec<_>>(), [1, 65]);
}

#[test]
fn the_digest_covers_each_part() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    let mut seen = vec![history.digest()];
    let entry = NewEntry { at_ms: 1, kind: "Exit".into(), order: [1; 32], refused: None };
    type Change = Box<dyn Fn(&mut History)>;
    let changes: Vec<Change> = vec![
        Box::new(|history| sign(history, vote(1, 2)).unwrap()),
        Box::new(|history| sign(history, vote(1, 3)).unwrap()),
        Box::new(|history| sign(history, vote(2, 4)).unwrap()),
        Box::new(|history| sign(history, block(1)).unwrap()),
        Box::new(|history| sign(history, block(1).of(BOB)).unwrap()),
        Box::new(|history| history.merge(&[marks(Some((0, 4, None)), None)]).unwrap()),
        Box::new(|history| history.merge(&[marks(None, Some((1, None)))]).unwrap()),
        Box::new(|history| history.raise_floor(Floor { target: Some(Epoch(0)), ..Floor::default() }).unwrap()),
        Box::new(|history| history.raise_floor(Floor { source: Epoch(1), ..Floor::default() }).unwrap()),
        Box::new(|history| history.raise_floor(Floor { slot: Some(Slot(0)), ..Floor::default() }).unwrap()),
        Box::new(|history| history.note_import(HistoryDigest([7; 32])).unwrap()),
        Box::new(|history| history.note_import(HistoryDigest([8; 32])).unwrap()),
        Box::new(|history| history.note_import(HistoryDigest([7; 32])).unwrap()),
        Box::new(move |history| history.log(entry.clone()).unwrap()),
    ];
    for change in &changes {
        change(&mut history);
        assert!(!seen.contains(&history.digest()), "change {} is not covered", seen.len());
        seen.push(history.digest());
    }
    sign(&mut history, block(1).of(BOB)).unwrap();
    assert_eq!(Some(&history.digest()), seen.last(), "what changes nothing changed the digest");
}

#[test]
fn the_digest_of_the_marks_covers_each_part_but_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    let mut seen = vec![history.marks_digest()];
    let changes: [fn(&mut History); 5] = [
        |history| sign(history, vote(1, 2)).unwrap(),
        |history| sign(history, block(1)).unwrap(),
        |history| history.raise_floor(Floor { source: Epoch(1), ..Floor::default() }).unwrap(),
        |history| history.note_import(HistoryDigest([7; 32])).unwrap(),
        |history| history.merge(&[marks(Some((0, 4, None)), None)]).unwrap(),
    ];
    for change in changes {
        change(&mut history);
        assert!(!seen.contains(&history.marks_digest()), "change {} is not covered", seen.len());
        seen.push(history.marks_digest());
    }
    history.log(NewEntry { at_ms: 1, kind: "Exit".into(), order: [1; 32], refused: None }).unwrap();
    assert_eq!(Some(&history.marks_digest()), seen.last());
}

#[test]
fn the_digest_is_what_its_definition_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open_or_create(&database(folder.path())).unwrap();
    history.check_and_record(&FAR, &[block(9).of(BOB), vote(1, 2)]).unwrap();
    history.merge(&[ValidatorMarks { validator: BOB, ..marks(Some((3, 4, None)), None) }]).unwrap();
    history.raise_floor(Floor { target: Some(Epoch(7)), source: Epoch(6), slot: None }).unwrap();
    history.note_import(HistoryDigest([5; 32])).unwrap();
    let number = |number: u64| number.to_be_bytes();
    let bytes = [
        b"holdfast history 1".as_slice(),
        &number(2),
        &[&ALICE.0[..], &[1], &number(1), &number(2), &[1], &ROOT.0, &[0]].concat(),
        &[&BOB.0[..], &[1], &number(3), &number(4), &[0], &[1], &number(9), &[1], &ROOT.0].concat(),
        &[&[1], &number(7)[..], &number(6), &[0]].concat(),
        &[&number(1)[..], &[5; 32]].concat(),
        &[&number(0)[..], &[0; 32]].concat(),
    ];
    assert_eq!(history.digest(), <[u8; 32]>::from(Sha256::digest(bytes.concat())));
}
