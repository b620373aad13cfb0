//! One box under test: a state folder, an emulated TPM behind a bus, a vault, a clock that may be wrong, and its operator.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use holdfast_evidence::{HistoryClaim, NetworkPins};
use holdfast_test_operator::{Operator, Release, ReleaseFiles, Shares};
use holdfast_tests::bus::{Bus, command};
use holdfast_tests::kit::{Place, Process};
use holdfast_tests::program;
use holdfast_tests::swtpm::Swtpm;
use holdfast_types::{Epoch, ForkVersion, LockHash, Millis, ShareIndex, Slot};
use holdfast_vault_client::{Client, Closed, ClosedId, VaultStatus};
use sha2::{Digest as _, Sha256};

use crate::asking::{Key, Network};
use crate::copies::Copy;

/// A box. Dropping it kills everything that runs.
pub(crate) struct Rig {
    pub(crate) operator: Operator,
    pub(crate) network: Network,
    pub(crate) keys: Vec<Key>,
    /// How many epochs one step of the lease allows.
    pub(crate) lease_epochs: u64,
    /// What the firmware measures into register 7 at each boot.
    pub(crate) firmware: Option<[u8; 32]>,
    /// What the image measures into register 11.
    pub(crate) image: Option<[u8; 32]>,
    /// What of it the release approves, and for which levels.
    pub(crate) approved: (Option<[u8; 32]>, RangeInclusive<u64>),
    /// How far the vault's clock is ahead of the right one, in seconds. Takes effect at its next start.
    pub(crate) clock_ahead_s: i64,
    dir: PathBuf,
    power: Option<Power>,
    vault: Option<Process>,
}

/// What is gone when the power goes; the bus first.
struct Power {
    bus: Bus,
    _tpm: Swtpm,
}

impl Rig {
    /// A box with an empty disk and a new TPM, switched off.
    pub(crate) fn new(dir: &Path, network: Network, lease_epochs: u64) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            operator: Operator::from_seed(1),
            network,
            keys: (1..=2).map(Key::of).collect(),
            lease_epochs,
            firmware: None,
            image: None,
            approved: (None, 1..=1),
            clock_ahead_s: 0,
            dir: dir.to_owned(),
            power: None,
            vault: None,
        })
    }

    /// A box that signs: owned, its network pinned, with an identity and its shares.
    pub(crate) fn signing(dir: &Path, network: Network, lease_epochs: u64) -> anyhow::Result<Self> {
        let mut rig = Self::new(dir, network, lease_epochs)?;
        rig.start()?;
        rig.own()?;
        rig.import(HistoryClaim::NeverSigned)?;
        rig.wait_until_open(OPEN_MAX)?;
        Ok(rig)
    }

    /// Becomes the box's owner and pins its network.
    pub(crate) fn own(&mut self) -> anyhow::Result<()> {
        let mut vault = self.client()?;
        self.operator.own(&mut vault).context("the box was not owned")?;
        // Not before: owning a box takes more than an epoch of half a second.
        let (pins, epoch) = (self.network.pins(), self.epoch());
        self.operator.set_network(&mut vault, pins, epoch).context("the network was not pinned")?;
        Ok(())
    }

    /// Gives it an identity and the shares of its keys.
    pub(crate) fn import(&mut self, history: HistoryClaim) -> anyhow::Result<()> {
        let mut vault = self.client()?;
        self.operator.import_identity(&mut vault, &IDENTITY).context("the identity was not taken")?;
        let shares = self.shares(history);
        self.operator.import(&mut vault, &shares).context("the shares were not taken")?;
        Ok(())
    }

    /// The shares of its keys, as its operator has them.
    pub(crate) fn shares(&self, history: HistoryClaim) -> Shares {
        Shares {
            lock_hash: LockHash([5; 32]),
            share_index: ShareIndex(1),
            genesis_fork_version: ForkVersion(Network::FORK),
            epoch: self.epoch(),
            history,
            secrets: self.keys.iter().map(|key| (key.public, key.secret)).collect(),
        }
    }

    /// The network as an order pins it.
    pub(crate) fn pins(&self) -> NetworkPins {
        self.network.pins()
    }

    /// The time by the vault's clock.
    pub(crate) fn now(&self) -> Millis {
        let ahead_ms = self.clock_ahead_s.saturating_mul(1_000);
        Millis(holdfast_tests::now().0.saturating_add_signed(ahead_ms))
    }

    /// The slot by the vault's clock.
    pub(crate) fn slot(&self) -> Slot {
        self.network.spec.slot_at(self.now()).unwrap_or_default()
    }

    /// The epoch by the vault's clock.
    pub(crate) fn epoch(&self) -> Epoch {
        self.network.spec.epoch_of(self.slot())
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("vault")
    }

    /// The folder of the TPM's own state.
    pub(crate) fn tpm_state(&self) -> PathBuf {
        self.dir.join("tpm")
    }

    /// A place for copies and logs.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bus to the TPM.
    pub(crate) fn bus(&self) -> anyhow::Result<&Bus> {
        Ok(&self.power.as_ref().context("the box is switched off")?.bus)
    }

    /// Switches the TPM on, and measures as firmware and image do.
    pub(crate) fn power_on(&mut self) -> anyhow::Result<()> {
        if self.power.is_some() {
            return Ok(());
        }
        let tpm = Swtpm::start(&self.tpm_state())?;
        let bus = Bus::to(tpm.port())?;
        for (register, measured) in [(7, self.firmware), (11, self.image)] {
            if let Some(digest) = measured {
                bus.send(&command::extend(register, &digest))?;
            }
        }
        self.power = Some(Power { bus, _tpm: tpm });
        Ok(())
    }

    /// Switches everything on, and waits until the vault answers.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        self.power_on()?;
        ensure!(self.vault.is_none(), "the vault runs already");
        let release = Release::from_seed(ReleaseFiles::SEED);
        let approvals = release.approve(BOARD, self.approved.1.clone(), register(self.approved.0));
        let files = ReleaseFiles::write_of(&self.dir, release.public(), &approvals)?;
        let mut command = Place::here().command(program("holdfast-vault")?);
        command.arg("--state").arg(self.state()).arg("--socket").arg(self.socket());
        command.args(["--tpm", &self.bus()?.address(), "--board", BOARD, "--danger-tier-c"]);
        command.arg("--release-key").arg(files.key).arg("--release-approvals").arg(files.approvals);
        command.args(["--lease-epochs", &self.lease_epochs.to_string()]);
        if self.clock_ahead_s != 0 {
            command.env("LD_PRELOAD", fake_clock()?);
            command.env("FAKETIME", format!("{:+}", self.clock_ahead_s)).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let mut vault = Process::start("holdfast-vault", command, &self.dir.join("holdfast-vault.log"))?;
        let started = Instant::now();
        while let Err(error) = self.client().and_then(|mut client| Ok(client.status()?)) {
            vault.check()?;
            if started.elapsed() > START_MAX {
                return Err(error).context("the vault does not answer");
            }
            std::thread::sleep(PAUSE);
        }
        self.vault = Some(vault);
        Ok(())
    }

    /// Ends the vault in order; the TPM stays on.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.vault.take().context("no vault runs")?.stop(STOP_MAX)
    }

    /// Ends it as `kill -9` does, if it runs; the TPM stays on.
    pub(crate) fn kill(&mut self) {
        self.vault = None;
    }

    /// Cuts the power of vault and TPM.
    pub(crate) fn cut_power(&mut self) {
        self.kill();
        self.power = None;
    }

    /// Switches off in order: the vault stops, and the TPM is told.
    pub(crate) fn shut_down(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.bus()?.send(&command::shutdown())?;
        self.power = None;
        Ok(())
    }

    /// Stops the vault in order and starts it again.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        self.start()
    }

    /// Switches off in order and on again.
    pub(crate) fn reboot(&mut self) -> anyhow::Result<()> {
        self.shut_down()?;
        self.start()
    }

    /// The process id of the vault.
    pub(crate) fn vault_pid(&self) -> anyhow::Result<u32> {
        Ok(self.vault.as_ref().context("no vault runs")?.pid())
    }

    /// Whether the vault still runs.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.vault.as_mut().context("no vault runs")?.check()
    }

    /// A client of the vault; a call that takes longer than a vault may counts as a hang.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect_with_timeout(&self.socket(), CALL_MAX)?)
    }

    /// What the vault says about itself.
    pub(crate) fn status(&self) -> anyhow::Result<VaultStatus> {
        Ok(self.client()?.status()?)
    }

    /// The present value of the lease's counter, as a running vault says.
    pub(crate) fn counter(&self) -> anyhow::Result<u64> {
        Ok(self.status()?.lease.context("the vault holds no lease")?.counter)
    }

    /// The last epoch that may be signed under the present lease, as a running vault says.
    pub(crate) fn last_epoch(&self) -> anyhow::Result<Epoch> {
        Ok(self.status()?.lease.context("the vault holds no lease")?.last_epoch)
    }

    /// Waits until the vault signs; gives how long that took.
    pub(crate) fn wait_until_open(&mut self, limit: Duration) -> anyhow::Result<Duration> {
        let started = Instant::now();
        while let Some(closed) = self.status()?.closed {
            self.check()?;
            ensure!(started.elapsed() < limit, "expected an open vault within {limit:?}, saw: {closed}");
            std::thread::sleep(PAUSE);
        }
        Ok(started.elapsed())
    }

    /// Waits until an epoch has begun.
    pub(crate) fn wait_for_epoch(&mut self, epoch: Epoch) -> anyhow::Result<()> {
        while self.epoch() < epoch {
            self.check()?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// The vault signs at present.
    pub(crate) fn expect_open(&self, when: &str) -> anyhow::Result<()> {
        match self.status()?.closed {
            None => Ok(()),
            Some(closed) => bail!("expected a vault that signs {when}, saw: {closed}"),
        }
    }

    /// The vault is closed for this reason, says so in words that contain `words`, and signs nothing whatever is asked.
    pub(crate) fn expect_closed(&self, when: &str, id: ClosedId, words: &str) -> anyhow::Result<Closed> {
        let closed = self.status()?.closed;
        let Some(closed) = closed.filter(|closed| closed.id == id && closed.reason.contains(words)) else {
            bail!("expected {id} with {words:?} {when}, saw {:?}", self.status()?.closed);
        };
        self.signs_nothing(when, id)?;
        Ok(closed)
    }

    /// The present state folder. The vault must not run, unless the copy is to be of one that was caught in the middle.
    pub(crate) fn copy_disk(&self, name: &str) -> anyhow::Result<Copy> {
        Copy::take(&self.state(), &self.dir.join("copies").join(name))
    }

    /// The present state of the TPM, which must be off.
    pub(crate) fn copy_tpm(&self, name: &str) -> anyhow::Result<Copy> {
        ensure!(self.power.is_none(), "the TPM is on: its state may be under way");
        Copy::take(&self.tpm_state(), &self.dir.join("copies").join(name))
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("vault.sock")
    }
}

/// A register of a boot that measured this into it.
pub(crate) fn register(measured: Option<[u8; 32]>) -> [u8; 32] {
    measured.map_or([0; 32], |digest| Sha256::new_with_prefix([0; 32]).chain_update(digest).finalize().into())
}

/// The library that shows a process another time.
fn fake_clock() -> anyhow::Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib").context("cannot list /usr/lib")?;
    let mut found = folders.flatten().map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    found.find(|path| path.is_file()).context("no libfaketime: install the package libfaketime")
}

/// The lease's counter, as the vault has it on every TPM.
pub(crate) const LEASE_COUNTER: u32 = 0x0180_4801;
/// The counter of generations.
pub(crate) const GENERATION_COUNTER: u32 = 0x0180_4802;
/// The node identity key of every box here: 32 bytes as random as a key's.
pub(crate) const IDENTITY: [u8; 32] = *b"\x3e\xd1~the node id of a test box..\x9a\x07";
/// How long a vault may take to begin its lease.
pub(crate) const OPEN_MAX: Duration = Duration::from_secs(60);

pub(crate) const BOARD: &str = "test";
/// How long a process may take to come up on a busy machine with two cores.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(10);
/// A request that seals anew takes an emulated TPM a fraction of a second; on a machine whose disk is busy, the syncs of one
/// request and of a renewal before it have taken ten.
const CALL_MAX: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
