//! A recorded process, whole and with every part of it missing or garbled.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::fs;
use std::os::unix::fs::symlink;

use holdfast_hal::process::ProcessReading;
use holdfast_hal::restart::{Restart as _, RestartError};
use holdfast_hal_linux::Machine;
use tempfile::TempDir;

/// Lines of a daemon on Debian 13, its name changed to the worst that a program may have.
const STAT: &str = "4242 (hold) fast( 1 2) S 1 4242 4242 0 -1 4194560 9377 0 12 0 317 45 7 9 20 0 5 0 123456 99 30";
const STATUS: &str =
    "Name:\tholdfastd\nVmPeak:\t  375216 kB\nVmRSS:\t   30272 kB\nRssAnon:\t    9000 kB\nThreads:\t5\n";
const ROLLUP: &str = "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:       30272 kB\nPrivate_Clean:     8192 kB\n\
                      Private_Dirty:     9012 kB\nPrivate_Hugetlb:      0 kB\n";

const WHOLE: ProcessReading =
    ProcessReading { resident_kib: Some(30272), private_kib: Some(17204), cpu_ms: Some(3620), open_files: Some(3) };

/// What is not present on a machine that shows nothing.
const NOTHING: ProcessReading =
    ProcessReading { resident_kib: None, private_kib: None, cpu_ms: None, open_files: None };

fn recorded() -> (TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("proc/self");
    fs::create_dir_all(folder.join("fd")).unwrap();
    for (name, text) in [("stat", STAT), ("status", STATUS), ("smaps_rollup", ROLLUP)] {
        fs::write(folder.join(name), text).unwrap();
    }
    for (number, target) in ["/dev/null", "socket:[1234]", "/var/lib/holdfast/fd", "/proc/4242/fd"].iter().enumerate() {
        symlink(target, folder.join("fd").join(number.to_string())).unwrap();
    }
    let machine = Machine::at(root.path());
    (root, machine)
}

#[test]
fn a_recorded_process_reads_as_it_was() {
    let (_root, machine) = recorded();
    assert_eq!(machine.own_process(), WHOLE);
}

#[test]
fn what_is_missing_is_not_present_and_takes_nothing_else_along() {
    for (name, expected) in [
        ("stat", ProcessReading { cpu_ms: None, ..WHOLE }),
        ("status", ProcessReading { resident_kib: None, ..WHOLE }),
        ("smaps_rollup", ProcessReading { private_kib: None, ..WHOLE }),
    ] {
        let (root, machine) = recorded();
        fs::remove_file(root.path().join("proc/self").join(name)).unwrap();
        assert_eq!(machine.own_process(), expected, "without {name}");
    }
    let (root, machine) = recorded();
    fs::remove_dir_all(root.path().join("proc/self/fd")).unwrap();
    assert_eq!(machine.own_process(), ProcessReading { open_files: None, ..WHOLE });
    assert_eq!(Machine::at(root.path().join("nowhere")).own_process(), NOTHING);
}

#[test]
fn garbled_files_are_not_present_rather_than_zero() {
    let two_lines = "Private_Clean: 1 kB\n";
    for (name, text) in [
        ("stat", ""),
        ("stat", "4242 (holdfastd) S 1 2 3"),
        ("stat", "4242 holdfastd S 1 4242 4242 0 -1 4194560 9377 0 12 0 317 45"),
        ("stat", "4242 (holdfastd) S 1 4242 4242 0 -1 4194560 9377 0 12 0 317 -1 7 9"),
        ("stat", "4242 (holdfastd) S 1 4242 4242 0 -1 4194560 9377 0 12 0 18446744073709551615 1 7 9"),
        ("status", "VmRSS:\t30272 MB\n"),
        ("status", "VmRSS:\t-1 kB\n"),
        ("status", "VmRSS:\n"),
        ("status", "NotVmRSS:\t1 kB\n"),
        ("smaps_rollup", two_lines),
        ("smaps_rollup", "Private_Clean: 18446744073709551615 kB\nPrivate_Dirty: 1 kB\n"),
    ] {
        let (root, machine) = recorded();
        fs::write(root.path().join("proc/self").join(name), text).unwrap();
        let read = machine.own_process();
        let gone = match name {
            "stat" => read.cpu_ms,
            "status" => read.resident_kib,
            _ => read.private_kib,
        };
        assert_eq!(gone, None, "{name}: {text:?}");
        assert_eq!(read.open_files, Some(3));
    }
}

#[test]
fn a_recorded_machine_says_whether_it_can_restart_and_restarts_nothing() {
    let root = tempfile::tempdir().unwrap();
    let machine = Machine::at(root.path());
    assert!(matches!(machine.can_restart(), Err(RestartError::Nobody)));
    assert!(matches!(machine.restart(), Err(RestartError::Nobody)));
    fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
    machine.can_restart().unwrap();
    assert!(matches!(machine.restart(), Err(RestartError::Refused(_))));
}
