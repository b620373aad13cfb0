//! Bringing a box into a cluster: identity, lock, shares, history. Secrets leave this machine only in an envelope to a vault
//! whose evidence was verified, under an order of the authority.

use holdfast_api::{Cluster, Configuration, CustomNetwork, EvidenceKind, Identity, LockAccepted, VaultState};
use holdfast_cluster::{
    CreateParams, Enr, KeystoreCost, Networks, NodeKey, ValidatorAddresses, create, default_threshold, write_node_dirs,
};
use holdfast_evidence::order::history_digest;
use holdfast_evidence::{Envelope, HistoryClaim, IdentityOrder, ImportOrder, Order};
use holdfast_provisioning::authority::Authority;

use rand_core::OsRng;

use super::settings;
use super::vault::first_epoch;
use crate::args::{CreateArgs, EnrArgs};
use crate::ask::Session;
use crate::evidence::{self, Trust};
use crate::exit::Failure;
use crate::home::Keys;
use crate::network::{KnownNetworks, NetworkFile};
use crate::order::give;
use crate::output::Table;
use crate::plan::{ClusterJob, HistorySaid, ImportJob};
use crate::shares::{self, CheckedLock, KnownHistory, Shares};
use crate::world::World;

/// Does something about the cluster.
pub(crate) fn cluster(world: &mut World<'_>, keys: &dyn Keys, job: ClusterJob) -> Result<(), Failure> {
    match job {
        ClusterJob::Create(args) => make(world, &args),
        ClusterJob::Enr(args) => enr(world, keys, &args),
        ClusterJob::Import(job) => import(world, keys, &job),
        ClusterJob::Show => show(world),
    }
}

fn show(world: &mut World<'_>) -> Result<(), Failure> {
    let mut session = world.session()?;
    let cluster: Cluster = session.get("/v1/cluster")?;
    world.output.show(&cluster, |cluster| {
        let Some(lock) = &cluster.lock else {
            return Table::pairs([("cluster", "none yet: holdfast cluster import".into())]);
        };
        let mut table = Table::pairs([
            ("cluster", lock.name.as_str().into()),
            ("lock", lock.lock_hash.as_str().into()),
            ("network", lock.network.as_str().into()),
            ("threshold", format!("{} of {}", lock.threshold, lock.operators.len()).into()),
            ("validators", lock.validators.to_string().into()),
        ]);
        for (at, enr) in (0_u16..).zip(&lock.operators) {
            let you = if cluster.operator.map(u16::from) == Some(at) { "  this box" } else { "" };
            table.row(["operator".into(), format!("{} {enr}{you}", at + 1).into()]);
        }
        table
    })
}

fn enr(world: &mut World<'_>, keys: &dyn Keys, args: &EnrArgs) -> Result<(), Failure> {
    let mut session = world.session()?;
    let present: Identity = session.get("/v1/identity")?;
    let key = args.identity.as_deref().map(shares::node_key).transpose()?;
    let identity = match (&present.enr, key) {
        (Some(enr), Some(key)) if Enr::make(&key).text() != enr => {
            return Err(Failure::refused(format!(
                "{} has a node identity already, and the file holds another: reset the box to change it\n  box   {enr}\n  file  {}",
                session.name,
                Enr::make(&key).text()
            )));
        }
        (Some(_), _) => present,
        (None, key) => {
            let authority = keys.authority_of(&session.name, &args.passphrase, world.terminal)?;
            match key {
                None => {
                    let order = Order::Identity(IdentityOrder::MadeHere);
                    let to = keys.box_name(&session.name)?;
                    give(&mut session, authority.key(), &to, order)?;
                }
                Some(key) => {
                    let trust = Trust::of(args.trust.danger_accept_emulated_tpm);
                    Sender { world, session: &mut session, keys, authority: &authority, trust }.send_identity(&key)?;
                }
            }
            session.get("/v1/identity")?
        }
    };
    world.output.show(&identity, |identity| {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned()).into();
        Table::pairs([("enr", text(&identity.enr)), ("peer", text(&identity.peer_id))])
    })
}

/// Makes a cluster with all its keys on this machine.
fn make(world: &mut World<'_>, args: &CreateArgs) -> Result<(), Failure> {
    let networks = KnownNetworks::with(args.network_file.as_deref())?;
    let network = match (&args.network, networks.custom()) {
        (Some(name), _) => networks.named(name)?,
        (None, Some(custom)) => custom.network(),
        (None, None) => return Err(Failure::usage("say which network: --network or --network-file")),
    };
    let valued =
        Networks::public().find(network.genesis_fork_version).is_some_and(|known| MONEY.contains(&&*known.name));
    if valued || MONEY_CHAINS.contains(&network.chain_id) {
        return Err(Failure::refused(format!(
            "{} guards money, and this command has every key of the cluster in one place: make the keys by a ceremony of \
             all operators",
            network.name
        )));
    }
    let addresses =
        ValidatorAddresses { fee_recipient: address(&args.fee_recipient)?, withdrawal: address(&args.withdrawal)? };
    let params = CreateParams {
        name: args.name.clone(),
        network,
        operators: args.operators,
        threshold: args.threshold.unwrap_or_else(|| default_threshold(args.operators)),
        validators: vec![addresses; usize::from(args.validators)],
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: args.gas_limit,
        compounding: false,
        timestamp: String::new(),
    };
    let made = create(&params, &mut OsRng).map_err(|err| Failure::because("the cluster cannot be made", err))?;
    let cost = if args.danger_insecure_keystores { KeystoreCost::DangerInsecure } else { KeystoreCost::Standard };
    world
        .terminal
        .note(&format!("encrypting {} keystores", usize::from(args.operators) * usize::from(args.validators)));
    write_node_dirs(&made, &args.out, cost, &mut OsRng)
        .map_err(|err| Failure::because("the cluster is not written", err))?;
    world.output.say(&format!(
        "made      {:?}: {} operators, threshold {}, {} validators in {}",
        args.name,
        args.operators,
        params.threshold,
        args.validators,
        args.out.display()
    ))?;
    world.output.say(
        "next      holdfast cluster import node0/cluster-lock.json --keystores node0/validator_keys --never-signed \
                      --identity node0/charon-enr-private-key",
    )
}

fn address<A: std::str::FromStr<Err = holdfast_cluster::AddressError>>(text: &str) -> Result<A, Failure> {
    text.parse().map_err(|err| Failure::because("an address cannot be used", err))
}

/// What an import was found to be, before a box is asked for anything.
struct Checked {
    lock: CheckedLock,
    shares: Shares,
    history: Option<KnownHistory>,
    networks: KnownNetworks,
    identity: Option<NodeKey>,
}

fn import(world: &mut World<'_>, keys: &dyn Keys, job: &ImportJob) -> Result<(), Failure> {
    let checked = check(world, job)?;
    if job.dry_run {
        return world.output.say("dry run   everything on this machine fits; the box was not asked");
    }
    let mut session = world.session()?;
    let present: Identity = session.get("/v1/identity")?;
    let send_identity = check_identity(&checked, &session, &present)?;
    let state: VaultState = session.get("/v1/vault")?;
    let held = is_held(&checked, &session, &state)?;
    let question = format!(
        "seal {} shares into {}? From now on no other machine may sign with them",
        checked.shares.validators().len(),
        session.name
    );
    if !held && !world.terminal.confirm(&question)? {
        return Err(Failure::refused("not imported: it was not confirmed"));
    }
    if send_identity || !held {
        let authority = keys.authority_of(&session.name, &job.passphrase, world.terminal)?;
        let trust = Trust::of(job.accept_emulated);
        let mut sender = Sender { world, session: &mut session, keys, authority: &authority, trust };
        if let (true, Some(key)) = (send_identity, &checked.identity) {
            sender.send_identity(key)?;
        }
        if !held {
            sender.send_shares(&checked, &job.history)?;
        }
    }
    check_custody(world, &mut session, keys, &checked)?;
    announce_network(&mut session, &checked)?;
    let accepted: LockAccepted = session.put("/v1/cluster/lock", checked.lock.file.clone(), None)?;
    world.output.show(&accepted, |_| Table::default())?;
    world.output.say(&format!("lock      kept by {}: operator {}", session.name, u16::from(accepted.operator) + 1))?;
    world.output.say(&format!("next      {}", next(&job.history)))
}

/// The offline half: lock, shares, history, identity.
fn check(world: &mut World<'_>, job: &ImportJob) -> Result<Checked, Failure> {
    let networks = KnownNetworks::with(job.network.as_deref())?;
    let lock = CheckedLock::read(&job.lock, &networks)?;
    world.output.say(&format!("lock      {}", holdfast_api::printable(&lock.told())))?;
    let identity = job.identity.as_deref().map(shares::node_key).transpose()?;
    let terminal = &mut *world.terminal;
    let shares = Shares::read(&job.keystores, &lock, &mut |steps| terminal.progress("keystores", steps))?;
    let count = shares.validators().len();
    world.output.say(&format!("shares    {count} decrypted, {count} match the lock"))?;
    if let Some(key) = &identity {
        lock.check_identity(&Enr::make(key), shares.operator)?;
    }
    let history = match &job.history {
        HistorySaid::File(path) => Some(shares::history(path, &lock, world.now)?),
        HistorySaid::Lost | HistorySaid::NeverSigned => None,
    };
    if let Some(history) = &history {
        let newest =
            history.marks.validators.iter().filter_map(|marks| marks.attestation).map(|mark| mark.target).max();
        let newest =
            newest.map_or_else(|| "no attestation".to_owned(), |epoch| format!("latest attestation target {epoch}"));
        let others = match history.others {
            0 => String::new(),
            others => format!("; {others} keys of other clusters left out"),
        };
        world.output.say(&format!("history   {} validators, {newest}{others}", history.marks.validators.len()))?;
    }
    Ok(Checked { lock, shares, history, networks, identity })
}

/// Whether an identity must be sent. The box's, or the one that it gets, is the operator of the shares.
fn check_identity(checked: &Checked, session: &Session, present: &Identity) -> Result<bool, Failure> {
    let Some(text) = &present.enr else {
        return match &checked.identity {
            Some(_) => Ok(true),
            None => Err(Failure::refused(format!(
                "{} has no node identity: give it the operator's key with --identity, or make one with holdfast cluster enr \
                 before the cluster is made",
                session.name
            ))),
        };
    };
    let enr = Enr::parse(text).map_err(|err| Failure::because("the box's node record is none", err))?;
    checked.lock.check_identity(&enr, checked.shares.operator)?;
    Ok(false)
}

/// Whether the vault holds just these shares already, because an import before was cut short after it.
fn is_held(checked: &Checked, session: &Session, state: &VaultState) -> Result<bool, Failure> {
    let hash = checked.lock.lock.lock_hash().to_string();
    if state.shares == 0 {
        return Ok(false);
    }
    let same = state.lock_hash.as_deref() == Some(&hash) && state.share_index == Some(checked.shares.index().0);
    if same && state.shares == checked.shares.validators().len() {
        return Ok(true);
    }
    Err(Failure::refused(format!(
        "{} holds {} shares of another lock or operator: retire them or reset the box first",
        session.name, state.shares
    )))
}

/// What carries secrets and orders to one box.
struct Sender<'a, 'w> {
    world: &'a mut World<'w>,
    session: &'a mut Session,
    keys: &'a dyn Keys,
    authority: &'a Authority,
    trust: Trust,
}

impl Sender<'_, '_> {
    fn send_identity(&mut self, key: &NodeKey) -> Result<(), Failure> {
        let envelope = self.seal(IdentityOrder::PURPOSE, key.expose().as_slice())?;
        self.order(Order::Identity(IdentityOrder::Imported(envelope)))?;
        self.world.output.say(&format!("identity  {} sealed to this box's TPM", Enr::make(key).text()))
    }

    fn send_shares(&mut self, checked: &Checked, said: &HistorySaid) -> Result<(), Failure> {
        let lock = &checked.lock.lock;
        // Asked anew: keystores may have taken longer than an epoch, and the vault compares with its own clock.
        let (version, epoch) = (lock.fork_version(), checked.lock.epoch_at(crate::world::now()));
        if let Some(network) = checked.networks.pins(version) {
            self.order(Order::SetNetwork { network, epoch })?;
            self.world.output.say("network   pinned in the vault")?;
        }
        let history = match (&checked.history, said) {
            (Some(history), _) => {
                self.order(Order::ImportHistory(history.marks.clone()))?;
                HistoryClaim::Imported(history_digest(&history.marks))
            }
            (None, HistorySaid::NeverSigned) => HistoryClaim::NeverSigned,
            (None, HistorySaid::Lost | HistorySaid::File(_)) => HistoryClaim::Lost { first: first_epoch(epoch) },
        };
        let (lock_hash, share_index) = (lock.lock_hash(), checked.shares.index());
        let validators = checked.shares.validators();
        let purpose = ImportOrder::purpose(&lock_hash, share_index, version, &history, &validators);
        let count = validators.len();
        let shares = self.seal(&purpose, &checked.shares.plain())?;
        let order =
            ImportOrder { lock_hash, share_index, genesis_fork_version: version, epoch, history, validators, shares };
        self.order(Order::Import(order))?;
        self.world.output.say(&format!("sealed    {count} shares to this box's TPM"))
    }

    fn order(&mut self, order: Order) -> Result<(), Failure> {
        let to = self.keys.box_name(&self.session.name)?;
        give(self.session, self.authority.key(), &to, order).map(|_| ())
    }

    /// Encrypts to a one-time key of the vault, after its evidence was verified.
    fn seal(&mut self, purpose: &[u8], plain: &[u8]) -> Result<Envelope, Failure> {
        let known = self.keys.expected(&self.session.name)?;
        let box_name = known.box_name;
        let judge = (self.world.judge, self.world.now);
        let shown = evidence::ask(self.session, judge, EvidenceKind::ImportKey, known)?;
        shown.check(self.trust)?;
        let key = shown.import_key.ok_or_else(|| Failure::unfit("the box's evidence lacks the key for the import"))?;
        Envelope::seal(box_name, key, purpose, plain, &mut OsRng)
            .map_err(|err| Failure::because("the secrets cannot be sealed", err))
    }
}

/// Has the vault say by its evidence that it holds these shares: that an order was carried out is only the daemon's word, and
/// so is that it was before.
fn check_custody(
    world: &mut World<'_>,
    session: &mut Session,
    keys: &dyn Keys,
    checked: &Checked,
) -> Result<(), Failure> {
    let known = keys.expected(&session.name)?;
    let held = evidence::ask_custody(session, (world.judge, world.now), known)?.shares;
    let (lock_hash, share_index) = (checked.lock.lock.lock_hash(), checked.shares.index());
    let is_so = held.is_some_and(|held| {
        let validators: Vec<_> = held.validators.iter().map(|(validator, _)| *validator).collect();
        (held.lock_hash, held.share_index) == (lock_hash, share_index) && validators == checked.shares.validators()
    });
    if is_so {
        return world.output.say("custody   the vault's evidence shows every share");
    }
    Err(Failure::refused(format!(
        "{0} says that its vault took the shares, but the vault's evidence does not show them: the order was lost, or whoever \
         answers there kept it and can hand it over for 10 minutes. Put these shares into no other box yet. After that, look \
         with holdfast vault evidence --kind custody; if they are still missing, write the box's disk anew and pair it again",
        session.name
    )))
}

/// A network that is not built in must be in the configuration before the daemon can verify the lock.
fn announce_network(session: &mut Session, checked: &Checked) -> Result<(), Failure> {
    let version = checked.lock.lock.fork_version();
    if checked.networks.pins(version).is_none() {
        return Ok(());
    }
    let network = checked.networks.custom().map(custom_network);
    let (present, etag) = settings::read(session)?;
    if present.network == network {
        return Ok(());
    }
    let next = Configuration { network, ..present };
    let _: holdfast_api::ConfigurationChange =
        session.put("/v1/configuration", crate::ask::encode(&next)?, Some(etag))?;
    Ok(())
}

fn custom_network(file: &NetworkFile) -> CustomNetwork {
    CustomNetwork {
        name: file.name.clone(),
        chain_id: file.chain_id,
        genesis_fork_version: file.genesis_fork_version.to_string(),
        genesis_time: file.genesis_time,
    }
}

const fn next(history: &HistorySaid) -> &'static str {
    match history {
        HistorySaid::File(_) => {
            "give it a beacon node with holdfast beacon add URL; it signs once the history is behind"
        }
        HistorySaid::Lost => {
            "give it a beacon node with holdfast beacon add URL; it signs two epochs after the present one"
        }
        HistorySaid::NeverSigned => "give it a beacon node with holdfast beacon add URL",
    }
}

/// The networks whose coins are worth money.
const MONEY: [&str; 2] = ["mainnet", "gnosis"];
const MONEY_CHAINS: [u64; 2] = [1, 100];

#[cfg(test)]
mod tests;
