//! How many seeds a random simulation runs: all, or as few as a slow machine is given in `HOLDFAST_SIM_RUNS`.

use std::ops::Range;

/// The first seeds of a test, at least one.
pub(crate) fn first(all: Range<u64>) -> Range<u64> {
    let Ok(runs) = std::env::var("HOLDFAST_SIM_RUNS") else { return all };
    let runs: u64 = runs.parse().expect("HOLDFAST_SIM_RUNS is a number");
    all.start..all.end.min(all.start + runs.max(1))
}
