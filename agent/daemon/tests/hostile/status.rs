//! What nodes say about themselves.

use holdfast_core::io::{BeaconStatus, Input};

use super::fake_node::{FakeNode, Reply, error, json_answer, syncing, text};
use super::{Inputs, TIMING, edge};

async fn next_status(inputs: &mut Inputs) -> BeaconStatus {
    inputs.next(|input| if let Input::BeaconStatus(status) = input { Some(status) } else { None }).await
}

#[tokio::test]
async fn each_state_of_a_node_is_told_in_words() {
    let states = [
        (syncing("0", false, false, false), Ok(())),
        (syncing("5", false, false, false), Ok(())),
        (json_answer(&serde_json::json!({"data": {"sync_distance": 0, "is_syncing": false}})), Ok(())),
        (syncing("700", true, false, false), Err("is syncing, 700 slots behind")),
        (syncing("0", false, true, false), Err("its execution node is behind")),
        (syncing("0", false, false, true), Err("has no execution node: start it")),
        (error(500, "x"), Err("refused /eth/v1/node/syncing with 500")),
        (text(404, "404 page not found"), Err("refused /eth/v1/node/syncing with 404")),
        (text(200, "{]"), Err("answered /eth/v1/node/syncing with something else")),
        (Reply::Endless("{"), Err("answered /eth/v1/node/syncing with more than")),
        (Reply::Never, Err("does not answer /eth/v1/node/syncing: time limit reached")),
    ];
    let checks = states.into_iter().map(async |(state, expected)| {
        let node = FakeNode::good_but("syncing", move |_| state.clone()).await;
        let (_beacon, mut inputs) = edge(&[&node], TIMING).await;
        match (next_status(&mut inputs).await, expected) {
            (BeaconStatus::Synced, Ok(())) => {}
            (BeaconStatus::Syncing { reason } | BeaconStatus::Unreachable { reason }, Err(says)) => {
                assert!(reason.contains(&node.name()) && reason.contains(says), "{reason}");
            }
            (status, expected) => panic!("{status:?} instead of {expected:?}"),
        }
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn a_node_that_comes_and_goes_is_told_each_time_and_a_silent_one_beside_it_holds_nothing_up() {
    let silent = FakeNode::start(|_| Reply::Never).await;
    let node = FakeNode::good_but("syncing", |asked| syncing("9", asked.before % 2 == 1, false, false)).await;
    let (_beacon, mut inputs) = edge(&[&silent, &node], TIMING).await;
    for _ in 0..3 {
        assert_eq!(next_status(&mut inputs).await, BeaconStatus::Synced);
        assert!(matches!(next_status(&mut inputs).await, BeaconStatus::Syncing { .. }));
    }
}
