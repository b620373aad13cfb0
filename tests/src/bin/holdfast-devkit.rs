//! `holdfast-devkit`: runs a cluster on a local chain for developers. Never shipped.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast_tests::up;

/// Runs Holdfast clusters on a local chain
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up a chain and a cluster on it, and show what it does until Ctrl-C
    Up(up::Args),
}

fn main() -> ExitCode {
    let Command::Up(args) = Cli::parse().command;
    match up::run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
