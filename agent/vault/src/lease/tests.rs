//! The table row by row, the record byte by byte, and ticks against a TPM with faults.

use holdfast_hal::tpm::{NvIndex, Tpm, TpmName};
use holdfast_hal_sim::{Fault, Operation, SimTpm};
use holdfast_types::{Epoch, ForkVersion, Root, Slot};
use holdfast_vault_client::ClosedId;

use super::*;
use crate::bounds::Floor;
use crate::state::StateFolder;

/// `H(N) = 100 + 8 * (N - 10)`: 148 at 16.
const TERMS: Terms = Terms { first_counter: 10, first_epoch: Epoch(100), epochs: 8 };
const BEHIND_MAX: u64 = 1000;
const DIGEST: [u8; 32] = [0xd1; 32];
const SEAL: [u8; 32] = [0x5e; 32];
const KEY: [u8; 32] = [0x4e; 32];
const INDEX: NvIndex = NvIndex(0x0180_4801);

struct Row {
    name: &'static str,
    counter: Option<u64>,
    record: RecordFound,
    now: u64,
    start: Start,
}

const fn barred(target: u64, source: u64) -> Barred {
    Barred { target: Epoch(target), source: Epoch(source) }
}

const fn found(counter: u64, state: RecordState) -> RecordFound {
    RecordFound::Found(Record { counter, source: Epoch(131), state, seal: SEAL })
}

const fn clean(counter: u64) -> RecordFound {
    found(counter, RecordState::Clean { digest: DIGEST })
}

const fn open(counter: u64) -> RecordFound {
    found(counter, RecordState::Open)
}

const fn refuse(id: ClosedId, floor: Barred, lift: Lift) -> Start {
    Start::Refuse { id, floor, lift }
}

const fn row(name: &'static str, counter: u64, record: RecordFound, now: u64, start: Start) -> Row {
    Row { name, counter: Some(counter), record, now, start }
}

const EXACT: Start = Start::Begin { floor: None };
const AFTER_OPEN: Barred = barred(148, 131);
const ALL: Barred = barred(148, 147);
const BEGIN_OPEN: Start = Start::Begin { floor: Some(AFTER_OPEN) };
const BEGIN_ALL: Start = Start::Begin { floor: Some(ALL) };
const WAIT_OPEN: Start = Start::WaitForFloor { until: Epoch(148), floor: AFTER_OPEN };
const WAIT_ALL: Start = Start::WaitForFloor { until: Epoch(148), floor: ALL };
const WAIT_TIME: Start = Start::WaitForTime { until: Epoch(132) };
const OLD: Start = refuse(ClosedId::HistoryRolledBack, ALL, Lift::AcceptFloor);
const LOST: Start = refuse(ClosedId::HistoryLost, ALL, Lift::AcceptFloor);

const TABLE: [Row; 24] = [
    row("clean, digest ok, H(N) <= now + 2L: the first such epoch", 16, clean(16), 132, EXACT),
    row("clean, digest ok, H(N) <= now + 2L: within the lease", 16, clean(16), 145, EXACT),
    row("clean, digest ok, H(N) <= now + 2L: thirty days later", 16, clean(16), 1148, EXACT),
    row("clean, digest ok, H(N) > now + 2L", 16, clean(16), 131, WAIT_TIME),
    row("clean, digest ok, H(N) > now + 2L: a clock at zero", 16, clean(16), 0, WAIT_TIME),
    row(
        "clean, more than thirty days behind",
        16,
        clean(16),
        1149,
        refuse(ClosedId::CatchingUp, ALL, Lift::AcceptFloor),
    ),
    row("open", 16, open(16), 147, WAIT_OPEN),
    row("open: a clock at zero", 16, open(16), 0, WAIT_OPEN),
    row("open, the floor is behind", 16, open(16), 148, BEGIN_OPEN),
    row(
        "open, more than thirty days behind",
        16,
        open(16),
        1149,
        refuse(ClosedId::CatchingUp, AFTER_OPEN, Lift::AcceptFloor),
    ),
    row("N - 1, open", 16, open(15), 147, WAIT_ALL),
    row("N - 1, clean", 16, clean(15), 147, WAIT_ALL),
    row("N - 1, the floor is behind", 16, clean(15), 148, BEGIN_ALL),
    row("N - 2, clean", 16, clean(14), 148, OLD),
    row("N - 2, open", 16, open(14), 148, OLD),
    row("far below N", 16, clean(0), 148, OLD),
    row("none", 16, RecordFound::Missing, 148, LOST),
    row("bad MAC, corrupt", 16, RecordFound::Damaged, 148, LOST),
    row("wrong digest", 16, found(16, RecordState::Clean { digest: [0; 32] }), 148, LOST),
    row("> N", 16, clean(17), 148, refuse(ClosedId::TpmRolledBack, barred(156, 155), Lift::NewCounter)),
    row(
        "> N, at the end of the numbers",
        16,
        open(u64::MAX),
        148,
        refuse(ClosedId::TpmRolledBack, barred(u64::MAX, u64::MAX - 1), Lift::NewCounter),
    ),
    row("N below N0", 9, RecordFound::Missing, 148, refuse(ClosedId::TpmRolledBack, barred(100, 99), Lift::NewCounter)),
    Row {
        name: "missing, other Name, not a counter",
        counter: None,
        record: clean(16),
        now: 148,
        start: refuse(ClosedId::TpmReplaced, ALL, Lift::NewCounter),
    },
    Row {
        name: "missing, and no record",
        counter: None,
        record: RecordFound::Missing,
        now: 148,
        start: refuse(ClosedId::TpmReplaced, barred(100, 99), Lift::NewCounter),
    },
];

#[test]
fn every_row_of_the_table() {
    for Row { name, counter, record, now, start } in &TABLE {
        let found = Found { counter: *counter, record, digest: &DIGEST };
        assert_eq!(decide(&TERMS, &found, &Clock { now: Epoch(*now), behind_max: BEHIND_MAX }), *start, "{name}");
    }
}

#[test]
fn no_number_overflows() {
    let ends = [0, 1, u64::MAX - 1, u64::MAX];
    let mut decided = 0;
    for (first_counter, first_epoch, epochs) in
        ends.iter().flat_map(|c| ends.iter().map(move |e| (*c, *e, 8))).chain([(0, 1, u64::MAX)])
    {
        let terms = Terms { first_counter, first_epoch: Epoch(first_epoch), epochs };
        for (counter, recorded, now) in
            ends.iter().flat_map(|c| ends.iter().flat_map(move |r| ends.map(|n| (*c, *r, n))))
        {
            for record in [clean(recorded), open(recorded)] {
                let found = Found { counter: Some(counter), record: &record, digest: &DIGEST };
                let start = decide(&terms, &found, &Clock { now: Epoch(now), behind_max: u64::MAX });
                assert!(
                    counter == recorded
                        || counter.checked_sub(1) == Some(recorded)
                        || matches!(start, Start::Refuse { .. })
                );
                decided += 1;
            }
        }
    }
    assert_eq!(decided, 17 * 64 * 2);
}

#[test]
fn the_highest_source_follows_the_chain_and_never_falls_below_what_was_signed() {
    let source = |seen: Option<(u64, u64)>, signed| {
        let seen = seen.map(|(source, target)| Vote { source: Epoch(source), target: Epoch(target) });
        TERMS.highest_source(16, seen, Epoch(signed)).0
    };
    assert_eq!(source(None, 0), 147);
    assert_eq!(source(Some((140, 142)), 140), 147, "the chain justifies");
    assert_eq!(source(Some((130, 142)), 130), 130, "the chain stands still");
    assert_eq!(source(Some((0, 142)), 130), 130, "a lie about the chain");
    assert_eq!(source(Some((900, 999)), 130), 147, "another lie");
    assert_eq!(source(Some((7, 3)), 130), 147, "a source above its target");
    assert_eq!(source(None, 500), 500, "a floor above the lease");
}

#[test]
fn thirty_days_and_the_last_slot_follow_from_the_chain() {
    assert_eq!(thirty_days(&chain()), 6750);
    let floor = barred(3, 2).floor(&chain());
    assert_eq!(floor, Floor { target: Some(Epoch(3)), source: Epoch(2), slot: Some(Slot(127)) });
    assert_eq!(barred(u64::MAX, 0).floor(&chain()).slot, Some(Slot(u64::MAX)));
}

fn chain() -> ChainSpec {
    ChainSpec {
        genesis_time_s: 0,
        genesis_validators_root: Root::default(),
        genesis_fork_version: ForkVersion([0; 4]),
        slot_ms: 12_000,
        slots_per_epoch: 32,
        forks: Vec::new(),
    }
}

/// A TPM whose lease counter is at 16, a state folder, and what is asked of them.
struct Box {
    tpm: SimTpm,
    name: TpmName,
    disk: StateFolder,
    present: Present,
    _folder: tempfile::TempDir,
}

impl Box {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut tpm = SimTpm::new(1);
        tpm.set_counter(INDEX, 16);
        Self {
            name: tpm.counter_read(INDEX).unwrap().name,
            tpm,
            disk: StateFolder::open(folder.path()).unwrap(),
            present: Present { now: Epoch(145), seen: None, signed_source: Epoch(0) },
            _folder: folder,
        }
    }

    fn with_place<T>(&mut self, act: impl FnOnce(&mut SimTpm, &StateFolder, &Place<'_>, &Present) -> T) -> T {
        let place = Place { terms: TERMS, index: INDEX, name: &self.name.0, record_key: &KEY };
        act(&mut self.tpm, &self.disk, &place, &self.present)
    }

    fn counter(&mut self) -> Option<Counter> {
        self.with_place(|tpm, _, place, _| Counter::read(tpm, place)).unwrap()
    }

    fn begin_from(&mut self, counter: &mut Counter) -> Result<Lease, TickError> {
        self.with_place(|tpm, disk, place, present| Lease::begin(tpm, disk, place, counter, SEAL, present))
    }

    fn begin(&mut self) -> Result<Lease, TickError> {
        let mut counter = self.counter().unwrap();
        self.begin_from(&mut counter)
    }

    fn renew(&mut self, lease: &mut Lease) -> Result<(), TickError> {
        self.with_place(|tpm, disk, place, present| lease.renew(tpm, disk, place, present))
    }

    fn record(&self) -> RecordFound {
        RecordFound::read(&self.disk, &KEY).unwrap()
    }
}

fn written(counter: u64, source: u64, state: RecordState) -> RecordFound {
    RecordFound::Found(Record { counter, source: Epoch(source), state, seal: SEAL })
}

#[test]
fn a_life_of_a_lease_as_its_record_tells_it() {
    let mut it = Box::new();
    assert_eq!(it.record(), RecordFound::Missing);
    let mut lease = it.begin().unwrap();
    assert_eq!(it.record(), written(17, 155, RecordState::Open));
    assert_eq!(lease.reach(&chain()), Reach { target: Epoch(156), source: Epoch(155), slot: Slot(157 * 32 - 1) });
    assert_eq!([155, 156, 157].map(|now| lease.renewal_due(Epoch(now))), [false, true, true]);
    it.present = Present {
        now: Epoch(156),
        seen: Some(Vote { source: Epoch(120), target: Epoch(156) }),
        signed_source: Epoch(120),
    };
    it.renew(&mut lease).unwrap();
    assert_eq!(it.record(), written(18, 120, RecordState::Open));
    assert_eq!((lease.counter(), lease.reach(&chain()).source), (18, Epoch(120)));
    let anew = [0xa4; 32];
    it.with_place(|_, disk, place, _| lease.sealed_anew(disk, place, anew)).unwrap();
    let RecordFound::Found(record) = it.record() else { panic!("no record") };
    assert_eq!(record, Record { counter: 18, source: Epoch(120), state: RecordState::Open, seal: anew });
    it.with_place(|_, disk, place, _| lease.close(disk, place, DIGEST)).unwrap();
    let RecordFound::Found(closed) = it.record() else { panic!("no record") };
    assert_eq!(closed, Record { state: RecordState::Clean { digest: DIGEST }, ..record });
    assert_eq!(it.counter().unwrap().value(), 18);
}

#[test]
fn after_a_long_time_off_it_catches_up_tick_by_tick() {
    let mut it = Box::new();
    it.present.now = Epoch(1000);
    let mut lease = it.begin().unwrap();
    let mut ticks = 1;
    while lease.renewal_due(it.present.now) {
        it.renew(&mut lease).unwrap();
        ticks += 1;
        let RecordFound::Found(record) = it.record() else { panic!("no record") };
        assert_eq!(record.counter, 16 + ticks);
    }
    assert_eq!((ticks, lease.reach(&chain()).target), (107, Epoch(1004)));
}

#[test]
fn a_changed_byte_a_changed_length_or_another_key_is_damage() {
    let mut it = Box::new();
    let lease = it.begin().unwrap();
    it.with_place(|_, disk, place, _| lease.close(disk, place, DIGEST)).unwrap();
    let bytes = it.disk.read("lease").unwrap().unwrap();
    assert_eq!(bytes.len(), 113);
    assert_eq!(RecordFound::read(&it.disk, &[0; 32]).unwrap(), RecordFound::Damaged);
    let mut spoilt: Vec<Vec<u8>> = (0..bytes.len())
        .flat_map(|at| {
            [0x01, 0x80, 0xff].map(|flip| {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                bytes
            })
        })
        .collect();
    spoilt.extend((0..bytes.len()).map(|len| bytes[..len].to_vec()));
    spoilt.extend([[&bytes[..], &[0]].concat(), vec![0; 1_000_000]]);
    for bytes in spoilt {
        std::fs::write(it.disk.file("lease"), &bytes).unwrap();
        assert_eq!(it.record(), RecordFound::Damaged);
    }
    std::fs::write(it.disk.file("lease"), &bytes).unwrap();
    assert_eq!(it.record(), written(17, 155, RecordState::Clean { digest: DIGEST }));
}

#[test]
fn only_the_read_back_says_whether_it_ticked() {
    for (fault, ticks) in [(Fault::AnswerLost, true), (Fault::Lied, false), (Fault::Refused, false)] {
        let mut it = Box::new();
        it.tpm.fail_next(Operation::CounterIncrement, fault);
        let mut counter = it.counter().unwrap();
        let lease = it.begin_from(&mut counter);
        if ticks {
            assert_eq!(lease.unwrap().counter(), 17, "{fault:?}");
            continue;
        }
        let err = lease.unwrap_err();
        assert!(matches!(err, TickError::NotTicked { value: 16, .. }), "{fault:?}: {err}");
        assert_eq!((err.closes(), it.record()), (None, RecordFound::Missing));
        assert_eq!(it.begin_from(&mut counter).unwrap().counter(), 17, "{fault:?}");
    }
}

#[test]
fn while_the_tpm_does_not_answer_the_lease_reaches_as_far_as_before() {
    let mut it = Box::new();
    let mut lease = it.begin().unwrap();
    let before = it.record();
    it.tpm.fail_next(Operation::CounterIncrement, Fault::Lied);
    it.tpm.fail_next(Operation::CounterRead, Fault::Refused);
    for _ in 0..2 {
        let err = it.renew(&mut lease).unwrap_err();
        assert_eq!(err.closes(), None, "{err}");
        assert_eq!((lease.reach(&chain()).target, it.record()), (Epoch(156), before.clone()));
        it.tpm.fail_next(Operation::CounterRead, Fault::Refused);
    }
    // The second increment went through, and is known by a later read-back: there is no third.
    let err = it.renew(&mut lease).unwrap_err();
    assert!(matches!(err, TickError::Unanswered(_)), "{err}");
    it.renew(&mut lease).unwrap();
    assert_eq!((lease.counter(), it.counter().unwrap().value()), (18, 18));
}

#[test]
fn a_counter_that_something_else_moved_or_replaced_closes() {
    type Spoil = fn(&SimTpm);
    let cases: [(Spoil, ClosedId); 7] = [
        (|tpm| tpm.set_counter(INDEX, 18), ClosedId::TpmRolledBack),
        (|tpm| tpm.set_counter(INDEX, 15), ClosedId::TpmRolledBack),
        (|tpm| tpm.set_counter(INDEX, 3), ClosedId::TpmRolledBack),
        (SimTpm::power_cycle, ClosedId::TpmRolledBack),
        (|tpm| tpm.remove_index(INDEX), ClosedId::TpmReplaced),
        (|tpm| tpm.place_ordinary_index(INDEX), ClosedId::TpmReplaced),
        (|tpm| tpm.place_foreign_counter(INDEX, 17), ClosedId::TpmReplaced),
    ];
    for (nth, (spoil, id)) in cases.into_iter().enumerate() {
        let mut it = Box::new();
        let mut lease = it.begin().unwrap();
        let before = it.record();
        spoil(&it.tpm);
        let err = it.renew(&mut lease).unwrap_err();
        assert_eq!((err.closes(), it.record()), (Some(id), before), "case {nth}: {err}");
    }
}

#[test]
fn a_value_that_something_else_brought_about_is_not_held() {
    let mut it = Box::new();
    let mut counter = it.counter().unwrap();
    it.tpm.set_counter(INDEX, 17);
    let err = it.begin_from(&mut counter).unwrap_err();
    assert!(matches!(err, TickError::RolledBack { expected: 17, found: 18 }), "{err}");
}

#[test]
fn what_is_not_our_counter_at_the_start_is_said_so_and_no_answer_decides_nothing() {
    let mut it = Box::new();
    it.tpm.fail_next(Operation::CounterRead, Fault::Refused);
    assert!(it.with_place(|tpm, _, place, _| Counter::read(tpm, place)).is_err());
    assert_eq!(it.counter().map(|counter| counter.value()), Some(16));
    it.tpm.place_foreign_counter(INDEX, 16);
    assert_eq!(it.counter(), None);
    it.tpm.place_ordinary_index(INDEX);
    assert_eq!(it.counter(), None);
    it.tpm.remove_index(INDEX);
    assert_eq!(it.counter(), None);
}

#[test]
fn it_does_not_run_ahead_of_time() {
    let mut it = Box::new();
    it.present.now = Epoch(131);
    let err = it.begin().unwrap_err();
    assert!(matches!(err, TickError::Ahead { from: Epoch(132) }), "{err}");
    assert_eq!((err.closes(), it.counter().unwrap().value()), (None, 16));
}

#[test]
fn a_disk_that_takes_nothing_is_noticed_before_the_tick() {
    for cut in 0..3 {
        let mut it = Box::new();
        let mut lease = it.begin().unwrap();
        it.disk.writes_left.set(Some(cut));
        let err = it.renew(&mut lease).unwrap_err();
        assert_eq!((err.closes(), it.counter().unwrap().value()), (None, 17), "cut {cut}: {err}");
        it.disk.writes_left.set(None);
        it.renew(&mut lease).unwrap();
        assert_eq!(lease.counter(), 18);
    }
}

#[test]
fn a_record_that_cannot_be_written_closes_and_the_lease_reaches_no_further() {
    // The first three steps write what is there once more.
    for cut in 3..6 {
        let mut it = Box::new();
        let mut lease = it.begin().unwrap();
        it.disk.writes_left.set(Some(cut));
        let err = it.renew(&mut lease).unwrap_err();
        assert_eq!(err.closes(), Some(ClosedId::HistoryUnusable), "{err}");
        assert_eq!((lease.counter(), lease.reach(&chain()).target), (17, Epoch(156)));
        let (record, counter) = (it.record(), it.counter().unwrap().value());
        let found = Found { counter: Some(counter), record: &record, digest: &DIGEST };
        let start = decide(&TERMS, &found, &Clock { now: Epoch(145), behind_max: BEHIND_MAX });
        assert!(matches!(start, Start::WaitForFloor { until: Epoch(164), .. }), "cut {cut}: {start:?}");
    }
}
