//! Configuration and beacon nodes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum BeaconCommand {
    /// Test a beacon node against the cluster, then use it
    #[command(after_help = "Example:\n  holdfast beacon add http://192.168.1.20:5052 --name local")]
    Add(BeaconAddArgs),
    /// List the beacon nodes
    #[command(after_help = "Example:\n  holdfast beacon list")]
    List,
    /// Use a beacon node no more
    #[command(after_help = "Example:\n  holdfast beacon remove local")]
    Remove {
        /// Its name
        name: String,
    },
    /// Test a beacon node against the cluster
    #[command(after_help = "Example:\n  holdfast beacon test http://192.168.1.20:5052")]
    Test {
        /// http:// or https://, as the box reaches it
        url: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct BeaconAddArgs {
    /// http:// or https://, as the box reaches it
    pub(crate) url: String,
    /// How conditions and tables name it; beacon-1 and so on when absent
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show the configuration
    #[command(after_help = "Example:\n  holdfast config get > box-7f3a.yaml")]
    Get,
    /// Change the configuration in your editor, then see the difference and apply it
    #[command(after_help = "Example:\n  EDITOR=nano holdfast config edit")]
    Edit,
    /// Apply a configuration file (JSON or YAML) after showing the difference
    #[command(after_help = "Example:
  holdfast config apply box-7f3a.yaml --dry-run
  holdfast config apply box-7f3a.yaml")]
    Apply(ApplyArgs),
    /// Confirm a change that the box would take back otherwise
    #[command(after_help = "Example:\n  holdfast config confirm")]
    Confirm,
    /// List what was applied before
    #[command(after_help = "Example:\n  holdfast config history")]
    History,
}

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// The file, or - for standard input
    pub(crate) file: PathBuf,
    /// Show the difference and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
