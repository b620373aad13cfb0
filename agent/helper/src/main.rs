//! `holdfast-helper`: flags, log, signals. What it does is in the library.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal as _, PipeReader};
use std::os::fd::AsFd as _;
#[cfg(feature = "danger_record_reboot")]
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use holdfast_hal::restart::Restart;
use holdfast_hal_linux::Machine;
use holdfast_helper::confine::confine;
use holdfast_helper::serve::{Ended, Helper};
use nix::unistd::User;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use tracing_subscriber::EnvFilter;

/// Does what needs root for the daemon, from a closed list. The listening socket is handed over as standard input.
#[derive(Debug, Parser)]
#[command(name = "holdfast-helper", version)]
struct Cli {
    /// The user whose processes are answered, by name or number
    #[arg(long, value_name = "USER", value_parser = user_id)]
    allow_uid: u32,
    /// Record in this file that the machine was to be restarted, instead of restarting it
    #[cfg(feature = "danger_record_reboot")]
    #[arg(long, value_name = "FILE")]
    danger_record_reboot: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    log_to_stderr();
    #[cfg(feature = "danger_record_reboot")]
    if let Some(path) = &cli.danger_record_reboot {
        let record = holdfast_helper::RecordReboot::open(path);
        return serve(&cli, record.with_context(|| format!("cannot record in {}", path.display()))?);
    }
    serve(&cli, Machine::real())
}

fn serve(cli: &Cli, power: impl Restart) -> anyhow::Result<()> {
    let stopped = on_stop().context("cannot listen for signals")?;
    let socket = io::stdin().as_fd().try_clone_to_owned().context("there is no standard input")?;
    let mut helper = Helper::new(socket, cli.allow_uid, power)?;
    confine()?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "the helper serves");
    let ended = match helper.serve(stopped.as_fd())? {
        Ended::Asked => "it was told to",
        Ended::Idle => "nobody asks any more",
    };
    tracing::info!(because = ended, "the helper ends");
    Ok(())
}

/// A pipe that becomes readable when the process is asked to end, so that a request that is under way is answered first.
fn on_stop() -> io::Result<PipeReader> {
    let (stopped, stop) = io::pipe()?;
    for signal in [SIGINT, SIGTERM] {
        pipe::register(signal, stop.try_clone()?)?;
    }
    Ok(stopped)
}

/// For people on a terminal, as JSON for everything else. `HOLDFAST_LOG` chooses the level.
fn log_to_stderr() {
    let level = EnvFilter::try_from_env("HOLDFAST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(level).with_writer(io::stderr);
    if io::stderr().is_terminal() { log.init() } else { log.json().init() }
}

/// The system gives its users their numbers when it first boots, so a unit can only know names.
fn user_id(text: &str) -> Result<u32, UnknownUser> {
    match text.parse() {
        Ok(uid) => Ok(uid),
        Err(_) => User::from_name(text).ok().flatten().map(|user| user.uid.as_raw()).ok_or(UnknownUser),
    }
}

/// The name is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no user of this machine: give a name or a number that `getent passwd` knows")]
struct UnknownUser;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_or_a_name_of_this_machine() {
        assert_eq!((user_id("1234"), user_id("root")), (Ok(1234), Ok(0)));
        for nobody in ["", "-1", "4294967296", "no-such-user"] {
            assert_eq!(user_id(nobody), Err(UnknownUser), "{nobody:?}");
        }
    }

    #[test]
    fn a_release_knows_no_flag_that_weakens_it() {
        let with = ["holdfast-helper", "--allow-uid", "0", "--danger-record-reboot", "/tmp/f"];
        assert_eq!(Cli::try_parse_from(with).is_ok(), cfg!(feature = "danger_record_reboot"));
    }
}
