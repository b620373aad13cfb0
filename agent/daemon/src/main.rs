//! `holdfastd`: reads the command line, then runs until it is told to stop.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use holdfastd::check::check;
use holdfastd::cli::Cli;
use holdfastd::control::{NoHelper, Privileged};
use holdfastd::daemon::{Daemon, Options};
use holdfastd::edge::helper::Helper;
use holdfastd::volatile::{self, Volatile};
use holdfastd::{log, run, surfaces};
use nix::sys::resource::{Resource, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// How long calls that block, to a vault or a name server that does not answer, may hold up the end.
const END_MAX: Duration = Duration::from_secs(1);

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let logs = log::start();
    no_core_file()?;
    if cli.check {
        let lock = check(&cli.state)?;
        println!("cluster \"{}\", lock {}: every hash and signature holds", lock.name(), lock.lock_hash());
        return Ok(());
    }
    let privileged = privileged(&cli);
    let volatile = Volatile::noted(&cli.volatile);
    let Cli { state, vault, board, screen_socket, .. } = cli;
    let daemon = Daemon::open(Options { state, vault, board, screen_socket, privileged, logs })?;
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let result = runtime.block_on(serve(daemon, volatile));
    runtime.shutdown_timeout(END_MAX);
    result
}

async fn serve(daemon: Arc<Daemon>, volatile: Option<Volatile>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop, finishing what is under way");
    };
    if let Some(why) = volatile {
        return tokio::select! {
            served = volatile::serve(daemon, why) => Ok(served?),
            () = stop => Ok(()),
        };
    }
    let surfaces = tokio::spawn(surfaces::serve(Arc::clone(&daemon)));
    run::run(daemon, stop).await;
    surfaces.abort();
    Ok(())
}

/// A core file would have the node's key, and tokens of beacon nodes.
fn no_core_file() -> anyhow::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("cannot keep a crash from leaving a core file")
}

fn privileged(cli: &Cli) -> Box<dyn Privileged> {
    #[cfg(feature = "danger_record_reboot")]
    if let Some(path) = &cli.danger_record_reboot {
        return Box::new(holdfastd::control::RecordReboot(path.clone()));
    }
    match &cli.helper {
        Some(socket) => Box::new(Helper::at(socket)),
        None => Box::new(NoHelper),
    }
}
