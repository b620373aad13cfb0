//! Holdfast: the box's own display, on HDMI and on a serial line. It shows what the daemon says over a unix socket and
//! takes a handful of keys. It holds nothing, decides nothing, and has no way out into a shell.

#![forbid(unsafe_code)]

mod ask;
mod display;
mod draw;
mod run;

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use draw::{Glyphs, Look};

/// The box's own display.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The daemon's socket for the display.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Run in somebody's terminal: Ctrl-C ends it.
    #[arg(long)]
    tty: bool,
    /// Use ASCII only, for a serial line.
    #[arg(long)]
    ascii: bool,
    /// Use no colour; so does the environment variable `NO_COLOR`.
    #[arg(long)]
    no_color: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let silenced = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let look = Look {
        glyphs: if arguments.ascii { Glyphs::Ascii } else { Glyphs::Blocks },
        colour: !arguments.no_color && !silenced,
    };
    run::run(arguments.socket, look, arguments.tty).context("the display stopped")
}
