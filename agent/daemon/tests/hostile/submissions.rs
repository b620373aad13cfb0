//! Submissions to nodes that refuse, know, break or are silent.

use std::time::Duration;

use holdfast_core::io::{BeaconFailure, Input, SingleAttestation};
use holdfast_eth::AttestationData;
use holdfast_types::{DutyId, Epoch, Signature, Slot, ValidatorIndex};
use holdfastd::edge::beacon::{Beacon, Timing};
use serde_json::{Value, json};

use super::fake_node::{FakeNode, Reply, SLOT, error, text};
use super::{Inputs, TIMING, edge};

const CALL: &str = "pool/attestations";

fn submit(beacon: &Beacon) {
    let attestation = |index| SingleAttestation {
        committee_index: 3,
        attester_index: ValidatorIndex(index),
        data: AttestationData { slot: Slot(SLOT), ..AttestationData::default() },
        signature: Signature([9; 96]),
    };
    beacon.submit_attestations(DutyId::attester(Slot(SLOT)), vec![attestation(7), attestation(8)]);
}

async fn submitted(inputs: &mut Inputs) -> Result<(), BeaconFailure> {
    inputs.next(|input| if let Input::Submitted { result, .. } = input { Some(result) } else { None }).await
}

fn failures(messages: &[&str]) -> Reply {
    let failures: Vec<Value> =
        messages.iter().enumerate().map(|(index, message)| json!({ "index": index, "message": message })).collect();
    let body = json!({ "code": 400, "message": "One or more messages failed validation", "failures": failures });
    Reply::Answer(400, "application/json", body.to_string())
}

#[tokio::test]
async fn attestations_go_out_in_the_form_that_strict_nodes_take() {
    let node = FakeNode::good().await;
    let (beacon, mut inputs) = edge(&[&node], TIMING).await;
    submit(&beacon);
    assert_eq!(submitted(&mut inputs).await, Ok(()));
    let asked = &node.asked(CALL)[0];
    assert_eq!((asked.fork.as_str(), asked.method.as_str()), ("fulu", "POST"));
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!((&body[0]["committee_index"], &body[1]["attester_index"]), (&json!("3"), &json!("8")));
    assert_eq!(body[0]["data"]["slot"], json!("9"));
}

#[tokio::test]
async fn what_a_node_knew_already_is_no_failure_and_anything_else_is() {
    let known = "Ignoring: PriorAttestationKnown { validator_index: 7, epoch: 0 }";
    let many: Vec<&str> = [known; 40].into_iter().chain(["bad signature"]).collect();
    let answers = [
        (failures(&[known, "ATTESTATION_ERROR_ATTESTATION_ALREADY_KNOWN"]), Ok(())),
        (error(400, "attestation already known"), Ok(())),
        (failures(&[known, "bad signature"]), Err("with 400 Bad Request")),
        (failures(&many), Err("with 400 Bad Request")),
        (failures(&[]), Err("with 400 Bad Request")),
        (error(500, "already known"), Err("with 500 Internal Server Error")),
        (text(415, "Unsupported Media Type"), Err("with 415 Unsupported Media Type")),
        (Reply::Answer(307, "text/html", String::new()), Err("with 307 Temporary Redirect")),
        (
            Reply::BreaksOff(400, "{\"failures\":[{\"index\":0,\"message\":\"already known".into()),
            Err("400 Bad Request"),
        ),
        (Reply::NoHttp, Err("does not answer")),
        (Reply::Endless("{"), Err("with more than")),
        (Reply::Never, Err("time limit reached")),
    ];
    let checks = answers.into_iter().map(async |(reply, expected)| {
        let node = FakeNode::good_but(CALL, move |_| reply.clone()).await;
        let (beacon, mut inputs) = edge(&[&node], TIMING).await;
        submit(&beacon);
        match (submitted(&mut inputs).await, expected) {
            (Ok(()), Ok(())) => {}
            (Err(failure), Err(says)) => {
                let failure = failure.to_string();
                let named = failure.starts_with(&node.name()) && failure.contains(CALL);
                assert!(named && failure.contains(says), "{failure}\nshould say: {says}");
            }
            (result, expected) => panic!("{result:?} instead of {expected:?}"),
        }
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn one_node_that_takes_them_is_enough_and_is_told_at_once_and_once() {
    let silent = FakeNode::good_but(CALL, |_| Reply::Never).await;
    let refuses = FakeNode::good_but(CALL, |_| error(500, "no")).await;
    let also_good = FakeNode::good().await;
    let good = FakeNode::good().await;
    let long = Timing { call: Duration::from_secs(60), ..TIMING };
    let (beacon, mut inputs) = edge(&[&silent, &refuses, &good, &also_good], long).await;
    submit(&beacon);
    assert_eq!(submitted(&mut inputs).await, Ok(()), "long before the silent node's limit");
    // Whatever comes until another question is answered, no second answer to the submission is in it.
    while [&silent, &refuses, &good, &also_good].iter().any(|node| node.asked(CALL).is_empty()) {
        tokio::task::yield_now().await;
    }
    beacon.fetch_attester_duties(Epoch(0), vec![ValidatorIndex(7)]);
    let next = |input| match input {
        Input::Submitted { .. } => Some(false),
        Input::AttesterDuties { .. } => Some(true),
        _ => None,
    };
    assert!(inputs.next(next).await, "submitted was told twice");
}
