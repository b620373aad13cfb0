//! The management API's server: HTTPS with client certificates, everything bounded, problems in place of bare errors.
//!
//! A request goes through `serve.rs`: its certificate is judged anew and its rate looked at, its route is found in
//! [`ROUTES`](holdfast_api::routes::ROUTES) and its role is compared, and only then its body is read. Nothing here
//! decides what an owner may do to shares; that is the vault's.

mod answer;
mod asked;
mod connection;
mod hall;
mod idempotency;
mod limits;
mod listen;
mod metrics;
mod path;
mod routes;
mod serve;
mod tls;
mod vault;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use holdfast_provisioning::tls::TlsError;
use holdfast_types::P256Public;
use rand::Rng as _;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinHandle;

pub use limits::{Limits, Rate};

use crate::host::Host;
use crate::pairing::Pairing;
use answer::{Fail, chain};
use hall::{Hall, Party};
use idempotency::Answers;
use limits::{Buckets, LARGE_BODIES_MAX};
use listen::Door;
use tls::{Tls, VaultOwner};
use vault::VaultCalls;

/// What the API is made of.
#[derive(Clone)]
pub struct Parts {
    /// The daemon behind it.
    pub host: Arc<Host>,
    /// The vault's socket.
    pub vault: PathBuf,
    /// The pairing code.
    pub pairing: Pairing,
    /// The bounds.
    pub limits: Limits,
}

/// The API, as long as this is kept.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
    api: Arc<Api>,
}

/// Metrics and liveness, as long as this is kept.
#[derive(Debug)]
pub struct MetricsDoor {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Why the API is not served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not ours.
    #[error("cannot serve the management API on {address}: is another daemon running, or the port taken")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The address for metrics is taken, or not ours.
    #[error("cannot serve metrics on {address}: is another daemon running, or the port taken")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        err: io::Error,
    },
    /// The process ends.
    #[error("the management API cannot start while the daemon ends")]
    Stopped(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// TLS cannot be set up.
    #[error("cannot set up TLS for the management API: the box has to be paired anew if this stays")]
    Tls(#[from] TlsError),
}

/// Everything that a request may need.
pub(in crate::edge) struct Api {
    host: Arc<Host>,
    vault: VaultCalls,
    pairing: Pairing,
    limits: Limits,
    tls: Tls,
    hall: Hall,
    rate: Buckets<Party>,
    evidence_rate: Buckets<()>,
    beacon_test_rate: Buckets<()>,
    answers: Answers,
    large_bodies: Semaphore,
    strangers_rate: Buckets<Party>,
    /// Changes of configuration, cluster and ownership go one after the other.
    changing: Mutex<()>,
    certify_now: Notify,
    started: u32,
    requests: AtomicU64,
}

/// Starts to serve.
///
/// # Errors
/// When the address is taken, or TLS cannot be set up.
pub async fn start(parts: Parts, address: SocketAddr) -> Result<Server, StartError> {
    let listener = bind(address).map_err(|err| StartError::Listen { address, err })?;
    let address = listener.local_addr().map_err(|err| StartError::Listen { address, err })?;
    let api = tokio::task::spawn_blocking(move || Api::new(parts))
        .await
        .map_err(|error| StartError::Stopped(error.into()))?;
    let api = Arc::new(api?);
    let tasks = vec![
        tokio::spawn(listen::accept(Arc::clone(&api), listener, Door::Api)),
        tokio::spawn(certify(Arc::clone(&api))),
    ];
    Ok(Server { address, tasks, api })
}

/// As `TcpListener::bind`, with a bound on what the system keeps for a reader that takes nothing.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_LEN)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks again at who owns the box, and has the key of TLS certified. Connections go on.
    pub fn refresh(&self) {
        self.api.certify_now.notify_one();
    }
}

impl Server {
    /// Serves metrics and liveness at this address as well, to whoever shows a certificate.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn serve_metrics(&self, address: SocketAddr) -> Result<MetricsDoor, StartError> {
        let listener = bind(address).map_err(|err| StartError::Metrics { address, err })?;
        let address = listener.local_addr().map_err(|err| StartError::Metrics { address, err })?;
        let task = tokio::spawn(listen::accept(Arc::clone(&self.api), listener, Door::Metrics));
        Ok(MetricsDoor { address, task })
    }
}

impl MetricsDoor {
    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsDoor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Api {
    fn new(parts: Parts) -> Result<Self, TlsError> {
        let Parts { host, vault, pairing, limits } = parts;
        Ok(Self {
            tls: Tls::new(&host)?,
            vault: VaultCalls::new(&vault),
            pairing,
            hall: Hall::new(limits),
            rate: Buckets::new(limits.rate),
            strangers_rate: Buckets::new(limits.rate_stranger),
            evidence_rate: Buckets::new(limits.rate_evidence),
            beacon_test_rate: Buckets::new(limits.rate_beacon_test),
            limits,
            host,
            answers: Answers::default(),
            large_bodies: Semaphore::new(LARGE_BODIES_MAX),
            changing: Mutex::new(()),
            certify_now: Notify::new(),
            started: rand::thread_rng().r#gen(),
            requests: AtomicU64::new(0),
        })
    }

    /// Has the vault certify the key of TLS, and shows that from the next connection on.
    async fn certify_key(self: &Arc<Self>) -> Result<(), Fail> {
        let key = self.tls.public();
        let leaf = self.vault.read(move |vault| vault.certify_tls_key(key)).await?;
        self.renew_tls(None, Some(leaf)).await;
        Ok(())
    }

    /// Takes up what the vault says of its owner. When the box may be changing hands, only while nothing else changes:
    /// what it says may be older than an order that is on its way.
    async fn follow_vault(self: &Arc<Self>) {
        // Of a vault that does not answer nothing new is known.
        let Ok(status) = self.vault.read(|vault| vault.status()).await else { return self.renew_tls(None, None).await };
        if !matches!(self.host.is_changing_hands(), Ok(false)) {
            let _changing = self.changing.lock().await;
            if let Ok(status) = self.vault.read(|vault| vault.status()).await {
                self.settle_owner(status.authority).await;
            }
            return;
        }
        self.renew_tls(Some(VaultOwner::of(status.authority)), None).await;
    }

    /// Has certificates, judge and node follow whom the vault obeys.
    async fn settle_owner(self: &Arc<Self>, authority: Option<P256Public>) {
        if let Some(authority) = authority {
            let host = Arc::clone(&self.host);
            match tokio::task::spawn_blocking(move || host.settle_owner(authority)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(error = chain(&error), "the change of hands is not kept yet"),
                Err(error) => tracing::error!(%error, "the change of hands is not kept yet"),
            }
        }
        self.renew_tls(Some(VaultOwner::of(authority)), None).await;
    }

    /// Takes up a change of owner, as far as the vault said one, or of revocations. What cannot be taken up is told in the
    /// log, and the present state stays.
    async fn renew_tls(self: &Arc<Self>, owner: Option<VaultOwner>, leaf: Option<Vec<u8>>) {
        let api = Arc::clone(self);
        match tokio::task::spawn_blocking(move || api.tls.renew(&api.host, owner, leaf)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = chain(&error), "the API keeps the certificates that it had"),
            Err(error) => tracing::error!(%error, "the API keeps the certificates that it had"),
        }
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Api(..)")
    }
}

/// Has the vault certify the key of TLS: at once, each day, and whenever the owner changes.
async fn certify(api: Arc<Api>) {
    let mut told = false;
    loop {
        api.follow_vault().await;
        // Until the vault was heard, nobody is admitted to a box that may have changed hands.
        let unsettled = !matches!(api.host.is_changing_hands(), Ok(false));
        let mut again = if unsettled { CERTIFY_RETRY } else { CERTIFY_EVERY };
        if api.tls.judge().is_some() {
            match api.certify_key().await {
                Ok(()) => told = false,
                Err(refused) => {
                    again = CERTIFY_RETRY;
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(
                            reason = refused.detail,
                            "the vault certifies no key for the API, which shows one that names nobody until it does"
                        );
                    }
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(again) => {}
            () = api.certify_now.notified() => {}
        }
    }
}

/// The vault's certificates count for a week.
const CERTIFY_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const CERTIFY_RETRY: Duration = Duration::from_secs(5);
/// Half a second of a fast line; the system doubles it for what it needs itself.
const SEND_BUFFER_LEN: u32 = 256 * 1024;
/// As `TcpListener::bind` has it.
const BACKLOG: u32 = 1_024;
