//! One real line, end to end: boxes with a TPM each, sealed shares, a real beacon node, and what goes wrong around them.
//!
//! Run by `./dev test line`; `cargo test -p holdfast-tests --all-features --test line -- NAME` runs the scenarios whose
//! name contains NAME. A runner of its own, because the scenarios share a cluster that must outlive each of them and
//! be stopped in order after the last: libtest has no place for either.

#![expect(clippy::unwrap_used, reason = "the runner of a test may panic")]
#![forbid(unsafe_code)]

mod bench;
mod copied_disk;
mod own_vault;
mod power;
mod secrets;
mod strangers;
mod up;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use bench::Bench;

type Scenario = fn(&mut Bench) -> anyhow::Result<()>;

/// What runs, in this order: first what needs the machine for itself, then what shares a cluster, the hardest last.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("up_for_two_epochs_includes_the_attestations_and_leaves_nothing_running", up::two_epochs),
    ("up_ends_cleanly_on_ctrl_c", up::ctrl_c),
    ("up_ends_cleanly_on_ctrl_c_while_it_sets_up", up::ctrl_c_at_start),
    ("a_vault_signs_nothing_twice_whatever_is_asked_and_restarted", own_vault::signs_nothing_twice),
    ("a_stranger_is_cut_off_and_the_node_goes_on", strangers::a_stranger_is_cut_off),
    ("garbage_on_both_doors_costs_no_duty_and_no_memory", strangers::garbage_on_both_doors),
    ("no_process_but_the_vault_holds_share_bytes", secrets::only_the_vault_holds_shares),
    ("a_copied_disk_signs_nothing_and_names_the_tpm", copied_disk::signs_nothing),
    ("nodes_killed_and_back_never_contradict_themselves", power::killed_and_back),
];

fn main() -> ExitCode {
    // Flags of libtest are taken and ignored, so that the same command line runs every suite.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if std::env::args().any(|argument| argument == "--list") {
        SCENARIOS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let (mut passed, mut failed, began) = (0, Vec::new(), Instant::now());
    let mut bench = Bench::new().unwrap();
    for (name, scenario) in SCENARIOS.iter().filter(|(name, _)| chosen(name)) {
        println!("test {name} ...");
        let scenario_began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| scenario(&mut bench)))
            .unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked, see above")));
        let seconds = scenario_began.elapsed().as_secs_f32();
        match result {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok ({seconds:.1} s)");
            }
            Err(error) => {
                println!("test {name} ... FAILED ({seconds:.1} s)\n    {error:#}\n    logs: {}", bench.dir().display());
                failed.push(*name);
                // Whatever state the cluster is in, the next scenario gets a new one.
                bench.give_up_cluster();
            }
        }
        std::io::stdout().flush().unwrap();
    }
    if let Err(error) = bench.finish(failed.is_empty()) {
        println!("the cluster did not stop in order: {error:#}");
        failed.push("stopping");
    }
    let outcome = if failed.is_empty() { "ok" } else { "FAILED" };
    let seconds = began.elapsed().as_secs_f32();
    println!("\ntest result: {outcome}. {passed} passed; {} failed; finished in {seconds:.1} s", failed.len());
    if passed + failed.len() == 0 {
        println!("no scenario has {} in its name", wanted.join(" or "));
        return ExitCode::FAILURE;
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
