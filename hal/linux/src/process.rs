//! A process' own folder in `/proc`, by proc(5).

use std::fs;
use std::path::Path;

use holdfast_hal::process::ProcessReading;

use crate::files::text;

/// Reads the folder of one process. What is absent, unreadable or in a form that we don't know is not present.
pub(crate) fn read(folder: &Path) -> ProcessReading {
    let rollup = text(&folder.join("smaps_rollup"));
    ProcessReading {
        resident_kib: text(&folder.join("status")).and_then(|status| sum_kib(&status, &["VmRSS"])),
        private_kib: rollup.and_then(|rollup| sum_kib(&rollup, &["Private_Clean", "Private_Dirty"])),
        cpu_ms: text(&folder.join("stat")).and_then(|stat| cpu_ms(&stat)),
        open_files: open_files(&folder.join("fd")),
    }
}

/// The sum of lines of the form `Name:   12 kB`, which must all be there.
pub(crate) fn sum_kib(text: &str, names: &[&str]) -> Option<u64> {
    let kib = |name: &&str| {
        let mut words = text.lines().find_map(|line| line.strip_prefix(*name)?.strip_prefix(':'))?.split_whitespace();
        let number = words.next()?.parse::<u64>().ok()?;
        (words.next() == Some("kB") && words.next().is_none()).then_some(number)
    };
    names.iter().map(kib).try_fold(0, |sum: u64, kib| sum.checked_add(kib?))
}

/// `utime` and `stime` of the one line in `stat`. The name of the program, in brackets, may itself hold blanks and brackets.
fn cpu_ms(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut ticks = after_name.split_whitespace().skip(UTIME_AFTER_NAME).map(|word| word.parse::<u64>().ok());
    ticks.next()??.checked_add(ticks.next()??)?.checked_mul(MS_PER_TICK)
}

fn open_files(folder: &Path) -> Option<u64> {
    let mut count = 0;
    for entry in fs::read_dir(folder).ok()? {
        let target = fs::read_link(entry.ok()?.path());
        // The listing itself is read through a descriptor, which is none of the process' own.
        let listing = target.is_ok_and(|target| target.starts_with("/proc") && target.ends_with("fd"));
        count += u64::from(!listing);
    }
    Some(count)
}

/// The kernel counts CPU time for user space in hundredths of a second on x86-64 and arm64 (`USER_HZ`).
pub(crate) const MS_PER_TICK: u64 = 10;

/// Fields between the program's name (the 2nd) and `utime` (the 14th).
const UTIME_AFTER_NAME: usize = 11;
