//! The program itself, with files, vaults and beacon nodes that are wrong: what it says, and that it goes on and ends well.

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command as StdCommand, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use holdfast_types::{BoxName, LockHash, P256Public, ShareIndex};
use holdfast_vault_client::codec::{self, HEADER_LEN};
use holdfast_vault_client::{Closed, ClosedId, IdentityKey, Request, Response, Tier, VaultStatus};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::HANGS;
use super::fake_node::{self, FakeNode, Reply, error, json_answer, text};

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfastd");
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/live-cluster-a");

pub(super) fn config(beacon: &str) -> Value {
    json!({
        "nickname": "box",
        "beaconNodes": [{ "name": "local", "url": beacon }],
        "peers": {
            "listen": ["/ip4/127.0.0.1/tcp/0"],
            "addresses": [{ "operator": 1, "addresses": ["/ip4/127.0.0.1/tcp/1"] }],
        },
        "api": { "listen": "127.0.0.1:0", "announce": false },
        "metrics": { "listen": "127.0.0.1:0" },
    })
}

/// A folder with a configuration and the test cluster's lock.
pub(super) fn folder(config: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("configuration.json"), config.to_string()).unwrap();
    fs::copy(Path::new(VECTORS).join("cluster-lock.json"), dir.path().join("cluster-lock.json")).unwrap();
    dir
}

fn arguments(dir: &Path) -> Vec<OsString> {
    vec!["--state".into(), dir.into(), "--vault".into(), dir.join("vault.sock").into()]
}

fn check(dir: &Path) -> Output {
    StdCommand::new(PROGRAM).arg("--check").args(arguments(dir)).stdin(Stdio::null()).output().unwrap()
}

/// The check ends with exit code 1, and says so.
fn refuses(dir: &Path, says: &[&str]) {
    let output = check(dir);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for says in says {
        assert!(told.contains(says), "{told}\nshould say: {says}");
    }
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_good_configuration_and_lock_are_checked_without_starting_anything() {
    let dir = folder(&config("http://127.0.0.1:1"));
    let output = check(dir.path());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    let expected = "cluster \"live-cluster-a\", lock \
                    0xe85443b076a4b34b9ae1d19f325428db72f67a686314a5a1d5725f284f06f7f1: every hash and signature holds\n";
    assert_eq!(told, expected);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing was written");
}

#[test]
fn each_wrong_key_is_named() {
    for (pointer, value, says) in [
        ("/nickname", json!(7), "invalid type: integer `7`, expected a string"),
        ("/nickname", json!("x".repeat(33)), "/nickname: longer than 32 bytes"),
        ("/beaconNodes", json!({ "url": "" }), "expected a sequence"),
        ("/beaconNodes/0", json!({ "url": "http://127.0.0.1" }), "missing field `name`"),
        ("/beaconNodes/0/url", json!("127.0.0.1:5052"), "/beaconNodes/0/url: not a URL"),
        ("/beaconNodes/0/url", json!("file:///etc/passwd"), "/beaconNodes/0/url: needs http:// or https:// and a host"),
        ("/peers/listen/0", json!("127.0.0.1:3610"), "/peers/listen/0: \"127.0.0.1:3610\" is not a multiaddress"),
        ("/peers/addresses/0/operator", json!(300), "300"),
        ("/peers/addresses/0/operator", json!(200), "/peers/addresses/0/operator: 200 is no operator"),
        ("/peers/addresses/0/addresses/0", json!("/ip4/127.0.0.1"), "/peers/addresses/0/addresses/0: "),
        ("/metrics/listen", json!("0.0.0.0:3620"), "/metrics/listen: 0.0.0.0:3620 is not a loopback address"),
        ("/metrics", json!({ "lisen": "" }), "unknown field `lisen`"),
    ] {
        let mut document = config("http://127.0.0.1:5052");
        *document.pointer_mut(pointer).unwrap() = value;
        let dir = folder(&document);
        refuses(dir.path(), &[&dir.path().join("configuration.json").display().to_string(), says]);
    }
}

#[test]
fn a_configuration_that_is_no_text_or_too_large_is_named() {
    let dir = folder(&config("http://127.0.0.1:1"));
    let path = dir.path().join("configuration.json");
    fs::write(&path, [0xff; 100]).unwrap();
    refuses(dir.path(), &["cannot understand", "configuration.json", "correct it, or remove it"]);
    fs::write(&path, vec![b' '; 1_000_000]).unwrap();
    refuses(dir.path(), &["is larger than 262144 bytes"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(check(dir.path()).status.code(), Some(0), "without a file there are defaults");
}

#[test]
fn a_lock_that_is_not_there_or_not_whole_is_named() {
    let dir = folder(&config("http://127.0.0.1:1"));
    let path = dir.path().join("cluster-lock.json");
    let lock = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    refuses(dir.path(), &["there is no cluster lock", "cluster-lock.json"]);
    fs::write(&path, &lock[..lock.len() / 2]).unwrap();
    refuses(dir.path(), &["cluster-lock.json", "cannot understand the cluster lock"]);
}

#[test]
fn a_lock_with_one_byte_changed_does_not_verify() {
    let dir = folder(&config("http://127.0.0.1:1"));
    let path = dir.path().join("cluster-lock.json");
    let lock = fs::read_to_string(&path).unwrap();
    for key in
        ["\"lock_hash\": \"0x", "\"signature_aggregate\": \"0x", "\"uuid\": \"", "\"distributed_public_key\": \"0x"]
    {
        let place = lock.find(key).unwrap_or_else(|| panic!("{key} is not in the lock")) + key.len() + 5;
        let mut changed = lock.clone().into_bytes();
        changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
        fs::write(&path, changed).unwrap();
        refuses(dir.path(), &["cluster-lock.json", "the cluster lock"]);
    }
}

/// A running daemon.
struct Daemon {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    address: String,
    _dir: TempDir,
}

impl Daemon {
    async fn start(dir: TempDir) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(arguments(dir.path()))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut daemon = Self { child, log, address: String::new(), _dir: dir };
        let line = daemon.logs("health and metrics are served").await;
        daemon.address = line["address"].as_str().unwrap().to_owned();
        daemon
    }

    /// Waits for a line of the log.
    async fn logs(&mut self, text: &str) -> Value {
        let found = async {
            loop {
                let line = self.log.next_line().await.unwrap().expect("the daemon goes on");
                if line.contains(text) {
                    return serde_json::from_str(&line).unwrap();
                }
            }
        };
        timeout(HANGS, found).await.unwrap_or_else(|_| panic!("the daemon logs {text:?}"))
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}{path}", self.address)).timeout(HANGS).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Lives, and says that it is not ready in words that `fit`; asks until it does.
    async fn is_not_ready(&mut self, fit: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let told = async {
            loop {
                assert_eq!(self.get("/livez").await, (200, "ok\n".to_owned()));
                let (status, text) = self.get("/readyz").await;
                assert_eq!(status, 503, "{text}");
                let fits = fit(&text);
                last = text;
                if fits {
                    break;
                }
            }
        };
        if timeout(HANGS, told).await.is_err() {
            panic!("not ready for another reason: {last}");
        }
    }

    /// The most memory that it ever used, in KiB.
    fn memory_peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Ends as a service manager would end it.
    async fn ends_well(mut self) {
        let kill = format!("kill -TERM {}", self.child.id().unwrap());
        assert!(StdCommand::new("sh").args(["-c", &kill]).status().unwrap().success());
        let ended = timeout(ENDS_WITHIN, self.child.wait()).await.expect("it ends when it is told to").unwrap();
        assert_eq!(ended.code(), Some(0));
    }
}

/// Shorter than the 5 s of a call to the vault, which must not hold up the end.
const ENDS_WITHIN: Duration = Duration::from_secs(4);

/// Runs `answer` as the vault behind the folder's socket; `None` never answers.
pub(super) fn vault(dir: &Path, answer: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) {
    let listener = UnixListener::bind(dir.join("vault.sock")).unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || serve_vault(stream, &*answer));
        }
    });
}

fn serve_vault(mut stream: UnixStream, answer: &dyn Fn(&Request) -> Option<Response>) {
    let mut header = [0; HEADER_LEN];
    while stream.read_exact(&mut header).is_ok() {
        let mut message = vec![0; codec::frame_len(header).unwrap()];
        stream.read_exact(&mut message).unwrap();
        match answer(&codec::decode_request(&message).unwrap()) {
            // The daemon may have hung up: it is told to stop in the middle of things.
            Some(response) => drop(stream.write_all(&codec::encode_response(&response).unwrap())),
            None => drop(stream.read(&mut header)),
        }
    }
}

/// What the vault of operator 0 answers.
fn open_vault(request: &Request) -> Option<Response> {
    let keys: Value = serde_json::from_slice(&fs::read(Path::new(VECTORS).join("keys.json")).unwrap()).unwrap();
    Some(match request {
        Request::IdentityKey => {
            let key = hex::decode(keys["nodes"][0]["node_private_key"].as_str().unwrap()).unwrap();
            Response::IdentityKey(IdentityKey(key.try_into().unwrap()))
        }
        _ => Response::Status(Box::new(VaultStatus {
            version: "0".to_owned(),
            box_name: BoxName([1; 32]),
            authority: Some(P256Public([2; 33])),
            lock_hash: Some(keys["lock_hash"].as_str().unwrap().parse().unwrap()),
            validators: Vec::new(),
            share_index: Some(ShareIndex(1)),
            tier: Tier::C,
            tier_reason: "an emulated TPM".to_owned(),
            memory: "mlock".to_owned(),
            generation: Some(1),
            level: Some(1),
            lease: None,
            orders_logged: 0,
            orders_head: [0; 32],
            closed: None,
        })),
    })
}

fn closed(id: ClosedId) -> Option<Closed> {
    Some(Closed { id, reason: "see above".to_owned() })
}

pub(super) fn status(request: &Request, change: impl Fn(&mut VaultStatus)) -> Option<Response> {
    let mut response = open_vault(request);
    if let Some(Response::Status(status)) = &mut response {
        change(status);
    }
    response
}

/// What a vault answers that has no shares to show.
fn without_shares(request: &Request, id: Option<ClosedId>) -> Option<Response> {
    status(request, |status| {
        status.lock_hash = None;
        status.closed = id.and_then(closed);
    })
}

/// Beacon nodes that are of no use, and what the daemon says of each.
fn useless() -> [(Reply, &'static str); 4] {
    [
        (error(500, "could not process slots"), "with 500 Internal Server Error"),
        (text(200, "{]"), "something else than the Beacon API says"),
        (Reply::Endless("{"), "with more than"),
        (Reply::Never, "time limit reached"),
    ]
}

#[tokio::test]
async fn without_a_vault_it_lives_says_why_it_is_not_ready_and_ends_well() {
    let checks = useless().map(async |(reply, _)| {
        let node = FakeNode::start(move |_| reply.clone()).await;
        let mut daemon = Daemon::start(folder(&config(node.url().as_str()))).await;
        daemon.logs("cannot connect to the vault").await;
        daemon.is_not_ready(|text| text.starts_with("maintenance: cannot connect to the vault at ")).await;
        assert_eq!(daemon.get("/metrics").await.0, 200);
        daemon.ends_well().await;
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn a_vault_that_is_of_no_use_is_the_reason_and_holds_up_no_end() {
    type Answer = fn(&Request) -> Option<Response>;
    let vaults: [(Answer, &str); 5] = [
        (|_| None, "maintenance: the vault at "),
        (
            |asked| without_shares(asked, Some(ClosedId::OtherMachine)),
            "maintenance: the vault is closed: other-machine: see above",
        ),
        (
            |asked| without_shares(asked, Some(ClosedId::HistoryUnusable)),
            "halted: the vault is closed: history-unusable: see above",
        ),
        (
            |asked| without_shares(asked, Some(ClosedId::NoShares)),
            "paired: the vault holds no shares yet: import a cluster",
        ),
        (|asked| without_shares(asked, None), "paired: the vault holds no shares yet: import a cluster"),
    ];
    let checks = vaults.map(async |(answer, says)| {
        let dir = folder(&config("http://127.0.0.1:1"));
        vault(dir.path(), answer);
        let mut daemon = Daemon::start(dir).await;
        daemon.is_not_ready(|text| text.starts_with(says)).await;
        daemon.ends_well().await;
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn while_the_vault_is_closed_peers_are_joined_and_its_reason_is_named_until_it_opens() {
    let node = FakeNode::start(fake_node::good).await;
    let dir = folder(&config(node.url().as_str()));
    let now = Arc::new(Mutex::new(Some(ClosedId::LeaseUnclean)));
    let is = now.clone();
    vault(dir.path(), move |asked| {
        let id = *is.lock().unwrap();
        status(asked, |status| status.closed = id.and_then(closed))
    });
    let mut daemon = Daemon::start(dir).await;
    for (id, says) in [
        (Some(ClosedId::LeaseUnclean), "enrolled: signing stopped: the vault is closed: lease-unclean: see above"),
        (None, "syncing: signing stopped: "),
        (
            Some(ClosedId::HistoryUnusable),
            "halted: signing stopped for safety: the vault is closed: history-unusable: ",
        ),
        (None, "syncing: signing stopped: "),
        (Some(ClosedId::HistoryLost), "enrolled: signing stopped: the vault is closed: history-lost: see above"),
    ] {
        *now.lock().unwrap() = id;
        daemon.is_not_ready(|text| text.starts_with(says)).await;
        let (_, metrics) = daemon.get("/metrics").await;
        assert!(metrics.contains("holdfast_peer_connected{operator=\"1\"} 0"), "no peer is looked for: {metrics}");
        let expected = id.map(|id| json!({ "id": id.name(), "reason": "see above" }));
        let shown: Value = serde_json::from_str(&daemon.get("/v1/status").await.1).unwrap();
        assert_eq!(shown["vault"], json!({ "tier": "C", "lease": null, "closed": expected }));
    }
    daemon.ends_well().await;
}

#[tokio::test]
async fn a_beacon_node_that_is_of_no_use_from_the_start_is_the_reason() {
    let checks = useless().map(async |(reply, says)| {
        let node = FakeNode::start(move |_| reply.clone()).await;
        let dir = folder(&config(node.url().as_str()));
        vault(dir.path(), open_vault);
        let mut daemon = Daemon::start(dir).await;
        daemon.logs(says).await;
        let begins = format!("syncing: waiting for a beacon node: {}", node.name());
        daemon.is_not_ready(|text| text.starts_with(&begins) && text.contains(says)).await;
        daemon.ends_well().await;
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn a_beacon_node_that_breaks_later_is_the_reason_until_it_is_back() {
    let checks = useless().map(async |(reply, says)| {
        let broken = Arc::new(AtomicBool::new(true));
        let is_broken = broken.clone();
        let node = FakeNode::start(move |asked| {
            let discovers = ["genesis", "config/"].iter().any(|part| asked.path.contains(part));
            if asked.path.contains("config/spec") {
                json_answer(&json!({ "data": { "SECONDS_PER_SLOT": "12", "SLOTS_PER_EPOCH": "32" } }))
            } else if discovers || !is_broken.load(Ordering::Relaxed) {
                fake_node::good(asked)
            } else {
                reply.clone()
            }
        })
        .await;
        let dir = folder(&config(node.url().as_str()));
        vault(dir.path(), open_vault);
        let mut daemon = Daemon::start(dir).await;
        daemon.logs(says).await;
        let is_named = |text: &str| text.contains(&node.name()) && text.contains(says);
        daemon.is_not_ready(is_named).await;
        broken.store(false, Ordering::Relaxed);
        daemon.logs("beacon node follows the chain").await;
        daemon.is_not_ready(|text| !is_named(text) && text.contains("missing: operators")).await;
        // A debug build needs about 60 MiB; an answer may be 8 MiB, and there are a handful of calls.
        assert!(daemon.memory_peak_kib() < 256 * 1024, "{} KiB were used", daemon.memory_peak_kib());
        daemon.ends_well().await;
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn a_beacon_node_of_another_network_is_the_reason() {
    let node = FakeNode::good_but("genesis", |_| {
        json_answer(&json!({ "data": {
            "genesis_time": "1", "genesis_fork_version": "0x00000000",
            "genesis_validators_root": format!("0x{}", "00".repeat(32)),
        }}))
    })
    .await;
    let dir = folder(&config(node.url().as_str()));
    vault(dir.path(), open_vault);
    let mut daemon = Daemon::start(dir).await;
    let says = "syncing: the lock is for the network with fork version 0x10000910, the beacon node follows 0x00000000: \
                connect it to the lock's network";
    daemon.is_not_ready(|text| text.starts_with(says)).await;
    daemon.ends_well().await;
}

#[tokio::test]
async fn whatever_is_missing_or_does_not_fit_is_named_with_what_helps() {
    let other_lock = |asked: &Request| status(asked, |status| status.lock_hash = Some(LockHash([9; 32])));
    let other_identity = |asked: &Request| match asked {
        Request::IdentityKey => Some(Response::IdentityKey(IdentityKey([9; 32]))),
        _ => open_vault(asked),
    };
    type Answer = Box<dyn Fn(&Request) -> Option<Response> + Send + Sync>;
    let cases: [(&[&str], Answer, &str); 6] = [
        (
            &["cluster-lock.json"],
            Box::new(|asked| status(asked, |status| (status.authority, status.lock_hash) = (None, None))),
            "maintenance: nobody owns this box: pair it with `holdfast pair`",
        ),
        (
            &["cluster-lock.json"],
            Box::new(open_vault),
            "enrolled: the vault holds shares, and the cluster lock is missing",
        ),
        (&["lock"], Box::new(open_vault), "enrolled: cannot understand the cluster lock"),
        (
            &["beacon"],
            Box::new(open_vault),
            "enrolled: no beacon node is configured: name one with `holdfast beacon add",
        ),
        (&[], Box::new(other_lock), "enrolled: the vault holds shares of lock 0x09"),
        (&[], Box::new(other_identity), "enrolled: the vault's identity key, peer "),
    ];
    let checks = cases.map(async |(wrong, answer, says)| {
        let mut document = config("http://127.0.0.1:1");
        let lacks = |what: &str| wrong.contains(&what);
        if lacks("beacon") {
            document["beaconNodes"] = json!([]);
        }
        let dir = folder(&document);
        if lacks("lock") {
            fs::write(dir.path().join("cluster-lock.json"), "{").unwrap();
        }
        if lacks("cluster-lock.json") {
            fs::remove_file(dir.path().join("cluster-lock.json")).unwrap();
        }
        vault(dir.path(), answer);
        let mut daemon = Daemon::start(dir).await;
        daemon.is_not_ready(|text| text.starts_with(says)).await;
        daemon.ends_well().await;
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn owner_files_that_do_not_fit_the_vault_are_a_condition() {
    let dir = folder(&config("http://127.0.0.1:1"));
    vault(dir.path(), open_vault);
    let mut daemon = Daemon::start(dir).await;
    let line = daemon.logs("owner.certificates").await;
    assert!(line["summary"].as_str().unwrap().contains("certificates are missing"), "{line}");
    let shown: Value = serde_json::from_str(&daemon.get("/v1/status").await.1).unwrap();
    assert_eq!((&shown["conditions"][0]["id"], &shown["name"]), (&json!("owner.certificates"), &json!("box-0101")));
    daemon.ends_well().await;
}
