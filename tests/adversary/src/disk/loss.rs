//! What a power cut leaves: any of the unsynced operations, and of a write any of its sectors.

use super::platter::{DataOp, File, Names, Platter};
use crate::content::Content;
use crate::rng::Rng;

/// Which unsynced operations survive.
#[derive(Clone, Copy)]
struct Survival {
    rule: Rule,
    /// The disk's sectors; a write is torn between them.
    sector: usize,
}

#[derive(Clone, Copy)]
enum Rule {
    /// Each by itself, and each sector of a write, this many times in eight.
    Each {
        in_eight: u64,
    },
    Everything,
    Nothing,
    /// Those up to this operation, and a part of a write that is this one.
    UpTo(u64),
}

/// How much of one operation survives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    All,
    None,
    Part,
}

impl Platter {
    /// Takes the power away, if it is still there, and gives it back: what was unsynced survives or not, as `rng` says.
    pub(super) fn reboot(&mut self, rng: &mut Rng) {
        let survival = self.draw_survival(rng);
        let mut names = std::mem::take(&mut self.durable_names);
        for (at, op) in std::mem::take(&mut self.unsynced_names) {
            let kept = survival.whole(at, rng);
            if kept == Kept::All {
                op.apply(&mut names);
            }
            self.count(kept);
        }
        for file in 0..self.files.len() {
            self.settle_file(file, survival, rng);
        }
        self.start_over(names);
    }

    /// Begins a boot in which these names are all there is, and durable.
    pub(super) fn start_over(&mut self, names: Names) {
        let mut before: Vec<Option<File>> = std::mem::take(&mut self.files).into_iter().map(Some).collect();
        let mut placed = vec![0; before.len()];
        self.durable_names.clear();
        for (name, file) in names {
            if let Some(found) = before[file].take() {
                placed[file] = self.files.len();
                self.files.push(found);
            }
            self.durable_names.insert(name, placed[file]);
        }
        self.names.clone_from(&self.durable_names);
        self.unsynced_names.clear();
        self.boot += 1;
        self.off = false;
        self.unplan();
    }

    fn settle_file(&mut self, file: usize, survival: Survival, rng: &mut Rng) {
        let File { mut durable, unsynced, log, .. } = std::mem::take(&mut self.files[file]);
        for (at, op) in unsynced {
            let kept = match op {
                DataOp::Truncate { .. } => {
                    let kept = survival.whole(at, rng);
                    if kept == Kept::All {
                        op.apply(&log, &mut durable);
                    }
                    kept
                }
                DataOp::Write { offset, log_at, len } => {
                    survival.write(at, offset, &log[log_at..log_at + len], &mut durable, rng)
                }
            };
            self.count(kept);
        }
        self.files[file] = File::holding(durable);
    }

    fn count(&mut self, kept: Kept) {
        match kept {
            Kept::All => self.tally.kept += 1,
            Kept::None => self.tally.lost += 1,
            Kept::Part => self.tally.torn += 1,
        }
    }

    fn draw_survival(&self, rng: &mut Rng) -> Survival {
        let data = self.files.iter().filter_map(|file| file.unsynced.first()).map(|(at, _)| *at);
        let names = self.unsynced_names.first().map(|(at, _)| *at);
        let rule = match rng.below(8) {
            0 => Rule::Nothing,
            1 => Rule::Everything,
            2 | 3 => Rule::UpTo(rng.between(data.chain(names).min().unwrap_or(self.ops), self.ops)),
            4 | 5 => Rule::Each { in_eight: 4 },
            6 => Rule::Each { in_eight: 1 },
            _ => Rule::Each { in_eight: 7 },
        };
        Survival { rule, sector: if rng.one_in(2) { 512 } else { 4096 } }
    }
}

impl Survival {
    /// For an operation that has no parts: it happens or it does not.
    fn whole(self, at: u64, rng: &mut Rng) -> Kept {
        let kept = match self.rule {
            Rule::Each { in_eight } => rng.below(8) < in_eight,
            Rule::Everything => true,
            Rule::Nothing => false,
            Rule::UpTo(last) => at <= last,
        };
        if kept { Kept::All } else { Kept::None }
    }

    /// Writes what survives of a write.
    fn write(self, at: u64, offset: usize, bytes: &[u8], durable: &mut Content, rng: &mut Rng) -> Kept {
        match self.rule {
            Rule::Each { in_eight } => self.write_sectors(in_eight, offset, bytes, durable, rng),
            Rule::UpTo(last) if at == last => {
                let part = rng.below(bytes.len() as u64 + 1);
                durable.write(offset, &bytes[..usize::try_from(part).expect("a part of what is in memory")]);
                Kept::Part
            }
            Rule::Everything | Rule::Nothing | Rule::UpTo(_) => {
                let kept = self.whole(at, rng);
                if kept == Kept::All {
                    durable.write(offset, bytes);
                }
                kept
            }
        }
    }

    fn write_sectors(self, in_eight: u64, offset: usize, bytes: &[u8], durable: &mut Content, rng: &mut Rng) -> Kept {
        let (mut from, mut all, mut none) = (0, true, true);
        while from < bytes.len() {
            let sector_end = ((offset + from) / self.sector + 1) * self.sector;
            let to = (sector_end - offset).min(bytes.len());
            if rng.below(8) < in_eight {
                durable.write(offset + from, &bytes[from..to]);
                none = false;
            } else {
                all = false;
            }
            from = to;
        }
        match (all, none) {
            (true, _) => Kept::All,
            (_, true) => Kept::None,
            _ => Kept::Part,
        }
    }
}
