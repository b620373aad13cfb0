//! `holdfast-devkit up`: a cluster on a local chain, its duties live on the terminal, and a report at the end.

mod report;
mod table;

use std::fs;
use std::io::{IsTerminal as _, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use holdfast_types::{Mode, Slot};

use crate::kit::{ChainReader, Cluster, ClusterOptions, Figures, Inclusion};
pub use report::{Quantiles, Report};
use table::Table;

/// How long the daemons may take to find each other and a beacon node that is past genesis.
const READY_MAX: Duration = Duration::from_secs(120);

/// The exit code of a shell's command that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// A vote may be included for an epoch (Deneb, EIP-7045); here it takes a slot or two, so that the wait ends early.
const INCLUSION_WAIT_SLOTS: u64 = 32;

/// What to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Operators of the cluster
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(3..=10))]
    pub nodes: u8,
    /// Shares that make a signature [default: two thirds of the operators, rounded up]
    #[arg(long)]
    pub threshold: Option<u8>,
    /// Validators of the cluster
    #[arg(long, default_value_t = 64)]
    pub validators: u16,
    /// Length of a slot in whole seconds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub slot_seconds: u64,
    /// End by itself so many epochs after the warm-up, with a summary
    #[arg(long)]
    pub epochs: Option<u64>,
    /// Write the summary to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// One-way delay between the nodes, as 25ms: each gets a network namespace of its own (needs root)
    #[arg(long, value_name = "TIME")]
    pub link_delay: Option<String>,
    /// Keep disks and logs in this folder, which must be empty [default: a folder of its own, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Runs until Ctrl-C, or for `--epochs`.
///
/// # Errors
/// When a part does not come up or ends by itself.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    let setting_up = Arc::new(AtomicBool::new(true));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Nothing is worth an orderly end before the duties begin: every process of the run ends with this one.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, setting_up.clone())?;
        signal_hook::flag::register(signal, stop.clone()).context("cannot listen for signals")?;
    }
    let (dir, temporary) = run_dir(args)?;
    let result = Run::set_up(args, dir.clone(), stop).and_then(|run| {
        setting_up.store(false, Ordering::Relaxed);
        run.watch()
    });
    match result {
        Ok(report) => {
            if let Some(path) = &args.json {
                fs::write(path, serde_json::to_string_pretty(&report)?)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            print!("{report}");
            if temporary {
                fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
            }
            Ok(if report.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Err(error) => Err(error.context(format!("the logs are in {}", dir.display()))),
    }
}

/// The folder of the run, and whether it goes away at the end.
fn run_dir(args: &Args) -> anyhow::Result<(PathBuf, bool)> {
    let Some(dir) = &args.dir else {
        return Ok((crate::repo_root().join(format!(".dev/runs/{}", std::process::id())), true));
    };
    if dir.exists() && fs::read_dir(dir)?.next().is_some() {
        bail!("--dir {} is not empty: choose another, or remove what is in it", dir.display());
    }
    fs::create_dir_all(dir)?;
    Ok((fs::canonicalize(dir)?, false))
}

/// Where the operator's contexts of this run lie: in the checkout, never in anybody's home folder. `./dev cli` reads them.
fn command_home(args: &Args) -> anyhow::Result<PathBuf> {
    let home = match &args.dir {
        Some(dir) => dir.join("holdfast"),
        None => crate::repo_root().join(".dev/holdfast"),
    };
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| format!("cannot remove {}", home.display()))?;
    }
    Ok(home)
}

/// What shows more, in another terminal.
fn next_command(args: &Args) -> String {
    match (&args.link_delay, &args.dir) {
        (Some(_), _) => "./dev test line".to_owned(),
        (None, Some(dir)) => format!("./dev cli --home {} status --all", dir.join("holdfast").display()),
        (None, None) => "./dev cli status --all".to_owned(),
    }
}

/// A cluster that does its duties, and what is known of them.
struct Run {
    cluster: Cluster,
    reader: ChainReader,
    table: Table,
    first: Slot,
    epochs: Option<u64>,
    stop: Arc<AtomicBool>,
}

impl Run {
    fn set_up(args: &Args, dir: PathBuf, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let options = ClusterOptions {
            dir,
            nodes: args.nodes,
            threshold: args.threshold,
            validators: args.validators.into(),
            slot_seconds: args.slot_seconds,
            link_delay: args.link_delay.clone(),
            by_command: Some(command_home(args)?),
            short_lease: None,
        };
        let mut cluster = Cluster::set_up(&options, |step| println!("· {step}"))?;
        println!("· waiting for genesis, and until every node is ready");
        for node in &mut cluster.boxes {
            node.wait_for("ready", READY_MAX, |status| status.mode == Mode::Ready)?;
        }
        let genesis = Slot(1);
        cluster.wait_for_slot(genesis)?;
        let keys: Vec<String> = cluster.keys.lock.validators().map(|validator| validator.public.to_string()).collect();
        let reader =
            ChainReader::new(cluster.beacon_place.clone(), cluster.chain.url(), cluster.spec.slots_per_epoch, &keys)?;
        // The slot under way has begun without somebody, perhaps.
        let first = Slot(cluster.slot_now().unwrap_or_default().0 + 2);
        let table = Table::new(args.nodes, stdout().is_terminal());
        println!("{} validators on {} nodes, duties counted from slot {first} on; Ctrl-C ends", keys.len(), args.nodes);
        println!("try next    {}", next_command(args));
        Ok(Self { cluster, reader, table, first, epochs: args.epochs, stop })
    }

    /// Shows duties until the end, then sums up.
    fn watch(mut self) -> anyhow::Result<Report> {
        let last = self.epochs.map(|epochs| Slot(self.first.0 + epochs * self.cluster.spec.slots_per_epoch - 1));
        let mut before: Option<Vec<Figures>> = None;
        let mut shown = self.first;
        self.table.print_head();
        while !self.stop.load(Ordering::Relaxed) {
            self.cluster.check()?;
            self.table.read(&self.cluster.boxes);
            let now = self.cluster.slot_now().unwrap_or_default();
            if now >= self.first && before.is_none() {
                before = Some(self.figures()?);
            }
            // Two slots later the next block is in, whoever proposed it.
            while shown.0 + 2 <= now.0 && last.is_none_or(|last| shown <= last) {
                let inclusion = self.reader.inclusion(shown.0, shown.0, shown.0 + 1)?;
                self.table.print_row(shown, &inclusion);
                shown.0 += 1;
            }
            if last.is_some_and(|last| shown > last) {
                break;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        let end = last.map_or(shown.0, |last| last.0 + 1).min(shown.0);
        let after = self.figures()?;
        let inclusion = self.final_inclusion(end)?;
        let slots = end.saturating_sub(self.first.0).max(1);
        let report = Report::new(inclusion, &self.table.records(self.first, end), before.as_deref(), &after, slots);
        println!("· stopping");
        for node in &mut self.cluster.boxes {
            node.stop()?;
        }
        Ok(report)
    }

    fn figures(&self) -> anyhow::Result<Vec<Figures>> {
        self.cluster.boxes.iter().map(crate::kit::NodeBox::figures).collect()
    }

    /// What the chain says of the slots from the first to `end` (not included), once all votes are in or none can come.
    fn final_inclusion(&mut self, end: u64) -> anyhow::Result<Inclusion> {
        let Some(last) = end.checked_sub(1).filter(|last| *last >= self.first.0) else {
            return Ok(Inclusion::default());
        };
        let mut inclusion = self.reader.inclusion(self.first.0, last, self.reader.head_slot()?)?;
        while !inclusion.missed.is_empty() && self.epochs.is_some() && !self.stop.load(Ordering::Relaxed) {
            let now = self.cluster.slot_now().unwrap_or_default();
            if now.0 > last + INCLUSION_WAIT_SLOTS {
                break;
            }
            self.cluster.wait_for_slot(Slot(now.0 + 2))?;
            inclusion = self.reader.inclusion(self.first.0, last, self.reader.head_slot()?)?;
        }
        for missed in &mut inclusion.missed {
            missed.why = self.table.why(Slot(missed.slot), &missed.why);
        }
        Ok(inclusion)
    }
}
