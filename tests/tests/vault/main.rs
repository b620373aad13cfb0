//! The vault as a process, on an emulated TPM and with real state folders: what a box lives through, what may be done to
//! its disk, its TPM, its clock and the bus between them, and that nothing of it makes it sign twice.
//!
//! Run by `./dev test vault`; `cargo test -p holdfast-tests --all-features --test vault -- NAME` runs the scenarios whose
//! name contains NAME. A runner of its own, because each scenario prints how long it took and, when it failed, where the
//! logs of its boxes are.

#![expect(clippy::unwrap_used, reason = "the runner of a test may panic")]
#![forbid(unsafe_code)]

mod adversary;
mod asking;
mod copies;
mod evidence;
mod far_future;
mod interchange;
mod lease_rows;
mod life;
mod lost_bus;
mod memory;
mod on_the_bus;
mod orders;
mod rig;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// A scenario gets a folder of its own.
type Scenario = fn(&Path) -> anyhow::Result<()>;

const SCENARIOS: &[(&str, Scenario)] = &[
    ("life_of_a_box_and_every_older_disk", life::every_older_disk_is_refused),
    ("lease_rows_clean", lease_rows::clean),
    ("lease_rows_unclean", lease_rows::unclean),
    ("lease_rows_older_and_damaged_records", lease_rows::older_and_damaged),
    ("lease_rows_other_counters", lease_rows::other_counters),
    ("lease_rows_failing_ticks", lease_rows::failing_ticks),
    ("lease_rows_other_machine", lease_rows::other_machine),
    ("lease_rows_clocks", lease_rows::clocks),
    ("orders_are_refused_unless_they_count", orders::refused_unless_they_count),
    ("evidence_proves_what_the_vault_says", evidence::proves_what_the_vault_says),
    ("bus_sees_no_secret", on_the_bus::sees_no_secret),
    ("bus_that_breaks_is_joined_again", lost_bus::is_joined_again),
    ("memory_holds_secrets_in_their_room_only", memory::holds_secrets_in_their_room_only),
    ("eip3076_bounds_hold", interchange::bounds_hold),
    ("eip3076_history_outlives_shares", interchange::history_outlives_shares),
    ("far_future_is_refused", far_future::is_refused),
    ("adversary_never_gets_a_slashable_pair", adversary::never_gets_a_slashable_pair),
];

/// As many scenarios go on at a time: most of their time they wait for a lease.
const BESIDE: usize = 2;

fn main() -> ExitCode {
    // Flags of libtest are taken and ignored, so that the same command line runs every suite.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if std::env::args().any(|argument| argument == "--list") {
        SCENARIOS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let chosen: Vec<_> = SCENARIOS.iter().filter(|(name, _)| chosen(name)).collect();
    let run = holdfast_tests::repo_root().join(format!(".dev/runs/vault-{}", std::process::id()));
    let (next, failed, began) = (AtomicUsize::new(0), AtomicUsize::new(0), Instant::now());
    // Ends when there is nothing left to take; a process that a scenario starts ends with this thread.
    let work = || {
        while let Some((name, scenario)) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
            let dir = run.join(name);
            fs::create_dir_all(&dir).unwrap();
            if perform(name, *scenario, &dir) {
                fs::remove_dir_all(&dir).unwrap();
            } else {
                failed.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    thread::scope(|scope| (0..BESIDE).for_each(|_| drop(scope.spawn(work))));
    let failed = failed.into_inner();
    if failed == 0 && !chosen.is_empty() {
        fs::remove_dir(&run).unwrap();
    }
    let (outcome, passed) = (if failed == 0 { "ok" } else { "FAILED" }, chosen.len() - failed);
    let seconds = began.elapsed().as_secs_f32();
    println!("\ntest result: {outcome}. {passed} passed; {failed} failed; finished in {seconds:.1} s");
    if chosen.is_empty() {
        println!("no scenario has {} in its name", wanted.join(" or "));
    }
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn perform(name: &str, scenario: Scenario, dir: &Path) -> bool {
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| scenario(dir)))
        .unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked, see above")));
    let seconds = began.elapsed().as_secs_f32();
    match &result {
        Ok(()) => println!("test {name} ... ok ({seconds:.1} s)"),
        Err(error) => println!("test {name} ... FAILED ({seconds:.1} s)\n    {error:#}\n    logs: {}", dir.display()),
    }
    result.is_ok()
}
