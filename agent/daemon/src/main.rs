//! `holdfastd`: reads the command line and the configuration, then runs until it is told to stop.

#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use holdfastd::cli::Cli;
use holdfastd::config::Config;
use holdfastd::{log, run};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How long calls that block, to a vault or a name server that does not answer, may hold up the end.
const END_MAX: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    log::start();
    let config = Config::read(&cli.config)?;
    if cli.check {
        let lock = run::read_lock(&config)?;
        println!("cluster \"{}\", lock {}: every hash and signature holds", lock.name(), lock.lock_hash());
        return Ok(());
    }
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(END_MAX);
    result
}

async fn serve(config: Config) -> anyhow::Result<()> {
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
