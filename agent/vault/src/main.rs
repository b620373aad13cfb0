//! The vault's process: flags, log, signals. What it does is in the library.

#![deny(unsafe_code)]

mod cli;

use std::env;
use std::io::{self, IsTerminal, PipeReader};
use std::os::fd::AsFd;

use anyhow::Context;
use clap::Parser;
use holdfast_vault::boot::{Booted, boot, tpm_at};
use holdfast_vault::server::Ended;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use tracing_subscriber::EnvFilter;

use crate::cli::Cli;

fn main() -> anyhow::Result<()> {
    quieten_tpm_stack();
    let cli = Cli::parse();
    log_to_stderr();
    let stopped = on_stop().context("cannot listen for signals")?;
    let Booted { mut vault, server } = boot(cli.options(), tpm_at(cli.tpm.clone()))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the vault serves");
    let ended = server.serve(stopped.as_fd(), &mut vault)?;
    // The socket is closed before the last record is written: nothing is signed behind it.
    drop(server);
    match ended {
        Ended::Asked => {
            vault.stop().context("cannot record a clean stop: the next start counts as one after a power cut")?
        }
        Ended::GaveUp => anyhow::bail!("the TPM was reset under the vault"),
    }
    tracing::info!("the vault ends");
    Ok(())
}

/// Keeps the TPM stack from printing past our log what its errors say anyway, unless the caller asked for that.
#[expect(unsafe_code, reason = "the stack reads its level from the environment only")]
fn quieten_tpm_stack() {
    if env::var_os(TPM_STACK_LEVEL).is_none() {
        // SAFETY: this is the first thing that the process does, so it has one thread and nobody holds on to the
        // environment.
        unsafe { env::set_var(TPM_STACK_LEVEL, "all+none") };
    }
}

/// A pipe that becomes readable when the process is asked to end.
fn on_stop() -> io::Result<PipeReader> {
    let (stopped, stop) = io::pipe()?;
    for signal in [SIGINT, SIGTERM] {
        pipe::register(signal, stop.try_clone()?)?;
    }
    Ok(stopped)
}

/// For people on a terminal, as JSON for everything else. `HOLDFAST_LOG` chooses the level. The TPM stack repeats as a
/// log line what its errors say.
fn log_to_stderr() {
    let level = EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| EnvFilter::new("info,tss_esapi=off"));
    let log = tracing_subscriber::fmt().with_env_filter(level).with_writer(io::stderr);
    if io::stderr().is_terminal() { log.init() } else { log.json().init() }
}

/// Read by tpm2-tss at its first message.
const TPM_STACK_LEVEL: &str = "TSS2_LOG";
