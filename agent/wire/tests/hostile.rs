//! Whatever bytes a peer makes up, no decoder panics: random bytes, and captured messages cut short or changed.
//!
//! Every length up to that of the message is tried in `truncated`; the rest is drawn by proptest.

#![allow(clippy::unwrap_used, reason = "a test whose vectors are not as expected has failed")]

mod common;

use common::{Cluster, bytes, list, load};
use holdfast_types::OperatorIndex;
use holdfast_wire::attester::AttesterValue;
use holdfast_wire::frame;
use holdfast_wire::k1::NodePublic;
use holdfast_wire::parsigex::PartialSet;
use holdfast_wire::peerinfo::PeerInfo;
use holdfast_wire::priority::SignedPriority;
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::{ConsensusMsg, Value};
use proptest::prelude::*;

/// Whether the protocol's decoder takes the message.
fn takes(keys: &[NodePublic], protocol: Protocol, message: &[u8]) -> bool {
    match protocol {
        Protocol::Qbft => ConsensusMsg::decode(message, keys).is_ok(),
        Protocol::ParSigEx => PartialSet::decode(message, 3).is_ok(),
        Protocol::PeerInfo => PeerInfo::decode(message).is_ok(),
        Protocol::Priority => SignedPriority::decode(message, OperatorIndex(3), keys).is_ok(),
    }
}

/// One captured message per kind, without its length.
fn captured(keys: &[NodePublic]) -> Vec<(Protocol, Vec<u8>)> {
    let files = [
        (Protocol::Qbft, "qbft-attester-prepared-round-change.json", "frames", 14),
        (Protocol::Qbft, "qbft-info-sync.json", "frames", 0),
        (Protocol::Priority, "priority.json", "messages", 1),
        (Protocol::PeerInfo, "peerinfo.json", "messages", 1),
    ];
    let parsigex = load("parsigex.json");
    let mut kinds = std::collections::BTreeMap::new();
    for message in list(&parsigex, "messages") {
        kinds.insert(message["duty"]["type"].as_u64(), bytes(message, "frame"));
    }
    assert_eq!(kinds.len(), 9);
    let frames =
        files.iter().map(|(protocol, file, name, at)| (*protocol, bytes(&list(&load(file), name)[*at], "frame")));
    let frames: Vec<(Protocol, Vec<u8>)> =
        frames.chain(kinds.into_values().map(|frame| (Protocol::ParSigEx, frame))).collect();
    frames
        .into_iter()
        .map(|(protocol, frame)| {
            let message = frame::split(protocol, &frame).unwrap().to_vec();
            assert!(takes(keys, protocol, &message), "a right message is the start");
            (protocol, message)
        })
        .collect()
}

#[test]
fn truncated_messages() {
    let keys = Cluster::load().keys;
    for (protocol, message) in captured(&keys) {
        let taken = (0..message.len()).filter(|&len| takes(&keys, protocol, &message[..len])).count();
        // Of peer info any number of whole fields is a message; of all else only the whole.
        assert_eq!(taken > 0, protocol == Protocol::PeerInfo, "{protocol:?}");
    }
}

/// Fields 20 of a number and 21 of bytes, which a later version may have added.
#[test]
fn messages_with_more_fields_than_we_know() {
    let keys = Cluster::load().keys;
    // Of a priority message the whole is signed, with what was added or without.
    for (protocol, message) in captured(&keys).into_iter().filter(|(protocol, _)| *protocol != Protocol::Priority) {
        let more = [&message[..], &[0xa0, 0x01, 0x05, 0xaa, 0x01, 0x02, 0x61, 0x62]].concat();
        assert!(takes(&keys, protocol, &more), "{protocol:?}");
    }
}

#[test]
fn messages_with_one_byte_changed() {
    let keys = Cluster::load().keys;
    for (protocol, message) in captured(&keys) {
        for at in (0..message.len()).step_by(5) {
            let mut changed = message.clone();
            changed[at] ^= 0x41;
            match protocol {
                // A few bytes mean nothing, such as those of a type's address; the rest is signed or hashed.
                Protocol::Qbft => {
                    let decoded = ConsensusMsg::decode(&changed, &keys);
                    assert!(decoded.is_err() || decoded == ConsensusMsg::decode(&message, &keys), "byte {at}");
                }
                Protocol::Priority => assert!(!takes(&keys, protocol, &changed), "byte {at}"),
                // Nothing is signed here, or what is signed is verified elsewhere: it must not panic, no more.
                Protocol::ParSigEx | Protocol::PeerInfo => _ = takes(&keys, protocol, &changed),
            }
        }
    }
}

/// The frame in which the value of a consensus message stands, as a hash has to be right before a value counts.
#[test]
fn attester_values_with_one_byte_changed() {
    let keys = Cluster::load().keys;
    let (_, message) = captured(&keys).remove(0);
    let decoded = ConsensusMsg::decode(&message, &keys).unwrap();
    let Some(Value::DataSet(set)) = decoded.values.values().next() else { panic!("the attester's value is a set") };
    for bytes in set.values() {
        let value = AttesterValue::decode(bytes).unwrap();
        assert_eq!(&value.encode(), bytes);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x80;
            assert_ne!(AttesterValue::decode(&changed), Ok(value), "byte {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let keys = &[];
        for protocol in Protocol::ALL {
            let taken = takes(keys, protocol, &bytes);
            prop_assert!(!taken || protocol == Protocol::PeerInfo);
            if let Ok(message) = frame::split(protocol, &bytes) {
                prop_assert!(message.len() < bytes.len());
            }
        }
        if let Ok(value) = AttesterValue::decode(&bytes) {
            prop_assert_eq!(AttesterValue::decode(&value.encode()), Ok(value));
        }
    }

    /// Payloads of every kind, with the frame around them intact.
    #[test]
    fn random_payloads(kind in 1_u8..=13, payload in prop::collection::vec(any::<u8>(), 0..600)) {
        let message = set_of(kind, &payload);
        if let Ok(set) = PartialSet::decode(&message, 3) {
            prop_assert_eq!(PartialSet::decode(&set.encode(), 3), Ok(set));
        }
    }
}

/// A set with one entry, put together by hand.
fn set_of(kind: u8, payload: &[u8]) -> Vec<u8> {
    let field = |tag: u8, content: &[u8]| [&[tag][..], &frame::encode(content)].concat();
    let data = [field(0x0a, payload), vec![0x18, 1]].concat();
    let key = format!("0x{}", "ab".repeat(48));
    let entry = [field(0x0a, key.as_bytes()), field(0x12, &data)].concat();
    [field(0x0a, &[0x10, kind]), field(0x12, &field(0x0a, &entry))].concat()
}
