//! The power is cut and the TPM fails at every step of every change: a start then finds the old or the new, whole.

use std::collections::BTreeMap;

use holdfast_hal_sim::{Fault, Operation};
use holdfast_vault_client::ClosedId;

use super::watched::Watched;
use super::*;

/// A change of what is sealed, made by one vault that was started before.
type Change = fn(&Machine, &dyn Disk, &mut dyn Tpm) -> Result<(), SealError>;

/// What goes wrong from a step on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// The disk takes no further step.
    DiskCut,
    /// The TPM answers nothing any more; it had done what was asked last.
    TpmDeadAfter,
    /// The TPM answers nothing any more.
    TpmDeadBefore,
    /// One answer of the TPM is lost.
    TpmLosesOne,
    /// The TPM refuses once.
    TpmRefusesOnce,
}

const TROUBLES: [Trouble; 5] =
    [Trouble::DiskCut, Trouble::TpmDeadAfter, Trouble::TpmDeadBefore, Trouble::TpmLosesOne, Trouble::TpmRefusesOnce];

impl Trouble {
    /// What happens to the call `at` of the TPM when the trouble comes at `step`.
    fn at(self, at: usize, step: usize) -> Option<Fault> {
        match self {
            Self::TpmDeadAfter if at == step => Some(Fault::AnswerLost),
            Self::TpmDeadAfter | Self::TpmDeadBefore if at >= step => Some(Fault::Refused),
            Self::TpmLosesOne if at == step => Some(Fault::AnswerLost),
            Self::TpmRefusesOnce if at == step => Some(Fault::Refused),
            _ => None,
        }
    }
}

/// Makes the change with each trouble at each step. Returns at how many steps each trouble struck.
fn sweep(machine: &Machine, change: Change) -> BTreeMap<Trouble, usize> {
    let (files, tpm, old) = (machine.files(), machine.tpm.snapshot(), machine.view());
    let mut struck = BTreeMap::new();
    for trouble in TROUBLES {
        for step in 0.. {
            machine.restore(&files);
            machine.tpm.restore(&tpm);
            let disk = machine.disk();
            disk.writes_left.set((trouble == Trouble::DiskCut).then_some(step));
            let mut calls = 0;
            let mut watched = Watched::new(&machine.tpm, |_, _| {
                calls += 1;
                trouble.at(calls - 1, step)
            });
            let result = change(machine, &disk, &mut watched);
            let done = if trouble == Trouble::DiskCut { disk.writes_left.get() != Some(0) } else { calls <= step };
            drop(disk);
            let place = format!("{trouble:?} at step {step}, {result:?}");
            check(machine, &result, &files, &old, &place);
            if trouble >= Trouble::TpmLosesOne {
                assert!(result.is_ok(), "not patient enough: {place}");
            }
            if done {
                assert!(result.is_ok(), "it fails without trouble: {place}");
                break;
            }
            struck.insert(trouble, step + 1);
        }
    }
    struck
}

fn check(machine: &Machine, result: &Result<(), SealError>, before: &Files, old: &View, place: &str) {
    let found = machine.view();
    match result {
        Ok(()) => assert_ne!(&found, old, "the old one after success: {place}"),
        Err(error) if error.changed_nothing() => assert_eq!(&found, old, "{place}"),
        Err(_) => {}
    }
    if found == *old {
        return;
    }
    // It is as the change makes it, and what was before is gone for good.
    match (old, &found) {
        (_, View::Nothing) => assert_eq!(machine.files(), Files::new(), "{place}"),
        (View::Nothing, View::Open(new)) => assert_eq!(new.0.parent, [0; 32], "{place}"),
        (View::Open(old), View::Open(new)) => {
            assert_eq!((new.0.generation, new.0.parent), (old.0.generation + 1, old.0.id), "{place}");
            assert_eq!(new.1.shares, shares(&[2, 3]), "{place}");
            assert_eq!(machine.files().len(), 1, "{place}");
        }
    }
    if !before.is_empty() {
        machine.restore(before);
        let refused = machine.closed(&Papers::usual());
        assert_eq!(refused.closed_id(), ClosedId::HistoryRolledBack, "{refused:?}: {place}");
    }
}

#[test]
fn a_first_file_is_there_whole_or_not_at_all() {
    let machine = Machine::new(1);
    machine.constants();
    let struck = sweep(&machine, |machine, disk, tpm| {
        let keys = Keys::empty(KeyRoom::allocate().unwrap(), &[0x3c; 32]);
        Sealed::first(disk, tpm, machine.constants(), LEVEL, &keys).map(drop)
    });
    assert!(struck[&Trouble::DiskCut] >= 3, "{struck:?}");
    assert!(struck[&Trouble::TpmDeadAfter] >= 10, "{struck:?}");
}

#[test]
fn a_change_is_made_whole_or_not_at_all() {
    let machine = Machine::with_shares(1);
    let struck = sweep(&machine, |machine, disk, tpm| {
        let room = KeyRoom::allocate().unwrap();
        let papers = Papers::usual();
        let Ok(Found::Open(sealed, mut keys)) = open(disk, &mut machine.tpm.clone(), &papers.approvals(), room) else {
            panic!("it does not open")
        };
        keys.retire(&[validator(1)]);
        keys.take_shares(LOCK, ShareIndex(2), shares(&[3]).iter().map(by_reference)).unwrap();
        sealed.next(disk, tpm, sealed.constants.clone(), LEVEL, &keys, 41).map(drop)
    });
    assert!(struck[&Trouble::DiskCut] >= 5, "{struck:?}");
    assert!(struck[&Trouble::TpmDeadAfter] >= 9, "{struck:?}");
}

#[test]
fn everything_is_erased_or_nothing() {
    let machine = Machine::with_shares(1);
    let struck = sweep(&machine, |_, disk, tpm| erase(disk, tpm));
    assert!(struck[&Trouble::DiskCut] >= 7, "{struck:?}");
    assert!(struck[&Trouble::TpmDeadAfter] >= 3, "{struck:?}");
}

#[test]
fn an_owner_who_was_cut_short_begins_again() {
    let machine = Machine::new(1);
    let constants = machine.constants();
    let mut dying =
        Watched::new(&machine.tpm, |operation, _| (operation == Operation::CounterIncrement).then_some(Fault::Refused));
    let keys = Keys::empty(KeyRoom::allocate().unwrap(), &[1; 32]);
    let refused = Sealed::first(&machine.disk(), &mut dying, constants.clone(), LEVEL, &keys).unwrap_err();
    assert!(matches!(refused, SealError::NotCounted(_)) && refused.changed_nothing(), "{refused:?}");
    assert_eq!(machine.files(), Files::new(), "what was not counted is taken away");

    let mut calls = 0;
    let mut dying = Watched::new(&machine.tpm, |operation, _| {
        calls += usize::from(operation == Operation::CounterIncrement);
        (calls > 0).then_some(Fault::Refused)
    });
    let refused = Sealed::first(&machine.disk(), &mut dying, constants, LEVEL, &keys).unwrap_err();
    assert!(matches!(refused, SealError::Undecided(_)), "{refused:?}");
    assert_eq!(machine.files().len(), 1);
    assert_eq!(machine.view(), View::Nothing);
    let first = machine.own();
    assert_eq!((first.generation, first.constants.fresh_counter), (2, None));
    assert!(matches!(machine.view(), View::Open(opened) if opened.0 == first && opened.1.mac_key == [0x3c; 32]));
}

/// Two changes one after the other, the first of which was cut: nothing of it is left.
#[test]
fn what_was_cut_before_does_not_show_after_the_next_change() {
    let machine = Machine::with_shares(1);
    let (sealed, mut keys) = machine.open_with(&Papers::usual()).map_err(|unopened| unopened.error).unwrap();
    keys.retire(&[validator(1)]);
    let mut calls = 0;
    let mut dying = Watched::new(&machine.tpm, |operation, _| {
        calls += usize::from(operation == Operation::CounterIncrement);
        (calls > 0).then_some(Fault::Refused)
    });
    let refused = sealed.next(&machine.disk(), &mut dying, sealed.constants.clone(), LEVEL, &keys, 41).unwrap_err();
    assert!(matches!(refused, SealError::Undecided(_)) && !refused.changed_nothing(), "{refused:?}");
    assert_eq!(machine.files().len(), 2, "which one counts is not known yet");
    let cut = machine.files();

    let next = machine.change(|_, keys| keys.retire(&[validator(2)]));
    let View::Open(opened) = machine.view() else { panic!("nothing is sealed") };
    assert_eq!(*opened, (next.clone(), Held { shares: shares(&[1]), ..opened.1.clone() }));
    // On a restored disk it would open: that its id is another one is what the lease's record is for.
    machine.restore(&cut);
    let View::Open(opened) = machine.view() else { panic!("nothing is sealed") };
    assert_eq!((opened.0.generation, opened.0.parent), (next.generation, next.parent));
    assert_ne!(opened.0.id, next.id);
}

#[test]
fn a_counter_that_jumps_takes_nothing_away() {
    let machine = Machine::with_shares(1);
    let (sealed, keys) = machine.open_with(&Papers::usual()).map_err(|unopened| unopened.error).unwrap();
    let mut twice = Watched::new(&machine.tpm, |operation, tpm| {
        if operation == Operation::CounterIncrement {
            tpm.clone().counter_increment(GENERATION_COUNTER).unwrap();
        }
        None
    });
    let refused = sealed.next(&machine.disk(), &mut twice, sealed.constants.clone(), LEVEL, &keys, 41).unwrap_err();
    assert!(matches!(refused, SealError::CounterMoved { expected: 4, found: 5 }), "{refused:?}");
    assert_eq!(refused.closed_id(), ClosedId::TpmRolledBack);
    assert_eq!(machine.files().len(), 2);
    let refused = machine.closed(&Papers::usual());
    assert_eq!(refused.closed_id(), ClosedId::HistoryRolledBack, "{refused:?}");
}

#[test]
fn a_tpm_that_lies_about_counting_is_found_out() {
    let machine = Machine::with_shares(1);
    let (sealed, keys) = machine.open_with(&Papers::usual()).map_err(|unopened| unopened.error).unwrap();
    machine.tpm.fail_next(Operation::CounterIncrement, Fault::Lied);
    let tpm = &mut machine.tpm.clone();
    let refused = sealed.next(&machine.disk(), tpm, sealed.constants.clone(), LEVEL, &keys, 41).unwrap_err();
    assert!(matches!(refused, SealError::CounterMoved { expected: 4, found: 3 }), "{refused:?}");
    assert!(matches!(machine.view(), View::Open(opened) if opened.0 == sealed));
}

#[test]
fn a_counter_that_moved_before_is_found_before_anything_is_written() {
    let machine = Machine::with_shares(1);
    let (sealed, keys) = machine.open_with(&Papers::usual()).map_err(|unopened| unopened.error).unwrap();
    for value in [2, 4] {
        machine.tpm.set_counter(GENERATION_COUNTER, value);
        let tpm = &mut machine.tpm.clone();
        let refused = sealed.next(&machine.disk(), tpm, sealed.constants.clone(), LEVEL, &keys, 41).unwrap_err();
        assert!(matches!(refused, SealError::CounterMoved { expected: 3, .. }), "{refused:?}");
        assert_eq!(machine.files().len(), 1);
    }
    machine.tpm.place_foreign_counter(GENERATION_COUNTER, 3);
    let tpm = &mut machine.tpm.clone();
    let refused = sealed.next(&machine.disk(), tpm, sealed.constants.clone(), LEVEL, &keys, 41).unwrap_err();
    assert!(matches!(refused, SealError::TpmReplaced), "{refused:?}");
}
