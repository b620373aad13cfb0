//! A stand-in for the vault: the lease of the architecture's table and watermarks in SQLite, without keys, seal and orders.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use holdfast_eth::domain::{attestation_signing_root, block_signing_root};
use holdfast_evidence::{Order, SignedOrder};
use holdfast_hal::tpm::{NvIndex, Tpm};
use holdfast_hal_sim::SimTpm;
use holdfast_types::{BoxName, Challenge, Epoch, Millis, PartialSignature, Root, SigningRoot, Slot, ValidatorPublic};
use holdfast_vault::clock::Clock as _;
use holdfast_vault::state::Disk;
use holdfast_vault_client::{
    Closed, ClosedId, OrderOutcome, Rejection, Request, Response, SigningRefused, SlashingRefusal, Tier, VaultStatus,
};
use rusqlite::{Connection, OpenFlags};

use crate::disk::SimDisk;
use crate::driver::{Base, Process, Subject, World};
use crate::place::{Place, SimClock};

/// What can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defence {
    /// A clean record counts only with the digest of the history that it was written for.
    Digest,
    /// A batch that could not be recorded is not signed.
    Errors,
    /// What an unclean start bars stays barred after the next clean stop.
    FloorKept,
    /// What the lease allows follows from the counter, not from the record.
    HorizonFromCounter,
    /// Records are synced.
    Sync,
    /// The counter is ticked before a lease begins.
    Tick,
    /// An earlier vote forbids others.
    Watermarks,
}

impl Defence {
    pub(super) const ALL: [Self; 7] = [
        Self::Digest,
        Self::Errors,
        Self::FloorKept,
        Self::HorizonFromCounter,
        Self::Sync,
        Self::Tick,
        Self::Watermarks,
    ];
}

pub(super) struct StandIn {
    without: Option<Defence>,
    world: World,
    first_counter: u64,
    first_epoch: Epoch,
}

pub(super) struct Running {
    without: Option<Defence>,
    world: World,
    terms: (u64, Epoch),
    place: Place,
    db: Option<Connection>,
    marks: BTreeMap<ValidatorPublic, Marks>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, Hash)]
struct Marks {
    source: u64,
    target: u64,
    target_root: SigningRoot,
    slot: u64,
    slot_root: SigningRoot,
}

#[derive(Clone, Copy)]
enum Phase {
    Closed(ClosedId),
    Open { counter: u64, floor: Option<u64> },
    Waiting { counter: u64, floor: Option<u64> },
}

struct Record {
    counter: u64,
    clean: bool,
    digest: u64,
}

impl StandIn {
    pub(super) fn prepared(without: Option<Defence>, world: &World, now: Millis) -> (Self, Base) {
        let mut tpm = SimTpm::new(1);
        let first_counter = tpm.counter_define(COUNTER).unwrap().reading.value;
        let subject = Self { without, world: world.clone(), first_counter, first_epoch: world.epoch_at(now) };
        let (disk, clock) = (SimDisk::new(), SimClock::default());
        clock.set(now);
        subject.start(Place::new(&disk, &tpm, &clock)).unwrap().stop();
        let base = Base { disk: disk.snapshot(), tpm: tpm.snapshot(), now };
        (subject, base)
    }
}

impl Subject for StandIn {
    type Process = Running;

    fn start(&self, place: Place) -> Option<Running> {
        let terms = (self.first_counter, self.first_epoch);
        let (without, world) = (self.without, self.world.clone());
        let phase = Phase::Closed(ClosedId::HistoryUnusable);
        let mut running = Running { without, world, terms, place, db: None, marks: BTreeMap::new(), phase };
        if let Ok((db, marks)) = running.load() {
            (running.db, running.marks) = (Some(db), marks);
            running.phase = running.decide();
            running.maintain();
        }
        Some(running)
    }

    fn is_signature(&self, validator: ValidatorPublic, root: SigningRoot, signature: &PartialSignature) -> bool {
        sign(validator, root) == *signature
    }
}

impl Process for Running {
    fn answer(&mut self, request: Request) -> Response {
        let wanted: Vec<(ValidatorPublic, Wanted)> = match request {
            Request::Status => return Response::Status(Box::new(self.status())),
            Request::SignAttestations(batch) => {
                let chain = &self.world.chain;
                let vote = |data| Wanted::Vote(data, attestation_signing_root(chain, &data));
                batch.iter().map(|asked| (asked.validator, vote(asked.data))).collect()
            }
            Request::SignBlock(block) => {
                let root = block_signing_root(&self.world.chain, block.header.slot, block.header.hash_tree_root());
                vec![(block.validator, Wanted::Block(block.header.slot, root))]
            }
            Request::Challenge => return Response::Challenge(Challenge::default()),
            Request::Order(order) => return self.obey(&order),
            _ => return Response::Rejected(Rejection::NoIdentity),
        };
        let Phase::Open { counter, floor } = self.phase else {
            return Response::Rejected(Rejection::Closed(self.closed()));
        };
        let mut after = self.marks.clone();
        let last = self.last_epoch(counter);
        let judged: Vec<_> =
            wanted.iter().map(|(who, what)| self.judge(*what, after.entry(*who).or_default(), last, floor)).collect();
        if self.save(&after).is_err() && self.without != Some(Defence::Errors) {
            self.phase = Phase::Closed(ClosedId::HistoryUnusable);
            return Response::Rejected(Rejection::Closed(self.closed()));
        }
        self.marks = after;
        let answer = |((who, _), judged): (&(ValidatorPublic, Wanted), Result<SigningRoot, SigningRefused>)| {
            judged.map(|root| sign(*who, root))
        };
        Response::Signatures(wanted.iter().zip(judged).map(answer).collect())
    }

    fn maintain(&mut self) -> bool {
        let now = self.now();
        match self.phase {
            Phase::Waiting { counter, floor } => {
                let due = self.last_epoch(counter) <= now + 2 * self.world.lease_epochs;
                if due && floor.is_none_or(|floor| floor < now) {
                    self.tick(counter, floor);
                }
            }
            Phase::Open { counter, floor } if now + 1 >= self.last_epoch(counter) => {
                // A tick that failed is tried again.
                let _ = self.tick(counter, floor);
            }
            _ => {}
        }
        true
    }

    fn stop(self) {
        if let Phase::Open { counter, .. } = self.phase {
            let _ = self.write_record(&Record { counter, clean: true, digest: digest(&self.marks) });
        }
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Block(Slot, SigningRoot),
    Vote(holdfast_eth::AttestationData, SigningRoot),
}

impl Running {
    fn now(&self) -> u64 {
        self.world.epoch_at(self.place.clock.now()).0
    }

    /// Knows one order, and takes it from anybody.
    fn obey(&mut self, order: &SignedOrder) -> Response {
        let vouched = order.unverified().is_ok_and(|text| text.order == Order::VouchDisk);
        let Phase::Waiting { counter, floor: Some(_) } = self.phase else {
            return Response::Rejected(Rejection::NoIdentity);
        };
        let early = self.last_epoch(counter) > self.now() + 2 * self.world.lease_epochs;
        if vouched && !early && self.tick(counter, None).is_some() {
            Response::OrderDone(OrderOutcome::Done)
        } else {
            Response::Rejected(Rejection::NoIdentity)
        }
    }

    fn last_epoch(&self, counter: u64) -> u64 {
        if self.without == Some(Defence::Tick) {
            return self.now() + self.world.lease_epochs;
        }
        self.terms.1.0 + self.world.lease_epochs * (counter - self.terms.0)
    }

    fn decide(&mut self) -> Phase {
        let Ok(reading) = self.place.tpm.counter_read(COUNTER) else { return Phase::Closed(ClosedId::TpmReplaced) };
        let counter = reading.value;
        let record = match self.place.disk.read("lease") {
            Ok(Some(bytes)) => Record::from_bytes(&bytes),
            // The very first start.
            Ok(None) if counter == self.terms.0 => {
                Some(Record { counter, clean: true, digest: digest(&BTreeMap::new()) })
            }
            Ok(None) | Err(_) => None,
        };
        let Some(record) = record else { return Phase::Closed(ClosedId::HistoryLost) };
        let digest_fits = record.digest == digest(&self.marks) || self.without == Some(Defence::Digest);
        let horizon = if self.without == Some(Defence::HorizonFromCounter) { record.counter } else { counter };
        match counter.checked_sub(record.counter) {
            Some(0) if record.clean && digest_fits => Phase::Waiting { counter, floor: None },
            Some(0) if record.clean => Phase::Closed(ClosedId::HistoryRolledBack),
            Some(0 | 1) => Phase::Waiting { counter, floor: Some(self.last_epoch(horizon)) },
            Some(_) if self.without == Some(Defence::HorizonFromCounter) => {
                Phase::Waiting { counter, floor: Some(self.last_epoch(horizon)) }
            }
            Some(_) => Phase::Closed(ClosedId::HistoryRolledBack),
            None => Phase::Closed(ClosedId::TpmRolledBack),
        }
    }

    fn tick(&mut self, counter: u64, floor: Option<u64>) -> Option<()> {
        let next = if self.without == Some(Defence::Tick) {
            counter
        } else {
            // A tick whose read-back failed has happened: it is not made twice.
            if self.place.tpm.counter_read(COUNTER).ok()?.value == counter {
                let _ = self.place.tpm.counter_increment(COUNTER);
            }
            self.place.tpm.counter_read(COUNTER).ok()?.value
        };
        if next < counter || next > counter + 1 {
            self.phase = Phase::Closed(ClosedId::TpmRolledBack);
            return None;
        }
        if next == counter && self.without != Some(Defence::Tick) {
            return None;
        }
        let kept = floor.map_or(Some(()), |floor| self.keep_floor(floor));
        let opened = kept.and_then(|()| self.write_record(&Record { counter: next, clean: false, digest: 0 }));
        self.phase = match opened {
            Some(()) => Phase::Open { counter: next, floor },
            None => Phase::Closed(ClosedId::HistoryUnusable),
        };
        opened
    }

    /// Raises the watermarks to the floor, which holds also after the next clean stop.
    fn keep_floor(&mut self, floor: u64) -> Option<()> {
        if self.without == Some(Defence::FloorKept) {
            return Some(());
        }
        let last_slot = self.world.chain.first_slot(Epoch(floor + 1)).0 - 1;
        let mut marks = self.marks.clone();
        for validator in self.world.validators() {
            let mark: &mut Marks = marks.entry(validator).or_default();
            if mark.target < floor {
                (mark.target, mark.target_root) = (floor, SigningRoot::default());
            }
            if mark.slot < last_slot {
                (mark.slot, mark.slot_root) = (last_slot, SigningRoot::default());
            }
            mark.source = mark.source.max(floor - 1);
        }
        self.save(&marks).ok()?;
        self.marks = marks;
        Some(())
    }

    fn judge(
        &self,
        wanted: Wanted,
        marks: &mut Marks,
        last: u64,
        floor: Option<u64>,
    ) -> Result<SigningRoot, SigningRefused> {
        if self.without == Some(Defence::Watermarks) {
            return Ok(match wanted {
                Wanted::Block(_, root) | Wanted::Vote(_, root) => root,
            });
        }
        let outside = || SigningRefused::OutsideLease { what: String::new(), reason: String::new() };
        match wanted {
            Wanted::Block(slot, root) => {
                let epoch = self.world.chain.epoch_of(slot).0;
                if epoch > last || floor.is_some_and(|floor| epoch <= floor) {
                    return Err(outside());
                }
                if slot.0 == marks.slot && root == marks.slot_root {
                    return Ok(root);
                }
                if slot.0 <= marks.slot {
                    return Err(SlashingRefusal::SlotTooLow { slot, highest_slot: Slot(marks.slot) }.into());
                }
                (marks.slot, marks.slot_root) = (slot.0, root);
                Ok(root)
            }
            Wanted::Vote(data, root) => {
                let (source, target) = (data.source.epoch, data.target.epoch);
                if target.0 > last
                    || source.0 >= last
                    || floor.is_some_and(|floor| target.0 <= floor || source.0 + 1 < floor)
                {
                    return Err(outside());
                }
                if source > target {
                    return Err(SlashingRefusal::SourceAboveTarget { source_epoch: source, target }.into());
                }
                if (source.0, target.0, root) == (marks.source, marks.target, marks.target_root) {
                    return Ok(root);
                }
                if target.0 == marks.target {
                    return Err(SlashingRefusal::DoubleVote { target, signed: Some(Root(marks.target_root.0)) }.into());
                }
                if target.0 < marks.target {
                    return Err(SlashingRefusal::TargetTooLow { target, highest_target: Epoch(marks.target) }.into());
                }
                if source.0 < marks.source {
                    return Err(SlashingRefusal::SourceTooLow {
                        source_epoch: source,
                        highest_source: Epoch(marks.source),
                    }
                    .into());
                }
                (marks.source, marks.target, marks.target_root) = (source.0, target.0, root);
                Ok(root)
            }
        }
    }

    fn load(&self) -> rusqlite::Result<(Connection, BTreeMap<ValidatorPublic, Marks>)> {
        let database = self.place.disk.database("history.sqlite");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(database.path, flags, database.vfs.unwrap().as_str())?;
        db.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA temp_store = MEMORY;")?;
        let modes: Vec<String> =
            db.prepare("PRAGMA journal_mode = WAL")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let synchronous = if self.without == Some(Defence::Sync) { "OFF" } else { "FULL" };
        db.execute_batch(&format!("PRAGMA synchronous = {synchronous};"))?;
        let check: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if modes != ["wal"] || check != "ok" {
            return Err(rusqlite::Error::InvalidQuery);
        }
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS marks (validator BLOB PRIMARY KEY, source, target, target_root, slot, slot_root);
             PRAGMA wal_checkpoint(TRUNCATE);",
        )?;
        let row = |row: &rusqlite::Row<'_>| {
            let (who, number) = (ValidatorPublic(row.get(0)?), |at| row.get::<_, i64>(at).map(i64::cast_unsigned));
            let (target_root, slot_root) = (SigningRoot(row.get(3)?), SigningRoot(row.get(5)?));
            Ok((who, Marks { source: number(1)?, target: number(2)?, target_root, slot: number(4)?, slot_root }))
        };
        let marks = db.prepare("SELECT * FROM marks")?.query_map([], row)?.collect::<Result<_, _>>()?;
        Ok((db, marks))
    }

    fn save(&mut self, marks: &BTreeMap<ValidatorPublic, Marks>) -> rusqlite::Result<()> {
        let transaction = self.db.as_mut().ok_or(rusqlite::Error::InvalidQuery)?.transaction()?;
        for (who, mark) in marks {
            let numbers = [mark.source, mark.target, mark.slot].map(u64::cast_signed);
            transaction.execute(
                "INSERT OR REPLACE INTO marks VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                (who.0, numbers[0], numbers[1], mark.target_root.0, numbers[2], mark.slot_root.0),
            )?;
        }
        transaction.commit()
    }

    fn write_record(&self, record: &Record) -> Option<()> {
        let bytes = record.to_bytes();
        self.place.disk.replace("lease", &bytes).ok()
    }

    fn closed(&self) -> Closed {
        let id = match self.phase {
            Phase::Closed(id) => id,
            Phase::Open { .. } => ClosedId::CatchingUp,
            Phase::Waiting { floor: None, .. } => ClosedId::LeaseAhead,
            Phase::Waiting { floor: Some(_), .. } => ClosedId::LeaseUnclean,
        };
        Closed { id, reason: String::new() }
    }

    fn status(&self) -> VaultStatus {
        VaultStatus {
            version: String::new(),
            box_name: BoxName::default(),
            authority: None,
            lock_hash: None,
            validators: Vec::new(),
            share_index: None,
            tier: Tier::C,
            tier_reason: String::new(),
            memory: String::new(),
            generation: None,
            level: None,
            lease: None,
            orders_logged: 0,
            orders_head: [0; 32],
            closed: (!matches!(self.phase, Phase::Open { .. })).then(|| self.closed()),
        }
    }
}

impl Record {
    fn to_bytes(&self) -> Vec<u8> {
        let numbers = [self.counter, u64::from(self.clean), self.digest, self.mac()];
        numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let numbers: Vec<u64> =
            bytes.chunks(8).map(|part| part.try_into().ok().map(u64::from_be_bytes)).collect::<Option<_>>()?;
        let [counter, clean, digest, mac] = numbers[..] else { return None };
        let record = Self { counter, clean: clean == 1, digest };
        (record.mac() == mac).then_some(record)
    }

    /// Stands for a MAC: nothing here makes one up.
    fn mac(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.counter, self.clean, self.digest).hash(&mut hasher);
        hasher.finish()
    }
}

/// Stands for the history's digest.
fn digest(marks: &BTreeMap<ValidatorPublic, Marks>) -> u64 {
    let mut hasher = DefaultHasher::new();
    marks.hash(&mut hasher);
    hasher.finish()
}

fn sign(validator: ValidatorPublic, root: SigningRoot) -> PartialSignature {
    let mut signature = [0; 96];
    signature[..48].copy_from_slice(&validator.0);
    signature[48..80].copy_from_slice(&root.0);
    PartialSignature(signature)
}

const COUNTER: NvIndex = NvIndex(0x0180_4801);
