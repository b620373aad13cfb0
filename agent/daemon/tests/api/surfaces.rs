//! Where the real daemon serves, how it moves, and what it says of a beacon node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use holdfast_api::{ApiSettings, Configuration, MetricsSettings, ProblemId, Screen, Version};
use holdfast_provisioning::client::{Client, Target};
use holdfast_provisioning::tls::pairing_client_config;
use holdfast_types::{ForkVersion, Millis};
use holdfastd::control::NoHelper;
use holdfastd::daemon::{Daemon, Options};
use holdfastd::edge::beacon::{TrialError, try_out};
use holdfastd::logs::Logs;
use holdfastd::settings::etag;
use holdfastd::surfaces;
use tokio::net::TcpListener;

use crate::kit::problem;
use crate::kit::vault::FakeVault;
use crate::screen::ask;

fn configured(listen: &str) -> Configuration {
    let api = ApiSettings { listen: listen.to_owned(), announce: false };
    Configuration { api, ..Configuration::default() }
}

/// Waits until the screen says that the API is at this address, and returns where.
async fn reached(screen: &Path, address: &str) -> Target {
    for _ in 0..400 {
        if screen.exists() {
            let shown: Screen = serde_json::from_str(&ask(screen, "GET /screen").await.1).unwrap();
            if shown.addresses == [address] && shown.port != 0 {
                return format!("{address}:{}", shown.port).parse().unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the API is not at {address}");
}

fn open(folder: &Path, vault: &FakeVault, screen: &Path) -> Arc<Daemon> {
    Daemon::open(Options {
        state: folder.join("state"),
        vault: vault.socket.clone(),
        board: "pc".to_owned(),
        screen_socket: Some(screen.to_owned()),
        privileged: Box::new(NoHelper),
        logs: Logs::default(),
    })
    .unwrap()
}

fn apply(daemon: &Daemon, configuration: Configuration) {
    let before = daemon.keeper.configuration();
    daemon.keeper.apply(&etag(&before), configuration, "ada", Millis(1)).unwrap();
}

#[tokio::test]
async fn the_api_is_where_the_configuration_says_and_moves_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let vault = FakeVault::start(folder.path());
    let screen = folder.path().join("screen.sock");
    let daemon = open(folder.path(), &vault, &screen);
    let apply = |configuration| apply(&daemon, configuration);
    apply(configured("127.0.0.1:0"));
    let serving = tokio::spawn(surfaces::serve(Arc::clone(&daemon)));
    let client = |target| Client::new(target, pairing_client_config().unwrap());
    let first = client(reached(&screen, "127.0.0.1").await);
    assert_eq!(problem(first.get::<Version>("/v1/version").await), ProblemId::NotOwned);
    daemon.keeper.confirm().unwrap();
    apply(configured("127.0.0.2:0"));
    let second = client(reached(&screen, "127.0.0.2").await);
    assert_eq!(problem(second.get::<Version>("/v1/version").await), ProblemId::NotOwned);
    // Whoever moved it is still answered where he asked.
    assert_eq!(problem(first.get::<Version>("/v1/version").await), ProblemId::NotOwned);
    serving.abort();
}

#[tokio::test]
async fn metrics_with_certificates_are_where_the_configuration_says() {
    let folder = tempfile::tempdir().unwrap();
    let vault = FakeVault::start(folder.path());
    let daemon = open(folder.path(), &vault, &folder.path().join("screen.sock"));
    let at = {
        let free = TcpListener::bind("127.0.0.3:0").await.unwrap();
        free.local_addr().unwrap().to_string()
    };
    let with = |certificates| Configuration {
        metrics: MetricsSettings { listen: if certificates { &at } else { "127.0.0.1:3620" }.to_owned(), certificates },
        ..configured("127.0.0.1:0")
    };
    apply(&daemon, with(true));
    let serving = tokio::spawn(surfaces::serve(Arc::clone(&daemon)));
    let client = Client::new(at.parse().unwrap(), pairing_client_config().unwrap());
    let served = async {
        loop {
            match client.get::<Version>("/metrics").await {
                Err(error) if error.problem().is_none() => tokio::time::sleep(Duration::from_millis(50)).await,
                answer => return problem(answer),
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), served).await, Ok(ProblemId::NotOwned));
    apply(&daemon, with(false));
    let gone = async {
        while tokio::net::TcpStream::connect(&at).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("they are served on");
    serving.abort();
}

/// A beacon node that says what it is.
async fn beacon_node() -> String {
    let (version, root) = ("0x10000910", format!("0x{}", "11".repeat(32)));
    let answers = [
        ("/eth/v1/node/version", r#"{"data":{"version":"Lighthouse/v8.0.0"}}"#.to_owned()),
        ("/eth/v1/node/syncing", r#"{"data":{"head_slot":"90","sync_distance":"10","is_syncing":false}}"#.to_owned()),
        ("/eth/v1/config/spec", r#"{"data":{"SECONDS_PER_SLOT":"12","SLOTS_PER_EPOCH":"32"}}"#.to_owned()),
        (
            "/eth/v1/config/fork_schedule",
            format!(r#"{{"data":[{{"previous_version":"{version}","current_version":"{version}","epoch":"0"}}]}}"#),
        ),
        (
            "/eth/v1/beacon/genesis",
            format!(
                r#"{{"data":{{"genesis_time":"1000","genesis_validators_root":"{root}",
                    "genesis_fork_version":"{version}"}}}}"#
            ),
        ),
    ];
    let mut router = Router::new();
    for (path, body) in answers {
        router = router.route(path, get(async move || body));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn a_beacon_node_is_tried_out_before_it_is_used() {
    let hoodi = ForkVersion([0x10, 0, 0x09, 0x10]);
    let url = beacon_node().await;
    // A hundred slots after genesis.
    let tested = try_out(&url, Some(hoodi), Millis(1_000_000 + 100 * 12_000)).await.unwrap();
    assert_eq!((tested.version.as_str(), tested.head_lag_slots), ("Lighthouse/v8.0.0", Some(10)));
    assert_eq!((tested.genesis_fork_version, tested.syncing), (hoodi.to_string(), false));
    let early = try_out(&url, None, Millis(1)).await.unwrap();
    assert_eq!(early.head_lag_slots, None);
    let other = try_out(&url, Some(ForkVersion([0; 4])), Millis(1)).await.unwrap_err();
    assert!(matches!(other, TrialError::OtherNetwork { found, .. } if found == hoodi), "{other:?}");
    let nobody = try_out("http://127.0.0.1:1", None, Millis(1)).await.unwrap_err();
    assert!(matches!(nobody, TrialError::Call(_)), "{nobody:?}");
    let none = try_out("ftp://127.0.0.1:1", None, Millis(1)).await.unwrap_err();
    assert!(matches!(none, TrialError::Url), "{none:?}");
}
