//! Nodes that die as in a power cut: three go on, two stop, four start again, and nobody ever contradicts himself.

use anyhow::{Context as _, ensure};
use holdfast_tests::kit::Inclusion;
use holdfast_types::Mode;

use super::bench::{Bench, READY_MAX, Running};

/// How many slots the rest must go on without a miss.
const SLOTS_WITH_THREE: u64 = 10;

/// How many slots two nodes are left alone.
const SLOTS_WITH_TWO: u64 = 6;

/// Within how many slots after the return of both the first duty must be whole: they dial each other at most 10 s apart.
const BACK_MAX_SLOTS: u64 = 10;

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

    let back = running.now();
    running.cluster.boxes[2].start_vouched()?;
    running.cluster.boxes[3].start_vouched()?;
    for node in &mut running.cluster.boxes {
        let all = |status: &holdfast_api::Status| status.peers.iter().all(|peer| peer.connected);
        node.wait_for("ready with all peers", READY_MAX, |status| status.mode == Mode::Ready && all(status))?;
    }
    let ready = running.now();
    println!("  two nodes back: everybody is ready with all peers {} slots after the start", ready - back);
    ensure!(ready - back <= BACK_MAX_SLOTS, "expected all ready within {BACK_MAX_SLOTS} slots, saw {}", ready - back);
    let votes = running.expect_all_included("four nodes again", ready + 1, ready + SLOTS_WITH_FOUR)?;
    println!("  four nodes again: all {votes} votes of {SLOTS_WITH_FOUR} slots included");
    expect_everybody_signs(running, ready + 1, ready + SLOTS_WITH_FOUR)?;

    running.look_for_conflicts()?;
    println!("  no two votes conflict among those for {} validators and targets", running.votes.len());
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
