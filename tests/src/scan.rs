//! Looks for secrets, such as shares, in the memory of processes and in files, in every form that they may have there.
//!
//! Each half of each form is looked for by itself: freed memory loses its first bytes to the allocator, and half a share is
//! as bad a find. What cannot be read is reported, so that a clean report says over how much. Compressed or encrypted
//! copies are not found.

mod forms;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::Context as _;

pub use forms::{Form, Order};
use forms::{forms_of, forms_of_text};

/// What to look for.
#[derive(Debug)]
pub struct Needles {
    needles: Vec<Needle>,
    /// Pattern `2 n` is the first half of needle `n`, pattern `2 n + 1` its last half.
    halves: AhoCorasick,
    len_max: usize,
}

#[derive(Debug)]
struct Needle {
    secret: usize,
    form: Form,
    len: usize,
}

impl Needle {
    fn half(&self) -> usize {
        self.len / 2
    }
}

/// How much of a secret was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its first half only.
    FirstHalf,
    /// Its last half only.
    LastHalf,
    /// All of it.
    Whole,
}

/// Where a secret was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// The offset of the whole form; negative when its first half would lie before the start.
        offset: i128,
    },
    /// In the memory of a process.
    Memory {
        /// The process.
        pid: u32,
        /// The address of the whole form.
        address: i128,
        /// What the system calls the mapping.
        mapping: String,
    },
}

/// A secret that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which of the secrets, in the order of [`Needles::of`].
    pub secret: usize,
    /// How it was written.
    pub form: Form,
    /// How much of it was there.
    pub part: Part,
    /// Where it was.
    pub place: Place,
}

/// What could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The mapping or file.
    pub what: String,
    /// How many bytes of it, where that is known.
    pub bytes: u64,
    /// What the system said.
    pub why: String,
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct ScanReport {
    /// The bytes that were read.
    pub bytes_read: u64,
    /// What could not be read.
    pub unread: Vec<Unread>,
    /// What was found; at most [`FINDINGS_MAX`] for each mapping or file.
    pub findings: Vec<Finding>,
}

impl ScanReport {
    /// The forms that were found whole.
    #[must_use]
    pub fn whole_forms(&self) -> BTreeSet<Form> {
        self.findings.iter().filter(|found| found.part == Part::Whole).map(|found| found.form).collect()
    }

    fn add(&mut self, other: Self) {
        self.bytes_read += other.bytes_read;
        self.unread.extend(other.unread);
        self.findings.extend(other.findings);
    }
}

impl Needles {
    /// Every form of every secret. Secrets are random: one with a half of zeros is found wherever zeros are.
    ///
    /// # Panics
    /// When there are so many secrets that no automaton for them can be built, which takes millions.
    #[must_use]
    pub fn of(secrets: &[[u8; 32]]) -> Self {
        Self::in_forms(secrets.iter().map(forms_of))
    }

    /// Every form of secrets that are texts: tokens, codes, passphrases. Half of a short one may turn up by chance.
    ///
    /// # Panics
    /// As [`Needles::of`].
    #[must_use]
    pub fn of_texts<T: AsRef<str>>(secrets: &[T]) -> Self {
        Self::in_forms(secrets.iter().map(|secret| forms_of_text(secret.as_ref())))
    }

    fn in_forms(secrets: impl Iterator<Item = Vec<(Form, Vec<u8>)>>) -> Self {
        let mut needles = Vec::new();
        let mut halves = Vec::new();
        for (secret, forms) in secrets.enumerate() {
            for (form, bytes) in forms {
                let needle = Needle { secret, form, len: bytes.len() };
                let (first, last) = bytes.split_at(needle.half());
                halves.extend([first.to_vec(), last.to_vec()]);
                needles.push(needle);
            }
        }
        let len_max = needles.iter().map(|needle| needle.len).max().unwrap_or(0);
        let halves = AhoCorasick::new(halves).expect("the automaton of some thousand patterns fits its state numbers");
        Self { needles, halves, len_max }
    }

    /// Every form that is looked for.
    #[must_use]
    pub fn forms(&self) -> BTreeSet<Form> {
        self.needles.iter().map(|needle| needle.form).collect()
    }

    /// Scans all memory of a process that can hold data: what is readable, except files mapped read-only.
    ///
    /// # Errors
    /// When the process does not exist or may not be looked into at all.
    pub fn scan_process(&self, pid: u32) -> anyhow::Result<ScanReport> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let maps = fs::read_to_string(dir.join("maps")).with_context(|| format!("cannot list the memory of {pid}"))?;
        let memory = File::open(dir.join("mem")).with_context(|| format!("cannot read the memory of {pid}"))?;
        let mut report = ScanReport::default();
        for mapping in maps.lines().filter_map(Mapping::parse).filter(Mapping::may_hold_data) {
            report.add(self.scan_mapping(pid, &memory, &mapping));
        }
        anyhow::ensure!(report.bytes_read > 0, "no memory of process {pid} can be read");
        Ok(report)
    }

    /// Scans one file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn scan_file(&self, path: &Path) -> anyhow::Result<ScanReport> {
        let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut search = Search::new(self);
        let mut chunk = vec![0; CHUNK];
        let mut bytes_read = 0;
        loop {
            let len = match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(len) => len,
                Err(err) if err.kind() == ErrorKind::Interrupted => continue,
                Err(err) => return Err(err).with_context(|| format!("cannot read {}", path.display())),
            };
            search.push(bytes_read, &chunk[..len]);
            bytes_read += len as u64;
        }
        let findings = search.findings(|offset| Place::File { path: path.to_owned(), offset });
        Ok(ScanReport { bytes_read, unread: Vec::new(), findings })
    }

    /// Scans all regular files under a folder, following no links. Files that cannot be read are reported.
    ///
    /// # Errors
    /// When the folder itself cannot be listed.
    pub fn scan_dir(&self, dir: &Path) -> anyhow::Result<ScanReport> {
        let mut report = ScanReport::default();
        let mut left = vec![dir.to_owned()];
        while let Some(dir) = left.pop() {
            let entries = fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
            let mut entries: Vec<(OsString, fs::FileType)> = entries
                .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))))
                .collect::<Result<_, _>>()
                .with_context(|| format!("cannot list {}", dir.display()))?;
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            for (name, kind) in entries {
                let path = dir.join(name);
                if kind.is_dir() {
                    left.push(path);
                } else if kind.is_file() {
                    report.add(self.scan_file(&path).unwrap_or_else(|error| unread_file(&path, &error)));
                }
            }
        }
        Ok(report)
    }

    fn scan_mapping(&self, pid: u32, memory: &File, mapping: &Mapping<'_>) -> ScanReport {
        let mut search = Search::new(self);
        let mut report = ScanReport::default();
        let mut chunk = vec![0; CHUNK];
        let mut at = mapping.start;
        let mut gap: Option<Unread> = None;
        while at < mapping.end {
            let left = usize::try_from(mapping.end - at).unwrap_or(CHUNK).min(CHUNK);
            // A read that fails is tried again with one page, to lose no more than cannot be read.
            let read = read_some(memory, &mut chunk[..left], at)
                .or_else(|_| read_some(memory, &mut chunk[..left.min(PAGE)], at));
            match read {
                Ok(len) => {
                    search.push(at, &chunk[..len]);
                    report.bytes_read += len as u64;
                    at += len as u64;
                    report.unread.extend(gap.take());
                }
                Err(err) => {
                    let lost = left.min(PAGE) as u64;
                    at += lost;
                    let what = || format!("mapping {:#x}-{:#x} {}", mapping.start, mapping.end, mapping.name);
                    gap.get_or_insert_with(|| Unread { what: what(), bytes: 0, why: err.to_string() }).bytes += lost;
                }
            }
        }
        report.unread.extend(gap);
        report.findings = search.findings(|address| Place::Memory { pid, address, mapping: mapping.name.to_owned() });
        report
    }
}

fn read_some(memory: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    match memory.read_at(buffer, at)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        len => Ok(len),
    }
}

fn unread_file(path: &Path, error: &anyhow::Error) -> ScanReport {
    let bytes = fs::symlink_metadata(path).map_or(0, |meta| meta.len());
    let unread = Unread { what: path.display().to_string(), bytes, why: format!("{error:#}") };
    ScanReport { unread: vec![unread], ..ScanReport::default() }
}

/// A line of `/proc/PID/maps`.
#[derive(Debug)]
struct Mapping<'a> {
    start: u64,
    end: u64,
    rights: &'a str,
    inode: &'a str,
    name: &'a str,
}

impl<'a> Mapping<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (start, end) = fields.next()?.split_once('-')?;
        let rights = fields.next()?;
        let (_offset, _device, inode) = (fields.next()?, fields.next()?, fields.next()?);
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Self {
            start: hex(start)?,
            end: hex(end)?,
            rights,
            inode,
            name: fields.next().map_or("(anonymous)", str::trim),
        })
    }

    /// The kernel's own pages hold none of ours, and what a private mapping of a file shows without ever having been
    /// writable lies in the file.
    fn may_hold_data(&self) -> bool {
        let of_kernel = self.name.starts_with("[vvar") || self.name == "[vsyscall]";
        let of_file = self.inode != "0" && !self.rights.contains('w') && self.rights.ends_with('p');
        self.rights.starts_with('r') && !of_kernel && !of_file
    }
}

/// A search through bytes that come in chunks.
struct Search<'a> {
    needles: &'a Needles,
    /// What was looked through already but may be the start of a needle, then the next chunk.
    window: Vec<u8>,
    /// Where the window ends.
    end: u64,
    /// What was found: which needle, and where its whole form begins.
    found: BTreeMap<(usize, i128), Part>,
}

impl<'a> Search<'a> {
    fn new(needles: &'a Needles) -> Self {
        Self { needles, window: Vec::new(), end: 0, found: BTreeMap::new() }
    }

    /// Looks through the bytes at `at`. A gap before them separates.
    fn push(&mut self, at: u64, bytes: &[u8]) {
        if at != self.end {
            self.window.clear();
        }
        self.window.drain(..self.window.len().saturating_sub(self.needles.len_max));
        let start = i128::from(at) - self.window.len() as i128;
        self.window.extend_from_slice(bytes);
        self.end = at + bytes.len() as u64;
        for hit in self.needles.halves.find_overlapping_iter(&self.window) {
            let (number, is_last) = (hit.pattern().as_usize() / 2, hit.pattern().as_usize() % 2 == 1);
            let half = if is_last { self.needles.needles[number].half() } else { 0 };
            let key = (number, start + hit.start() as i128 - half as i128);
            if self.found.len() < FINDINGS_MAX || self.found.contains_key(&key) {
                let part = if is_last { Part::LastHalf } else { Part::FirstHalf };
                // Both halves at their places are the whole; the overlap of chunks shows one half twice.
                self.found.entry(key).and_modify(|known| *known = known.with(part)).or_insert(part);
            }
        }
    }

    fn findings(self, place: impl Fn(i128) -> Place) -> Vec<Finding> {
        let finding = |((number, at), part)| {
            let Needle { secret, form, .. } = self.needles.needles[number];
            Finding { secret, form, part, place: place(at) }
        };
        self.found.into_iter().map(finding).collect()
    }
}

impl Part {
    fn with(self, other: Self) -> Self {
        if self == other { self } else { Self::Whole }
    }
}

/// Findings that are kept for one mapping or file: one is bad enough.
pub const FINDINGS_MAX: usize = 1024;

/// How much is read at once.
const CHUNK: usize = 1024 * 1024;

/// The smallest page of the machines that this runs on.
const PAGE: usize = 4096;

#[cfg(test)]
mod tests;
