//! Where the box is reached: the management API, its announcement and the screen's socket, as the configuration says,
//! whatever state the node is in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use holdfast_api::{BeaconTested, Severity};
use holdfast_cluster::read_lock;
use holdfast_provisioning::desk::CodeDesk;
use tokio::sync::watch;

use crate::clock;
use crate::daemon::{Daemon, in_words};
use crate::edge::api::{self, Limits, MetricsDoor, Server};
use crate::edge::beacon;
use crate::edge::{mdns, screen};
use crate::host::{BeaconRefused, Host};
use crate::pairing::Pairing;
use crate::settings::{MetricsPlace, Settings};

/// Serves until it is dropped.
pub async fn serve(daemon: Arc<Daemon>) {
    let host = Arc::new(Host::new(Arc::clone(&daemon), test_beacon(&daemon)));
    let Some(pairing) = pairing(&daemon).await else { return };
    let (told, listens) = watch::channel(None);
    let _announcer = mdns::start(Arc::clone(&host), listens.clone());
    let _screen = daemon.screen_socket.as_ref().and_then(|path| {
        let parts = screen::Parts { host: Arc::clone(&host), pairing: pairing.clone(), api: listens };
        screen::start(parts, path).map_err(|error| tracing::error!(error = in_words(&error), "no screen")).ok()
    });
    let parts = api::Parts { host, vault: daemon.vault.clone(), pairing, limits: Limits::default() };
    let mut served = Served { daemon: Arc::clone(&daemon), parts, told, server: None, metrics: None };
    loop {
        served.follow().await;
        served.follow_metrics();
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Served {
    daemon: Arc<Daemon>,
    parts: api::Parts,
    told: watch::Sender<Option<SocketAddr>>,
    /// With the address that was asked for, which is not always the one that it has.
    server: Option<(SocketAddr, Server)>,
    /// The same for metrics, when they are served with certificates.
    metrics: Option<(SocketAddr, MetricsDoor)>,
}

impl Served {
    /// Has the API listen where the settings say. Settings that cannot be right leave it where it is.
    async fn follow(&mut self) {
        let settings = self.daemon.keeper.settings();
        let wanted = match (settings, &self.server) {
            (Ok(settings), _) => settings.api,
            (Err(_), Some((asked, _))) => *asked,
            (Err(_), None) => Settings::default().api,
        };
        if self.server.as_ref().is_some_and(|(asked, _)| *asked == wanted) {
            return;
        }
        match api::start(self.parts.clone(), wanted).await {
            Ok(server) => {
                tracing::info!(address = %server.address(), "the management API is served");
                self.told.send_replace(Some(server.address()));
                self.daemon.board.clear_condition(NOT_SERVED);
                // They go with the keys and places of their server.
                self.metrics = None;
                if let Some((_, before)) = self.server.replace((wanted, server)) {
                    // Whoever moved it is still to be told that he did.
                    tokio::spawn(async move {
                        tokio::time::sleep(FAREWELL).await;
                        drop(before);
                    });
                }
            }
            // The old place is in the way of the new one: it goes, when whoever asked for that was answered.
            Err(_) if self.server.as_ref().is_some_and(|(asked, _)| asked.port() == wanted.port()) => {
                tokio::time::sleep(LOOK_EVERY).await;
                self.server = None;
                self.metrics = None;
                self.told.send_replace(None);
            }
            Err(error) => self.daemon.board.set_condition(
                NOT_SERVED,
                Severity::Critical,
                &in_words(&error),
                "free the address, or change `api.listen` with `holdfast config edit`",
            ),
        }
    }
}

impl Served {
    /// Has metrics served with certificates, where the settings say so. Without, they are not served from here.
    fn follow_metrics(&mut self) {
        let Ok(settings) = self.daemon.keeper.settings() else { return };
        let wanted = match settings.metrics {
            MetricsPlace::Loopback(_) => None,
            MetricsPlace::WithCertificates(address) => Some(address),
        };
        if self.metrics.as_ref().map(|(asked, _)| *asked) == wanted {
            return;
        }
        self.metrics = None;
        let (Some(wanted), Some((_, server))) = (wanted, &self.server) else {
            self.daemon.board.clear_condition(METRICS_NOT_SERVED);
            return;
        };
        match server.serve_metrics(wanted) {
            Ok(door) => {
                tracing::info!(address = %door.address(), "metrics are served to who shows a certificate");
                self.metrics = Some((wanted, door));
                self.daemon.board.clear_condition(METRICS_NOT_SERVED);
            }
            Err(error) => self.daemon.board.set_condition(
                METRICS_NOT_SERVED,
                Severity::Warning,
                &in_words(&error),
                "free the address, or change `metrics.listen` with `holdfast config edit`",
            ),
        }
    }
}

/// The code of the state folder. Without it nobody could pair, so what is wrong is a condition until it is right.
async fn pairing(daemon: &Arc<Daemon>) -> Option<Pairing> {
    loop {
        let path = daemon.folder.path(PAIRING);
        match tokio::task::spawn_blocking(move || CodeDesk::open(path)).await {
            Ok(Ok(desk)) => {
                daemon.board.clear_condition(NO_CODE);
                return Some(Pairing::new(desk));
            }
            Ok(Err(error)) => daemon.board.set_condition(
                NO_CODE,
                Severity::Critical,
                &in_words(&error),
                "look at the disk of the box, or remove the file",
            ),
            // The process ends.
            Err(_) => return None,
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Holds what a beacon node says against the lock, if there is one.
fn test_beacon(daemon: &Arc<Daemon>) -> crate::host::TestBeacon {
    let daemon = Arc::clone(daemon);
    Box::new(move |url: String| -> BoxFuture<'static, Result<BeaconTested, BeaconRefused>> {
        let daemon = Arc::clone(&daemon);
        async move {
            let lock = tokio::task::spawn_blocking(move || {
                let file = daemon.folder.lock().ok().flatten()?;
                read_lock(&file).ok().map(|lock| lock.definition.fork_version)
            });
            let expected = lock.await.ok().flatten();
            let tried = beacon::try_out(&url, expected, clock::now()).await;
            tried.map_err(|error| BeaconRefused(in_words(&error)))
        }
        .boxed()
    })
}

const PAIRING: &str = "pairing.json";
/// The API has no address to listen at.
const NOT_SERVED: &str = "api.not-served";
/// Metrics have no address to be served at with certificates.
const METRICS_NOT_SERVED: &str = "metrics.not-served-with-certificates";
/// There is no pairing code.
const NO_CODE: &str = "pairing.no-code";
const LOOK_EVERY: Duration = Duration::from_secs(2);
const FAREWELL: Duration = Duration::from_secs(5);
