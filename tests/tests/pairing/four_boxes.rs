//! The first hour of four operators, by the command alone, up to attestations on the chain.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_tests::kit::{ChainReader, Cluster, ClusterOptions, Desk, NodeBox, Place};
use holdfast_types::{Mode, Slot};
use serde_json::Value;

use crate::{flood, metrics, ports, secrets};

/// Four boxes are paired with the codes on their screens, get a cluster and a beacon node, and sign: all by the command.
pub(crate) fn sign(dir: &Path) -> anyhow::Result<()> {
    let home = dir.join("desk");
    let options = ClusterOptions {
        dir: dir.join("cluster"),
        nodes: NODES,
        threshold: None,
        validators: VALIDATORS,
        slot_seconds: SLOT_SECONDS,
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
    ensure!(inclusion.missed.len() <= 1, "not included: {:?}", inclusion.missed);

    let desk = Desk::new(&home, Place::here())?;
    shows_all(&desk)?;
    flood::duties_go_on(&mut cluster, &mut reader, &desk, &home)?;
    for node in &cluster.boxes {
        ports::only_those_configured(node)?;
    }
    metrics::need_certificates_elsewhere(&cluster.boxes[2], &desk, &secrets::authority(&home)?)?;
    secrets::stay_where_they_belong(&mut cluster, &desk, &home, &dir.join("answers"))?;
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

const NODES: u8 = 4;
const VALIDATORS: usize = 16;
/// Two seconds are too few on a machine that is busy: the votes must reach the aggregators of the chain.
const SLOT_SECONDS: u64 = 3;
const SLOTS: u64 = 12;
const READY_MAX: Duration = Duration::from_secs(180);
