//! The socket of the box's own screen: what it shows, and a new pairing code while nobody owns the box. No other place
//! gives a pairing code away, so the socket is for its owner and its group only.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use holdfast_api::{DutyQuery, PairingCode, Screen, Timestamp};
use holdfast_types::Mode;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::clock;
use crate::host::Host;
use crate::pairing::Pairing;

/// What the screen is served from.
#[derive(Clone)]
pub struct Parts {
    /// The daemon behind it.
    pub host: Arc<Host>,
    /// The pairing code.
    pub pairing: Pairing,
    /// Where the API listens; `None` while it does not.
    pub api: watch::Receiver<Option<SocketAddr>>,
}

/// The screen's socket, as long as this is kept.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: JoinHandle<()>,
}

/// Why the socket is not there.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the screen at {}: is its folder there, and the daemon's", path.display())]
pub struct ScreenError {
    /// The socket.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub err: io::Error,
}

/// Starts to serve. A socket that an earlier daemon left is replaced.
///
/// # Errors
/// When the socket cannot be made.
pub fn start(parts: Parts, path: &Path) -> Result<Server, ScreenError> {
    let listener = bind(path).map_err(|err| ScreenError { path: path.to_owned(), err })?;
    let router = Router::new().route("/screen", get(show)).route("/screen/code", post(new_code)).with_state(parts);
    let task = tokio::spawn(accept(listener, router));
    Ok(Server { path: path.to_owned(), task })
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        // Whoever starts next replaces what is left.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The socket is made under another name, given its mode, and only then put in its place: it never has another one
/// there.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    for left in [path, &new] {
        match std::fs::symlink_metadata(left) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(left)?,
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o660))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // One too many is closed at once.
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let router = router.clone();
                tokio::spawn(async move {
                    let _place = place;
                    attend(stream, router).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the screen's socket cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn attend(stream: UnixStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(8 * 1024);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // A screen asks once a second and reads at once; whoever does not is let go.
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_MAX, served).await {
        tracing::debug!(%error, "a connection of the screen ended");
    }
}

async fn show(State(parts): State<Parts>) -> Result<Json<Screen>, StatusCode> {
    tokio::task::spawn_blocking(move || Json(screen(&parts))).await.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// A new code. 409 when the box has an owner.
async fn new_code(State(parts): State<Parts>) -> StatusCode {
    let rearmed = tokio::task::spawn_blocking(move || is_free(&parts).then(|| parts.pairing.rearm()));
    match rearmed.await {
        Ok(Some(Ok(()))) => StatusCode::NO_CONTENT,
        Ok(None) => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether nobody owns the box, for all that is known: while the vault does not answer, nobody can pair.
fn is_free(parts: &Parts) -> bool {
    !parts.pairing.is_done() && parts.host.seen().vault().is_some_and(|vault| vault.authority.is_none())
}

fn screen(parts: &Parts) -> Screen {
    let host = &*parts.host;
    let (status, vault, version) = (host.seen().status(), host.seen().vault(), host.version());
    let last = host.seen().duties(&DutyQuery::default(), usize::MAX).duties.pop();
    let api = *parts.api.borrow();
    let is_free = is_free(parts);
    let pairing = if is_free && parts.pairing.four_words().is_none() { code(parts) } else { None };
    Screen {
        version: version.version,
        board: version.board,
        name: status.name,
        tier: vault.map_or_else(String::new, |vault| format!("tier {}: {}", vault.tier, vault.tier_reason)),
        mode: status.mode,
        reason: status.reason,
        addresses: api.map_or_else(Vec::new, |api| addresses(api.ip())),
        port: api.map_or(0, |api| api.port()),
        owned: !is_free,
        pairing,
        words: if status.mode == Mode::Maintenance { parts.pairing.four_words() } else { None },
        cluster: status.cluster,
        peers: (status.peers.iter().filter(|peer| peer.own || peer.connected).count(), status.peers.len()),
        last_duty: last,
        conditions: status.conditions,
        now: status.now,
        clock_synchronised: status.clock_synchronised,
    }
}

/// The addresses of this machine at which what listens here is reached from others.
fn addresses(listens: IpAddr) -> Vec<String> {
    if !listens.is_unspecified() {
        return vec![listens.to_string()];
    }
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let all = interfaces.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP)).filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    let useful = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local() && listens.is_ipv6(),
    };
    let mut all: Vec<IpAddr> = all.filter(useful).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(ADDRESSES_MAX);
    all.iter().map(ToString::to_string).collect()
}

fn code(parts: &Parts) -> Option<PairingCode> {
    let (shown, left) = match parts.pairing.show() {
        Ok(shown) => shown,
        Err(error) => {
            tracing::error!(%error, "there is no pairing code to show");
            return None;
        }
    };
    let left = u64::try_from(left.as_millis()).unwrap_or(0);
    Some(PairingCode {
        code: shown.code.map(|code| code.to_string()),
        expires: Timestamp(clock::now().plus(left)),
        tries_left: shown.tries_left,
    })
}

/// The screen, and somebody who looks at it by hand.
const CONNECTIONS_MAX: usize = 8;
/// As many as the screen has room for.
const ADDRESSES_MAX: usize = 8;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(10);
const CONNECTION_MAX: Duration = Duration::from_secs(60);
