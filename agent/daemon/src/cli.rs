//! The command line of `holdfastd`.

use std::path::PathBuf;

use clap::Parser;

/// The daemon of one operator node of an Ethereum distributed validator.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// The configuration file; paths in it are relative to its folder.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Check the configuration and the cluster lock, then end.
    #[arg(long)]
    pub check: bool,
}
