//! Many runs on several threads, and the one that is played again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use holdfast_test_operator::Operator;

use super::log::{Failed, Failure};
use super::run::Run;
use super::stats::Stats;
use super::{Base, Subject, World};

/// How much is played.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed of the first run; each further one has the next.
    pub first_seed: u64,
    /// How many runs.
    pub runs: u64,
    /// On how many threads.
    pub threads: usize,
    /// Every so many signatures are verified.
    pub verify_one_in: u64,
    /// Whether a run fails also when nothing slashable was signed, but nothing is signed any more either.
    pub must_live: bool,
}

impl Plan {
    /// So many runs from seed 1 on two threads, unless the environment says otherwise: `HOLDFAST_ADVERSARY_RUNS` how many,
    /// `HOLDFAST_ADVERSARY_SEED` the one run to play again.
    ///
    /// # Panics
    /// When one of these is no number.
    #[must_use]
    pub fn of(runs: u64) -> Self {
        let number = |name: &str| {
            std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
        };
        let runs = number("HOLDFAST_ADVERSARY_RUNS").unwrap_or(runs);
        let all = Self { first_seed: 1, runs, threads: 2, verify_one_in: 32, must_live: true };
        number("HOLDFAST_ADVERSARY_SEED").map_or(all, |first_seed| Self { first_seed, runs: 1, threads: 1, ..all })
    }

    /// Whether this is one run that is played again, for which no counts are expected.
    #[must_use]
    pub const fn is_replay(&self) -> bool {
        self.runs == 1
    }
}

/// Plays, and stops at the first run that fails. A run that hangs ends the process.
///
/// # Errors
/// With the run that failed.
pub fn play<S: Subject>(subject: &S, world: &World, base: &Base, plan: &Plan) -> Result<Stats, Box<Failed>> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let present: Vec<AtomicU64> = (0..plan.threads).map(|_| AtomicU64::new(IDLE)).collect();
    std::thread::scope(|scope| {
        let (results, received) = sync_channel(plan.threads);
        for seed_played in &present {
            let (results, next, stop) = (results.clone(), &next, &stop);
            scope.spawn(move || {
                let mut worker = Worker { subject, world, base, plan, stats: Stats::default() };
                worker.work(next, stop, seed_played, &results);
            });
        }
        drop(results);
        gather(&received, &present)
    })
}

struct Worker<'a, S> {
    subject: &'a S,
    world: &'a World,
    base: &'a Base,
    plan: &'a Plan,
    stats: Stats,
}

impl<S: Subject> Worker<'_, S> {
    fn work(
        &mut self,
        next: &AtomicU64,
        stop: &AtomicBool,
        seed_played: &AtomicU64,
        results: &SyncSender<Result<Stats, Box<Failed>>>,
    ) {
        let mut operator = Operator::from_seed(self.world.operator_seed);
        let mut done = Ok(());
        while done.is_ok() && !stop.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.plan.runs {
                break;
            }
            let seed = self.plan.first_seed + number;
            seed_played.store(seed, Ordering::Relaxed);
            done = self.run(seed, &mut operator);
        }
        seed_played.store(IDLE, Ordering::Relaxed);
        stop.fetch_or(done.is_err(), Ordering::Relaxed);
        // The receiver waits for every worker.
        let _ = results.send(done.map(|()| std::mem::take(&mut self.stats)));
    }

    fn run(&mut self, seed: u64, operator: &mut Operator) -> Result<(), Box<Failed>> {
        self.stats.count("runs", "played");
        let dice = (seed, self.plan.verify_one_in);
        let mut run = Run::new(self.subject, self.world, self.base, operator, &mut self.stats, dice);
        let played = catch_unwind(AssertUnwindSafe(|| run.play()));
        let failure = match played {
            Ok(Ok(())) => None,
            Ok(Err(Failure::NotAlive { .. })) if !self.plan.must_live => None,
            Ok(Err(failure)) => Some(failure),
            Err(panic) => Some(Failure::Panicked(message(panic.as_ref()))),
        };
        run.kill();
        let (events, tally) = (std::mem::take(&mut run.events), run.disk.tally());
        self.stats.add_disk(&tally);
        failure.map_or(Ok(()), |failure| Err(Box::new(Failed { seed, failure, events })))
    }
}

/// Adds up what the workers counted, and watches that they go on.
fn gather(
    received: &std::sync::mpsc::Receiver<Result<Stats, Box<Failed>>>,
    present: &[AtomicU64],
) -> Result<Stats, Box<Failed>> {
    let (mut total, mut failed) = (Stats::default(), None);
    let mut before = vec![IDLE; present.len()];
    loop {
        match received.recv_timeout(HANG) {
            Ok(Ok(stats)) => total.add(&stats),
            Ok(Err(failure)) => failed = failed.or(Some(failure)),
            Err(RecvTimeoutError::Disconnected) => return failed.map_or(Ok(total), Err),
            Err(RecvTimeoutError::Timeout) => {
                let now: Vec<u64> = present.iter().map(|seed| seed.load(Ordering::Relaxed)).collect();
                if let Some((seed, _)) = now.iter().zip(&before).find(|(now, before)| now == before && **now != IDLE) {
                    // A thread that hangs cannot be ended, so nothing here could return.
                    eprintln!("the run with seed {seed} hangs: play it again with HOLDFAST_ADVERSARY_SEED={seed}");
                    exit(HUNG);
                }
                before = now;
            }
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

/// No seed of a run.
const IDLE: u64 = u64::MAX;
/// A run takes some milliseconds.
const HANG: Duration = Duration::from_secs(60);
/// As a test that failed ends.
const HUNG: i32 = 101;
