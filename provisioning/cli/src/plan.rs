//! What is to be done: the arguments after every check that needs no box. Nothing after this asks whether they make sense.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_api::{Action, EvidenceKind, Role};
use holdfast_provisioning::client::Target;
use holdfast_types::{Epoch, ValidatorPublic};

use crate::args::{
    ApplyArgs, AuthorityCommand, BeaconCommand, ClusterCommand, Command, ConfigCommand, ContextCommand, CreateArgs,
    EnrArgs, EvidenceKindArg, Format, Globals, ImportArgs, NewPassphraseArgs, PairArgs, PassphraseArgs, Raw, RoleArg,
    VaultCommand,
};
use crate::exit::Failure;
use crate::home::target;

/// All of it.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What holds for every command.
    pub(crate) settings: Settings,
    /// What to do.
    pub(crate) job: Job,
}

/// What holds for every command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The boxes that are meant.
    pub(crate) boxes: Boxes,
    /// The form of the answer.
    pub(crate) format: Format,
    /// Whether it may have colours.
    pub(crate) colour: bool,
    /// Whether questions are answered with yes.
    pub(crate) yes: bool,
    /// Where this machine's files are.
    pub(crate) home: PathBuf,
}

/// Which boxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Boxes {
    /// Every one that is known here.
    All,
    /// These.
    Named(Vec<String>),
    /// The one that was selected.
    Selected,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Job {
    Audit,
    Authority(AuthorityJob),
    Beacon(BeaconJob),
    Cluster(ClusterJob),
    Completion(clap_complete::Shell),
    Config(ConfigJob),
    Context(ContextJob),
    Discover(Duration),
    Duties { missed: bool, since: Option<Duration>, why: bool },
    Logs { follow: bool, lines: u16 },
    Man(PathBuf),
    Operate(Action),
    Pair(PairJob),
    Peers,
    Reset(PassphraseArgs),
    Status { check: bool },
    Support(PathBuf),
    Top,
    Validators,
    Vault(VaultJob),
}

/// Pairing.
#[derive(Debug)]
pub(crate) struct PairJob {
    pub(crate) address: Target,
    pub(crate) code_file: Option<PathBuf>,
    pub(crate) name: Option<String>,
    pub(crate) accept_emulated: bool,
    pub(crate) passphrase: NewPassphraseArgs,
}

/// About the authority.
#[derive(Debug)]
pub(crate) enum AuthorityJob {
    Export { file: PathBuf, passphrase: PassphraseArgs },
    Import { file: PathBuf, passphrase: NewPassphraseArgs },
    Issue { name: String, role: Role, csr: Option<PathBuf>, out: PathBuf, passphrase: PassphraseArgs },
    Revoke { serial: String },
    Show,
}

/// About the boxes that are known here.
#[derive(Debug)]
pub(crate) enum ContextJob {
    Add(AddJob),
    List,
    Remove { name: String },
    Renew { name: String, passphrase: PassphraseArgs },
    Request { name: String, out: Option<PathBuf> },
    Show { name: Option<String> },
    Use { name: String },
}

/// Taking up access to the boxes of somebody else.
#[derive(Debug)]
pub(crate) struct AddJob {
    pub(crate) name: Option<String>,
    pub(crate) file: PathBuf,
    pub(crate) address: Option<Target>,
    pub(crate) key: Option<PathBuf>,
}

/// About beacon nodes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BeaconJob {
    Add { url: String, name: Option<String> },
    List,
    Remove { name: String },
    Test { url: String },
}

/// About the configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConfigJob {
    Apply { file: PathBuf, dry_run: bool },
    Confirm,
    Edit,
    Get,
    History,
}

/// About the cluster.
#[derive(Debug)]
pub(crate) enum ClusterJob {
    Create(CreateArgs),
    Enr(EnrArgs),
    Import(Box<ImportJob>),
    Show,
}

/// An import.
#[derive(Debug)]
pub(crate) struct ImportJob {
    pub(crate) lock: PathBuf,
    pub(crate) keystores: PathBuf,
    pub(crate) history: HistorySaid,
    pub(crate) identity: Option<PathBuf>,
    pub(crate) network: Option<PathBuf>,
    pub(crate) accept_emulated: bool,
    pub(crate) passphrase: PassphraseArgs,
    pub(crate) dry_run: bool,
}

/// What the operator says about what was signed before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HistorySaid {
    /// It is in this file.
    File(PathBuf),
    /// It is lost.
    Lost,
    /// Nothing was.
    NeverSigned,
}

/// About the vault.
#[derive(Debug)]
pub(crate) enum VaultJob {
    AcceptFloor { epoch: Epoch, passphrase: PassphraseArgs },
    ApproveFirmware { pcr_7: Option<[u8; 32]>, passphrase: PassphraseArgs },
    Evidence(EvidenceKind),
    History(Option<PathBuf>),
    NewCounter { epoch: Epoch, passphrase: PassphraseArgs },
    Orders,
    RaiseLevel,
    Retire { validators: Vec<ValidatorPublic>, passphrase: PassphraseArgs },
    Status,
    VouchDisk { passphrase: PassphraseArgs },
}

impl Plan {
    /// Checks what was typed.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub(crate) fn of(raw: Raw) -> Result<Self, Failure> {
        let job = job(raw.command)?;
        let settings = settings(raw.globals)?;
        if settings.boxes != Boxes::Selected && !job.takes_many() && settings.boxes.is_many() {
            let why = "this command is for one box at a time: name one with --context";
            return Err(Failure::usage(why));
        }
        Ok(Self { settings, job })
    }
}

impl Boxes {
    fn is_many(&self) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.len() > 1,
            Self::Selected => false,
        }
    }
}

impl Job {
    /// Whether it goes to boxes that are known here.
    pub(crate) const fn asks_boxes(&self) -> bool {
        !matches!(
            self,
            Self::Authority(_)
                | Self::Cluster(ClusterJob::Create(_))
                | Self::Completion(_)
                | Self::Context(_)
                | Self::Discover(_)
                | Self::Man(_)
                | Self::Pair(_)
        )
    }

    const fn takes_many(&self) -> bool {
        matches!(
            self,
            Self::Authority(AuthorityJob::Issue { .. } | AuthorityJob::Revoke { .. })
                | Self::Context(_)
                | Self::Duties { .. }
                | Self::Operate(Action::Drain | Action::Resume)
                | Self::Peers
                | Self::Status { .. }
                | Self::Top
                | Self::Validators
                | Self::Vault(VaultJob::Status)
        )
    }
}

fn settings(globals: Globals) -> Result<Settings, Failure> {
    let boxes = match (globals.all, globals.contexts.is_empty()) {
        (true, _) => Boxes::All,
        (false, true) => Boxes::Selected,
        (false, false) => Boxes::Named(globals.contexts),
    };
    let quiet = globals.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = !quiet && std::io::stdout().is_terminal();
    let home = globals.home.or_else(default_home).ok_or_else(|| {
        Failure::usage("this machine has no home folder to keep contexts in: say where with --home or HOLDFAST_HOME")
    })?;
    Ok(Settings { boxes, format: globals.output, colour, yes: globals.yes, home })
}

fn default_home() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    config.map(|config| config.join("holdfast"))
}

fn job(command: Command) -> Result<Job, Failure> {
    Ok(match command {
        Command::Audit => Job::Audit,
        Command::Authority(command) => Job::Authority(authority(command)),
        Command::Beacon(command) => Job::Beacon(beacon(command)?),
        Command::Cluster(command) => Job::Cluster(cluster(command)),
        Command::Completion { shell } => Job::Completion(shell),
        Command::Config(command) => Job::Config(config(command)),
        Command::Context(command) => Job::Context(context(command)?),
        Command::Discover(args) => Job::Discover(args.listen),
        Command::Drain => Job::Operate(Action::Drain),
        Command::Duties(args) => Job::Duties { missed: args.missed, since: args.since, why: args.why },
        Command::Logs(args) => Job::Logs { follow: args.follow, lines: args.lines },
        Command::Man { dir } => Job::Man(dir),
        Command::Pair(args) => Job::Pair(pair(args)?),
        Command::Peers => Job::Peers,
        Command::Reboot => Job::Operate(Action::Reboot),
        Command::Reset { passphrase } => Job::Reset(passphrase),
        Command::Resume => Job::Operate(Action::Resume),
        Command::Status(args) => Job::Status { check: args.check },
        Command::Support(args) => Job::Support(args.file),
        Command::Top => Job::Top,
        Command::Validators => Job::Validators,
        Command::Vault(command) => Job::Vault(vault(command)?),
    })
}

fn pair(args: PairArgs) -> Result<PairJob, Failure> {
    let address = target(&args.address)?;
    if let Some(name) = &args.name {
        check_name(name)?;
    }
    Ok(PairJob {
        address,
        code_file: args.code_file,
        name: args.name,
        accept_emulated: args.danger_accept_emulated_tpm,
        passphrase: args.passphrase,
    })
}

/// A name that is one word on the command line and harmless in a file.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if name.is_empty() || name.len() > NAME_LEN_MAX || name.starts_with(['-', '.']) || !name.chars().all(fits) {
        return Err(Failure::usage(format!(
            "{name:?} is no name for a box: take at most {NAME_LEN_MAX} letters, digits, and - _ . within"
        )));
    }
    Ok(())
}

fn authority(command: AuthorityCommand) -> AuthorityJob {
    match command {
        AuthorityCommand::Export(args) => AuthorityJob::Export { file: args.file, passphrase: args.passphrase },
        AuthorityCommand::Import(args) => AuthorityJob::Import { file: args.file, passphrase: args.passphrase },
        AuthorityCommand::Issue(args) => AuthorityJob::Issue {
            name: args.name,
            role: match args.role {
                RoleArg::Admin => Role::Admin,
                RoleArg::Operator => Role::Operator,
                RoleArg::Reader => Role::Reader,
            },
            csr: args.csr,
            out: args.out,
            passphrase: args.passphrase,
        },
        AuthorityCommand::Revoke { serial } => AuthorityJob::Revoke { serial },
        AuthorityCommand::Show => AuthorityJob::Show,
    }
}

fn context(command: ContextCommand) -> Result<ContextJob, Failure> {
    Ok(match command {
        ContextCommand::Add(args) => {
            args.name.as_deref().map_or(Ok(()), check_name)?;
            let address = args.address.as_deref().map(target).transpose()?;
            ContextJob::Add(AddJob { name: args.name, file: args.certificate, address, key: args.key })
        }
        ContextCommand::List => ContextJob::List,
        ContextCommand::Remove { name } => ContextJob::Remove { name },
        ContextCommand::Renew { name, passphrase } => ContextJob::Renew { name, passphrase },
        ContextCommand::Request(args) => {
            check_name(&args.name)?;
            ContextJob::Request { name: args.name, out: args.out }
        }
        ContextCommand::Show { name } => ContextJob::Show { name },
        ContextCommand::Use { name } => ContextJob::Use { name },
    })
}

fn beacon(command: BeaconCommand) -> Result<BeaconJob, Failure> {
    Ok(match command {
        BeaconCommand::Add(args) => {
            check_url(&args.url)?;
            args.name.as_deref().map_or(Ok(()), check_name)?;
            BeaconJob::Add { url: args.url, name: args.name }
        }
        BeaconCommand::List => BeaconJob::List,
        BeaconCommand::Remove { name } => BeaconJob::Remove { name },
        BeaconCommand::Test { url } => {
            check_url(&url)?;
            BeaconJob::Test { url }
        }
    })
}

fn check_url(url: &str) -> Result<(), Failure> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace)) {
        return Ok(());
    }
    Err(Failure::usage(format!("{url:?} is no URL of a beacon node: it begins with http:// or https://")))
}

fn config(command: ConfigCommand) -> ConfigJob {
    match command {
        ConfigCommand::Apply(ApplyArgs { file, dry_run }) => ConfigJob::Apply { file, dry_run },
        ConfigCommand::Confirm => ConfigJob::Confirm,
        ConfigCommand::Edit => ConfigJob::Edit,
        ConfigCommand::Get => ConfigJob::Get,
        ConfigCommand::History => ConfigJob::History,
    }
}

fn cluster(command: ClusterCommand) -> ClusterJob {
    match command {
        ClusterCommand::Create(args) => ClusterJob::Create(args),
        ClusterCommand::Enr(args) => ClusterJob::Enr(args),
        ClusterCommand::Import(args) => ClusterJob::Import(Box::new(import(args))),
        ClusterCommand::Show => ClusterJob::Show,
    }
}

fn import(args: ImportArgs) -> ImportJob {
    let history = match (args.history.history, args.history.never_signed) {
        (Some(file), _) => HistorySaid::File(file),
        (None, true) => HistorySaid::NeverSigned,
        // The group of these arguments requires one of the three.
        (None, false) => HistorySaid::Lost,
    };
    ImportJob {
        lock: args.lock,
        keystores: args.keystores,
        history,
        identity: args.identity,
        network: args.network,
        accept_emulated: args.trust.danger_accept_emulated_tpm,
        passphrase: args.passphrase,
        dry_run: args.dry_run,
    }
}

fn vault(command: VaultCommand) -> Result<VaultJob, Failure> {
    Ok(match command {
        VaultCommand::AcceptFloor { epoch, passphrase } => VaultJob::AcceptFloor { epoch: Epoch(epoch), passphrase },
        VaultCommand::ApproveFirmware { pcr7, passphrase } => {
            let pcr_7 = pcr7.map(|hex| digest(&hex)).transpose()?;
            VaultJob::ApproveFirmware { pcr_7, passphrase }
        }
        VaultCommand::Evidence { kind: EvidenceKindArg::Boot } => VaultJob::Evidence(EvidenceKind::Boot),
        VaultCommand::Evidence { kind: EvidenceKindArg::Custody } => VaultJob::Evidence(EvidenceKind::Custody),
        VaultCommand::History { file } => VaultJob::History(file),
        VaultCommand::NewCounter { epoch, passphrase } => VaultJob::NewCounter { epoch: Epoch(epoch), passphrase },
        VaultCommand::Orders => VaultJob::Orders,
        VaultCommand::RaiseLevel => VaultJob::RaiseLevel,
        VaultCommand::Retire { validators, passphrase } => {
            VaultJob::Retire { validators: keys(&validators)?, passphrase }
        }
        VaultCommand::Status => VaultJob::Status,
        VaultCommand::VouchDisk { passphrase } => VaultJob::VouchDisk { passphrase },
    })
}

/// Validators in the order that an order lists them in, each once.
fn keys(texts: &[String]) -> Result<Vec<ValidatorPublic>, Failure> {
    let parse = |text: &String| {
        text.parse().map_err(|err| Failure::usage(format!("{text:?} is no public key of a validator: {err}")))
    };
    let mut keys: Vec<ValidatorPublic> = texts.iter().map(parse).collect::<Result<_, _>>()?;
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn digest(hex: &str) -> Result<[u8; 32], Failure> {
    let root: holdfast_types::Root =
        hex.parse().map_err(|err| Failure::usage(format!("{hex:?} is no value of a register: {err}")))?;
    Ok(root.0)
}

const NAME_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests;
