//! An exhaustive search for a double signature around the lease: one validator, epochs 0 to 8, leases of two epochs.
//!
//! The adversary crashes the vault at any point, loses any write, puts back any record and any watermarks that ever were,
//! takes the record away, sets the clock, loses or forges the TPM's answer to an increment, ticks the counter itself, and
//! says which attestation was asked for last. The operator accepts the lowest floor that is offered, and vouches for a
//! disk that was not touched. Nobody lowers the counter: against that there is no defence on the box.
//!
//! [`decide`], [`Terms`] and [`Counter`] are the vault's own. The history is modelled by its one rule: it signs above the
//! highest target and not below the highest source that it knows, floor included.
//!
//! Three reductions keep it small. Of older watermarks only the oldest are put back and those that a digest names: they
//! bar less than any between. Of records older than the counter's value less one only the first is kept: all are refused
//! alike. And signatures must come in order, each target above the last, no source below it: that is more than the
//! slashing rules ask, and lets the last signature stand for all. Where the order breaks, all signatures of the path are
//! searched for a slashable pair.

use std::collections::{HashMap, HashSet};

use holdfast_hal::tpm::{NvIndex, Resets, Tpm, TpmName};
use holdfast_hal_sim::{Fault, Operation, SimTpm};
use holdfast_types::Epoch;

use super::{Barred, Clock, Counter, Found, Lift, Place, Record, RecordFound, RecordState, Start, Terms, Vote, decide};

#[test]
fn no_path_of_twelve_steps_signs_twice() {
    let search = Search::run(12);
    if let Some(path) = &search.slashable {
        panic!("a slashable pair:\n{path}");
    }
    if let Some(path) = &search.out_of_order {
        panic!("signed out of order, which may be slashable:\n{path}");
    }
    assert!(search.states.len() > 900_000, "{} states: less than there were", search.states.len());
    assert!(search.signatures > 800_000, "{} signatures: less than there were", search.signatures);
}

/// All states that can be reached, and what was found on the way.
struct Search {
    states: Vec<(State, Option<(usize, Step)>)>,
    signatures: usize,
    slashable: Option<String>,
    out_of_order: Option<String>,
}

impl Search {
    /// Breadth first, so that the path that is found is a shortest one.
    fn run(steps_max: usize) -> Self {
        let mut search =
            Self { states: vec![(State::FIRST, None)], signatures: 0, slashable: None, out_of_order: None };
        let mut known = HashSet::from([State::FIRST]);
        let (mut tpm, mut next, mut level) = (Chip::new(), Vec::new(), 0..1);
        for steps in 1..=steps_max {
            for at in level.clone() {
                let state = search.states[at].0;
                // The last step is of interest only when it signs.
                if steps < steps_max {
                    state.next(&mut tpm, &mut next)
                } else {
                    state.signs(&mut next)
                }
                for (step, reached) in next.drain(..) {
                    if let Step::Sign(vote) = step {
                        search.signatures += 1;
                        if !vote.follows(state.signed) {
                            search.report(at, vote);
                            continue;
                        }
                    }
                    if steps < steps_max && known.insert(reached) {
                        search.states.push((reached, Some((at, step))));
                    }
                }
                if search.slashable.is_some() {
                    return search;
                }
            }
            level = level.end..search.states.len();
        }
        search
    }

    fn report(&mut self, mut at: usize, vote: Epochs) {
        let mut path = vec![Step::Sign(vote)];
        while let Some((before, step)) = self.states[at].1 {
            path.push(step);
            at = before;
        }
        path.reverse();
        let slashable = path.iter().any(|step| matches!(step, Step::Sign(earlier) if earlier.slashable_with(vote)));
        let place = if slashable { &mut self.slashable } else { &mut self.out_of_order };
        place.get_or_insert_with(|| path.iter().map(|step| format!("  {step:?}\n")).collect());
    }
}

/// A source and a target: of a vote, or the highest that are signed or barred.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
struct Epochs {
    source: u8,
    target: u8,
}

impl Epochs {
    const NONE: Self = Self { source: 0, target: 0 };

    fn follows(self, last: Self) -> bool {
        self.target > last.target && self.source >= last.source
    }

    /// The two rules of the specification, for two votes that may differ in what else they say.
    fn slashable_with(self, later: Self) -> bool {
        let surrounds = |outer: Self, inner: Self| outer.source < inner.source && inner.target < outer.target;
        self.target == later.target || surrounds(self, later) || surrounds(later, self)
    }

    fn barring(self, floor: Barred) -> Self {
        Self { source: self.source.max(small(floor.source)), target: self.target.max(small(floor.target)) }
    }

    fn digest(self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..2].copy_from_slice(&[self.source, self.target]);
        digest
    }
}

/// What a record says; the counter's value 0 means that there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
struct Written {
    counter: u8,
    source: u8,
    clean: Option<Epochs>,
}

impl Written {
    const FIRST: Self = Self { counter: 1, source: 0, clean: Some(Epochs::NONE) };
    const NONE: Self = Self { counter: 0, source: 0, clean: None };

    fn found(self) -> RecordFound {
        if self == Self::NONE {
            return RecordFound::Missing;
        }
        let state = self.clean.map_or(RecordState::Open, |marks| RecordState::Clean { digest: marks.digest() });
        let source = Epoch(self.source.into());
        RecordFound::Found(Record { counter: self.counter.into(), source, state, seal: [0; 32] })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Process {
    Stopped,
    /// It has ticked to this value, and has not yet written its record.
    Ticked(u8),
    /// It signs under the record on the disk; whether it tried to tick since.
    Running {
        tried: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    counter: u8,
    process: Process,
    record: Written,
    /// The watermarks and the floor: on the disk, and in the memory of a process.
    marks: Epochs,
    /// Whether somebody else has written to the disk since a vault last had a lease.
    touched: bool,
    /// The records that can be put back.
    written: [Written; WRITTEN_MAX],
    signed: Epochs,
}

#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "a step is read by whoever reads the way that was found")]
enum Step {
    AcceptFloor(Epochs, Answer),
    Crash(Written, Epochs),
    OtherTicks,
    Renew(Answer),
    Sign(Epochs),
    Start(Epochs, Answer),
    Stop,
    VouchDisk(Answer),
    WriteRecord { source: u8 },
}

/// What becomes of an increment and its read-back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Answer {
    Honest,
    Lied,
    Lost,
    ReadBackLost,
    Refused,
}

impl State {
    const FIRST: Self = {
        let mut written = [Written::NONE; WRITTEN_MAX];
        written[0] = Written::FIRST;
        Self {
            counter: Written::FIRST.counter,
            process: Process::Stopped,
            record: Written::FIRST,
            marks: Epochs::NONE,
            touched: false,
            written,
            signed: Epochs::NONE,
        }
    };

    fn next(&self, tpm: &mut Chip, next: &mut Vec<(Step, Self)>) {
        self.crashes(next);
        match self.process {
            Process::Stopped => self.starts(tpm, next),
            Process::Ticked(value) => self.writes(value, next),
            Process::Running { tried } => {
                self.signs(next);
                self.stops(next);
                for answer in ANSWERS {
                    self.ticks(tpm, self.record.counter, tried, answer, Step::Renew(answer), next);
                }
            }
        }
        if self.counter < COUNTER_MAX {
            next.push((Step::OtherTicks, Self { counter: self.counter + 1, ..*self }.tidy()));
        }
    }

    /// A cut, with any record and any marks on the disk afterwards.
    fn crashes(&self, next: &mut Vec<(Step, Self)>) {
        let clean = self.written.iter().filter_map(|record| record.clean);
        let mut all_marks: Vec<Epochs> = clean.chain([self.marks]).collect();
        let mut records: Vec<Written> = self.written.into_iter().chain([self.record]).collect();
        all_marks.sort_unstable();
        all_marks.dedup();
        records.sort_unstable();
        records.dedup();
        for record in records {
            for &marks in &all_marks {
                let touched = self.touched || record != self.record || marks != self.marks;
                let crashed = Self { process: Process::Stopped, record, marks, touched, ..*self };
                next.push((Step::Crash(record, marks), crashed));
            }
        }
    }

    fn starts(&self, tpm: &mut Chip, next: &mut Vec<(Step, Self)>) {
        let (record, digest) = (self.record.found(), self.marks.digest());
        let found = Found { counter: Some(self.counter.into()), record: &record, digest: &digest };
        let mut tried = Vec::new();
        for now in 0..=NOW_MAX {
            let start = decide(&TERMS, &found, &Clock { now: Epoch(now), behind_max: BEHIND_MAX });
            if tried.contains(&start) {
                continue;
            }
            tried.push(start);
            for answer in ANSWERS {
                let (step, marks) = match start {
                    Start::Begin { floor } => {
                        let marks = floor.map_or(self.marks, |floor| self.marks.barring(floor));
                        (Step::Start(marks, answer), marks)
                    }
                    Start::Refuse { floor, lift: Lift::AcceptFloor, .. } => {
                        let marks = self.marks.barring(floor);
                        (Step::AcceptFloor(marks, answer), marks)
                    }
                    Start::WaitForFloor { .. } if !self.touched => (Step::VouchDisk(answer), self.marks),
                    _ => continue,
                };
                Self { marks, ..*self }.ticks(tpm, self.counter, false, answer, step, next);
            }
        }
    }

    /// The increment and its read-back, by the vault's own code.
    fn ticks(&self, tpm: &mut Chip, value: u8, tried: bool, answer: Answer, step: Step, next: &mut Vec<(Step, Self)>) {
        if self.counter >= COUNTER_MAX {
            return;
        }
        let (ticked, tried, counter) = tpm.tick(self.counter, value, tried, answer);
        let process = match (ticked, self.process) {
            (Some(value), _) => Process::Ticked(value),
            (None, Process::Running { .. }) => Process::Running { tried },
            (None, _) => Process::Stopped,
        };
        next.push((step, Self { counter, process, ..*self }.tidy()));
    }

    /// Its record, with every `S` that the adversary can bring about.
    fn writes(&self, value: u8, next: &mut Vec<(Step, Self)>) {
        let mut sources = Vec::new();
        let seen = (0..=EPOCH_MAX).map(|source| Some(Vote { source: Epoch(source), target: Epoch(source + 3) }));
        for seen in seen.chain([None]) {
            let source = small(TERMS.highest_source(value.into(), seen, Epoch(self.marks.source.into())));
            if !sources.contains(&source) {
                sources.push(source);
                let record = Written { counter: value, source, clean: None };
                let running = Self { process: Process::Running { tried: false }, touched: false, ..*self };
                next.push((Step::WriteRecord { source }, running.writing(record)));
            }
        }
    }

    fn signs(&self, next: &mut Vec<(Step, Self)>) {
        let Process::Running { .. } = self.process else { return };
        let last = TERMS.last_epoch(self.record.counter.into()).0.min(EPOCH_MAX);
        for target in self.marks.target + 1..=small(Epoch(last)) {
            for source in self.marks.source..=self.record.source.min(target) {
                let vote = Epochs { source, target };
                next.push((Step::Sign(vote), Self { marks: vote, signed: vote, ..*self }));
            }
        }
    }

    fn stops(&self, next: &mut Vec<(Step, Self)>) {
        let record = Written { clean: Some(self.marks), ..self.record };
        next.push((Step::Stop, Self { process: Process::Stopped, ..*self }.writing(record)));
    }

    fn writing(mut self, record: Written) -> Self {
        self.record = record;
        if !self.written.contains(&record) {
            self.written[WRITTEN_MAX - 1] = record;
        }
        self.tidy()
    }

    /// Forgets the records that are all refused alike, and puts the others in order.
    fn tidy(mut self) -> Self {
        for record in &mut self.written {
            if *record != Written::FIRST && record.counter + 1 < self.counter {
                *record = Written::NONE;
            }
        }
        self.written.sort_unstable_by(|one, other| other.cmp(one));
        assert_eq!(self.written[WRITTEN_MAX - 1], Written::NONE, "WRITTEN_MAX is too small");
        self
    }
}

/// A simulated TPM, brought to each state anew.
struct Chip {
    tpm: SimTpm,
    name: TpmName,
    resets: Resets,
    known: HashMap<(u8, u8, bool, Answer), Ticked>,
}

/// The value that the process believes to have ticked to, if so; whether it has tried to; and the counter.
type Ticked = (Option<u8>, bool, u8);

impl Chip {
    fn new() -> Self {
        let mut tpm = SimTpm::new(1);
        let name = tpm.counter_define(INDEX).unwrap().reading.name;
        let resets = tpm.resets().unwrap();
        Self { tpm, name, resets, known: HashMap::new() }
    }

    fn tick(&mut self, counter: u8, value: u8, tried: bool, answer: Answer) -> Ticked {
        if let Some(ticked) = self.known.get(&(counter, value, tried, answer)) {
            return *ticked;
        }
        self.tpm.set_counter(INDEX, counter.into());
        match answer {
            Answer::Honest => {}
            Answer::Lied => self.tpm.fail_next(Operation::CounterIncrement, Fault::Lied),
            Answer::Lost => self.tpm.fail_next(Operation::CounterIncrement, Fault::AnswerLost),
            Answer::ReadBackLost => self.tpm.fail_next(Operation::CounterRead, Fault::Refused),
            Answer::Refused => self.tpm.fail_next(Operation::CounterIncrement, Fault::Refused),
        }
        let place = Place { terms: TERMS, index: INDEX, name: &self.name.0, record_key: &[0; 32] };
        let mut moved = Counter { value: value.into(), tried, resets: self.resets };
        let ticked = moved.tick(&mut self.tpm, &place, Epoch(u64::MAX)).is_ok();
        let reading =
            self.tpm.counter_read(INDEX).or_else(|_| self.tpm.counter_read(INDEX)).expect("one fault is planned");
        // A fault that was not met must not hit the next tick.
        let _ = self.tpm.counter_increment(INDEX);
        let ticked = (ticked.then_some(small(Epoch(moved.value))), moved.tried, small(Epoch(reading.value)));
        self.known.insert((counter, value, tried, answer), ticked);
        ticked
    }
}

fn small(epoch: Epoch) -> u8 {
    u8::try_from(epoch.0).expect("the model's epochs are small")
}

const INDEX: NvIndex = NvIndex(0x0180_4801);
const TERMS: Terms = Terms { first_counter: 1, first_epoch: Epoch(0), epochs: 2 };
const ANSWERS: [Answer; 5] = [Answer::Honest, Answer::Lied, Answer::Lost, Answer::ReadBackLost, Answer::Refused];
/// Nothing above it is signed.
const EPOCH_MAX: u64 = 8;
/// The last epoch at this value is 12.
const COUNTER_MAX: u8 = 7;
const NOW_MAX: u64 = 16;
/// So that the row of a box that was off for too long is reached.
const BEHIND_MAX: u64 = 3;
const WRITTEN_MAX: usize = 7;
