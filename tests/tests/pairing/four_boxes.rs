//! The first hour of four operators, by the command alone, up to attestations on the chain.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_tests::kit::{ChainReader, Cluster, ClusterOptions, Desk, NodeBox, Place};
use holdfast_types::{Mode, Slot};
use serde_json::Value;

/// Four boxes are paired with the codes on their screens, get a cluster and a beacon node, and sign: all by the command.
pub(crate) fn sign(dir: &Path) -> anyhow::Result<()> {
    let home = dir.join("desk");
    let options = ClusterOptions {
        dir: dir.join("cluster"),
        nodes: NODES,
        threshold: None,
        validators: VALIDATORS,
        slot_seconds: 2,
        link_delay: None,
        by_command: Some(home.clone()),
        short_lease: None,
    };
    let mut cluster = Cluster::set_up(&options, |step| println!("  {step}"))?;
    for node in &mut cluster.boxes {
        node.wait_for("ready", READY_MAX, |status| status.mode == Mode::Ready)?;
    }
    let first = Slot(cluster.slot_now().unwrap_or_default().0 + 2);
    cluster.wait_for_slot(Slot(first.0 + SLOTS + 2))?;
    let keys: Vec<String> = cluster.keys.lock.validators().map(|validator| validator.public.to_string()).collect();
    let mut reader =
        ChainReader::new(cluster.beacon_place.clone(), cluster.chain.url(), cluster.spec.slots_per_epoch, &keys)?;
    let inclusion = reader.inclusion(first.0, first.0 + SLOTS - 1, reader.head_slot()?)?;
    println!("  {} of {} attestations of {SLOTS} slots included", inclusion.included, inclusion.expected);
    ensure!(inclusion.expected >= usize::try_from(SLOTS / 4)?, "too few duties to tell: {inclusion:?}");
    ensure!(inclusion.included * 10 >= inclusion.expected * 9, "not included: {:?}", inclusion.missed);

    let desk = Desk::new(&home, Place::here())?;
    shows_all(&desk)?;
    for node in &cluster.boxes {
        ensure!(listens_where_it_should(node)?, "box {} listens elsewhere too", node.operator);
    }
    cluster.boxes.iter_mut().try_for_each(NodeBox::stop)
}

/// What the command shows of boxes at work.
fn shows_all(desk: &Desk) -> anyhow::Result<()> {
    let status: Value = serde_json::from_str(&desk.run(&["status", "--all", "-o", "json"])?)?;
    let boxes = status.as_array().context("the status of all boxes is a list")?;
    ensure!(boxes.len() == usize::from(NODES), "{} boxes are shown", boxes.len());
    for one in boxes {
        ensure!(one["answer"]["mode"] == "ready", "a box is not ready: {one}");
        ensure!(one["answer"]["vault"]["tier"] == "C", "an emulated TPM is shown as more: {one}");
    }
    println!("{}", desk.run(&["status", "--all"])?);
    for arguments in [
        ["peers"].as_slice(),
        &["duties"],
        &["validators"],
        &["cluster", "show"],
        &["cluster", "enr"],
        &["beacon", "list"],
        &["config", "get"],
        &["vault", "status"],
        &["vault", "evidence"],
        &["vault", "history"],
        &["vault", "orders"],
        &["logs"],
        &["authority", "show"],
        &["context", "list"],
    ] {
        let arguments = [&["--context", "box0"], arguments].concat();
        let said = desk.run(&arguments)?;
        ensure!(!said.trim().is_empty(), "holdfast {} said nothing", arguments.join(" "));
    }
    Ok(())
}

/// Whether the daemon's listening sockets are its API, its p2p port, and others on loopback ports that it was given.
fn listens_where_it_should(node: &NodeBox) -> anyhow::Result<bool> {
    let configuration = node.configuration()?;
    let port = |address: &str| address.rsplit([':', '/']).next().and_then(|port| port.parse::<u16>().ok());
    let mut allowed: BTreeSet<u16> = configuration.peers.listen.iter().filter_map(|address| port(address)).collect();
    allowed.extend(port(&configuration.api.listen));
    allowed.insert(node.http_port());
    let listening = listening_ports(node.daemon_pid().context("the daemon does not run")?)?;
    Ok(!listening.is_empty() && listening.is_subset(&allowed) && allowed.is_subset(&listening))
}

/// The TCP ports on which a process listens.
fn listening_ports(pid: u32) -> anyhow::Result<BTreeSet<u16>> {
    let sockets: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut ports = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        for line in fs::read_to_string(format!("/proc/{pid}/net/{table}"))?.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, .., inode] = fields.get(..10).unwrap_or_default() else { continue };
            if *state == LISTENING && sockets.contains(*inode) {
                let port = local.rsplit(':').next().context("an address has a port")?;
                ports.insert(u16::from_str_radix(port, 16)?);
            }
        }
    }
    Ok(ports)
}

const NODES: u8 = 4;
const VALIDATORS: usize = 16;
const SLOTS: u64 = 24;
const READY_MAX: Duration = Duration::from_secs(180);
/// `TCP_LISTEN` in the kernel's tables.
const LISTENING: &str = "0A";
