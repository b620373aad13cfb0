//! `holdfastd`: reads the command line and the configuration, then runs until it is told to stop.

#![forbid(unsafe_code)]

use anyhow::Context as _;
use clap::Parser as _;
use holdfastd::cli::Cli;
use holdfastd::config::Config;
use holdfastd::{log, run};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    log::start();
    let config = Config::read(&cli.config)?;
    if cli.check {
        let lock = run::read_lock(&config)?;
        println!("cluster \"{}\", lock {}: every hash and signature holds", lock.name(), lock.lock_hash());
        return Ok(());
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop, finishing what is under way");
    };
    run::run(config, stop).await?;
    Ok(())
}
