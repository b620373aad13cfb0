//! The vault as a process: what its user sees when it does not start.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::process::{Command, Output};

/// Starts a vault with something that is no TPM, and waits for its end.
fn started(tss2_log: Option<&str>) -> Output {
    let place = tempfile::tempdir().unwrap();
    let mut vault = Command::new(env!("CARGO_BIN_EXE_holdfast-vault"));
    vault.arg("--state").arg(place.path().join("state")).arg("--socket").arg(place.path().join("vault.sock"));
    vault
        .args(["--tpm", "device:/nonexistent/tpm"])
        .env_remove("TSS2_LOG")
        .env_remove("HOLDFAST_LOG")
        .env_remove("RUST_BACKTRACE");
    if let Some(level) = tss2_log {
        vault.env("TSS2_LOG", level);
    }
    let ended = vault.output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(!place.path().join("vault.sock").exists(), "it served without a TPM");
    ended
}

#[test]
fn the_error_is_the_vaults_own_and_the_tpm_stack_adds_nothing() {
    let said = String::from_utf8(started(None).stderr).unwrap();
    assert!(said.starts_with("Error: cannot use the TPM: check --tpm"), "{said}");
    assert!(!said.contains("tcti"), "the TPM stack prints by itself: {said}");
}

#[test]
fn who_wants_the_words_of_the_tpm_stack_gets_them() {
    let said = String::from_utf8(started(Some("all+error")).stderr).unwrap();
    assert!(said.contains("tcti"), "{said}");
}
