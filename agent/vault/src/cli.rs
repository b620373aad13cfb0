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
    /// The key that approves images: 33 bytes as hex
    #[arg(long, value_name = "PATH", default_value = "/usr/lib/holdfast/release-key")]
    release_key: PathBuf,
    /// The approvals of this image; they lie beside it, since it cannot hold what is signed over it
    #[arg(long, value_name = "PATH", default_value = "/efi/holdfast/approvals")]
    release_approvals: PathBuf,
    /// The kind of board that the image is for
    #[arg(long, value_name = "NAME", default_value = "x86-64-uefi")]
    board: String,
    /// Go on with an emulated TPM: the seal means nothing then
    #[cfg(feature = "danger_emulated_tpm")]
    #[arg(long)]
    danger_tier_c: bool,
    /// The length of a lease in epochs
    #[cfg(feature = "danger_emulated_tpm")]
    #[arg(long, value_name = "N", default_value_t = holdfast_vault::boot::LEASE_EPOCHS, hide = true)]
    lease_epochs: u64,
}

impl Cli {
    pub(crate) fn options(&self) -> Options {
        Options {
            state: self.state.clone(),
            socket: self.socket.clone(),
            allowed_uid: self.allow_uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
            release_key: self.release_key.clone(),
            release_approvals: self.release_approvals.clone(),
            board: self.board.clone(),
            #[cfg(feature = "danger_emulated_tpm")]
            tier_c: self.danger_tier_c,
            #[cfg(not(feature = "danger_emulated_tpm"))]
            tier_c: false,
            #[cfg(feature = "danger_emulated_tpm")]
            lease_epochs: self.lease_epochs,
            #[cfg(not(feature = "danger_emulated_tpm"))]
            lease_epochs: holdfast_vault::boot::LEASE_EPOCHS,
        }
    }
}
