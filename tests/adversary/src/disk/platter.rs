//! Files and folder of a simulated disk: what programs see, what is durable, and the unsynced operations between them.
//!
//! A program's operation goes through `step`, which is where faults fall. What survives a power cut is decided in `loss`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::fault::{Fault, IO_ERROR, NO_SPACE, NO_SUCH_FILE, OpKind, READ_ONLY, Tally, failure};
use crate::content::Content;
use crate::rng::Rng;

/// The disk, with its power.
#[derive(Default)]
pub(crate) struct Platter {
    pub(crate) files: Vec<File>,
    /// The names as programs see them.
    pub(crate) names: Names,
    pub(super) durable_names: Names,
    pub(super) unsynced_names: Vec<(u64, NameOp)>,
    /// Which run of the machine this is; whoever still holds files of an earlier one is dead.
    pub(super) boot: u64,
    pub(crate) off: bool,
    condition: Condition,
    /// Operations so far.
    pub(crate) ops: u64,
    plan: Option<(u64, Fault)>,
    pub(super) tally: Tally,
}

/// One file, by whatever names.
#[derive(Default)]
pub(crate) struct File {
    pub(crate) seen: Content,
    pub(super) durable: Content,
    pub(super) unsynced: Vec<(u64, DataOp)>,
    /// The bytes of the unsynced writes, one after the other.
    pub(super) log: Vec<u8>,
    /// Whether a failed sync left something seen that is neither durable nor unsynced.
    pub(super) forgot: bool,
}

pub(crate) type Names = BTreeMap<Arc<str>, FileId>;

/// Where a file is in the table, for one boot.
pub(crate) type FileId = usize;

/// An operation on a file's data.
#[derive(Clone, Copy)]
pub(crate) enum DataOp {
    Truncate { len: usize },
    Write { offset: usize, log_at: usize, len: usize },
}

/// An operation on the folder.
pub(crate) enum NameOp {
    Create { name: Arc<str>, file: FileId },
    Remove { name: Arc<str> },
    Rename { from: Arc<str>, to: Arc<str>, file: FileId },
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Condition {
    Full,
    ReadOnly,
    #[default]
    Sound,
}

/// How a step that is not refused goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The power goes at it.
    Cut { after: bool },
    /// It is done.
    Done,
    /// It fails.
    Fails { forgets: bool },
    /// It says that it was done.
    Lies,
}

impl Platter {
    /// Lets `fault` fall on the operation that follows `after` others, in place of what was planned before.
    pub(crate) fn plan(&mut self, after: u64, fault: Fault) {
        self.plan = Some((self.ops + 1 + after, fault));
    }

    pub(crate) fn unplan(&mut self) {
        self.plan = None;
    }

    /// The program dies: nothing it still holds works any more, and the kernel keeps what it was given.
    pub(crate) fn kill(&mut self) {
        self.boot += 1;
        self.unplan();
    }

    pub(crate) fn mend(&mut self) {
        self.condition = Condition::Sound;
    }

    pub(crate) fn cut_now(&mut self) {
        if !self.off {
            self.cut(OpKind::Idle);
        }
    }

    /// Whether a program of this boot may still do anything.
    pub(crate) fn alive(&self, boot: u64) -> io::Result<()> {
        if self.off || self.boot != boot { Err(failure(IO_ERROR)) } else { Ok(()) }
    }

    pub(crate) fn takes_changes(&self) -> bool {
        self.condition != Condition::ReadOnly
    }

    /// The file's place, if there is one of the name.
    pub(crate) fn find(&self, name: &str) -> Option<FileId> {
        self.names.get(name).copied()
    }

    pub(crate) fn create(&mut self, name: &str) -> io::Result<FileId> {
        let step = self.step(OpKind::Create, true)?;
        let file = self.files.len();
        self.files.push(File::default());
        let name: Arc<str> = name.into();
        self.change_names(NameOp::Create { name, file });
        end(step, file)
    }

    pub(crate) fn write(&mut self, file: FileId, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let grows = offset + bytes.len() > self.files[file].seen.len();
        let step = self.step(OpKind::Write, grows)?;
        let at = self.ops;
        self.files[file].write(at, offset, bytes);
        end(step, ())
    }

    pub(crate) fn truncate(&mut self, file: FileId, len: usize) -> io::Result<()> {
        let step = self.step(OpKind::Truncate, false)?;
        let at = self.ops;
        let File { seen, unsynced, .. } = &mut self.files[file];
        seen.truncate(len);
        unsynced.push((at, DataOp::Truncate { len }));
        end(step, ())
    }

    pub(crate) fn sync_file(&mut self, file: FileId) -> io::Result<()> {
        let step = self.step(OpKind::SyncFile, false)?;
        match step {
            Step::Done | Step::Cut { after: true } => self.files[file].sync(),
            Step::Fails { forgets: true } => self.files[file].forget(),
            Step::Cut { after: false } | Step::Fails { forgets: false } | Step::Lies => {}
        }
        end(step, ())
    }

    pub(crate) fn sync_folder(&mut self) -> io::Result<()> {
        let step = self.step(OpKind::SyncFolder, false)?;
        if matches!(step, Step::Done | Step::Cut { after: true }) {
            self.durable_names.clone_from(&self.names);
            self.unsynced_names.clear();
        }
        // Names that a sync could not write stay to be written: a journal keeps them.
        end(step, ())
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (from, file) = self
            .names
            .get_key_value(from)
            .map(|(name, file)| (Arc::clone(name), *file))
            .ok_or(failure(NO_SUCH_FILE))?;
        let step = self.step(OpKind::Rename, false)?;
        self.change_names(NameOp::Rename { from, to: to.into(), file });
        end(step, ())
    }

    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        let (name, _) = self.names.get_key_value(name).ok_or(failure(NO_SUCH_FILE))?;
        let name = Arc::clone(name);
        let step = self.step(OpKind::Remove, false)?;
        self.change_names(NameOp::Remove { name });
        end(step, ())
    }

    /// An operation of the TPM that a power cut may fall on: whether it happens, or that the power went, before it or
    /// after.
    pub(crate) fn tick(&mut self) -> Tick {
        match self.step(OpKind::Tick, false) {
            Ok(Step::Cut { after }) => Tick::Cut { after },
            Ok(_) => Tick::Done,
            Err(_) => Tick::Cut { after: false },
        }
    }

    /// Counts an operation, and lets what was planned for it happen.
    fn step(&mut self, kind: OpKind, needs_room: bool) -> io::Result<Step> {
        if self.off {
            return Err(failure(IO_ERROR));
        }
        self.ops += 1;
        self.tally.asked[kind as usize] += 1;
        let step = self.fall(kind);
        match self.condition {
            _ if kind == OpKind::Tick => Ok(step),
            Condition::ReadOnly => {
                self.tally.read_only += 1;
                Err(failure(READ_ONLY))
            }
            Condition::Full if needs_room => {
                self.tally.full += 1;
                Err(failure(NO_SPACE))
            }
            Condition::Full | Condition::Sound => Ok(step),
        }
    }

    fn fall(&mut self, kind: OpKind) -> Step {
        let Some((_, fault)) = self.plan.filter(|(at, _)| self.ops >= *at) else { return Step::Done };
        let syncs = matches!(kind, OpKind::SyncFile | OpKind::SyncFolder);
        match fault {
            Fault::CutAtTick { .. } if kind != OpKind::Tick => return Step::Done,
            Fault::Cut { after } | Fault::CutAtTick { after } => {
                self.cut(kind);
                return Step::Cut { after };
            }
            Fault::Full => self.condition = Condition::Full,
            Fault::ReadOnly => self.condition = Condition::ReadOnly,
            Fault::SyncFails { .. } | Fault::SyncLies if !syncs => return Step::Done,
            Fault::SyncFails { forgets } => {
                self.plan = None;
                self.tally.failed_syncs += 1;
                return Step::Fails { forgets };
            }
            Fault::SyncLies => {
                self.plan = None;
                self.tally.lied_syncs += 1;
                return Step::Lies;
            }
        }
        self.plan = None;
        Step::Done
    }

    fn cut(&mut self, kind: OpKind) {
        self.off = true;
        self.plan = None;
        self.tally.cuts[kind as usize] += 1;
    }

    fn change_names(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.unsynced_names.push((self.ops, op));
    }

    /// Flips a few bits of one page of a file, as a dying disk does.
    pub(crate) fn corrupt(&mut self, name: &str, rng: &mut Rng) -> bool {
        let Some(file) = self.find(name).map(|file| &mut self.files[file]) else { return false };
        let len = file.durable.len() as u64;
        if len == 0 {
            return false;
        }
        let page = rng.below(len.div_ceil(4096)) * 4096;
        for _ in 0..rng.between(1, 8) {
            let at = usize::try_from(page + rng.below((len - page).min(4096))).expect("a file fits into memory");
            let flip = 1 << rng.below(8);
            for content in [&mut file.durable, &mut file.seen] {
                let mut byte = [0];
                if content.read(at, &mut byte) == 1 {
                    content.write(at, &[byte[0] ^ flip]);
                }
            }
        }
        true
    }
}

/// What became of an operation of the TPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    Cut { after: bool },
    Done,
}

impl File {
    /// A file whose content is durable.
    pub(crate) fn holding(content: Content) -> Self {
        Self { seen: content.clone(), durable: content, ..Self::default() }
    }

    fn write(&mut self, at: u64, offset: usize, bytes: &[u8]) {
        self.seen.write(offset, bytes);
        let log_at = self.log.len();
        self.log.extend_from_slice(bytes);
        self.unsynced.push((at, DataOp::Write { offset, log_at, len: bytes.len() }));
    }

    fn sync(&mut self) {
        if self.forgot {
            for (_, op) in &self.unsynced {
                op.apply(&self.log, &mut self.durable);
            }
        } else if !self.unsynced.is_empty() {
            self.durable.clone_from(&self.seen);
        }
        self.clear_unsynced();
    }

    fn forget(&mut self) {
        self.forgot |= !self.unsynced.is_empty();
        self.clear_unsynced();
    }

    fn clear_unsynced(&mut self) {
        self.unsynced.clear();
        self.log.clear();
    }
}

impl DataOp {
    pub(crate) fn apply(self, log: &[u8], content: &mut Content) {
        match self {
            Self::Truncate { len } => content.truncate(len),
            Self::Write { offset, log_at, len } => content.write(offset, &log[log_at..log_at + len]),
        }
    }
}

impl NameOp {
    pub(crate) fn apply(&self, names: &mut Names) {
        match self {
            Self::Create { name, file } => {
                names.insert(Arc::clone(name), *file);
            }
            Self::Remove { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(Arc::clone(to), *file);
            }
        }
    }
}

fn end<T>(step: Step, value: T) -> io::Result<T> {
    match step {
        Step::Cut { .. } | Step::Fails { .. } => Err(failure(IO_ERROR)),
        Step::Done | Step::Lies => Ok(value),
    }
}
