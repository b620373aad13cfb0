//! The supervisor: says what the box is in, and runs the node when there is all that it is built from.
//!
//! The process goes on whatever is missing or wrong: each is a mode with a reason, looked at again when something that it
//! follows from changes. The node is drained and built anew when its lock, its settings, its owner or its shares change.

mod node;
mod plan;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::Severity;
use holdfast_cluster::VerifiedLock;
use holdfast_core::io::VaultFailure;
use holdfast_provisioning::certificate;
use holdfast_types::{Mode, P256Public};
use holdfast_wire::k1::NodeKey;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::board::ShownCluster;
use crate::clock;
use crate::control::Wish;
use crate::daemon::{DAMAGED, Daemon, in_words};
use crate::edge::beacon::{self, Network};
use crate::edge::http::{self, Listener};
use crate::edge::vault::{self, IMPORT, View};
use crate::folder::{FolderError, Owner};
use crate::settings::{MetricsPlace, NodeSettings, Settings};
use node::{Go, RunningNode};
use plan::{Custody, NoCustody, Plan, Waiting};
pub use plan::{UnusableLock, verify_lock};

/// Runs the daemon until `stop` is ready and the node has drained.
pub async fn run(daemon: Arc<Daemon>, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut supervisor = Supervisor::new(daemon);
    loop {
        supervisor.serve_metrics().await;
        let seen = supervisor.look();
        let life = match supervisor.plan(&seen).await {
            Ok(plan) => supervisor.live(plan, &seen, stop.as_mut()).await,
            Err(waiting) => {
                supervisor.show(&waiting);
                supervisor.wait(stop.as_mut()).await
            }
        };
        if life == Life::Over {
            return;
        }
    }
}

/// Whether the daemon goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    GoesOn,
    Over,
}

/// What the node is built from, as far as a look shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    custody: Result<Custody, NoCustody>,
    lock: Option<Vec<u8>>,
    settings: Option<NodeSettings>,
}

impl Seen {
    /// Whether another cluster or owner is there now. A vault that is away or closed says neither.
    fn another_custody(&self, now: &Self) -> bool {
        let another = match &now.custody {
            Ok(_) => now.custody != self.custody,
            Err(none) => none.told,
        };
        another || now.lock != self.lock
    }
}

struct Supervisor {
    daemon: Arc<Daemon>,
    view: watch::Receiver<Option<View>>,
    wish: watch::Receiver<Wish>,
    listener: Option<Listener>,
    verified: Option<Verified>,
    ticks: Interval,
}

/// What came of verifying a lock: it takes seconds, and comes out the same.
struct Verified {
    file: Vec<u8>,
    network: Option<holdfast_cluster::Network>,
    outcome: Result<VerifiedLock, Waiting>,
}

impl Supervisor {
    fn new(daemon: Arc<Daemon>) -> Self {
        let board = daemon.board.clone();
        let view = vault::watch(daemon.vault.clone(), move |status| board.set_vault(status));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { view, wish: daemon.control.wish(), daemon, listener: None, verified: None, ticks }
    }

    /// Waits until something changed that the node follows from, or the daemon is to end.
    async fn next(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Life {
        loop {
            tokio::select! {
                () = &mut stop => return Life::Over,
                Ok(()) = self.wish.changed() => return Life::GoesOn,
                Ok(()) = self.view.changed() => return Life::GoesOn,
                _ = self.ticks.tick() => match self.daemon.keeper.take_back_if_due(clock::now()) {
                    Ok(false) => {}
                    Ok(true) => {
                        tracing::warn!("a change of the configuration was not confirmed and is taken back");
                        return Life::GoesOn;
                    }
                    Err(error) => tracing::error!(error = in_words(&error), "a change cannot be taken back"),
                },
            }
        }
    }

    /// As [`Supervisor::next`], and no longer than until it is worth another try.
    async fn wait(&mut self, stop: Pin<&mut impl Future<Output = ()>>) -> Life {
        tokio::time::timeout(RETRY, self.next(stop)).await.unwrap_or(Life::GoesOn)
    }

    fn show(&self, waiting: &Waiting) {
        let Waiting { mode, reason } = waiting;
        let status = self.daemon.board.status();
        if (status.mode, &status.reason) != (*mode, reason) {
            tracing::warn!(%mode, reason, "waiting");
            self.daemon.board.set_mode(*mode, reason);
            self.daemon.metrics.set_mode(*mode);
        }
    }

    /// What the node is built from now.
    async fn plan(&mut self, seen: &Seen) -> Result<Plan, Waiting> {
        if self.wish.borrow().drain {
            self.daemon.control.drained().await;
            return Err(Waiting::new(Mode::Draining, "no duty is begun until `holdfast resume`"));
        }
        self.daemon.control.resumed();
        let custody = match &seen.custody {
            Ok(custody) => custody,
            Err(none) => {
                if none.told {
                    self.daemon.board.set_cluster(ShownCluster::default());
                }
                return Err(none.waiting.clone());
            }
        };
        let Some(file) = &seen.lock else {
            self.daemon.board.set_cluster(ShownCluster::default());
            let reason = format!("the vault holds shares, and the cluster lock is missing: {IMPORT}");
            return Err(Waiting::new(Mode::Enrolled, reason));
        };
        let Some(settings) = seen.settings.clone() else {
            let reason = "the configuration cannot be right: correct it with `holdfast config edit`";
            return Err(Waiting::new(Mode::Enrolled, reason));
        };
        let lock = self.verified(file, &settings).await?;
        let keys = plan::operator_keys(&lock).map_err(|error| Waiting::unusable(&error))?;
        if custody.lock_hash != lock.lock_hash() {
            let (held, kept) = (custody.lock_hash, lock.lock_hash());
            return Err(Waiting::unusable(&UnusableLock::OtherLock { held, kept }));
        }
        let identity = vault::identity_key(self.daemon.vault.clone()).await;
        let identity = identity.map_err(|VaultFailure(reason)| Waiting::new(Mode::Enrolled, reason))?;
        let key = NodeKey::from_bytes(&identity.0).map_err(|err| Waiting::unusable(&UnusableLock::Identity(err)))?;
        let own = plan::own_operator(&keys, &key).map_err(|error| Waiting::unusable(&error))?;
        self.daemon.board.set_cluster(ShownCluster::of(&lock, &keys, own));
        if settings.beacon_nodes.is_empty() {
            let reason = "no beacon node is configured: name one with `holdfast beacon add URL`";
            return Err(Waiting::new(Mode::Enrolled, reason));
        }
        Ok(Plan { lock, keys, own, key, identity, settings })
    }

    async fn verified(&mut self, file: &[u8], settings: &NodeSettings) -> Result<VerifiedLock, Waiting> {
        let known = self.verified.as_ref().filter(|one| one.file == file && one.network == settings.network);
        if let Some(known) = known {
            return known.outcome.clone();
        }
        let job = {
            let (file, settings) = (file.to_vec(), settings.clone());
            move || verify_lock(&file, &settings)
        };
        let outcome = match tokio::task::spawn_blocking(job).await {
            Ok(outcome) => outcome.map_err(|error| Waiting::unusable(&error)),
            Err(panicked) => Err(Waiting::unusable(&panicked)),
        };
        let (file, network) = (file.to_vec(), settings.network.clone());
        self.verified = Some(Verified { file, network, outcome: outcome.clone() });
        outcome
    }

    /// Finds the network, starts the node and keeps it for as long as what it was built from holds.
    async fn live(&mut self, plan: Plan, seen: &Seen, mut stop: Pin<&mut impl Future<Output = ()>>) -> Life {
        let network = match self.find_network(&plan, seen, stop.as_mut()).await {
            Ok(network) => network,
            Err(life) => return life,
        };
        let (lock, beacon) = (plan.lock.fork_version(), network.chain.genesis_fork_version);
        if lock != beacon {
            let error = UnusableLock::OtherNetwork { lock, beacon };
            self.show(&Waiting::new(Mode::Syncing, error.to_string()));
            return self.wait(stop).await;
        }
        let node = RunningNode::start(plan, network, self.view.clone(), self.daemon.clone()).await;
        let (go, told) = watch::channel(Go::On);
        let mut task = match node {
            Ok(node) => tokio::spawn(node.run(told)),
            Err(error) => {
                self.show(&Waiting::unusable(&error));
                return self.wait(stop).await;
            }
        };
        loop {
            let life = tokio::select! {
                ended = &mut task => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the node ended by a mistake of its own and is built anew");
                    }
                    return self.wait(stop).await;
                }
                life = self.next(stop.as_mut()) => life,
            };
            self.serve_metrics().await;
            let next = if life == Life::Over { Go::Leave } else { self.go(*go.borrow(), seen) };
            go.send_if_modified(|now| std::mem::replace(now, next) != next);
            if next == Go::Leave {
                if let Err(error) = task.await {
                    tracing::error!(%error, "the node ended by a mistake of its own");
                }
                return life;
            }
        }
    }

    /// What a node is to do that was built from what was seen.
    fn go(&mut self, before: Go, seen: &Seen) -> Go {
        let now = self.look();
        // What was halted for safety comes back with the daemon, not with a change of its settings.
        let halted = self.daemon.board.status().mode == Mode::Halted;
        if seen.another_custody(&now) || (!halted && now.settings != seen.settings) {
            Go::Leave
        } else if self.wish.borrow().drain {
            Go::Drain
        } else if before == Go::Drain && !halted {
            Go::Leave
        } else {
            self.daemon.control.resumed();
            before
        }
    }

    /// Waits for a beacon node, unless something changes before one answers.
    async fn find_network(
        &mut self,
        plan: &Plan,
        seen: &Seen,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Network, Life> {
        self.show(&Waiting::new(Mode::Syncing, "waiting for a beacon node"));
        let daemon = self.daemon.clone();
        let waiting = move |reason: &str| {
            tracing::warn!(reason, "waiting for a beacon node; check its address and that it runs");
            daemon.board.set_mode(Mode::Syncing, &format!("waiting for a beacon node: {reason}"));
        };
        let found = beacon::find_network(&plan.settings.beacon_nodes, beacon::Timing::default(), waiting);
        let mut found = std::pin::pin!(found);
        loop {
            let life = tokio::select! {
                found = &mut found => match found {
                    Ok(network) => return Ok(network),
                    Err(error) => {
                        self.show(&Waiting::unusable(&error));
                        return Err(self.wait(stop).await);
                    }
                },
                life = self.next(stop.as_mut()) => life,
            };
            self.serve_metrics().await;
            if life == Life::Over || self.wish.borrow().drain || self.look() != *seen {
                return Err(life);
            }
        }
    }

    /// Serves metrics where the settings say, from then on where others say. With certificates the API serves them.
    async fn serve_metrics(&mut self) {
        let address = match self.settings().unwrap_or_default().metrics {
            MetricsPlace::Loopback(address) => address,
            MetricsPlace::WithCertificates(_) => {
                self.listener = None;
                self.daemon.board.clear_condition(METRICS);
                return;
            }
        };
        if self.listener.as_ref().is_some_and(|listener| listener.configured == address) {
            return;
        }
        let (board, metrics) = (self.daemon.board.clone(), self.daemon.metrics.clone());
        match http::start(address, board, metrics).await {
            Ok(listener) => {
                tracing::info!(address = %listener.address, "health and metrics are served");
                self.listener = Some(listener);
                self.daemon.board.clear_condition(METRICS);
            }
            Err(error) => self.daemon.board.set_condition(
                METRICS,
                Severity::Warning,
                &in_words(&error),
                "free the address, or change `metrics.listen` with `holdfast config edit`",
            ),
        }
    }

    /// The settings; a condition when they cannot be right.
    fn settings(&self) -> Option<Settings> {
        let board = &self.daemon.board;
        if !self.daemon.keeper.is_damaged() {
            board.clear_condition(DAMAGED);
        }
        match self.daemon.keeper.settings() {
            Ok(settings) => {
                board.clear_condition(WRONG);
                Some(settings)
            }
            Err(wrong) => {
                let fields: Vec<String> = wrong.iter().map(ToString::to_string).collect();
                let summary = format!("the configuration cannot be right: {}", fields.join("; "));
                board.set_condition(WRONG, Severity::Critical, &summary, "correct it with `holdfast config edit`");
                None
            }
        }
    }

    /// Looks at what the node is built from.
    fn look(&mut self) -> Seen {
        let owner = self.daemon.folder.owner();
        let owned_before = matches!(owner, Ok(Some(_)) | Err(_));
        let custody = plan::custody(self.view.borrow_and_update().as_ref(), owned_before);
        if let Some(vault) = self.daemon.board.vault_status() {
            self.judge_owner(self.daemon.folder.owner_by(vault.authority), vault.authority);
        }
        let lock = self.daemon.folder.lock().unwrap_or_else(|error| {
            tracing::error!(error = in_words(&error), "the cluster lock cannot be read");
            None
        });
        self.wish.mark_unchanged();
        Seen { custody, lock, settings: self.settings().map(|settings| settings.node) }
    }

    /// The certificates must be of whom the vault obeys. `None` for `vault` while it does not answer.
    fn judge_owner(&self, kept: Result<Option<Owner>, FolderError>, vault: Option<P256Public>) {
        let board = &self.daemon.board;
        let wrong = match (kept, vault) {
            (Err(error), _) => Some(format!("the owner's certificates cannot be used: {}", in_words(&error))),
            (Ok(None), Some(_)) => {
                Some("the box is owned and the owner's certificates are missing: the API admits nobody".to_owned())
            }
            (Ok(Some(_)), None) => {
                Some("nobody owns the vault, and certificates of a former owner are left".to_owned())
            }
            (Ok(Some(owner)), Some(authority)) => match certificate::public_key(&owner.authority) {
                Ok(public) if public == authority => None,
                Ok(_) => Some("the certificates are of another authority than the one that the vault obeys".to_owned()),
                Err(error) => Some(format!("the authority's certificate cannot be used: {}", in_words(&error))),
            },
            (Ok(None), None) => None,
        };
        let remedy = "put `owner/authority.der` and `owner/box.der` of a backup back, or flash the box anew";
        match wrong {
            Some(summary) => board.set_condition(OWNER, Severity::Critical, &summary, remedy),
            None => board.clear_condition(OWNER),
        }
    }
}

/// How often it is looked whether a change is to be taken back.
const TICK: Duration = Duration::from_secs(1);

/// How often what failed is tried again when nothing changed here: it may have changed elsewhere.
const RETRY: Duration = Duration::from_secs(10);

/// Metrics and liveness are not served.
const METRICS: &str = "metrics.not-served";
/// The owner's certificates are not those of whom the vault obeys.
const OWNER: &str = "owner.certificates";
/// The configuration cannot be right.
const WRONG: &str = "configuration.wrong";

#[cfg(test)]
pub(crate) mod tests;
