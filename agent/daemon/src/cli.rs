//! The command line of `holdfastd`.

use std::path::PathBuf;

use clap::Parser;

/// The daemon of one operator node of an Ethereum distributed validator.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    /// The folder that the daemon keeps everything in; made when there is none.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// The vault's socket.
    #[arg(long, value_name = "SOCKET", default_value = "/run/holdfast/vault.sock")]
    pub vault: PathBuf,
    /// The kind of board, as releases name it.
    #[arg(long, value_name = "NAME", default_value = "unknown")]
    pub board: String,
    /// Serve the box's own screen on this socket.
    #[arg(long, value_name = "PATH")]
    pub screen_socket: Option<PathBuf>,
    /// Where the boot notes that it could not open what the box keeps: then the box only says so on its screen.
    #[arg(long, value_name = "FILE", default_value = "/run/holdfast-boot/var-volatile", hide = true)]
    pub volatile: PathBuf,
    /// Ask the helper at this socket for what needs root; without it a restart is refused.
    #[arg(long, value_name = "SOCKET")]
    pub helper: Option<PathBuf>,
    /// Check the configuration and the cluster lock in the folder, then end.
    #[arg(long)]
    pub check: bool,
    /// Record in this file that the machine was to be restarted, instead of restarting it.
    #[cfg(feature = "danger_record_reboot")]
    #[arg(long, value_name = "FILE")]
    pub danger_record_reboot: Option<PathBuf>,
}
