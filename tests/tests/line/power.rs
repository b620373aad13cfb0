//! Nodes that die as in a power cut: three go on, two stop, a third that only waits for its lease lets them agree again,
//! four start again, and nobody ever contradicts himself.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_api::{DutyRecord, Status};
use holdfast_tests::kit::{Inclusion, NodeBox};
use holdfast_types::Mode;

use super::bench::{Bench, READY_MAX, Running, SHORT_LEASE};

/// How many slots the rest must go on without a miss.
const SLOTS_WITH_THREE: u64 = 10;

/// How many slots two nodes are left alone.
const SLOTS_WITH_TWO: u64 = 6;

/// How many slots they agree with the third, whose vault waits.
const SLOTS_WITH_WAITING: u64 = 4;

/// How long it may take until what they agreed on is signed, once the third one's vault opens.
const MADE_UP_MAX: Duration = Duration::from_secs(10);

/// Within how many slots after the return of all the first duty must be whole: they dial each other at most 10 s apart.
const BACK_MAX_SLOTS: u64 = 10;

/// How many slots after that must be whole.
const SLOTS_WITH_VOUCHED: u64 = 3;

/// Why the vault waits after a power cut.
const UNCLEAN: &str = "lease-unclean";

/// How many slots after the return must be whole.
const SLOTS_WITH_FOUR: u64 = 8;

pub(crate) fn killed_and_back(bench: &mut Bench) -> anyhow::Result<()> {
    let running = bench.cluster()?;
    let first = running.now() + 1;
    let votes = running.expect_all_included("four nodes", first, first + 3)?;
    println!("  four nodes: all {votes} votes of 4 slots included");

    running.cluster.boxes[3].cut_power();
    let first = running.now() + 1;
    let votes = running.expect_all_included("three nodes", first, first + SLOTS_WITH_THREE - 1)?;
    println!("  three nodes: all {votes} votes of {SLOTS_WITH_THREE} slots included");

    running.cluster.boxes[2].cut_power();
    let first = running.now() + 1;
    let last = first + SLOTS_WITH_TWO - 1;
    running.wait_for_slot(last + 3)?;
    expect_silence(running, first, last)?;

    let slots = expect_agreement_with_waiting(running)?;
    running.cluster.boxes[2].vouch_disk()?;
    expect_made_up(running, slots)?;

    let back = running.now();
    running.cluster.boxes[3].start_vouched()?;
    for node in &mut running.cluster.boxes {
        let all = |status: &holdfast_api::Status| status.peers.iter().all(|peer| peer.connected);
        node.wait_for("ready with all peers", READY_MAX, |status| status.mode == Mode::Ready && all(status))?;
    }
    let ready = running.now();
    println!("  the last one back: everybody is ready with all peers {} slots after the start", ready - back);
    ensure!(ready - back <= BACK_MAX_SLOTS, "expected all ready within {BACK_MAX_SLOTS} slots, saw {}", ready - back);
    let votes = running.expect_all_included("four nodes again", ready + 1, ready + SLOTS_WITH_FOUR)?;
    println!("  four nodes again: all {votes} votes of {SLOTS_WITH_FOUR} slots included");
    expect_everybody_signs(running, ready + 1, ready + SLOTS_WITH_FOUR)?;

    expect_renewed_lease(running)?;
    running.look_for_conflicts()?;
    println!("  no two votes conflict among those for {} validators and targets", running.votes.len());
    Ok(())
}

/// One node's lease ended and was renewed while all this went on, and cost no vote.
fn expect_renewed_lease(running: &Running) -> anyhow::Result<()> {
    let node = &running.cluster.boxes[usize::from(SHORT_LEASE)];
    let vault = node.status()?.vault;
    let lease = vault.and_then(|vault| vault.lease).context("expected the vault's lease in the status, saw none")?;
    let now = running.now() / running.cluster.spec.slots_per_epoch;
    let renewed = lease.last_epoch.0 > 1 && lease.last_epoch.0 >= now;
    ensure!(renewed, "node {SHORT_LEASE}: expected a lease of one epoch renewed up to epoch {now}, saw {lease:?}");
    println!("  node {SHORT_LEASE}: its lease of one epoch was renewed up to epoch {}", lease.last_epoch);
    Ok(())
}

/// Two of four nodes sign nothing, and say whom they miss.
fn expect_silence(running: &mut Running, first: u64, last: u64) -> anyhow::Result<()> {
    let Inclusion { expected, included, .. } = running.inclusion(first, last)?;
    ensure!(expected > 0, "the cluster has no duty in the slots {first} to {last}: this would prove nothing");
    ensure!(included == 0, "expected no vote with two of four nodes, saw {included} of {expected} on the chain");
    for node in &running.cluster.boxes[..2] {
        let name = node.operator;
        let duties = node.duties_after(0)?.duties;
        for duty in duties.iter().filter(|duty| (first..=last).contains(&duty.slot.0)) {
            let nothing = duty.decided_round.is_none() && duty.combined == 0 && duty.broadcast == 0;
            ensure!(nothing, "node {name}: expected nothing decided, combined or broadcast, saw {duty:?}");
        }
        let status = node.status()?;
        let missing = "2 of 4 operators connected, 3 are needed; missing: operators 2, 3";
        ensure!(
            status.mode == Mode::Syncing && status.reason.contains(missing),
            "node {name}: expected it to say \"{missing}\", saw {}: {}",
            status.mode,
            status.reason
        );
        let connected: Vec<u8> = status.peers.iter().filter(|peer| peer.connected).map(|peer| peer.operator).collect();
        ensure!(connected == [0, 1], "node {name}: expected operators 0 and 1 connected, saw {connected:?}");
        let (code, body) = node.get("/readyz")?;
        let said = code == 503 && body.contains("missing: operators 2, 3");
        ensure!(said, "node {name}: expected /readyz 503 with the missing operators, saw {code}: {body}");
    }
    println!("  two nodes: none of {expected} votes of {} slots; both name the operators 2, 3", last - first + 1);
    Ok(())
}

/// One of the two comes back, and its vault waits for its lease. Without this node nothing is decided, and without its
/// vault nothing is signed.
fn expect_agreement_with_waiting(running: &mut Running) -> anyhow::Result<RangeInclusive<u64>> {
    running.cluster.boxes[2].start()?;
    let connected = |status: &Status| status.peers.iter().filter(|peer| peer.connected).count() == 3;
    let waiting = |status: &Status| status.mode == Mode::Enrolled && status.reason.contains(UNCLEAN);
    let status = running.cluster.boxes[2]
        .wait_for("enrolled with two peers", READY_MAX, |status| waiting(status) && connected(status))?;
    println!("  node 2 says: {}: {}", status.mode, status.reason);
    let shown = status.vault.context("expected the status of node 2 to have its vault's, saw none")?;
    let id = shown.closed.map(|closed| closed.id);
    ensure!(id.as_deref() == Some(UNCLEAN), "expected the vault's reason {UNCLEAN} in the status, saw {id:?}");
    for node in &mut running.cluster.boxes[..2] {
        node.wait_for("ready", READY_MAX, |status| status.mode == Mode::Ready && connected(status))?;
    }
    let first = running.now() + 1;
    let slots = first..=first + SLOTS_WITH_WAITING - 1;
    running.wait_for_slot(slots.end() + 2)?;
    for node in &running.cluster.boxes[..3] {
        for duty in duties_of(node, &slots)? {
            let agreed = duty.decided_round.is_some() && duty.combined == 0 && duty.broadcast == 0;
            ensure!(agreed, "node {}: expected decided and not combined, saw {duty:?}", node.operator);
            let why = duty.withheld.as_deref().unwrap_or_default();
            let held_back = duty.signed == 0 && why.contains(UNCLEAN);
            ensure!(
                held_back == (node.operator == 2),
                "node {}: expected only node 2 to hold its signatures back, saw {duty:?}",
                node.operator
            );
        }
    }
    let Inclusion { expected, included, .. } = running.inclusion(first, *slots.end())?;
    ensure!(included == 0, "expected no vote while the third vault waits, saw {included} of {expected} on the chain");
    println!("  a third node that waits: {SLOTS_WITH_WAITING} slots decided, none of their {expected} votes signed");
    Ok(slots)
}

/// The vault signs again, also what was decided while it waited.
fn expect_made_up(running: &mut Running, slots: RangeInclusive<u64>) -> anyhow::Result<()> {
    let ready = |status: &Status| status.mode == Mode::Ready;
    running.cluster.boxes[2].wait_for("ready", READY_MAX, ready)?;
    let began = Instant::now();
    for node in &running.cluster.boxes[..3] {
        while let Some(duty) = duties_of(node, &slots)?.into_iter().find(|duty| duty.combined < duty.validators) {
            let (limit, name) = (MADE_UP_MAX, node.operator);
            ensure!(began.elapsed() < limit, "node {name}: expected a whole duty within {limit:?}, saw {duty:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    println!("  its disk is vouched for: all that was decided meanwhile is signed");
    let first = running.now() + 1;
    let votes = running.expect_all_included("three nodes again", first, first + SLOTS_WITH_VOUCHED - 1)?;
    println!("  three nodes again: all {votes} votes of {SLOTS_WITH_VOUCHED} slots included");
    Ok(())
}

/// What a node did in these slots; never nothing.
fn duties_of(node: &NodeBox, slots: &RangeInclusive<u64>) -> anyhow::Result<Vec<DutyRecord>> {
    let duties = node.duties_after(0)?.duties;
    let found: Vec<DutyRecord> = duties.into_iter().filter(|duty| slots.contains(&duty.slot.0)).collect();
    ensure!(!found.is_empty(), "node {}: expected a duty in {slots:?}, saw none", node.operator);
    Ok(found)
}

/// Every node's partial signatures count again, those of the two that were off included.
fn expect_everybody_signs(running: &Running, first: u64, last: u64) -> anyhow::Result<()> {
    for node in &running.cluster.boxes {
        let duties = node.duties_after(0)?.duties;
        let mut duties = duties.iter().filter(|duty| (first..=last).contains(&duty.slot.0));
        let duty = duties.find(|duty| duty.partials_from == [0, 1, 2, 3]);
        let name = node.operator;
        duty.with_context(|| format!("node {name}: expected a duty that all four signed in {first} to {last}"))?;
    }
    Ok(())
}
