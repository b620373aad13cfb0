//! A box under attack: it goes on doing its duties, answers its operator, and is afterwards what it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_api::DutyRecord;
use holdfast_tests::kit::{ChainReader, Cluster, Desk, NodeBox};
use holdfast_types::Slot;
use serde_json::Value;

use crate::attack::{Attack, HELD_MAX, MARK, Tally};
use crate::secrets;

/// What the attacked daemon's process was at its most.
#[derive(Debug, Default)]
struct Peak {
    resident_kib: u64,
    open_files: usize,
    answer: Duration,
    answers: u32,
}

/// Floods the API of box 0 for one and a half epochs while the cluster signs.
pub(crate) fn duties_go_on(
    cluster: &mut Cluster,
    reader: &mut ChainReader,
    desk: &Desk,
    home: &Path,
) -> anyhow::Result<()> {
    let authority = secrets::authority(home)?;
    let (pid, address) = (attacked(cluster).daemon_pid().context("the daemon does not run")?, api(cluster)?);
    let (before_kib, before_files) = (resident_kib(pid)?, open_files(pid)?);
    let busy_before = too_busy(&cluster.boxes[1])?;
    let attack = Attack::start(address.parse()?, &authority)?;
    let first = cluster.slot_now().unwrap_or_default().0 + 1;
    let last = first + SLOTS - 1;
    let mut peak = Peak::default();
    while cluster.slot_now().unwrap_or_default().0 <= last {
        cluster.check()?;
        look(&mut peak, pid, desk)?;
        std::thread::sleep(LOOK_EVERY);
    }
    let tally = attack.stop()?;
    println!("  {tally} in {SLOTS} slots; {peak:?}, before it {before_kib} KiB and {before_files} files");
    was_an_attack(&tally)?;
    ensure!(peak.answers > 20, "only {} answers to the operator were waited for", peak.answers);
    ensure!(peak.answer < ANSWER_MAX, "an answer to the operator took {:?}", peak.answer);
    ensure!(peak.open_files < before_files + FILES_MORE_MAX, "{} files were open", peak.open_files);
    ensure!(
        peak.resident_kib < before_kib + MEMORY_MORE_MAX_KIB,
        "the daemon grew from {before_kib} to {} KiB",
        peak.resident_kib
    );

    did_all_duties(cluster, reader, (first, last), busy_before)?;
    comes_to_rest(pid, before_files)?;
    echoes_nothing(attacked(cluster), desk, &tally)
}

fn attacked(cluster: &Cluster) -> &NodeBox {
    &cluster.boxes[0]
}

fn api(cluster: &Cluster) -> anyhow::Result<String> {
    attacked(cluster).api_address()
}

/// The operator asks how the box is, with a new connection each time.
fn look(peak: &mut Peak, pid: u32, desk: &Desk) -> anyhow::Result<()> {
    let asked = Instant::now();
    let said = desk.run(&["--context", "box0", "status", "-o", "json"]).context("under attack")?;
    peak.answer = peak.answer.max(asked.elapsed());
    peak.answers += 1;
    let status: Value = serde_json::from_str(&said)?;
    ensure!(status["mode"] == "ready", "the box is not ready under attack: {said}");
    peak.resident_kib = peak.resident_kib.max(resident_kib(pid)?);
    peak.open_files = peak.open_files.max(open_files(pid)?);
    Ok(())
}

/// Otherwise it would have shown nothing.
fn was_an_attack(tally: &Tally) -> anyhow::Result<()> {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    ensure!(of(&tally.half_open) >= HELD_MAX as u64, "too few half-open connections: {tally}");
    ensure!(of(&tally.slow_bodies) > 24 && of(&tally.oversized) > 50 && of(&tally.named) > 20, "too little: {tally}");
    ensure!(of(&tally.stalled) > of(&tally.cut_off) && of(&tally.cut_off) > 8, "nobody was cut off: {tally}");
    ensure!(of(&tally.codes) > 20, "too few codes: {tally}");
    Ok(())
}

/// By the box itself, by its peer that got its signatures, and by the chain.
fn did_all_duties(
    cluster: &mut Cluster,
    reader: &mut ChainReader,
    (first, last): (u64, u64),
    busy_before: usize,
) -> anyhow::Result<()> {
    cluster.wait_for_slot(Slot(last + 3))?;
    let mut inclusion = reader.inclusion(first, last, reader.head_slot()?)?;
    while !inclusion.missed.is_empty() && cluster.slot_now().unwrap_or_default().0 < last + INCLUSION_MAX_SLOTS {
        std::thread::sleep(Duration::from_secs(1));
        inclusion = reader.inclusion(first, last, reader.head_slot()?)?;
    }
    let (own, peers) =
        (attester_duties(attacked(cluster), first, last)?, attester_duties(&cluster.boxes[1], first, last)?);
    let in_words = |slot: u64| format!("{:?}, and its peer: {:?}", own.get(&slot), peers.get(&slot));
    for (slot, duty) in &peers {
        let done = own.get(slot).is_some_and(|own| own.signed == own.validators && own.missed.is_none());
        ensure!(done && duty.partials_from.contains(&0), "box 0 missed slot {slot}: {}", in_words(*slot));
    }
    let validators: usize = own.values().map(|duty| duty.validators).sum();
    ensure!(
        inclusion.expected > 0 && inclusion.expected == validators,
        "the chain has {} duties and box 0 knows of {validators}",
        inclusion.expected
    );
    let (included, busy) = (inclusion.included, too_busy(&cluster.boxes[1])? > busy_before);
    println!("  the box under attack signed all {validators} attestations, {included} of them were included");
    if busy {
        println!("  the beacon node was too slow for a box that nobody attacks: this machine is too busy to tell more");
    }
    let bound = if busy { validators / 2 } else { validators };
    if let Some(missed) = inclusion.missed.first().filter(|_| included < bound) {
        let many = inclusion.missed.len();
        anyhow::bail!("{many} of {validators} not included, first {missed:?}: {}", in_words(missed.slot));
    }
    Ok(())
}

/// How often a box found its beacon node too slow: it shares nothing with the box under attack but the machine.
fn too_busy(node: &NodeBox) -> anyhow::Result<usize> {
    Ok(fs::read_to_string(node.daemon_log())?.matches("beacon node is of no use at present").count())
}

fn attester_duties(node: &NodeBox, first: u64, last: u64) -> anyhow::Result<BTreeMap<u64, DutyRecord>> {
    let duties = node.duties_after(0)?.duties.into_iter();
    let wanted = |duty: &DutyRecord| duty.kind == "attester" && (first..=last).contains(&duty.slot.0);
    Ok(duties.filter(wanted).map(|duty| (duty.slot.0, duty)).collect())
}

/// What the attack has opened is closed.
fn comes_to_rest(pid: u32, before: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let now = open_files(pid)?;
        if now <= before + FILES_LEFT_MAX {
            return Ok(());
        }
        ensure!(began.elapsed() < REST_MAX, "{now} files are open, and {before} were before the attack");
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Nothing that the attacker has sent is in an answer, in the log or in the audit log.
fn echoes_nothing(node: &NodeBox, desk: &Desk, tally: &Tally) -> anyhow::Result<()> {
    let heard = tally.heard();
    ensure!(!heard.is_empty(), "strangers were never answered");
    let log = fs::read(node.daemon_log())?;
    let mut said = vec![("the answers to strangers", heard), ("the log", log)];
    for arguments in [["logs", "--lines", "500"].as_slice(), &["audit"], &["status", "-o", "json"]] {
        let out = desk.run(&[&["--context", "box0"], arguments].concat())?;
        said.push((arguments[0], out.into_bytes()));
    }
    for (place, bytes) in said {
        let text = String::from_utf8_lossy(&bytes);
        ensure!(!text.contains(MARK), "what the attacker sent is in {place}");
    }
    Ok(())
}

fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident memory is told")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

fn open_files(pid: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Long enough for the slowest defence: who reads nothing is cut off after a minute.
const SLOTS: u64 = 48;
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The command gives up a connection after ten seconds; an answer of a box that is busy with others comes sooner.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Places of all stages: silent, in the handshake, strangers, clients.
const FILES_MORE_MAX: usize = 256 + 64 + 256 + 32;
/// The buffers of TLS and HTTP of as many connections, and answers that nobody reads.
const MEMORY_MORE_MAX_KIB: u64 = 64 * 1024;
/// Connections of the beacon client and of peers come and go by themselves.
const FILES_LEFT_MAX: usize = 8;
const REST_MAX: Duration = Duration::from_secs(30);
/// A vote may come a few blocks later.
const INCLUSION_MAX_SLOTS: u64 = 8;
