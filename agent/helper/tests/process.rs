//! The helper as the process that systemd starts: its socket as standard input, its own filter on, and a file in the place of
//! the machine.

#![cfg(feature = "danger_record_reboot")]
#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use holdfast_helper_client::{Client, ClientError, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

fn start(dir: &Path, allowed_uid: u32) -> (Child, Client) {
    let socket = dir.join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-helper"));
    command.args(["--allow-uid", &allowed_uid.to_string(), "--danger-record-reboot"]).arg(dir.join("reboots"));
    let log = fs::File::create(dir.join("log")).unwrap();
    let child = command.stdin(Stdio::from(OwnedFd::from(listener))).stderr(log).spawn().unwrap();
    (child, Client::new(&socket))
}

fn ends_well(mut child: Child) -> bool {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    child.wait().unwrap().success()
}

#[test]
fn a_restart_is_asked_of_a_confined_process_once() {
    let dir = tempfile::tempdir().unwrap();
    let reboots = || fs::read_to_string(dir.path().join("reboots")).unwrap();
    let (child, client) = start(dir.path(), geteuid().as_raw());
    client.call(Request::CanReboot).unwrap();
    assert_eq!(reboots(), "");
    client.call(Request::Reboot).unwrap();
    assert_eq!(reboots(), "reboot\n");
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    for confined in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(confined), "{status}");
    }
    assert!(ends_well(child));
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let lines = |request: &str| log.lines().filter(|line| line.contains(&format!("\"request\":\"{request}\""))).count();
    assert_eq!((lines("can-reboot"), lines("reboot")), (1, 1), "{log}");
}

#[test]
fn another_user_gets_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (child, client) = start(dir.path(), geteuid().as_raw() + 1);
    assert!(matches!(client.call(Request::Reboot), Err(ClientError::HungUp { .. })));
    assert!(ends_well(child));
    assert_eq!(fs::read_to_string(dir.path().join("reboots")).unwrap(), "");
}
