//! The program as it is started: exit codes, what goes where, and nothing outside of its home.

use std::path::Path;
use std::process::{Command, Output};

/// Runs it without a terminal and with this home.
fn holdfast(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(arguments)
        .env_clear()
        .env("HOLDFAST_HOME", home)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program can be started")
}

fn code(home: &Path, arguments: &[&str]) -> i32 {
    holdfast(home, arguments).status.code().expect("it ends by itself")
}

#[test]
fn each_end_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let code_file = dir.path().join("code");
    std::fs::write(&code_file, "0000-0014-U\n").unwrap();
    let code_file = code_file.to_str().unwrap();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/live-cluster-a");
    let [lock, keys] = ["cluster-lock.json", "node0/validator_keys"].map(|name| vectors.join(name));
    let [lock, keys] = [lock.to_str().unwrap(), keys.to_str().unwrap()];
    let address = "0x8943545177806ed17b9f23f0a21ee5948ecaa776";
    for (arguments, expected) in [
        (&["context", "list"][..], 0),
        (&["cluster", "import", lock, "--keystores", keys, "--never-signed", "--dry-run"], 0),
        (&["cluster", "import", "missing", "--keystores", keys, "--never-signed", "--dry-run"], 1),
        (&["frobnicate"], 2),
        (&["status", "--all", "--context", "a"], 2),
        (&["reset", "--all"], 2),
        (
            &["cluster", "create", "c", "--network", "mainnet", "--fee-recipient", address, "--withdrawal", address]
                .iter()
                .chain(&["--out", "made"])
                .copied()
                .collect::<Vec<_>>(),
            3,
        ),
        (&["pair", "127.0.0.1:1", "--code-file", code_file], 4),
        (&["status"], 5),
        (&["status", "--all"], 5),
        (&["authority", "show"], 5),
    ] {
        assert_eq!(code(&home, arguments), expected, "{arguments:?}");
    }
    assert!(!home.exists(), "a command that did nothing left something behind");
}

#[test]
fn answers_go_to_the_output_and_everything_else_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let list = holdfast(dir.path(), &["context", "list", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(json["contexts"], serde_json::json!([]));
    assert!(String::from_utf8(list.stderr).unwrap().contains("no box is known here"));
    let failed = holdfast(dir.path(), &["status"]);
    assert!(failed.stdout.is_empty());
    let told = String::from_utf8(failed.stderr).unwrap();
    assert!(told.starts_with("holdfast: no box is selected: pair one") && !told.contains('\u{1b}'), "{told}");
}

#[test]
fn a_secret_is_not_asked_for_where_nobody_can_answer() {
    let dir = tempfile::tempdir().unwrap();
    let pair = holdfast(dir.path(), &["pair", "127.0.0.1:1"]);
    assert_eq!(pair.status.code(), Some(1));
    let told = String::from_utf8(pair.stderr).unwrap();
    assert!(told.contains("cannot ask for the code without a terminal: give it in a file"), "{told}");
}
