//! What the beacon nodes say about themselves: each polled by a task of its own, so that none holds up another.

use std::mem;
use std::time::Duration;

use holdfast_core::io::{BeaconStatus, Input};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::http::Node;
use super::json::{Data, Syncing};

/// Polls every node for ever, and tells the loop when the state of all together changed. Ends with the loop.
pub(super) async fn watch(nodes: &[Node], every: Duration, inputs: mpsc::Sender<Input>) {
    let (statuses, mut changes) = mpsc::channel(nodes.len().max(1));
    for (place, node) in nodes.iter().enumerate() {
        tokio::spawn(poll(node.clone(), place, every, statuses.clone()));
    }
    drop(statuses);
    let mut known: Vec<Option<BeaconStatus>> = vec![None; nodes.len()];
    let mut told = None;
    while let Some((place, status)) = changes.recv().await {
        log_change(&nodes[place], known[place].as_ref(), &status);
        known[place] = Some(status);
        let all = together(&known);
        if told.as_ref() != Some(&all) {
            told = Some(all.clone());
            if inputs.send(Input::BeaconStatus(all)).await.is_err() {
                return;
            }
        }
        if inputs.is_closed() {
            return;
        }
    }
}

async fn poll(node: Node, place: usize, every: Duration, statuses: mpsc::Sender<(usize, BeaconStatus)>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let status = status_of(&node).await;
        if statuses.send((place, status)).await.is_err() {
            return;
        }
    }
}

async fn status_of(node: &Node) -> BeaconStatus {
    let syncing = match node.get::<Data<Syncing>>("/eth/v1/node/syncing").await {
        Ok(answer) => answer.data,
        Err(error) => {
            node.standing().does_not_follow();
            return BeaconStatus::Unreachable { reason: error.to_string() };
        }
    };
    // `is_syncing` alone is not enough: nodes say false while their execution node is behind or away. A distance alone
    // does not stop the node, since after missed blocks all nodes have one; it only makes others preferred.
    let reason = if syncing.is_syncing {
        format!("beacon node {node} is syncing, {} slots behind", syncing.sync_distance.0)
    } else if syncing.is_optimistic {
        format!("beacon node {node} has not verified its head yet: its execution node is behind")
    } else if syncing.el_offline {
        format!("beacon node {node} has no execution node: start it, or check the connection between them")
    } else {
        node.standing().follows(syncing.sync_distance.0);
        return BeaconStatus::Synced;
    };
    node.standing().does_not_follow();
    BeaconStatus::Syncing { reason }
}

/// Good when any node is good; otherwise what the best of them says.
fn together(known: &[Option<BeaconStatus>]) -> BeaconStatus {
    let badness = |status: &&BeaconStatus| match status {
        BeaconStatus::Synced => 0,
        BeaconStatus::Syncing { .. } => 1,
        BeaconStatus::Unreachable { .. } => 2,
    };
    let none = || BeaconStatus::Unreachable { reason: "no beacon node has answered yet".to_owned() };
    known.iter().flatten().min_by_key(badness).cloned().unwrap_or_else(none)
}

fn log_change(node: &Node, before: Option<&BeaconStatus>, now: &BeaconStatus) {
    if before.is_some_and(|before| mem::discriminant(before) == mem::discriminant(now)) {
        return;
    }
    match now {
        BeaconStatus::Synced => tracing::info!(%node, "beacon node follows the chain"),
        BeaconStatus::Syncing { reason } | BeaconStatus::Unreachable { reason } => {
            tracing::warn!(%node, reason, "beacon node is of no use at present");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_good_node_is_enough() {
        let unreachable = Some(BeaconStatus::Unreachable { reason: "a".to_owned() });
        let syncing = Some(BeaconStatus::Syncing { reason: "b".to_owned() });
        assert_eq!(together(&[unreachable.clone(), None, Some(BeaconStatus::Synced)]), BeaconStatus::Synced);
        assert_eq!(Some(together(&[unreachable, syncing.clone()])), syncing);
        assert!(matches!(together(&[None]), BeaconStatus::Unreachable { .. }));
    }
}
