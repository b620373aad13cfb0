//! `holdfast`: the operator's command. It pairs boxes, gives them their work and shows what they do; what a box does, the box
//! decides.
//!
//! What was typed becomes a plan, the plan a job in a world of boxes, a terminal and an output, and its end an exit code.

#![forbid(unsafe_code)]

mod exit;

mod args;
mod plan;

mod files;
mod output;
mod terminal;

mod ask;
mod carrier;
mod csr;
mod evidence;
mod home;
mod network;
mod order;
mod shares;
mod world;

mod job;
mod live;
mod manual;
mod top;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::Raw;
use exit::{Exit, Failure};
use home::Home;
use output::Output;
use plan::{Boxes, Job, Plan};
use terminal::{Real, Terminal};
use world::{Reach, World, now};

fn main() -> ExitCode {
    let raw = Raw::try_parse().unwrap_or_else(|error| error.exit());
    match Plan::of(raw).and_then(run) {
        Ok(exit) => exit.into(),
        Err(Failure::NobodyReads) => Exit::Done.into(),
        Err(failure) => {
            eprintln!("holdfast: {}", failure.told());
            failure.exit().into()
        }
    }
}

fn run(plan: Plan) -> Result<Exit, Failure> {
    let settings = plan.settings;
    let home = Home::at(settings.home);
    let judge = evidence::Verifier::at(home.vendors());
    let mut terminal = Real { yes: settings.yes };
    let mut to = io::stdout().lock();
    renew(&home, &settings.boxes, &plan.job, &mut terminal);
    let mut world = World {
        output: Output::new(settings.format, settings.colour, &mut to),
        terminal: &mut terminal,
        reach: &home,
        boxes: &settings.boxes,
        judge: &judge,
        now: now(),
    };
    let done = match plan.job {
        Job::Audit => job::watch::audit(&mut world),
        Job::Authority(job) => job::enrol::authority(&mut world, &home, job),
        Job::Beacon(job) => job::settings::beacon(&mut world, &job),
        Job::Cluster(job) => job::cluster::cluster(&mut world, &home, job),
        Job::Completion(shell) => manual::completion(&mut world, shell),
        Job::Config(job) => job::settings::config(&mut world, &job),
        Job::Context(job) => job::contexts::context(&mut world, &home, &job),
        Job::Discover(listen) => job::enrol::discover(&mut world, listen),
        Job::Duties { missed, since, why } => job::watch::duties(&mut world, missed, since, why),
        Job::Logs { follow, lines } => job::watch::logs(&mut world, follow, lines),
        Job::Man(dir) => manual::pages(&dir),
        Job::Operate(action) => job::operate::operate(&mut world, action),
        Job::Pair(job) => job::enrol::pair(&mut world, &home, &job),
        Job::Peers => job::watch::peers(&mut world),
        Job::Reset(passphrase) => job::vault::reset(&mut world, &home, &passphrase),
        Job::Status { check } => return job::watch::status(&mut world, check),
        Job::Top => live::top(&mut world, &home, settings.colour),
        Job::Support(file) => job::operate::support(&mut world, &file),
        Job::Validators => job::watch::validators(&mut world),
        Job::Vault(job) => job::vault::vault(&mut world, &home, job),
    };
    done.map(|()| Exit::Done)
}

/// Client certificates are renewed on the way. That it does not work now must not stop what was asked for.
fn renew(home: &Home, boxes: &Boxes, job: &Job, terminal: &mut Real) {
    if !job.asks_boxes() {
        return;
    }
    for name in home.names(boxes).unwrap_or_default() {
        if let Err(failure) = home.renew_in_time(&name, terminal) {
            terminal.note(&format!("your certificate for {name} is not renewed: {}", failure.told()));
        }
    }
}
