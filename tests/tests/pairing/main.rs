//! From boxes that nobody owns to a cluster that signs, by the command and the API alone; and who else would like a box.
//!
//! Run by `./dev test pairing`; `cargo test -p holdfast-tests --all-features --test pairing -- NAME` runs the scenarios
//! whose name contains NAME. A runner of its own, because a scenario's processes need the machine for themselves.

#![expect(clippy::unwrap_used, reason = "the runner of a test may panic")]
#![forbid(unsafe_code)]

mod attack;
mod every_answer;
mod flood;
mod four_boxes;
mod guessing;
mod liar;
mod metrics;
mod ports;
mod secrets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

type Scenario = fn(&Path) -> anyhow::Result<()>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("a_code_stands_five_tries_whatever_is_killed_between", guessing::five_tries),
    ("every_answer_is_documented", every_answer::is_documented),
    ("a_daemon_that_lies_gains_nothing", liar::gains_nothing),
    ("four_boxes_are_paired_and_sign_by_command_alone", four_boxes::sign),
];

fn main() -> ExitCode {
    // Flags of libtest are taken and ignored, so that the same command line runs every suite.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if std::env::args().any(|argument| argument == "--list") {
        SCENARIOS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let (mut passed, mut failed, began) = (0, 0, Instant::now());
    for (number, (name, scenario)) in SCENARIOS.iter().enumerate().filter(|(_, (name, _))| chosen(name)) {
        println!("test {name} ...");
        let (dir, scenario_began) = (folder(number), Instant::now());
        let result = catch_unwind(AssertUnwindSafe(|| scenario(&dir)))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked, see above")));
        let seconds = scenario_began.elapsed().as_secs_f32();
        match result {
            Ok(()) => {
                passed += 1;
                std::fs::remove_dir_all(&dir).unwrap();
                println!("test {name} ... ok ({seconds:.1} s)");
            }
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED ({seconds:.1} s)\n    {error:#}\n    logs: {}", dir.display());
            }
        }
    }
    let outcome = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = began.elapsed().as_secs_f32();
    println!("\ntest result: {outcome}. {passed} passed; {failed} failed; finished in {seconds:.1} s");
    if passed + failed == 0 {
        println!("no scenario has {} in its name", wanted.join(" or "));
    }
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// An empty folder for a scenario. Its path is short, since that of a socket has at most 107 bytes.
fn folder(number: usize) -> PathBuf {
    let dir = holdfast_tests::repo_root().join(format!(".dev/runs/p{}/{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
