//! `holdfast-image`: builds the image of a board, approves what the TPM will measure of it, and starts it in QEMU.
//!
//! The flow is one way: [`tree`] (tools) and [`keys`] come first, [`stage`] lays out what is ours, [`build`] has mkosi make
//! the disk, [`measure`] and [`approve`] say what the TPM will read and sign that. [`boot`] takes what [`build`] left.

#![forbid(unsafe_code)]

mod approve;
mod board;
mod boot;
mod build;
mod keys;
mod measure;
mod place;
mod programs;
mod run;
mod stage;
mod tree;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::place::Place;

/// Builds the image of a board, and tries it out.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The checkout of Holdfast
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    checkout: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch the tools that build images, into a folder
    Tools,
    /// Build the image of a board
    ///
    /// Example: holdfast-image build --board x86-64-uefi --programs target/release
    Build(build::Wanted),
    /// Start a built image in QEMU with an emulated TPM; its screen is this terminal, and its API answers on a local port
    ///
    /// Example: holdfast-image boot --board x86-64-uefi --api-port 4443
    Boot(boot::Wanted),
}

/// Which image.
#[derive(Clone, Debug, Args)]
struct Which {
    /// The kind of board: a file of image/boards
    #[arg(long, value_name = "NAME", default_value = "x86-64-uefi")]
    board: String,
    /// What the image is for
    #[arg(long, value_enum, default_value_t = Variant::Trial)]
    variant: Variant,
}

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Variant {
    /// A real box
    Release,
    /// A machine with an emulated TPM, to try the product out
    Trial,
    /// The suites: as `trial`, with a hand in the box
    Test,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let place = Place::of(&arguments.checkout)?;
    match arguments.command {
        Command::Tools => tree::Tree::ready(&place).map(drop),
        Command::Build(wanted) => build::build(&place, &wanted),
        Command::Boot(wanted) => boot::boot(&place, &wanted),
    }
}
