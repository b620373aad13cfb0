//! A real beacon chain on this machine: Lodestar's beacon node and a filler for the validators that are not the
//! cluster's. Both end with this process, because they read its end of their standard input.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use holdfast_types::ValidatorPublic;
use serde_json::json;

use crate::kit::Place;

/// How long the node may take until its API answers: its cryptographic set-up alone needs 6 to 9 s on a free machine.
const START_MAX: Duration = Duration::from_secs(120);

/// What chain to run.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// Where configuration and logs go.
    pub dir: PathBuf,
    /// Where it runs; the API listens on that place's address.
    pub place: Place,
    /// The port of the API.
    pub port: u16,
    /// The length of a slot in whole seconds.
    pub slot_seconds: u64,
    /// The genesis time, in Unix seconds.
    pub genesis_time_s: u64,
    /// The group keys that take the last places in the validator set.
    pub cluster: Vec<ValidatorPublic>,
    /// How many validators the filler drives.
    pub filler: usize,
}

/// A running chain.
#[derive(Debug)]
pub struct Chain {
    url: String,
    node: Child,
    filler: Child,
}

impl Chain {
    /// Starts the node, waits until its API answers, then starts the filler.
    ///
    /// # Errors
    /// When the packages are not installed, or the node ends or stays silent for two minutes.
    pub fn start(options: &ChainOptions) -> anyhow::Result<Self> {
        fs::create_dir_all(&options.dir).with_context(|| format!("cannot make {}", options.dir.display()))?;
        let pubkeys: BTreeMap<String, String> = options
            .cluster
            .iter()
            .enumerate()
            .map(|(i, key)| ((options.filler + i).to_string(), key.to_string()))
            .collect();
        let node_config = json!({
            "host": options.place.address(),
            "port": options.port,
            "validators": options.filler + options.cluster.len(),
            "genesisTime": options.genesis_time_s,
            "slotSeconds": options.slot_seconds,
            "pubkeys": pubkeys,
        });
        let url = format!("http://{}:{}", options.place.address(), options.port);
        let mut node = spawn(options, "node", &node_config)?;
        if let Err(error) = wait_until_healthy(options, &mut node) {
            end(&mut node);
            return Err(error);
        }
        let filler_config = json!({ "url": url, "first": 0, "last": options.filler - 1 });
        let filler = match spawn(options, "filler", &filler_config) {
            Ok(filler) => filler,
            Err(error) => {
                end(&mut node);
                return Err(error);
            }
        };
        Ok(Self { url, node, filler })
    }

    /// The base of the Beacon API.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Says whether both processes still run.
    ///
    /// # Errors
    /// When one has ended, naming it.
    pub fn check(&mut self) -> anyhow::Result<()> {
        for (name, child) in [("beacon node", &mut self.node), ("filler", &mut self.filler)] {
            if let Some(status) = child.try_wait()? {
                bail!("the local chain's {name} ended with {status}");
            }
        }
        Ok(())
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        end(&mut self.filler);
        end(&mut self.node);
    }
}

/// A genesis time far enough away that everything is up by then.
///
/// # Panics
/// When the clock stands before 1970.
#[must_use]
pub fn genesis_in(delay: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970");
    (now + delay).as_secs()
}

fn spawn(options: &ChainOptions, name: &str, config: &serde_json::Value) -> anyhow::Result<Child> {
    let installed = installed_dir()?;
    let config_path = options.dir.join(format!("{name}.json"));
    fs::write(&config_path, config.to_string()).with_context(|| format!("cannot write {}", config_path.display()))?;
    let log_path = options.dir.join(format!("{name}.log"));
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let program = installed.join(format!("node24/node_modules/node-linux-{arch}/bin/node"));
    options
        .place
        .command(&program)
        .arg(format!("{name}.mjs"))
        .arg(&config_path)
        .current_dir(&installed)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {} for the local chain", program.display()))
}

/// The folder that `./dev` installs the chain into.
fn installed_dir() -> anyhow::Result<PathBuf> {
    let dir = crate::repo_root().join(".dev/chain");
    if !dir.join("node_modules/@lodestar/beacon-node").is_dir() {
        bail!("the local chain is not installed in {}: run ./dev setup", dir.display());
    }
    Ok(dir)
}

fn wait_until_healthy(options: &ChainOptions, node: &mut Child) -> anyhow::Result<()> {
    let url = format!("http://{}:{}/eth/v1/node/health", options.place.address(), options.port);
    let started = Instant::now();
    while started.elapsed() < START_MAX {
        if let Some(status) = node.try_wait()? {
            bail!("the beacon node ended with {status}: see {}", log_of(&options.dir).display());
        }
        if options.place.get(&url).is_ok_and(|(status, _)| status == 200) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    bail!("the beacon node did not answer within {} s: see {}", START_MAX.as_secs(), log_of(&options.dir).display())
}

fn log_of(dir: &Path) -> PathBuf {
    dir.join("node.log")
}

fn end(child: &mut Child) {
    // Already ended is fine: there is nothing left to stop.
    let _ = child.kill();
    let _ = child.wait();
}
