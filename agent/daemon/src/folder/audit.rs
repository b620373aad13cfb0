//! The audit log: a line of JSON for each entry, on disk before anybody is told, the oldest dropped in halves.
//!
//! A line that a power cut left half written is cut off when the log is opened. A line that is damaged is left out and
//! told in the log: an entry that cannot be read must not hide the others.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_api::AuditEntry;
use holdfast_provisioning::files::{FileError, read_bounded};

#[derive(Debug)]
pub(super) struct AuditLog {
    path: PathBuf,
    older: PathBuf,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    lines: usize,
    last: u64,
}

impl AuditLog {
    pub(super) fn open(dir: &Path) -> Result<Self, FileError> {
        let (path, older) = (dir.join(NEWER), dir.join(OLDER));
        let text = read_bounded(&path, LOG_LEN_MAX)?.unwrap_or_default();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut last = 0;
        for text in [read_bounded(&older, LOG_LEN_MAX)?.unwrap_or_default(), text[..whole].to_vec()] {
            last = entries(&text).map(|entry| entry.number).max().unwrap_or_default().max(last);
        }
        let file = append_to(&path, whole as u64).map_err(|err| FileError::Write { path: path.clone(), err })?;
        let lines = text[..whole].iter().filter(|byte| **byte == b'\n').count();
        Ok(Self { path, older, tail: Mutex::new(Tail { file, lines, last }) })
    }

    pub(super) fn append(&self, mut entry: AuditEntry) -> Result<AuditEntry, FileError> {
        let mut tail = self.tail();
        for text in [&mut entry.by, &mut entry.from, &mut entry.request] {
            *text = text.chars().take(TEXT_LEN_MAX).collect();
        }
        entry.number = tail.last + 1;
        let mut line = serde_json::to_vec(&entry).expect("an entry has a form in JSON");
        line.push(b'\n');
        self.write(&mut tail, &line).map_err(|err| FileError::Write { path: self.path.clone(), err })?;
        tail.last = entry.number;
        Ok(entry)
    }

    pub(super) fn after(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, FileError> {
        // Held, so that no entry moves from one file to the other between the two readings.
        let _tail = self.tail();
        let mut found = Vec::new();
        for path in [&self.older, &self.path] {
            let text = read_bounded(path, LOG_LEN_MAX)?.unwrap_or_default();
            let left = limit - found.len();
            found.extend(entries(&text).filter(|entry| entry.number > after).take(left));
        }
        Ok(found)
    }

    fn write(&self, tail: &mut Tail, line: &[u8]) -> io::Result<()> {
        if tail.lines >= LINES_MAX {
            fs::rename(&self.path, &self.older)?;
            tail.file = append_to(&self.path, 0)?;
            tail.lines = 0;
        }
        let len = tail.file.metadata()?.len();
        let written = tail.file.write_all(line).and_then(|()| tail.file.sync_data());
        if written.is_err() {
            // Half a line would spoil the next one. When not even this works, the next opening cuts it off.
            let _ = tail.file.set_len(len);
        } else {
            tail.lines += 1;
        }
        written
    }

    /// What a panic left behind is at most an entry more on disk than was told.
    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the file to append to, cut off at `len`, and makes sure that its name is on disk.
fn append_to(path: &Path, len: u64) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.set_len(len)?;
    file.sync_all()?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}

fn entries(text: &[u8]) -> impl Iterator<Item = AuditEntry> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| match serde_json::from_slice(line) {
        Ok(entry) => Some(entry),
        Err(error) => {
            tracing::warn!(%error, "a line of the audit log is damaged and left out");
            None
        }
    })
}

const NEWER: &str = "audit.jsonl";
const OLDER: &str = "audit-older.jsonl";

/// Two files of so many: the log has at least half of its 10,000 entries once it had them all.
pub(super) const LINES_MAX: usize = 5_000;

/// What one text of an entry may have; a request's path has no more.
const TEXT_LEN_MAX: usize = 512;

/// So many lines with three such texts, each character up to 6 bytes in JSON.
const LOG_LEN_MAX: u64 = 64 * 1024 * 1024;
