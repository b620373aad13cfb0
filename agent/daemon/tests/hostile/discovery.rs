//! What the network is, from nodes that do not say it well.

use std::sync::Mutex;

use holdfast_types::{Epoch, ForkVersion};
use holdfastd::edge::beacon::{Network, find_network};
use serde_json::{Value, json};

use super::fake_node::{self, FakeNode, GENESIS_FORK, Reply, error, json_answer, spec, text};
use super::{HANGS, TIMING};

/// The network by these nodes, and what was told while it was not known.
async fn find(nodes: &[&FakeNode]) -> (Network, Vec<String>) {
    let urls: Vec<_> = nodes.iter().map(|node| node.url()).collect();
    let told = Mutex::new(Vec::new());
    let network = find_network(&urls, TIMING, |reason| told.lock().unwrap().push(reason.to_owned()));
    let network = tokio::time::timeout(HANGS, network).await.expect("the network is found").unwrap();
    (network, told.into_inner().unwrap())
}

fn spec_with(key: &str, value: Value) -> Value {
    let mut spec = spec();
    spec["data"][key] = value;
    spec
}

#[tokio::test]
async fn each_wrong_answer_is_told_and_asked_for_again() {
    let wrongs = [
        ("config/spec", error(500, "no"), "with 500"),
        ("config/spec", text(404, "404 page not found"), "with 404"),
        ("config/spec", json_answer(&json!({ "data": [] })), "something else than the Beacon API says"),
        ("config/spec", json_answer(&json!({ "data": {} })), "slots of 0 ms, 0 of them in an epoch"),
        (
            "config/spec",
            json_answer(&spec_with("SLOT_DURATION_MS", json!(u64::MAX))),
            "slots of 18446744073709551615 ms",
        ),
        (
            "config/spec",
            json_answer(&spec_with("SLOTS_PER_EPOCH", json!("999999999"))),
            "999999999 of them in an epoch",
        ),
        ("config/spec", Reply::Endless("{"), "with more than"),
        ("genesis", json_answer(&json!({ "data": { "genesis_time": "soon" } })), "something else than"),
        ("genesis", Reply::Never, "time limit reached"),
        ("genesis", Reply::BreaksOff(200, "{".into()), "does not answer"),
        ("fork_schedule", json_answer(&json!({ "data": [] })), "no fork begins at epoch 0"),
    ];
    let checks = wrongs.into_iter().map(async |(call, wrong, says)| {
        let node = FakeNode::good_but(
            call,
            move |asked| {
                if asked.before == 0 { wrong.clone() } else { fake_node::good(asked) }
            },
        )
        .await;
        let (network, told) = find(&[&node]).await;
        assert_eq!(told.len(), 1, "{told:?}");
        let names = told[0].starts_with(&node.name()) && told[0].contains(call);
        assert!(names && told[0].contains(says), "{}\nshould say: {says}", told[0]);
        assert_eq!(network.chain.slots_per_epoch, 32);
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn the_length_of_a_slot_is_found_under_either_name() {
    for (spec, expected) in [
        (spec(), 10),
        (spec_with("SLOT_DURATION_MS", json!(6000)), 6000),
        (spec_with("SLOT_DURATION_MS", Value::Null), 12_000),
    ] {
        let node = FakeNode::good_but("config/spec", move |_| json_answer(&spec)).await;
        assert_eq!(find(&[&node]).await.0.chain.slot_ms, expected);
    }
}

#[tokio::test]
async fn the_last_fork_of_an_epoch_is_in_force_and_named() {
    let (network, _) = find(&[&FakeNode::good().await]).await;
    assert_eq!(network.chain.genesis_fork_version.to_string(), GENESIS_FORK);
    assert_eq!(network.chain.fork_version_at(Epoch(0)), ForkVersion([0x70, 0, 0x09, 0x10]));
    assert_eq!(network.fork_name_at(Epoch(0)), "fulu");
}

#[tokio::test]
async fn one_good_node_is_enough() {
    let (never, garbage) = (FakeNode::start(|_| Reply::Never).await, FakeNode::start(|_| text(200, "x")).await);
    let (network, told) = find(&[&never, &garbage, &FakeNode::good().await]).await;
    assert_eq!((network.chain.slot_ms, told), (10, vec![]));
}
