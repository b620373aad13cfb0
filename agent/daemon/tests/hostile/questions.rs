//! Questions to nodes that answer wrongly, too much, or not at all.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::io::{BeaconFailure, Input};
use holdfast_types::{Epoch, Root, Slot, ValidatorIndex, ValidatorPublic};
use holdfastd::edge::beacon::{ANSWER_LEN_MAX, Beacon, QUESTIONS_MAX, Timing};

use super::fake_node::{self, FakeNode, Reply, SLOT, attestation_data, error, json_answer, pubkey, text};
use super::{Inputs, TIMING, edge};

/// The questions of the edge, each on its path.
const CALLS: [&str; 3] = ["attestation_data", "duties/attester", "states/head/validators"];

fn ask(beacon: &Beacon, call: &str) {
    match call {
        "attestation_data" => beacon.fetch_attestation_data(Slot(SLOT)),
        "duties/attester" => beacon.fetch_attester_duties(Epoch(0), vec![ValidatorIndex(7)]),
        _ => beacon.fetch_validators(Epoch(0), Arc::new(vec![key()])),
    }
}

fn key() -> ValidatorPublic {
    pubkey().parse().unwrap()
}

/// The next answer to any question, with its number of entries.
async fn answer(inputs: &mut Inputs) -> Result<usize, BeaconFailure> {
    inputs
        .next(|input| match input {
            Input::AttestationData { result, .. } => Some(result.map(|_| 1)),
            Input::AttesterDuties { result, .. } => Some(result.map(|duties| duties.duties.len())),
            Input::Validators { result, .. } => Some(result.map(|active| active.len())),
            _ => None,
        })
        .await
}

async fn head_attested(inputs: &mut Inputs) -> Result<Root, BeaconFailure> {
    let pick = |input| match input {
        Input::AttestationData { result, .. } => Some(result.map(|data| data.beacon_block_root)),
        _ => None,
    };
    inputs.next(pick).await
}

/// What a node can do wrong, and what the error says of it.
fn wrongs() -> Vec<(Reply, &'static str)> {
    vec![
        (error(500, "could not process slots"), "with 500 Internal Server Error: {\"code\":500"),
        (error(503, "Beacon node is currently syncing"), "with 503 Service Unavailable: "),
        (text(404, "404 page not found"), "with 404 Not Found: 404 page not found"),
        (text(406, "Not Acceptable"), "with 406 Not Acceptable"),
        (text(415, "Unsupported Media Type"), "with 415 Unsupported Media Type"),
        (error(400, "slot 72 is not the current slot 73"), "slot 72 is not the current slot 73"),
        (Reply::Answer(302, "text/html", "moved".into()), "with 302 Found: moved"),
        (
            Reply::Answer(502, "text/html", format!("<html>{}", "\u{1b}[2J".repeat(9000))),
            "with 502 Bad Gateway: <html>",
        ),
        (text(200, "it works!"), "something else than the Beacon API says: expected value"),
        (Reply::Answer(200, "application/json", String::new()), "something else than the Beacon API says: EOF"),
        (Reply::Answer(200, "application/json", r#"{"data": [{"slot": "9", "#.into()), "than the Beacon API says: "),
        (json_answer(&serde_json::json!({ "data": "x".repeat(9000) })), "than the Beacon API says: "),
        (json_answer(&serde_json::json!([null, -1])), "than the Beacon API says: "),
        (Reply::Answer(200, "application/json", "[".repeat(100_000)), "than the Beacon API says: "),
        (Reply::BreaksOff(200, r#"{"data":"#.into()), "does not answer"),
        (Reply::BreaksOff(500, "half a sen".into()), "with 500 Internal Server Error: half a sen"),
        (Reply::NoHttp, "does not answer"),
        (Reply::Endless("{"), "with more than 8388608 bytes"),
        (Reply::Never, "time limit reached"),
    ]
}

#[tokio::test]
async fn each_wrong_answer_is_an_error_that_names_node_and_call_and_the_next_question_is_asked() {
    let of_call =
        CALLS.map(async |call| {
            let of_wrong =
                wrongs().into_iter().map(async |(wrong, says)| {
                    let node = FakeNode::good_but(call, move |asked| {
                        if asked.before == 0 { wrong.clone() } else { fake_node::good(asked) }
                    })
                    .await;
                    let (beacon, mut inputs) = edge(&[&node], TIMING).await;
                    ask(&beacon, call);
                    let failure = answer(&mut inputs).await.unwrap_err().to_string();
                    assert!(failure.starts_with(&node.name()) && failure.contains(call), "{failure}");
                    assert!(failure.contains(says), "{failure}\nshould say: {says}");
                    assert!(failure.len() < 600 && !failure.contains('\u{1b}'), "{failure}");
                    ask(&beacon, call);
                    assert_eq!(answer(&mut inputs).await, Ok(1), "after: {says}");
                });
            futures::future::join_all(of_wrong).await
        });
    futures::future::join_all(of_call).await;
}

#[tokio::test]
async fn each_wrong_answer_is_made_up_for_by_another_node() {
    let of_call = CALLS.map(async |call| {
        let of_wrong = wrongs().into_iter().map(async |(wrong, says)| {
            let bad = FakeNode::good_but(call, move |_| wrong.clone()).await;
            let good = FakeNode::good().await;
            let (beacon, mut inputs) = edge(&[&bad, &good], TIMING).await;
            ask(&beacon, call);
            assert_eq!(answer(&mut inputs).await, Ok(1), "beside: {says}");
        });
        futures::future::join_all(of_wrong).await
    });
    futures::future::join_all(of_call).await;
}

#[tokio::test]
async fn data_of_another_slot_is_an_error() {
    let node = FakeNode::good_but("attestation_data", |_| json_answer(&attestation_data(SLOT - 1, "22"))).await;
    let (beacon, mut inputs) = edge(&[&node], TIMING).await;
    ask(&beacon, "attestation_data");
    let failure = answer(&mut inputs).await.unwrap_err().to_string();
    assert!(failure.starts_with(&node.name()) && failure.ends_with("data of slot 8"), "{failure}");
}

#[tokio::test]
async fn when_all_nodes_fail_the_error_names_each() {
    let one = FakeNode::start(|_| error(500, "first")).await;
    let other = FakeNode::start(|_| Reply::NoHttp).await;
    let (beacon, mut inputs) = edge(&[&one, &other], TIMING).await;
    ask(&beacon, "attestation_data");
    let failure = answer(&mut inputs).await.unwrap_err().to_string();
    assert!(failure.contains(&one.name()) && failure.contains(&other.name()), "{failure}");
}

#[tokio::test]
async fn no_more_of_an_endless_answer_is_taken_than_the_bound() {
    let node = FakeNode::good_but("attestation_data", |_| Reply::Endless("{")).await;
    let (beacon, mut inputs) = edge(&[&node], TIMING).await;
    ask(&beacon, "attestation_data");
    let failure = answer(&mut inputs).await.unwrap_err().to_string();
    assert!(failure.contains("with more than"), "{failure}");
    // What lies in the buffers of two sockets comes on top.
    let bound = ANSWER_LEN_MAX as u64 + 16 * 1024 * 1024;
    assert!(node.sent() < bound, "{} bytes were taken", node.sent());
}

#[tokio::test]
async fn a_question_without_answer_holds_up_no_other() {
    let node = FakeNode::good_but("attestation_data", |_| Reply::Never).await;
    let (beacon, mut inputs) = edge(&[&node], TIMING).await;
    ask(&beacon, "attestation_data");
    ask(&beacon, "duties/attester");
    assert_eq!(answer(&mut inputs).await, Ok(1), "the duties come first");
    assert!(answer(&mut inputs).await.is_err(), "then the limit of the data is reached");
}

#[tokio::test]
async fn questions_beyond_the_bound_fail_at_once_and_places_become_free() {
    let node = FakeNode::good_but("attestation_data", |asked| {
        if asked.before < QUESTIONS_MAX { Reply::Never } else { fake_node::good(asked) }
    })
    .await;
    let (beacon, mut inputs) = edge(&[&node], TIMING).await;
    for _ in 0..=QUESTIONS_MAX {
        ask(&beacon, "attestation_data");
    }
    let first = answer(&mut inputs).await.unwrap_err().to_string();
    assert_eq!(first, "beacon nodes owe 64 answers, not asking for more");
    for _ in 0..QUESTIONS_MAX {
        let failure = answer(&mut inputs).await.unwrap_err().to_string();
        assert!(failure.contains("time limit reached"), "{failure}");
    }
    ask(&beacon, "attestation_data");
    assert_eq!(answer(&mut inputs).await, Ok(1));
    assert_eq!(node.asked("attestation_data").len(), QUESTIONS_MAX + 1);
}

/// Patience that outlasts the slow answers of a test.
const PATIENT: Timing = Timing { patience: Duration::from_secs(10), ..TIMING };

fn slow(reply: Reply) -> Reply {
    Reply::After(Duration::from_millis(100), Box::new(reply))
}

/// Waits until `node` was polled so often that its first status has certainly been taken in.
async fn until_polled(nodes: &[&FakeNode]) {
    while nodes.iter().any(|node| node.asked("node/syncing").len() < 2) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_quick_node_that_is_behind_gives_way_to_a_slower_good_one() {
    for (distance, is_syncing) in [("700", true), ("5", false)] {
        let behind = FakeNode::start(move |asked| {
            if asked.path.contains("syncing") {
                fake_node::syncing(distance, is_syncing, false, false)
            } else if asked.path.contains("attestation_data") {
                json_answer(&attestation_data(SLOT, "bb"))
            } else {
                fake_node::good(asked)
            }
        })
        .await;
        let good = FakeNode::good_but("attestation_data", |asked| {
            if asked.before == 0 { slow(fake_node::good(asked)) } else { slow(error(500, "no")) }
        })
        .await;
        let (beacon, mut inputs) = edge(&[&behind, &good], PATIENT).await;
        until_polled(&[&behind, &good]).await;
        ask(&beacon, "attestation_data");
        assert_eq!(head_attested(&mut inputs).await, Ok(Root([0x22; 32])), "distance {distance}");
        ask(&beacon, "attestation_data");
        assert_eq!(head_attested(&mut inputs).await, Ok(Root([0xbb; 32])), "better than nothing");
    }
}

#[tokio::test]
async fn a_better_node_that_never_answers_is_not_waited_for_beyond_patience() {
    let behind = FakeNode::good_but("syncing", |_| fake_node::syncing("700", true, false, false)).await;
    let silent = FakeNode::good_but("attestation_data", |_| Reply::Never).await;
    let long = Timing { call: Duration::from_secs(60), ..TIMING };
    let (beacon, mut inputs) = edge(&[&behind, &silent], long).await;
    until_polled(&[&behind, &silent]).await;
    ask(&beacon, "attestation_data");
    assert_eq!(answer(&mut inputs).await, Ok(1));
}

#[tokio::test]
async fn the_node_that_told_of_the_new_head_is_preferred_for_its_slot() {
    let head = format!("event: head\ndata: {{\"slot\":\"{SLOT}\",\"block\":\"0x{}\"}}\n\n", "22".repeat(32));
    let told = FakeNode::start(move |asked| {
        if asked.path.contains("events") {
            Reply::EventsThenSilence(head.clone())
        } else if asked.path.contains("attestation_data") {
            slow(fake_node::good(asked))
        } else {
            fake_node::good(asked)
        }
    })
    .await;
    let other = FakeNode::good_but("attestation_data", |_| json_answer(&attestation_data(SLOT, "bb"))).await;
    let (beacon, mut inputs) = edge(&[&other, &told], PATIENT).await;
    until_polled(&[&other, &told]).await;
    inputs.next(|input| matches!(input, Input::Head(_)).then_some(())).await;
    ask(&beacon, "attestation_data");
    assert_eq!(head_attested(&mut inputs).await, Ok(Root([0x22; 32])));
}

#[tokio::test]
async fn a_strict_node_takes_every_question_and_an_empty_one_is_not_asked() {
    let node = FakeNode::good().await;
    let (beacon, mut inputs) = edge(&[&node], TIMING).await;
    for call in CALLS {
        ask(&beacon, call);
        assert_eq!(answer(&mut inputs).await, Ok(1), "{call}");
    }
    beacon.fetch_attester_duties(Epoch(0), Vec::new());
    assert_eq!(answer(&mut inputs).await, Ok(0));
    beacon.fetch_validators(Epoch(0), Arc::default());
    assert_eq!(answer(&mut inputs).await, Ok(0));
    assert_eq!(CALLS.map(|call| node.asked(call).len()), [1, 1, 1]);
    assert_eq!(node.asked("duties")[0].body, r#"["7"]"#, "indices are strings");
}

#[tokio::test]
async fn numbers_that_are_not_in_quotes_are_read_and_unknown_validators_may_be_left_out() {
    let node = FakeNode::start(|asked| match fake_node::good(asked) {
        Reply::Answer(200, kind, body) if asked.path.contains("validator") => {
            let mut body = body;
            for number in ["7", "9", "0", "3", "25", "64", "128", "18446744073709551615"] {
                body = body.replace(&format!("\"{number}\""), number);
            }
            Reply::Answer(200, kind, body)
        }
        other => other,
    })
    .await;
    let (beacon, mut inputs) = edge(&[&node], TIMING).await;
    for call in CALLS {
        ask(&beacon, call);
        assert_eq!(answer(&mut inputs).await, Ok(1), "{call}");
    }
    let none = FakeNode::good_but("head/validators", |_| json_answer(&serde_json::json!({ "data": [] }))).await;
    let (beacon, mut inputs) = edge(&[&none], TIMING).await;
    ask(&beacon, "states/head/validators");
    assert_eq!(answer(&mut inputs).await, Ok(0));
}
