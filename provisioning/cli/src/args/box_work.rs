//! Looking at a box, and what it is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::enrol::span;

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// End with 6 when a condition is present: for monitoring
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DutiesArgs {
    /// Only those that were missed
    #[arg(long)]
    pub(crate) missed: bool,
    /// Only those of this last span, such as 30m or 24h
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub(crate) since: Option<Duration>,
    /// Say why, where the box knows
    #[arg(long)]
    pub(crate) why: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// At most so many of the last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=5000))]
    pub(crate) lines: u16,
}

#[derive(Args, Debug)]
pub(crate) struct SupportArgs {
    /// Where to write it; an existing file is kept
    pub(crate) file: PathBuf,
}
