//! Every frame that was captured from running nodes decodes, verifies and encodes to the same bytes again.
//!
//! Go writes maps in random order, so frames whose map was not sorted encode to the sorted form instead.

#![allow(clippy::unwrap_used, reason = "a test whose vectors are not as expected has failed")]

mod common;

use std::collections::BTreeSet;

use common::{Cluster, bytes, list, load, number, text, vectors};
use holdfast_bls::verify_partial;
use holdfast_types::{LockHash, OperatorIndex, PartialSignature};
use holdfast_wire::frame;
use holdfast_wire::k1::NodeKey;
use holdfast_wire::parsigex::PartialSet;
use holdfast_wire::peerinfo::{PeerInfo, Timestamp};
use holdfast_wire::priority::SignedPriority;
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::{ConsensusMsg, SignedMsg};
use serde_json::Value;

const QBFT_FILES: [(&str, usize); 11] = [
    ("qbft-aggregator.json", 9),
    ("qbft-attester-prepared-round-change.json", 34),
    ("qbft-attester-round2.json", 11),
    ("qbft-attester.json", 9),
    ("qbft-decided.json", 7),
    ("qbft-info-sync.json", 9),
    ("qbft-proposer-round2.json", 13),
    ("qbft-proposer.json", 9),
    ("qbft-sync-contribution-single.json", 9),
    ("qbft-sync-contribution-unsorted-value.json", 9),
    ("qbft-sync-contribution.json", 9),
];

#[test]
fn consensus_frames() {
    let (cluster, secrets) = (Cluster::load(), secrets());
    let (mut walked, mut signatures, mut unsorted) = (0, 0, 0);
    for (file, frames) in QBFT_FILES {
        let json = load(file);
        assert_eq!(list(&json, "frames").len(), frames, "{file}");
        for captured in list(&json, "frames") {
            let frame = bytes(captured, "frame");
            let message = frame::split(Protocol::Qbft, &frame).unwrap();
            let decoded = ConsensusMsg::decode(message, &cluster.keys).unwrap();
            assert_is(&decoded.msg, &captured["msg"]);
            let justification = list(captured, "justification");
            assert_eq!(decoded.justification.len(), justification.len());
            for (one, expected) in decoded.justification.iter().zip(justification) {
                assert_is(one, expected);
            }
            for one in std::iter::once(&decoded.msg).chain(&decoded.justification) {
                let secret = &secrets[usize::from(one.msg().peer.0)];
                assert_eq!(&one.msg().sign(secret), one, "signatures are deterministic");
                signatures += 1;
            }
            let hashes: BTreeSet<String> = decoded.values.keys().map(|hash| hex::encode(hash.0)).collect();
            let expected: BTreeSet<String> =
                list(captured, "value_hashes").iter().map(|hash| hash.as_str().unwrap().to_owned()).collect();
            assert_eq!(hashes, expected);
            unsorted += usize::from(!encodes_back(&frame, &decoded.encode(), file.contains("unsorted")));
            assert_eq!(ConsensusMsg::decode(&decoded.encode(), &cluster.keys), Ok(decoded));
            walked += 1;
        }
    }
    println!("{walked} frames with {signatures} signatures; {unsorted} with an unsorted value");
    assert_eq!((walked, signatures), (128, 203));
    assert!(unsorted > 0, "the vectors have unsorted values");
}

#[test]
fn priority_frames() {
    let (cluster, secrets, json) = (Cluster::load(), secrets(), load("priority.json"));
    let mut walked = 0;
    for captured in list(&json, "messages") {
        let (frame, expected) = (bytes(captured, "frame"), &captured["msg"]);
        let from = OperatorIndex(u8::try_from(number(captured, "from")).unwrap());
        let message = frame::split(Protocol::Priority, &frame).unwrap();
        let decoded = SignedPriority::decode(message, from, &cluster.keys).unwrap();
        assert_eq!(hex::encode(decoded.digest()), text(expected, "hash"));
        assert_eq!(decoded.signature().0.to_vec(), bytes(expected, "signature"));
        let key = &secrets[usize::from(from.0)];
        assert_eq!(SignedPriority::new(decoded.duty(), from, decoded.topics().to_vec(), key), decoded);
        for (topic, expected) in decoded.topics().iter().zip(list(expected, "topics")) {
            assert_eq!(topic.topic.text().as_deref(), expected["topic"].as_str());
            let priorities: Vec<Value> =
                topic.priorities.iter().map(|label| Value::from(label.text().unwrap())).collect();
            assert_eq!(priorities, list(expected, "priorities"));
        }
        assert_eq!(decoded.topics().len(), list(expected, "topics").len());
        assert!(encodes_back(&frame, &decoded.encode(), false));
        walked += 1;
    }
    println!("{walked} priority messages");
    assert_eq!(walked, 4);
}

#[test]
fn peer_info_frames() {
    let json = load("peerinfo.json");
    let mut walked = 0;
    for captured in list(&json, "messages") {
        let (frame, expected) = (bytes(captured, "frame"), &captured["decoded"]);
        let decoded = PeerInfo::decode(frame::split(Protocol::PeerInfo, &frame).unwrap()).unwrap();
        let time = |name: &str| {
            let time = &expected[name];
            let seconds = time["seconds"].as_i64()?;
            Some(Timestamp { seconds, nanos: i32::try_from(time["nanos"].as_i64().unwrap()).unwrap() })
        };
        let expected = PeerInfo {
            version: text(expected, "charon_version").to_owned(),
            lock_hash: LockHash::from_slice(&bytes(expected, "lock_hash")),
            sent_at: time("sent_at"),
            git_hash: text(expected, "git_hash").to_owned(),
            started_at: time("started_at"),
            builder_api: expected["builder_api_enabled"].as_bool().unwrap(),
            nickname: text(expected, "nickname").to_owned(),
            client: text(expected, "dv_client").to_owned(),
        };
        assert_eq!(decoded, expected);
        assert!(encodes_back(&frame, &decoded.encode(), false));
        walked += 1;
    }
    println!("{walked} peer info messages");
    assert_eq!(walked, 14);
}

#[test]
fn partial_signature_frames() {
    let (cluster, json) = (Cluster::load(), load("parsigex.json"));
    let (mut walked, mut partials, mut unsorted) = (0, 0, 0);
    let mut kinds = BTreeSet::new();
    for captured in list(&json, "messages") {
        let frame = bytes(captured, "frame");
        let message = frame::split(Protocol::ParSigEx, &frame).unwrap();
        let decoded = PartialSet::decode(message, cluster.validators.len()).unwrap();
        assert_eq!(decoded.duty.slot.0, number(&captured["duty"], "slot"));
        assert_eq!(u64::from(decoded.duty.kind.number()), number(&captured["duty"], "type"));
        let set = captured["set"].as_object().unwrap();
        assert_eq!(decoded.partials.len(), set.len());
        for (validator, partial) in &decoded.partials {
            let expected = &set[&validator.to_string()];
            let signature = partial.payload.signature();
            assert_eq!(u64::from(partial.share.0), number(expected, "share_idx"));
            assert_eq!(signature, text(expected, "payload_signature").parse::<PartialSignature>().unwrap());
            let signed = partial.payload.signed();
            assert_eq!(signed.object, text(expected, "object_root").parse().unwrap());
            // The mock of the chain did not apply the rule for exits: their fork is that of all else.
            let root = signed.signing_root(&cluster.spec, cluster.version);
            assert_eq!(root, text(expected, "signing_root").parse().unwrap());
            let public = cluster.share(validator, partial.share).unwrap();
            assert_eq!(public, text(expected, "public_share").parse().unwrap());
            assert_eq!(verify_partial(&public, root, &signature).is_ok(), expected["verifies"].as_bool().unwrap());
            partials += 1;
        }
        kinds.insert(decoded.duty.kind.number());
        let sorted = captured["map_sorted_on_wire"].as_bool().unwrap();
        assert_eq!(encodes_back(&frame, &decoded.encode(), !sorted), sorted);
        assert_eq!(PartialSet::decode(&decoded.encode(), cluster.validators.len()), Ok(decoded));
        unsorted += usize::from(!sorted);
        walked += 1;
    }
    println!("{walked} sets with {partials} partial signatures; {unsorted} unsorted");
    assert_eq!((walked, partials), (25, 40));
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [1, 2, 4, 7, 8, 9, 10, 11, 12]);
}

/// Whether our form of a message is the captured one. Where that may be unsorted, the two differ in order only.
fn encodes_back(frame: &[u8], encoded: &[u8], may_be_unsorted: bool) -> bool {
    let ours = frame::encode(encoded);
    if may_be_unsorted && ours != frame {
        let sorted = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(&ours), sorted(frame));
        return false;
    }
    assert_eq!(hex::encode(&ours), hex::encode(frame));
    true
}

/// Compares a message with the fields that two other programs decoded.
fn assert_is(signed: &SignedMsg, expected: &Value) {
    let msg = signed.msg();
    let hash = |name: &str| {
        let hash = bytes(expected, name);
        (hash != [0; 32]).then_some(hash)
    };
    assert_eq!(u64::from(msg.kind as u8), number(expected, "type"));
    assert_eq!(msg.duty.slot.0, number(&expected["duty"], "slot"));
    assert_eq!(u64::from(msg.duty.kind.number()), number(&expected["duty"], "type"));
    assert_eq!(u64::from(msg.peer.0), number(expected, "peer_idx"));
    assert_eq!(msg.round, number(expected, "round"));
    assert_eq!(msg.prepared_round, number(expected, "prepared_round"));
    assert_eq!(msg.value.map(|value| value.0.to_vec()), hash("value_hash"));
    assert_eq!(msg.prepared_value.map(|value| value.0.to_vec()), hash("prepared_value_hash"));
    assert_eq!(hex::encode(msg.digest()), text(expected, "hash"));
    assert_eq!(signed.signature().0.to_vec(), bytes(expected, "signature"));
    let recovered = signed.signature().recover(&msg.digest()).unwrap();
    assert_eq!(recovered.to_string(), text(expected, "recovered_public_key"));
}

/// The test cluster's node keys, published on purpose.
fn secrets() -> Vec<NodeKey> {
    let read = |node: usize| {
        let path = vectors().join(format!("live-cluster-a/node{node}/charon-enr-private-key"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("cannot read {}: {err}", path.display()));
        let secret: [u8; 32] = hex::decode(text.trim()).unwrap().try_into().unwrap();
        NodeKey::from_bytes(&secret).unwrap()
    };
    (0..4).map(read).collect()
}
