//! Random scripts on a real database against the consensus specification's definition of what is slashable.
//!
//! The checker knows every vote and block that was ever signed here or elsewhere, and shares nothing with the watermarks.

use std::fs;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Action {
    /// A batch, under a lease that reaches so far beyond the step's epoch and slot: target, source and slot.
    Sign((u64, u64, u64), Vec<Made>),
    /// What another box signed, of which only the watermarks arrive; `true`: with their roots.
    Merge(Vec<Made>, bool),
    /// So far behind the epoch or slot of the step.
    RaiseFloor(Floor),
    Log,
    NoteImport(u8),
    Reopen,
}

/// Something to sign for one of two validators. As it is made, its numbers count from the epoch or slot of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Vote { whose: u8, source: u64, target: u64, head: u8 },
    Block { whose: u8, slot: u64, head: u8 },
}
use Made::{Block, Vote};

impl Made {
    fn at(self, now: u64) -> Self {
        match self {
            Vote { whose, source, target, head } => Vote { whose, source: now + source, target: now + target, head },
            Block { whose, slot, head } => Block { whose, slot: now + slot, head },
        }
    }

    fn validator(self) -> ValidatorPublic {
        let (Vote { whose, .. } | Block { whose, .. }) = self;
        if whose == 0 { ALICE } else { BOB }
    }

    /// A root stands for one content.
    fn root(self) -> SigningRoot {
        let mut root = [0; 32];
        let (head, height, source) = match self {
            Vote { source, target, head, .. } => (head, target, source),
            Block { slot, head, .. } => (head, slot, u64::MAX),
        };
        root[0] = head;
        root[8..16].copy_from_slice(&height.to_be_bytes());
        root[16..24].copy_from_slice(&source.to_be_bytes());
        SigningRoot(root)
    }

    fn candidate(self) -> Candidate {
        match self {
            Vote { source, target, .. } => vote(source, target),
            Block { slot, .. } => block(slot),
        }
        .of(self.validator())
        .with_root(self.root())
    }

    /// The watermarks of a box that signed only this.
    fn marks(self, with_root: bool) -> ValidatorMarks {
        let root = with_root.then(|| self.root());
        let marks = match self {
            Vote { source, target, .. } => marks(Some((source, target, root)), None),
            Block { slot, .. } => marks(None, Some((slot, root))),
        };
        ValidatorMarks { validator: self.validator(), ..marks }
    }
}

/// Phase 0, `is_slashable_attestation_data` and `process_proposer_slashing`.
fn slashable_pair(one: &Made, two: &Made) -> bool {
    match (*one, *two) {
        (Vote { source: s1, target: t1, .. }, Vote { source: s2, target: t2, .. }) => {
            let double = t1 == t2 && one.root() != two.root();
            double || (s1 < s2 && t2 < t1) || (s2 < s1 && t1 < t2)
        }
        (Block { slot: s1, .. }, Block { slot: s2, .. }) => s1 == s2 && one.root() != two.root(),
        _ => false,
    }
}

/// A run of one history, and all that the checker remembers.
struct Run {
    folder: tempfile::TempDir,
    history: Option<History>,
    /// Signed here or elsewhere, each in the order in which it became known.
    known: Vec<Made>,
    floor: Floor,
    signed: usize,
}

impl Run {
    /// Begins with a copy of `empty`, since making a history costs many syncs.
    fn new(empty: &Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(&empty.path, database(folder.path()).path).unwrap();
        let history = History::open_or_create(&database(folder.path())).unwrap();
        history.store.sync_never();
        Self { folder, history: Some(history), known: Vec::new(), floor: Floor::default(), signed: 0 }
    }

    fn apply(&mut self, now: u64, action: &Action) -> Result<(), TestCaseError> {
        let history = self.history.as_mut().unwrap();
        let before = history.page(None, 9);
        match action {
            Action::Sign((target, source, slot), batch) => {
                let reach = Reach { target: Epoch(now + target), source: Epoch(now + source), slot: Slot(now + slot) };
                let batch: Vec<_> = batch.iter().map(|made| made.at(now)).collect();
                let candidates: Vec<_> = batch.iter().map(|made| made.candidate()).collect();
                let verdicts = history.check_and_record(&reach, &candidates).unwrap();
                for (made, _) in batch.iter().zip(verdicts).filter(|(_, verdict)| verdict.is_ok()) {
                    self.signed += 1;
                    check(made, &self.known, &self.floor, &reach)?;
                    self.known.push(*made);
                }
            }
            Action::Merge(theirs, with_roots) => {
                let theirs: Vec<_> = theirs.iter().map(|made| made.at(now)).collect();
                history.merge(&theirs.iter().map(|made| made.marks(*with_roots)).collect::<Vec<_>>()).unwrap();
                self.known.extend(theirs);
            }
            Action::RaiseFloor(floor) => {
                let up_to = |behind: u64| now.saturating_sub(behind);
                let floor = Floor {
                    target: floor.target.map(|target| Epoch(up_to(target.0))),
                    source: Epoch(up_to(floor.source.0)),
                    slot: floor.slot.map(|slot| Slot(up_to(slot.0))),
                };
                history.raise_floor(floor).unwrap();
                self.floor = self.floor.max(floor);
            }
            Action::Log => {
                history.log(NewEntry { at_ms: 5, kind: "Exit".into(), order: [5; 32], refused: None }).unwrap()
            }
            Action::NoteImport(byte) => history.note_import(HistoryDigest([*byte; 32])).unwrap(),
            Action::Reopen => {
                let contents = history.contents.clone();
                self.history = None;
                let found = History::open_or_create(&database(self.folder.path())).unwrap();
                prop_assert_eq!(&found.contents, &contents);
                found.store.sync_never();
                self.history = Some(found);
            }
        }
        self.check_nothing_fell(&before)
    }

    fn check_nothing_fell(&self, before: &[ValidatorMarks]) -> Result<(), TestCaseError> {
        let now = self.history.as_ref().unwrap().page(None, 9);
        let heights = |marks: &ValidatorMarks| {
            let attestation = marks.attestation;
            (
                attestation.map(|mark| mark.source),
                attestation.map(|mark| mark.target),
                marks.block.map(|mark| mark.slot),
            )
        };
        for before in before {
            let now = now.iter().find(|now| now.validator == before.validator).expect("no validator is forgotten");
            let (then, now) = (heights(before), heights(now));
            prop_assert!(then.0 <= now.0 && then.1 <= now.1 && then.2 <= now.2, "{:?} after {:?}", now, then);
        }
        Ok(())
    }
}

fn check(made: &Made, known: &[Made], floor: &Floor, reach: &Reach) -> Result<(), TestCaseError> {
    for earlier in known.iter().filter(|earlier| earlier.validator() == made.validator()) {
        prop_assert!(!slashable_pair(earlier, made), "{:?} was known when {:?} was signed", earlier, made);
    }
    match *made {
        Vote { source, target, .. } => {
            prop_assert!(source <= target && target <= reach.target.0 && source <= reach.source.0, "{:?}", made);
            prop_assert!(source >= floor.source.0 && floor.target.is_none_or(|barred| target > barred.0), "{:?}", made);
        }
        Block { slot, .. } => {
            prop_assert!(slot <= reach.slot.0 && floor.slot.is_none_or(|barred| slot > barred.0), "{:?}", made);
        }
    }
    Ok(())
}

fn made() -> impl Strategy<Value = Made> {
    let vote = (0..2u8, 0..4u64, 1..6u64, 0..2u8).prop_map(|(whose, source, target, head)| Vote {
        whose,
        source,
        target,
        head,
    });
    let block = (0..2u8, 0..5u64, 0..2u8).prop_map(|(whose, slot, head)| Block { whose, slot, head });
    prop_oneof![2 => vote, 1 => block]
}

fn action() -> impl Strategy<Value = Action> {
    let floor =
        (proptest::option::of(0..4u64), 0..4u64, proptest::option::of(0..4u64)).prop_map(|(target, source, slot)| {
            Action::RaiseFloor(Floor { target: target.map(Epoch), source: Epoch(source), slot: slot.map(Slot) })
        });
    let batch = || proptest::collection::vec(made(), 1..6);
    prop_oneof![
        12 => ((3..8u64, 2..6u64, 2..8u64), batch()).prop_map(|(reach, batch)| Action::Sign(reach, batch)),
        2 => (batch(), any::<bool>()).prop_map(|(theirs, with_roots)| Action::Merge(theirs, with_roots)),
        1 => floor,
        1 => Just(Action::Log),
        1 => any::<u8>().prop_map(Action::NoteImport),
        4 => Just(Action::Reopen),
    ]
}

#[test]
fn nothing_is_signed_that_is_slashable_with_anything_known_before() {
    let folder = tempfile::tempdir().unwrap();
    let empty = database(folder.path());
    drop(History::open_or_create(&empty).unwrap());
    let signed = Cell::new(0);
    let config = ProptestConfig { source_file: Some(file!()), ..ProptestConfig::with_cases(400) };
    proptest::test_runner::TestRunner::new(config)
        .run(&proptest::collection::vec(action(), 1..30), |actions| {
            let mut run = Run::new(&empty);
            (1..).zip(&actions).try_for_each(|(now, action)| run.apply(now, action))?;
            signed.set(signed.get() + run.signed);
            Ok(())
        })
        .unwrap();
    assert!(signed.get() > 5_000, "only {} signatures: the runs prove little", signed.get());
}
