//! The flags.

use std::path::PathBuf;

use clap::Parser;
use holdfast_vault::boot::Options;

/// Keeps the shares of this box and signs with them, once.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// The folder for sealed shares and the slashing history; made when it is not there
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The unix socket to serve
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// The TPM, as device:/dev/tpmrm0
    #[arg(long, value_name = "ADDRESS", default_value = "device:/dev/tpmrm0")]
    pub(crate) tpm: String,
    /// The only user that is answered [default: the vault's own]
    #[arg(long, value_name = "UID")]
    allow_uid: Option<u32>,
}

impl Cli {
    pub(crate) fn options(&self) -> Options {
        Options {
            state: self.state.clone(),
            socket: self.socket.clone(),
            allowed_uid: self.allow_uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
        }
    }
}
