//! One box: a folder as its disk, an emulated TPM, the vault and the daemon as processes of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use holdfast_api::{Configuration, DutyList, Status};
use holdfast_evidence::{NetworkPins, Order};
use holdfast_test_operator::{Operator, ReleaseFiles, Shares};
use holdfast_vault_client::{Client, ClosedId, OrderOutcome};

use super::place::{Place, Process};
use crate::program;
use crate::swtpm::Swtpm;

/// How long a process may take to come up on a busy machine with two cores.
const START_MAX: Duration = Duration::from_secs(60);

/// The kind of board that an emulated box is, as the vault and the release name it.
const BOARD: &str = "test";

/// Nothing measures a boot on an emulated TPM, so that register 11 is what it was at power-on.
const PCR_11: [u8; 32] = [0; 32];

/// A box.
#[derive(Debug)]
pub struct NodeBox {
    /// Its operator's place in the lock.
    pub operator: u8,
    /// Where it runs.
    pub place: Place,
    /// How many epochs one step of the lease counter allows; the vault's own number when absent.
    pub lease_epochs: Option<u64>,
    /// Whether restarts that the API is asked for are recorded; they are refused otherwise.
    pub records_reboots: bool,
    authority: Operator,
    dir: PathBuf,
    http_port: u16,
    tpm: Option<Swtpm>,
    vault: Option<Process>,
    daemon: Option<Process>,
}

/// What the operator hands to an empty box.
#[derive(Debug)]
pub struct Handover {
    /// The network, which is not built in.
    pub network: NetworkPins,
    /// The node's identity key.
    pub identity: [u8; 32],
    /// Its shares.
    pub shares: Shares,
}

/// What a box's two processes cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// Resident memory that is shared with no other process, in KiB.
    pub private_kib: u64,
    /// Processor time so far, in seconds.
    pub cpu_s: f64,
    /// Bytes of frames that went to and came from peers.
    pub peer_bytes: u64,
}

impl NodeBox {
    /// A box with an empty disk at `dir`, nothing running.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(operator: u8, place: Place, dir: &Path, http_port: u16) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            operator,
            place,
            lease_epochs: None,
            records_reboots: false,
            authority: Operator::from_seed(u64::from(operator)),
            dir: dir.to_owned(),
            http_port,
            tpm: None,
            vault: None,
            daemon: None,
        })
    }

    /// Its disk.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The vault's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("vault.sock")
    }

    /// The port of the daemon's loopback listener.
    #[must_use]
    pub const fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The vault's folder.
    #[must_use]
    pub fn vault_dir(&self) -> PathBuf {
        self.dir.join("vault")
    }

    /// The daemon's log.
    #[must_use]
    pub fn daemon_log(&self) -> PathBuf {
        self.dir.join("holdfastd.log")
    }

    /// Where the daemon records that it was to restart the box, which it does only when that is asked for.
    #[must_use]
    pub fn reboot_record(&self) -> PathBuf {
        self.dir.join("rebooted")
    }

    /// The process id of the daemon, while it runs.
    #[must_use]
    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Process::pid)
    }

    /// The process id of the vault, while it runs.
    #[must_use]
    pub fn vault_pid(&self) -> Option<u32> {
        self.vault.as_ref().map(Process::pid)
    }

    /// The process id of the TPM, while it is on.
    #[must_use]
    pub fn tpm_pid(&self) -> Option<u32> {
        self.tpm.as_ref().map(Swtpm::pid)
    }

    /// Where its peers reach it, as a multiaddress.
    ///
    /// # Errors
    /// When its configuration was not written yet.
    pub fn p2p_address(&self) -> anyhow::Result<String> {
        let configuration = self.configuration()?;
        Ok(configuration.peers.listen.first().context("the configuration has no address to listen on")?.clone())
    }

    /// Switches on the TPM and the vault, and waits until the vault answers.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn start_vault(&mut self) -> anyhow::Result<()> {
        let tpm = match self.tpm.take() {
            Some(tpm) => tpm,
            None => Swtpm::start_at(&self.place, &self.dir.join("tpm"))?,
        };
        let mut command = self.place.command(program("holdfast-vault")?);
        command.arg("--state").arg(self.vault_dir()).arg("--socket").arg(self.socket());
        command.args(["--tpm", &tpm.address(), "--board", BOARD, "--danger-tier-c"]);
        let release = ReleaseFiles::write(&self.dir, BOARD, 1..=1, PCR_11)?;
        command.arg("--release-key").arg(release.key).arg("--release-approvals").arg(release.approvals);
        if let Some(epochs) = self.lease_epochs {
            command.args(["--lease-epochs", &epochs.to_string()]);
        }
        self.tpm = Some(tpm);
        let mut vault = Process::start("holdfast-vault", command, &self.dir.join("holdfast-vault.log"))?;
        let started = Instant::now();
        loop {
            vault.check()?;
            match Client::connect(&self.socket()).and_then(|mut client| client.status()) {
                Ok(_) => break,
                Err(error) if started.elapsed() > START_MAX => return Err(error).context("the vault does not answer"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        self.vault = Some(vault);
        Ok(())
    }

    /// A client of the vault.
    ///
    /// # Errors
    /// When the vault does not run.
    pub fn vault(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.socket())?)
    }

    /// Gives the vault its authority, its network, its identity and its shares.
    ///
    /// # Errors
    /// When the vault refuses one of them.
    pub fn hand_over(&mut self, all: &Handover) -> anyhow::Result<()> {
        let mut vault = self.vault()?;
        let authority = &mut self.authority;
        authority.own(&mut vault).context("the box was not owned")?;
        let network = all.network.clone();
        authority.set_network(&mut vault, network, all.shares.epoch).context("the network was not pinned")?;
        authority.import_identity(&mut vault, &all.identity).context("the identity was not taken")?;
        authority.import(&mut vault, &all.shares).context("the shares were not taken")?;
        Ok(())
    }

    /// Gives the vault an order of its operator.
    ///
    /// # Errors
    /// When the vault does not run, or refuses.
    pub fn order(&self, order: Order) -> anyhow::Result<OrderOutcome> {
        Ok(self.authority.order(&mut self.vault()?, order)?)
    }

    /// Where the box shows its screen.
    #[must_use]
    pub fn screen_socket(&self) -> PathBuf {
        self.dir.join("screen.sock")
    }

    /// Where its API is reached.
    ///
    /// # Errors
    /// When its configuration was not written yet.
    pub fn api_address(&self) -> anyhow::Result<String> {
        Ok(self.configuration()?.api.listen)
    }

    /// The daemon's state folder.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// What the daemon is configured to.
    ///
    /// # Errors
    /// When its configuration was not written yet.
    pub fn configuration(&self) -> anyhow::Result<Configuration> {
        Ok(serde_json::from_slice(&fs::read(self.state_dir().join("configuration.json"))?)?)
    }

    /// Writes the cluster lock into the daemon's state folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_lock(&self, lock: &str) -> anyhow::Result<()> {
        fs::create_dir_all(self.state_dir())?;
        Ok(fs::write(self.state_dir().join("cluster-lock.json"), lock)?)
    }

    /// Writes the configuration into the daemon's state folder.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_configuration(&self, configuration: &Configuration) -> anyhow::Result<()> {
        fs::create_dir_all(self.state_dir())?;
        Ok(fs::write(self.state_dir().join("configuration.json"), serde_json::to_string_pretty(configuration)?)?)
    }

    /// Starts the daemon.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_daemon(&mut self) -> anyhow::Result<()> {
        let mut command = self.place.command(program("holdfastd")?);
        command.arg("--state").arg(self.state_dir()).arg("--vault").arg(self.socket()).args(["--board", BOARD]);
        command.arg("--screen-socket").arg(self.screen_socket());
        if self.records_reboots {
            command.arg("--danger-record-reboot").arg(self.reboot_record());
        }
        self.daemon = Some(Process::start("holdfastd", command, &self.daemon_log())?);
        Ok(())
    }

    /// Kills both processes and the TPM at once, as a power cut does.
    pub fn cut_power(&mut self) {
        self.kill_daemon();
        self.vault = None;
        self.tpm = None;
    }

    /// Kills the daemon as `kill -9` does.
    pub fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// Kills the vault as `kill -9` does; the TPM stays on.
    pub fn kill_vault(&mut self) {
        self.vault = None;
    }

    /// Switches everything on.
    ///
    /// # Errors
    /// When a process does not come up.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.start_vault()?;
        self.start_daemon()
    }

    /// Switches everything on after a power cut; the operator vouches for the disk, so that nobody waits for the lease.
    ///
    /// # Errors
    /// When a process does not come up, or the vault does not say that it waits for its lease.
    pub fn start_vouched(&mut self) -> anyhow::Result<()> {
        self.start_vault()?;
        self.vouch_disk()?;
        self.start_daemon()
    }

    /// Vouches for the disk after a power cut.
    ///
    /// # Errors
    /// When the vault does not say that it waits for its lease, or refuses.
    pub fn vouch_disk(&self) -> anyhow::Result<()> {
        let closed = self.vault()?.status()?.closed;
        if closed.as_ref().is_none_or(|closed| closed.id != ClosedId::LeaseUnclean) {
            bail!("node {}: expected a vault that waits after the power cut, saw {closed:?}", self.operator);
        }
        self.order(Order::VouchDisk)?;
        Ok(())
    }

    /// Stops everything in order.
    ///
    /// # Errors
    /// When a process does not stop by itself.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop(Duration::from_secs(20))?;
        }
        if let Some(mut vault) = self.vault.take() {
            vault.stop(Duration::from_secs(10))?;
        }
        self.tpm = None;
        Ok(())
    }

    /// Says that what was started still runs.
    ///
    /// # Errors
    /// When a process has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for process in [&mut self.vault, &mut self.daemon].into_iter().flatten() {
            process.check().with_context(|| format!("node {}", self.operator))?;
        }
        Ok(())
    }

    /// Fetches a path from the daemon's loopback listener.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let (status, body) = self.place.get(&format!("http://127.0.0.1:{}{path}", self.http_port))?;
        Ok((status, String::from_utf8(body)?))
    }

    /// What the daemon says about itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> anyhow::Result<Status> {
        Ok(serde_json::from_str(&self.get("/v1/status")?.1)?)
    }

    /// The duties that changed since.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub fn duties_after(&self, after: u64) -> anyhow::Result<DutyList> {
        Ok(serde_json::from_str(&self.get(&format!("/v1/duties?after={after}"))?.1)?)
    }

    /// What the box costs at present.
    ///
    /// # Errors
    /// When its processes do not run.
    pub fn figures(&self) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        for process in [&self.daemon, &self.vault] {
            let pid = process.as_ref().context("the box is off")?.pid();
            let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            figures.rss_kib += kib(&memory, "Rss:");
            figures.private_kib += kib(&memory, "Private_Clean:") + kib(&memory, "Private_Dirty:");
            figures.cpu_s += cpu_seconds(pid)?;
        }
        let (_, metrics) = self.get("/metrics")?;
        figures.peer_bytes = metrics
            .lines()
            .filter(|line| line.starts_with("holdfast_p2p_bytes_") || line.starts_with("p2p_bytes_"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        Ok(figures)
    }

    /// Waits until the daemon is in the mode that `is` accepts.
    ///
    /// # Errors
    /// When it is not within `limit`; the error says what it says instead.
    pub fn wait_for(&mut self, what: &str, limit: Duration, is: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        let started = Instant::now();
        loop {
            self.check()?;
            let status = self.status();
            match status {
                Ok(status) if is(&status) => return Ok(status),
                Ok(status) if started.elapsed() > limit => {
                    bail!("node {} is not {what} after {limit:?} but {}: {}", self.operator, status.mode, status.reason)
                }
                Err(error) if started.elapsed() > limit => {
                    return Err(error).context(format!("node {} is not {what} after {limit:?}", self.operator));
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }
}

fn kib(smaps: &str, field: &str) -> u64 {
    smaps
        .lines()
        .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or_default()
}

/// User and system time of a process, in seconds.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may contain spaces; it ends at the last bracket, and field 14 is the 12th after it.
    let fields: Vec<&str> = stat.rsplit_once(')').context("odd /proc stat")?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11).context("short /proc stat")?.parse::<f64>()? + fields[12].parse::<f64>()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(ticks / per_second as f64)
}
