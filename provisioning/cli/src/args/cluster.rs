//! The cluster: identity, lock, shares.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::enrol::PassphraseArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the box's node record, and have the vault make its identity when it has none
    #[command(after_help = "Example:
  holdfast cluster enr
  holdfast cluster enr --identity charon-enr-private-key")]
    Enr(EnrArgs),
    /// Make a whole cluster on this machine, with all keys: for test networks, refused on mainnet
    #[command(after_help = "Example:
  holdfast cluster create trial --network hoodi --operators 4 --validators 8 --fee-recipient 0x8943545177806ed17b9f23f0a21ee5948ecaa776 --withdrawal 0x8943545177806ed17b9f23f0a21ee5948ecaa776 --out trial/")]
    Create(CreateArgs),
    /// Give the box its lock and its shares, sealed on this machine for its vault
    #[command(after_help = "Example:
  holdfast cluster import cluster-lock.json --keystores validator_keys --history slashing-protection.json
  holdfast cluster import cluster-lock.json --keystores validator_keys --never-signed")]
    Import(ImportArgs),
    /// Show the cluster, and who this box is in it
    #[command(after_help = "Example:\n  holdfast cluster show")]
    Show,
}

#[derive(Args, Debug)]
pub(crate) struct EnrArgs {
    /// Give the box this node key instead of one made in its vault
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
}

/// What evidence is good enough for a secret.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct TrustArgs {
    /// Send secrets to a box whose TPM is emulated: they are not protected there
    #[arg(long)]
    pub(crate) danger_accept_emulated_tpm: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// The cluster's name
    pub(crate) name: String,
    /// The network: hoodi, sepolia, chiado
    #[arg(long, value_name = "NAME", required_unless_present = "network_file")]
    pub(crate) network: Option<String>,
    /// A network that is not built in, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "network")]
    pub(crate) network_file: Option<PathBuf>,
    /// How many operators
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) operators: u8,
    /// How many shares make a signature; two thirds, rounded up, when absent
    #[arg(long, value_name = "N")]
    pub(crate) threshold: Option<u8>,
    /// How many validators
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) validators: u16,
    /// Who gets the fees
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) fee_recipient: String,
    /// Who gets the stake back
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) withdrawal: String,
    /// The gas limit that builders aim at
    #[arg(long, value_name = "GAS", default_value_t = 60_000_000)]
    pub(crate) gas_limit: u64,
    /// The folder to write node0, node1 and so on into
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Make keystores whose password costs nothing to guess: quick, for tests
    #[arg(long)]
    pub(crate) danger_insecure_keystores: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// The cluster lock
    pub(crate) lock: PathBuf,
    /// The folder of keystore-N.json with a password in keystore-N.txt
    #[arg(long, value_name = "DIR")]
    pub(crate) keystores: PathBuf,
    #[command(flatten)]
    pub(crate) history: HistoryArgs,
    /// Give the box this node key instead of the one in its vault
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,
    /// A network that is not built in, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) network: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: TrustArgs,
    #[command(flatten)]
    pub(crate) passphrase: PassphraseArgs,
    /// Check everything on this machine, and ask the box for nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What is known of what these validators signed: one of them must be said.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct HistoryArgs {
    /// Their slashing history (EIP-3076), taken after the other client was stopped for good
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// They never signed anything
    #[arg(long)]
    pub(crate) never_signed: bool,
    /// The history is lost: the box waits for two epochs and begins after the present one
    #[arg(long)]
    pub(crate) danger_no_history: bool,
}
