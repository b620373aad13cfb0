//! The vault: what it says, and the orders that only its owner can give.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::enrol::PassphraseArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Show what the vault holds and until when it may sign
    #[command(after_help = "Example:\n  holdfast vault status")]
    Status,
    /// Ask for evidence and verify it here
    #[command(after_help = "Example:\n  holdfast vault evidence --kind custody")]
    Evidence {
        /// About what
        #[arg(long, value_enum, default_value_t = EvidenceKindArg::Boot)]
        kind: EvidenceKindArg,
    },
    /// Save the slashing history (EIP-3076, minimal form)
    #[command(after_help = "Example:\n  holdfast vault history slashing-protection.json")]
    History {
        /// Where to write it; an existing file is kept. Standard output when absent
        file: Option<PathBuf>,
    },
    /// List the orders and refusals that the vault logged
    #[command(after_help = "Example:\n  holdfast vault orders")]
    Orders,
    /// Accept that history is older than what was signed, or gone
    #[command(after_help = "Example:\n  holdfast vault accept-floor 318206")]
    AcceptFloor {
        /// The first epoch that may be signed: two or more after the present one
        epoch: u64,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Vouch that this disk was not restored from an older copy
    #[command(after_help = "Example:\n  holdfast vault vouch-disk")]
    VouchDisk {
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Begin a new lease when the counter of the TPM is gone
    #[command(after_help = "Example:\n  holdfast vault new-counter 318206")]
    NewCounter {
        /// The first epoch that may be signed: two or more after the present one
        epoch: u64,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Erase the shares of validators; what they signed is remembered
    #[command(
        after_help = "Example:\n  holdfast vault retire 0x93a1f0d9e3b0a7d6c5b4a39281706f5e4d3c2b1a0f9e8d7c6b5a49382716051423324150607f8e9dacbbcaad9e8f7fce"
    )]
    Retire {
        /// The validators, by their public keys
        #[arg(required = true, value_name = "PUBKEY")]
        validators: Vec<String>,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Approve the boot state of the next boot, after a firmware update
    #[command(after_help = "Example:\n  holdfast vault approve-firmware
  holdfast vault approve-firmware --pcr7 0x65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e234eb3068")]
    ApproveFirmware {
        /// The value that register 7 will have; the one of the present boot when absent
        #[arg(long, value_name = "HEX")]
        pcr7: Option<String>,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Seal anew, to the level of the image that runs: no older image opens it any more
    #[command(after_help = "Example:\n  holdfast vault raise-level")]
    RaiseLevel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvidenceKindArg {
    /// The boot state and the box's keys
    Boot,
    /// The shares that the vault holds
    Custody,
}
