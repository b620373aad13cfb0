//! An emulated TPM as a process of its own: swtpm with a state folder, gone when its handle is dropped.
//!
//! One client at a time: a second connection waits until the first one ends.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::kit::Place;

/// A running swtpm. Dropping it kills it without a warning, as a power cut would.
#[derive(Debug)]
pub struct Swtpm {
    child: Child,
    port: u16,
}

impl Swtpm {
    /// Starts swtpm on `state_dir`, on two neighbouring free ports, and waits until it listens. The folder is made when
    /// it is missing; the TPM that lives in it keeps its seeds and counters from one start to the next.
    ///
    /// # Errors
    /// When swtpm is not installed, does not start, or finds no free ports.
    pub fn start(state_dir: &Path) -> Result<Self> {
        Self::start_at(&Place::here(), state_dir)
    }

    /// As [`Swtpm::start`], at a place.
    ///
    /// # Errors
    /// When swtpm is not installed, does not start, or finds no free ports.
    pub fn start_at(place: &Place, state_dir: &Path) -> Result<Self> {
        fs::create_dir_all(state_dir)
            .with_context(|| format!("cannot make TPM state folder {}", state_dir.display()))?;
        // swtpm fails at its first write to the state when it was given a relative folder.
        let state_dir = fs::canonicalize(state_dir)?;
        for _ in 0..PORT_TRIES_MAX {
            if let Some(started) = Self::try_start(place, &state_dir, free_port_pair()?)? {
                return Ok(started);
            }
        }
        bail!("swtpm on {} did not get two free ports in {PORT_TRIES_MAX} tries", state_dir.display())
    }

    /// The port of its command channel; the control channel is one above.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its address as the vault and `EsapiTpm::open` take it.
    pub fn address(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// Nothing when somebody else took a port meanwhile.
    fn try_start(place: &Place, state_dir: &Path, port: u16) -> Result<Option<Self>> {
        let pid_path = state_dir.join("swtpm.pid");
        if pid_path.exists() {
            fs::remove_file(&pid_path)?;
        }
        let log = File::create(log_path(state_dir))?;
        let child = place
            .command("swtpm")
            .args(["socket", "--tpm2"])
            .args(["--tpmstate", &format!("dir={}", state_dir.display())])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .args(["--pid", &format!("file={}", pid_path.display())])
            .args(["--flags", "not-need-init,startup-clear"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start swtpm: install the package swtpm")?;
        let mut started = Self { child, port };
        // It writes its id after it bound both ports, so from then on a connection waits in its own queue, and a port
        // that somebody else holds is never taken for ours.
        let deadline = Instant::now() + START_LIMIT;
        while fs::read(&pid_path).unwrap_or_default().is_empty() {
            if started.child.try_wait()?.is_some() {
                let log = fs::read_to_string(log_path(state_dir))?;
                if log.contains("Address already in use") {
                    return Ok(None);
                }
                bail!("swtpm on {} did not start; is the package swtpm installed? {}", state_dir.display(), log.trim());
            }
            if Instant::now() > deadline {
                bail!("swtpm on {} did not listen within {START_LIMIT:?}", state_dir.display());
            }
            thread::sleep(POLL_PAUSE);
        }
        Ok(Some(started))
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Listens on two neighbouring ports, as a client expects the command and the control channel of a TPM to be.
///
/// From below those that the kernel gives to clients: each command to swtpm is a connection, and its port rests for a
/// minute after it, so that after some thousand commands hardly two neighbours up there are free.
///
/// # Errors
/// When no two neighbours are free.
pub fn listen_on_neighbours() -> Result<(TcpListener, TcpListener)> {
    for _ in 0..PORT_TRIES_MAX {
        let pairs = u32::from((PORTS.end - PORTS.start) / 2);
        let step = NEXT_PAIR.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(997));
        let port = PORTS.start + 2 * u16::try_from(step % pairs)?;
        let listen = |port| TcpListener::bind(("127.0.0.1", port)).ok();
        if let Some(pair) = listen(port).zip(listen(port + 1)) {
            return Ok(pair);
        }
    }
    bail!("found no two neighbouring free ports in {PORT_TRIES_MAX} tries")
}

fn free_port_pair() -> Result<u16> {
    let (lower, _upper) = listen_on_neighbours()?;
    Ok(lower.local_addr()?.port())
}

fn log_path(state_dir: &Path) -> PathBuf {
    state_dir.join("swtpm.log")
}

/// Below the range that clients get by default (`ip_local_port_range`), above well-known services.
const PORTS: Range<u16> = 15_000..32_000;
static NEXT_PAIR: AtomicU32 = AtomicU32::new(0);
const PORT_TRIES_MAX: usize = 200;
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL_PAUSE: Duration = Duration::from_millis(2);
