//! The double-sign adversary against the vault as a process: it owns the socket, the disk, the clock, the power and the bus
//! to the TPM, plays at random, and every signature that is ever released goes to a judge that shares no code with the vault.
//!
//! What is done follows from the seed of a run; when it happens does not, so a seed that failed may have to be played more
//! than once. The same game in one process, on a disk that loses writes, is played a thousand times as often in the crate
//! `holdfast-adversary`.

mod lies;
mod run;
mod tally;

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, bail, ensure};

use run::Run;
use tally::Tally;

/// As many boxes play at a time: they wait for their slots more than they compute.
const BESIDE: usize = 6;

pub(crate) fn never_gets_a_slashable_pair(dir: &Path) -> anyhow::Result<()> {
    let (runs, first) = (number_of("HOLDFAST_ADVERSARY_TPM_RUNS", 60)?, number_of("HOLDFAST_ADVERSARY_SEED", 1)?);
    println!(
        "  {runs} runs from seed {first} on; HOLDFAST_ADVERSARY_TPM_RUNS and HOLDFAST_ADVERSARY_SEED say otherwise"
    );
    let (next, tally, failed) = (AtomicU64::new(first), Mutex::new(Tally::default()), Mutex::new(Vec::new()));
    let play = || {
        while failed.lock().is_ok_and(|failed| failed.is_empty()) {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + runs {
                break;
            }
            let place = dir.join(format!("seed-{seed}"));
            let mut run = match Run::begin(seed, &place) {
                Ok(run) => run,
                Err(error) => return failed.lock().expect("no run panics").push((seed, error, String::new())),
            };
            match run.play() {
                Ok(()) => tally.lock().expect("no run panics").add(&run.tally),
                Err(error) => failed.lock().expect("no run panics").push((seed, error, run.journal())),
            }
        }
    };
    thread::scope(|scope| (0..BESIDE).for_each(|_| drop(scope.spawn(play))));
    if let Some((seed, error, journal)) = failed.into_inner().expect("no run panics").into_iter().next() {
        fs::write(dir.join("journal"), &journal).context("cannot write the journal")?;
        bail!("seed {seed}: {error:#}\n    what it did is in {}", dir.join("journal").display());
    }
    let tally = tally.into_inner().expect("no run panics");
    println!("{tally}");
    tally.check_floors(runs)
}

fn number_of(name: &str, default: u64) -> anyhow::Result<u64> {
    let number = match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number"))?,
        Err(_) => default,
    };
    ensure!(number > 0, "{name} must not be 0");
    Ok(number)
}
