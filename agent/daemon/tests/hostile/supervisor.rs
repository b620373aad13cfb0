//! The supervisor in this process: the node comes and goes with what it is built from, and the daemon stays.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use holdfast_api::{Action, Operation, OperationState, Status};
use holdfast_hal::restart::{Restart, RestartError};
use holdfast_types::{Millis, Mode};
use holdfast_vault_client::{Closed, ClosedId, VaultStatus};
use holdfastd::control::{NoHelper, Privileged, PrivilegedError};
use holdfastd::daemon::{Daemon, Options};
use holdfastd::edge::beacon::TrialError;
use holdfastd::edge::helper::Helper;
use holdfastd::logs::Logs;
use holdfastd::run;
use holdfastd::settings::etag;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::HANGS;
use super::fake_node::{self, FakeNode, json_answer};
use super::process::{config, folder, status, vault};

/// A daemon with a beacon node that is good, a lock, and a vault that says what it is told.
struct Bench {
    daemon: Arc<Daemon>,
    says: Arc<Mutex<fn(&mut VaultStatus)>>,
    peer_port: u16,
    stop: oneshot::Sender<()>,
    life: JoinHandle<()>,
    dir: TempDir,
    _node: FakeNode,
}

impl Bench {
    async fn start(says: fn(&mut VaultStatus), privileged: Box<dyn Privileged>) -> Self {
        let node = FakeNode::good().await;
        let peer_port = free_port().await;
        let mut document = config(node.url().as_str());
        document["peers"]["listen"] = json!([format!("/ip4/127.0.0.1/tcp/{peer_port}")]);
        let dir = folder(&document);
        let says = Arc::new(Mutex::new(says));
        let now_says = says.clone();
        vault(dir.path(), move |asked| {
            let says = *now_says.lock().unwrap();
            status(asked, says)
        });
        let (daemon, stop, life) = daemon(dir.path(), privileged);
        Self { daemon, says, peer_port, stop, life, dir, _node: node }
    }

    /// Starts the daemon anew on its folder, after something was done to that.
    async fn restart_with(&mut self, change: impl FnOnce()) {
        let (stop, _) = oneshot::channel();
        std::mem::replace(&mut self.stop, stop).send(()).unwrap();
        timeout(HANGS, &mut self.life).await.expect("it ends when it is told to").unwrap();
        change();
        (self.daemon, self.stop, self.life) = daemon(self.dir.path(), Box::new(NoHelper));
    }

    fn says(&self, says: fn(&mut VaultStatus)) {
        *self.says.lock().unwrap() = says;
    }

    /// Waits until the box shows this.
    async fn shows(&self, what: &str, is: impl Fn(&Status) -> bool) {
        let mut newest = self.daemon.events.newest();
        let shown = async {
            while !is(&self.daemon.board.status()) {
                newest.changed().await.unwrap();
            }
        };
        if timeout(HANGS, shown).await.is_err() {
            panic!("the box does not show {what}: {:?}", self.daemon.board.status());
        }
    }

    /// Waits until the node runs: it looks for its peers.
    async fn runs(&self) {
        self.shows("a node that runs", |status| status.reason.contains("missing: operators")).await;
    }

    async fn ends(&self, operation: &Operation) -> Operation {
        let mut newest = self.daemon.events.newest();
        let ended = async {
            loop {
                let now = self.daemon.control.operation(&operation.id).unwrap();
                if now.state != OperationState::Running {
                    return now;
                }
                newest.changed().await.unwrap();
            }
        };
        timeout(HANGS, ended).await.expect("the operation ends")
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(HANGS, self.life).await.expect("it ends when it is told to").unwrap();
        assert!(is_free(self.peer_port).await, "its ports are given back");
    }
}

fn daemon(dir: &Path, privileged: Box<dyn Privileged>) -> (Arc<Daemon>, oneshot::Sender<()>, JoinHandle<()>) {
    let daemon = Daemon::open(Options {
        state: dir.to_owned(),
        vault: dir.join("vault.sock"),
        board: "test".to_owned(),
        screen_socket: None,
        privileged,
        logs: Logs::default(),
    });
    let daemon = daemon.unwrap();
    let (stop, stopped) = oneshot::channel();
    let life = tokio::spawn(run::run(daemon.clone(), async { drop(stopped.await) }));
    (daemon, stop, life)
}

async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

async fn is_free(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.is_err()
}

fn owned(_status: &mut VaultStatus) {}

fn nobodys(status: &mut VaultStatus) {
    (status.authority, status.lock_hash) = (None, None);
    status.closed = Some(Closed { id: ClosedId::NotOwned, reason: "nobody owns it".to_owned() });
}

fn without_shares(status: &mut VaultStatus) {
    status.lock_hash = None;
    status.closed = Some(Closed { id: ClosedId::NoShares, reason: "there are none".to_owned() });
}

fn away(status: &mut VaultStatus) {
    status.lock_hash = None;
    status.closed = Some(Closed { id: ClosedId::TpmFailed, reason: "it is busy".to_owned() });
}

#[tokio::test]
async fn the_node_comes_and_goes_with_owner_shares_and_lock() {
    let bench = Bench::start(nobodys, Box::new(NoHelper)).await;
    let lock = fs::read(bench.dir.path().join("cluster-lock.json")).unwrap();
    fs::remove_file(bench.dir.path().join("cluster-lock.json")).unwrap();
    bench.shows("how to pair", |status| status.mode == Mode::Maintenance && status.reason.contains("pair")).await;
    bench.says(without_shares);
    bench.shows("how to import", |status| status.mode == Mode::Paired && status.reason.contains("import")).await;
    bench.says(owned);
    bench.shows("that the lock is missing", |status| status.mode == Mode::Enrolled).await;

    bench.daemon.folder.keep_lock(&lock).unwrap();
    bench.daemon.control.reload();
    bench.runs().await;
    let status = bench.daemon.board.status();
    assert_eq!((status.cluster.as_str(), status.peers.len()), ("live-cluster-a", 4));
    assert!(!is_free(bench.peer_port).await);

    bench.says(away);
    bench.shows("that the vault is closed", |status| status.reason.contains("tpm-failed")).await;
    assert!(!is_free(bench.peer_port).await, "the node waits for its vault");

    bench.says(nobodys);
    bench.shows("how to pair", |status| status.mode == Mode::Maintenance && status.reason.contains("pair")).await;
    assert!(is_free(bench.peer_port).await, "a box that was reset has no peers");
    assert_eq!(bench.daemon.board.status().cluster, "");
    bench.says(owned);
    bench.runs().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_drain_lasts_until_duties_are_taken_up_again() {
    let bench = Bench::start(owned, Box::new(NoHelper)).await;
    bench.runs().await;
    let drain = bench.daemon.control.begin(Action::Drain, "ada").unwrap();
    assert_eq!(bench.ends(&drain).await.state, OperationState::Done);
    bench.shows("that it drains", |status| status.mode == Mode::Draining).await;
    assert!(!is_free(bench.peer_port).await, "peers and API stay");
    let resume = bench.daemon.control.begin(Action::Resume, "ada").unwrap();
    assert_eq!(bench.ends(&resume).await.state, OperationState::Done);
    bench.runs().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_box_without_a_node_drains_at_once_and_starts_none_meanwhile() {
    let bench = Bench::start(nobodys, Box::new(NoHelper)).await;
    let drain = bench.daemon.control.begin(Action::Drain, "ada").unwrap();
    assert_eq!(bench.ends(&drain).await.state, OperationState::Done);
    bench.shows("that it drains", |status| status.mode == Mode::Draining).await;
    bench.says(owned);
    let resume = bench.daemon.control.begin(Action::Resume, "ada").unwrap();
    assert_eq!(bench.ends(&resume).await.state, OperationState::Done);
    bench.runs().await;
    bench.stop().await;
}

struct Recorder(Arc<AtomicBool>);

impl Privileged for Recorder {
    fn can_reboot(&self) -> Result<(), PrivilegedError> {
        Ok(())
    }

    fn reboot(&self) -> Result<(), PrivilegedError> {
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn a_reboot_comes_after_the_drain() {
    let rebooted = Arc::new(AtomicBool::new(false));
    let bench = Bench::start(owned, Box::new(Recorder(rebooted.clone()))).await;
    bench.runs().await;
    let reboot = bench.daemon.control.begin(Action::Reboot, "ada").unwrap();
    assert_eq!((reboot.state, rebooted.load(Ordering::Relaxed)), (OperationState::Running, false));
    assert_eq!(bench.ends(&reboot).await.state, OperationState::Done);
    assert!(rebooted.load(Ordering::Relaxed));
    bench.stop().await;
}

/// A machine that notes in which mode the box was when it was restarted.
#[derive(Clone, Default)]
struct Machine(Arc<Mutex<Noted>>);

#[derive(Default)]
struct Noted {
    daemon: Option<Arc<Daemon>>,
    modes: Vec<Mode>,
}

impl Restart for Machine {
    fn can_restart(&self) -> Result<(), RestartError> {
        Ok(())
    }

    fn restart(&self) -> Result<(), RestartError> {
        let mut noted = self.0.lock().unwrap();
        let mode = noted.daemon.as_ref().unwrap().board.status().mode;
        noted.modes.push(mode);
        Ok(())
    }
}

#[tokio::test]
async fn the_helper_is_asked_once_and_after_the_drain() {
    let dir = TempDir::new().unwrap();
    let socket = dir.path().join("helper");
    let (stopped, stop) = std::io::pipe().unwrap();
    let machine = Machine::default();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut helper = holdfast_helper::serve::Helper::new(listener.into(), geteuid(), machine.clone()).unwrap();
    let served = std::thread::spawn(move || helper.serve(stopped.as_fd()).unwrap());

    let bench = Bench::start(owned, Box::new(Helper::at(&socket))).await;
    machine.0.lock().unwrap().daemon = Some(bench.daemon.clone());
    bench.runs().await;
    let daemon = bench.daemon.clone();
    let begun = tokio::task::spawn_blocking(move || daemon.control.begin(Action::Reboot, "ada").unwrap());
    let reboot = bench.ends(&begun.await.unwrap()).await;
    assert_eq!((reboot.state, reboot.summary.as_str()), (OperationState::Done, "the box restarts"));
    assert_eq!(machine.0.lock().unwrap().modes, [Mode::Draining]);

    drop(stop);
    served.join().unwrap();
    let daemon = bench.daemon.clone();
    let refused = tokio::task::spawn_blocking(move || daemon.control.begin(Action::Reboot, "ada").unwrap());
    let refused = refused.await.unwrap();
    assert_eq!(refused.state, OperationState::Failed);
    assert!(refused.summary.contains("holdfast-helper.socket"), "{}", refused.summary);
    machine.0.lock().unwrap().daemon = None;
    bench.stop().await;
}

fn geteuid() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

#[tokio::test]
async fn new_settings_are_followed_without_ending_the_process() {
    let mut bench = Bench::start(owned, Box::new(NoHelper)).await;
    bench.runs().await;
    let (peer_port, metrics_port) = (free_port().await, free_port().await);
    let before = bench.daemon.keeper.configuration();
    let mut after = before.clone();
    after.peers.listen = vec![format!("/ip4/127.0.0.1/tcp/{peer_port}")];
    after.metrics.listen = format!("127.0.0.1:{metrics_port}");
    bench.daemon.keeper.apply(&etag(&before), after, "ada", Millis(1)).unwrap();
    let mut newest = bench.daemon.events.newest();
    bench.daemon.control.reload();
    let moved = async {
        while is_free(peer_port).await {
            newest.changed().await.unwrap();
        }
    };
    timeout(HANGS, moved).await.expect("the node listens where it was told to");
    assert!(is_free(bench.peer_port).await);
    let answer = reqwest::get(format!("http://127.0.0.1:{metrics_port}/livez")).await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    bench.peer_port = peer_port;
    bench.runs().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_damaged_configuration_is_a_condition_until_it_is_replaced() {
    let mut bench = Bench::start(owned, Box::new(NoHelper)).await;
    let path = bench.dir.path().join("configuration.json");
    let good = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    bench.restart_with(|| fs::write(&path, "{\"nickname\": 7}").unwrap()).await;
    let is_damaged = |status: &Status| status.conditions.iter().any(|one| one.id == "configuration.damaged");
    bench.shows("that no beacon node is configured", |status| status.reason.contains("holdfast beacon add")).await;
    let shown = bench.daemon.board.status();
    assert!(is_damaged(&shown) && shown.conditions.iter().any(|one| one.summary.contains("configuration.json")));

    let now = bench.daemon.keeper.configuration();
    bench.daemon.keeper.apply(&etag(&now), good, "ada", Millis(1)).unwrap();
    bench.daemon.control.reload();
    bench.runs().await;
    assert!(!is_damaged(&bench.daemon.board.status()));
    bench.stop().await;
}

#[tokio::test]
async fn events_go_on_after_a_restart_with_higher_numbers() {
    let mut bench = Bench::start(nobodys, Box::new(NoHelper)).await;
    bench.shows("how to pair", |status| status.reason.contains("pair")).await;
    let last = *bench.daemon.events.newest().borrow();
    bench.restart_with(|| {}).await;
    bench.shows("how to pair", |status| status.reason.contains("pair")).await;
    assert!(bench.daemon.events.since(last).iter().all(|event| event.id > last));
    bench.stop().await;
}

#[tokio::test]
async fn a_beacon_node_is_tried_out_against_the_network_of_the_cluster() {
    let bench = Bench::start(owned, Box::new(NoHelper)).await;
    let good =
        FakeNode::good_but("node/version", |_| json_answer(&json!({ "data": { "version": "Make/v1\n" } }))).await;
    let tested = bench.daemon.try_beacon(good.url().as_str()).await.unwrap();
    assert_eq!((tested.version.as_str(), tested.genesis_fork_version.as_str()), ("Make/v1", "0x10000910"));

    let other = FakeNode::start(|asked| match asked.path.as_str() {
        "/eth/v1/node/version" => json_answer(&json!({ "data": { "version": "Make/v1" } })),
        "/eth/v1/beacon/genesis" => json_answer(&json!({ "data": {
            "genesis_time": "1", "genesis_fork_version": "0x00000000",
            "genesis_validators_root": format!("0x{}", "00".repeat(32)),
        }})),
        _ => fake_node::good(asked),
    });
    let refused = bench.daemon.try_beacon(other.await.url().as_str()).await.unwrap_err();
    assert!(matches!(refused, TrialError::OtherNetwork { .. }), "{refused}");
    let refused = bench.daemon.try_beacon("ftp://user:secret@192.0.2.1").await.unwrap_err().to_string();
    assert!(refused.contains("http://") && !refused.contains("secret"), "{refused}");
    bench.stop().await;
}
