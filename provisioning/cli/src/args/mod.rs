//! What was typed, as it was typed. `plan.rs` makes of it what can be done; nothing else reads this.

mod box_work;
mod cluster;
mod enrol;
mod settings;
mod vault;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use box_work::{DutiesArgs, LogsArgs, StatusArgs, SupportArgs};
pub(crate) use cluster::{ClusterCommand, CreateArgs, EnrArgs, ImportArgs};
pub(crate) use enrol::{
    AuthorityCommand, ContextCommand, DiscoverArgs, NewPassphraseArgs, PairArgs, PassphraseArgs, RoleArg,
};
pub(crate) use settings::{ApplyArgs, BeaconCommand, ConfigCommand};
pub(crate) use vault::{EvidenceKindArg, VaultCommand};

/// Pairs, sets up and watches Holdfast boxes.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    infer_subcommands = false,
    after_help = ROOT_EXAMPLES,
    after_long_help = ROOT_LONG
)]
pub(crate) struct Raw {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// The box to use, by the name of its context; may be given again for several
    #[arg(short, long = "context", value_name = "NAME", global = true)]
    pub(crate) contexts: Vec<String>,
    /// Use every box that there is a context of
    #[arg(long, global = true, conflicts_with = "contexts")]
    pub(crate) all: bool,
    /// How the answer is written
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Format::Table, global = true)]
    pub(crate) output: Format,
    /// Write without colour, which never says more than the words
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Take every question as answered with yes: for scripts
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Where contexts, certificates and the authority are kept [default: ~/.config/holdfast]
    #[arg(long, value_name = "DIR", env = "HOLDFAST_HOME", hide_env_values = true, global = true)]
    pub(crate) home: Option<PathBuf>,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns for people
    #[default]
    Table,
    /// What the box answered, as JSON
    Json,
    /// The same as YAML
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find boxes in the local network
    #[command(after_help = DISCOVER)]
    Discover(DiscoverArgs),
    /// Become the owner of a new box
    #[command(after_help = PAIR)]
    Pair(PairArgs),
    /// Keep, copy and use the key that commands your boxes
    #[command(subcommand, after_help = AUTHORITY)]
    Authority(AuthorityCommand),
    /// Choose among the boxes that are known here
    #[command(subcommand, after_help = CONTEXT)]
    Context(ContextCommand),
    /// Show what boxes are doing and what is wrong
    #[command(after_help = STATUS)]
    Status(StatusArgs),
    /// Watch boxes live
    #[command(after_help = TOP)]
    Top,
    /// List the operators of the cluster
    #[command(after_help = PEERS)]
    Peers,
    /// List what became of duties
    #[command(after_help = DUTIES)]
    Duties(DutiesArgs),
    /// List the validators of the cluster
    #[command(after_help = VALIDATORS)]
    Validators,
    /// Bring a box into a cluster
    #[command(subcommand, after_help = CLUSTER)]
    Cluster(ClusterCommand),
    /// Choose the beacon nodes
    #[command(subcommand, after_help = BEACON)]
    Beacon(BeaconCommand),
    /// Read and change the configuration
    #[command(subcommand, after_help = CONFIG)]
    Config(ConfigCommand),
    /// Ask the vault, and give it orders
    #[command(subcommand, after_help = VAULT)]
    Vault(VaultCommand),
    /// Show the log of the box
    #[command(after_help = LOGS)]
    Logs(LogsArgs),
    /// List who asked the box for what
    #[command(after_help = AUDIT)]
    Audit,
    /// End the duties under way and begin no new ones
    #[command(after_help = DRAIN)]
    Drain,
    /// Take duties up again after a drain
    #[command(after_help = RESUME)]
    Resume,
    /// Drain, then restart the box
    #[command(after_help = REBOOT)]
    Reboot,
    /// Erase shares, identity and owner; what was signed is remembered
    #[command(after_help = RESET)]
    Reset {
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Save what helps to find a fault, without secrets
    #[command(after_help = SUPPORT)]
    Support(SupportArgs),
    /// Write what a shell needs to complete this command
    #[command(after_help = COMPLETION)]
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    #[command(hide = true, after_help = MAN)]
    Man {
        /// The folder
        dir: PathBuf,
    },
}

const ROOT_EXAMPLES: &str = "Example:
  holdfast discover
  holdfast pair box-7f3a.local
  holdfast status --all";
const ROOT_LONG: &str = "Example:
  holdfast discover
  holdfast pair box-7f3a.local
  holdfast status --all

Exit codes:
  0  done
  1  failed, the message says why
  2  wrong usage
  3  refused by policy: role, a loss that was not confirmed, safety
  4  not reachable
  5  not paired, or a certificate that does not count
  6  a condition is present (status --check)
  7  interrupted, the work goes on in the box";
const DISCOVER: &str = "Example:
  holdfast discover --for 10s";
const PAIR: &str = "Example:
  holdfast pair box-7f3a.local
  holdfast pair 192.168.1.57 --code-file - --name attic";
const AUTHORITY: &str = "Example:
  holdfast authority export authority.pem";
const CONTEXT: &str = "Example:
  holdfast context use box-7f3a";
const STATUS: &str = "Example:
  holdfast status --all
  holdfast status --check";
const TOP: &str = "Example:
  holdfast top --all";
const PEERS: &str = "Example:
  holdfast peers";
const DUTIES: &str = "Example:
  holdfast duties --missed --since 24h --why";
const VALIDATORS: &str = "Example:
  holdfast validators -o json";
const CLUSTER: &str = "Example:
  holdfast cluster import cluster-lock.json --keystores validator_keys --history slashing-protection.json";
const BEACON: &str = "Example:
  holdfast beacon add http://192.168.1.20:5052";
const CONFIG: &str = "Example:
  holdfast config edit";
const VAULT: &str = "Example:
  holdfast vault status";
const LOGS: &str = "Example:
  holdfast logs -f";
const AUDIT: &str = "Example:
  holdfast audit -o json";
const DRAIN: &str = "Example:
  holdfast drain --context box-7f3a";
const RESUME: &str = "Example:
  holdfast resume --context box-7f3a";
const REBOOT: &str = "Example:
  holdfast reboot --context box-7f3a";
const RESET: &str = "Example:
  holdfast reset --context box-7f3a";
const SUPPORT: &str = "Example:
  holdfast support box-7f3a.json";
const COMPLETION: &str = "Example:
  holdfast completion bash > ~/.local/share/bash-completion/completions/holdfast";
const MAN: &str = "Example:
  holdfast man target/man";
