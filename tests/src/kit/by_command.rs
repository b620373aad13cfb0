//! A box brought into a cluster as its operator does it: with the command alone, and with eyes on the box's screen.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use holdfast_api::Configuration;
use holdfast_evidence::NetworkPins;
use serde_json::json;

use super::desk::{Desk, screen};
use super::node_box::NodeBox;

/// How long a box may take to show its first code: it makes it slow by design.
const CODE_MAX: Duration = Duration::from_secs(60);

/// How long a beacon node may be too slow to be of use.
const BEACON_MAX: Duration = Duration::from_secs(30);

/// What the operator has on the desk for one box.
#[derive(Debug)]
pub(super) struct Papers<'a> {
    /// The cluster's lock.
    pub(super) lock: &'a Path,
    /// The folder of the operator's node, with keystores and node key.
    pub(super) node_dir: &'a Path,
    /// What is to be configured.
    pub(super) configuration: &'a Configuration,
    /// The network, which is not built in.
    pub(super) network: &'a Path,
}

/// Pairs a box that runs and that nobody owns, and gives the code that it had shown.
///
/// # Errors
/// When the command fails.
pub(super) fn pair(node: &NodeBox, desk: &Desk) -> anyhow::Result<String> {
    let code = code_on_screen(&node.screen_socket())?;
    let name = context_of(node);
    let address = node.api_address()?;
    desk.run_with(
        &["pair", &address, "--code-file", "-", "--name", &name, "--yes", EMULATED, "--danger-no-passphrase"],
        &code,
    )?;
    Ok(code)
}

/// Gives a box that was paired its configuration, its identity, its lock and its shares, and a beacon node.
///
/// # Errors
/// When the command fails.
pub(super) fn enrol(node: &NodeBox, desk: &Desk, papers: &Papers<'_>) -> anyhow::Result<()> {
    let name = context_of(node);
    let without_beacon = Configuration { beacon_nodes: Vec::new(), ..papers.configuration.clone() };
    desk.run_with(&["--context", &name, "--yes", "config", "apply", "-"], &serde_json::to_string(&without_beacon)?)?;
    let path = |path: PathBuf| path.display().to_string();
    let (lock, network) = (path(papers.lock.to_owned()), path(papers.network.to_owned()));
    let (keystores, identity) =
        (path(papers.node_dir.join("validator_keys")), path(papers.node_dir.join("charon-enr-private-key")));
    let import = ["cluster", "import", &lock, "--keystores", &keystores, "--never-signed"];
    let with = ["--identity", &identity, "--network", &network, EMULATED];
    desk.run(&[&["--context", &name, "--yes"], import.as_slice(), with.as_slice()].concat())?;
    for beacon in &papers.configuration.beacon_nodes {
        add_beacon(desk, &["--context", &name, "--yes", "beacon", "add", &beacon.url, "--name", &beacon.name])?;
    }
    Ok(())
}

/// A chain that has just begun is slow on a busy machine: it is tried again, as an operator would.
fn add_beacon(desk: &Desk, arguments: &[&str]) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        match desk.run(arguments) {
            Err(error) if began.elapsed() < BEACON_MAX && error.to_string().contains("time limit reached") => {
                std::thread::sleep(Duration::from_secs(1));
            }
            added => return added.map(|_| ()),
        }
    }
}

/// By what name the desk knows a box.
pub(super) fn context_of(node: &NodeBox) -> String {
    format!("box{}", node.operator)
}

/// Writes what `--network` reads.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_network(path: &Path, name: &str, chain_id: u64, network: &NetworkPins) -> anyhow::Result<()> {
    let chain = &network.chain;
    let forks: Vec<_> =
        chain.forks.iter().map(|fork| json!({"epoch": fork.epoch.0, "version": fork.version})).collect();
    let file = json!({
        "name": name,
        "chainId": chain_id,
        "genesisTime": chain.genesis_time_s,
        "genesisValidatorsRoot": chain.genesis_validators_root,
        "genesisForkVersion": chain.genesis_fork_version,
        "slotMs": chain.slot_ms,
        "slotsPerEpoch": chain.slots_per_epoch,
        "forks": forks,
        "exitForkVersion": network.exit_fork_version,
    });
    fs::write(path, serde_json::to_string_pretty(&file)?).with_context(|| format!("cannot write {}", path.display()))
}

/// The code that a screen shows, once it does.
///
/// # Errors
/// When it shows none in time.
pub fn code_on_screen(socket: &Path) -> anyhow::Result<String> {
    let began = Instant::now();
    loop {
        let shown = screen(socket);
        let code = shown.as_ref().ok().and_then(|screen| screen.pairing.as_ref()?.code.clone());
        match code {
            Some(code) => return Ok(code),
            None if began.elapsed() > CODE_MAX => bail!("the screen shows no code: {shown:?}"),
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Every TPM of the tests is emulated.
const EMULATED: &str = "--danger-accept-emulated-tpm";
