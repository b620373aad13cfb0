//! An exhaustive search for a sealed file that counts though its generation never began with it, and for a vault that
//! cannot open its own.
//!
//! The adversary crashes the vault anywhere and puts back any record and any sealed file that ever was; the generation
//! counter may refuse to go up, and the vault then lives on.

use std::collections::HashSet;

use holdfast_types::Epoch;

use super::*;
use crate::lease::{Record, RecordState};

#[test]
fn only_the_file_that_a_generation_began_with_counts() {
    let (states, found) = search(Discipline { one_file_per_value: true, names_what_it_opens: true });
    assert_eq!(found, None);
    assert!(states > 7_000, "only {states} states");
}

#[test]
fn a_second_file_at_the_same_value_would_let_the_first_come_back() {
    let (_, found) = search(Discipline { one_file_per_value: false, names_what_it_opens: true });
    assert_eq!(found, Some(Found::StrayFileCounts));
}

#[test]
fn a_vault_that_did_not_name_what_it_opened_could_lose_it_to_a_second_cut() {
    let (_, found) = search(Discipline { one_file_per_value: true, names_what_it_opens: false });
    assert_eq!(found, Some(Found::OwnFileIsRefused));
}

/// What the vault does beside the rule.
#[derive(Clone, Copy)]
struct Discipline {
    /// After a file whose count did not happen it ticks before it writes another.
    one_file_per_value: bool,
    /// When it opens a file that the record does not name, it puts the name into the record before anything else.
    names_what_it_opens: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    OwnFileIsRefused,
    StrayFileCounts,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct File {
    parent: u8,
    born_at: u64,
    generation: u64,
    /// Whether the counter went up for it.
    began: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Named {
    counter: u64,
    seal: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Process {
    Stopped,
    Opened(u8),
    Ticked(u8),
    Running {
        file: u8,
        wrote: bool,
    },
    /// The file is written, the generation counter not yet asked.
    Writing {
        file: u8,
        new: u8,
    },
    /// The generation counter went up, the record does not say so yet.
    Counted {
        new: u8,
    },
}

/// A file's id is its place in `files`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct State {
    counter: u64,
    generation: u64,
    files: Vec<File>,
    records: Vec<Named>,
    /// The record that is on the disk when nobody puts another there.
    record: Named,
    process: Process,
}

fn search(discipline: Discipline) -> (usize, Option<Found>) {
    let first = Named { counter: 1, seal: 0 };
    let state = State {
        counter: 1,
        generation: 1,
        files: vec![File { parent: u8::MAX, born_at: 0, generation: 1, began: true }],
        records: vec![first],
        record: first,
        process: Process::Stopped,
    };
    let mut known = HashSet::from([state.clone()]);
    let mut level = vec![state];
    for _ in 0..STEPS_MAX {
        let mut next = Vec::new();
        for state in &level {
            if state.process == Process::Stopped && !state.opens_its_own() {
                return (known.len(), Some(Found::OwnFileIsRefused));
            }
            for reached in state.next(discipline) {
                if let Process::Opened(file) = reached.process
                    && !reached.files[usize::from(file)].began
                {
                    return (known.len(), Some(Found::StrayFileCounts));
                }
                if known.insert(reached.clone()) {
                    next.push(reached);
                }
            }
        }
        level = next;
    }
    (known.len(), None)
}

impl State {
    fn counts(&self, record: Named, file: u8) -> bool {
        let File { parent, born_at, generation, .. } = self.files[usize::from(file)];
        let sealed = SealedAs { id: [file; 32], parent: [parent; 32], born_at };
        let record =
            Record { counter: record.counter, source: Epoch(0), state: RecordState::Open, seal: [record.seal; 32] };
        generation == self.generation && seal_counts(&RecordFound::Found(record), &sealed, self.counter)
    }

    fn opens_its_own(&self) -> bool {
        (0u8..).zip(&self.files).any(|(id, file)| file.began && self.counts(self.record, id))
    }

    fn next(&self, discipline: Discipline) -> Vec<Self> {
        let to = |process| Self { process, ..self.clone() };
        match self.process {
            Process::Stopped => self.starts(discipline),
            Process::Opened(file) => {
                vec![to(Process::Stopped), Self { counter: self.counter + 1, ..to(Process::Ticked(file)) }]
            }
            Process::Ticked(file) => {
                vec![to(Process::Stopped), to(Process::Running { file, wrote: false }).naming(self.counter, file)]
            }
            Process::Running { file, wrote } => {
                let mut next =
                    vec![to(Process::Stopped), Self { counter: self.counter + 1, ..to(Process::Ticked(file)) }];
                if !(wrote && discipline.one_file_per_value) {
                    let new = u8::try_from(self.files.len()).unwrap();
                    let mut writing = to(Process::Writing { file, new });
                    let (born_at, generation) = (self.counter, self.generation + 1);
                    writing.files.push(File { parent: file, born_at, generation, began: false });
                    next.push(writing);
                }
                next
            }
            Process::Writing { file, new } => {
                let mut counted = Self { generation: self.generation + 1, ..to(Process::Counted { new }) };
                counted.files[usize::from(new)].began = true;
                vec![to(Process::Stopped), to(Process::Running { file, wrote: true }), counted]
            }
            Process::Counted { new } => {
                vec![to(Process::Stopped), to(Process::Running { file: new, wrote: false }).naming(self.counter, new)]
            }
        }
    }

    /// With every record and every file that ever was.
    fn starts(&self, discipline: Discipline) -> Vec<Self> {
        let ids = || (0u8..).take(self.files.len());
        let mut next = Vec::new();
        for &record in &self.records {
            for file in ids().filter(|&file| self.counts(record, file)) {
                let opened = Self { process: Process::Opened(file), record, ..self.clone() };
                let named = discipline.names_what_it_opens;
                next.push(if named { opened.naming(record.counter, file) } else { opened });
            }
        }
        next
    }

    fn naming(mut self, counter: u64, seal: u8) -> Self {
        self.record = Named { counter, seal };
        if !self.records.contains(&self.record) {
            self.records.push(self.record);
        }
        self
    }
}

const STEPS_MAX: usize = 17;
