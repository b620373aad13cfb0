//! The largest frames that a peer may send take memory in proportion to their length, however they are built.
//!
//! A process of its own with one test, so that the peak of its memory is that of the decoders.

#![allow(clippy::unwrap_used, reason = "a test whose vectors are not as expected has failed")]

mod common;

use common::{Cluster, bytes, list, load};
use holdfast_eth::block::SignedProposal;
use holdfast_types::OperatorIndex;
use holdfast_wire::frame;
use holdfast_wire::parsigex::{PartialSet, Payload};
use holdfast_wire::peerinfo::PeerInfo;
use holdfast_wire::priority::SignedPriority;
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::ConsensusMsg;

/// Decoded and copied on the way, each no longer than the frame; a list of tiny elements would be 25 to 100 times the frame.
const TIMES_MAX: usize = 4;

#[test]
fn memory_grows_with_the_frame_only() {
    let keys = Cluster::load().keys;
    assert!(ConsensusMsg::decode(&vote(), &keys).is_ok());
    let frames = hostile();
    assert_eq!(frames.len(), 13);
    for (name, protocol, build) in frames {
        let message = build();
        assert!(message.len() <= protocol.frame_len_max(), "{name}");
        assert!(message.len() * 2 > protocol.frame_len_max(), "{name} is as large as it may be");
        // Writing 5 there makes the peak what is in use now (proc(5), clear_refs).
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak_kib();
        let taken = match protocol {
            Protocol::Qbft => ConsensusMsg::decode(&message, &keys).is_ok(),
            Protocol::ParSigEx => PartialSet::decode(&message, 3).is_ok(),
            Protocol::PeerInfo => PeerInfo::decode(&message).is_ok(),
            Protocol::Priority => SignedPriority::decode(&message, OperatorIndex(3), &keys).is_ok(),
        };
        let grown_kib = peak_kib() - before;
        println!("{name}: {} KiB, peak grew by {grown_kib} KiB, taken: {taken}", message.len() >> 10);
        assert!(grown_kib << 10 <= protocol.frame_len_max() * TIMES_MAX, "{name} grew memory by {grown_kib} KiB");
    }
}

/// A message to be built only when its turn comes, so that the others are not in memory with it.
type Built = Box<dyn Fn() -> Vec<u8>>;

/// Messages as large as the protocol allows, made so as to cost much.
fn hostile() -> Vec<(&'static str, Protocol, Built)> {
    use Protocol::{ParSigEx, PeerInfo, Priority, Qbft};
    let duty = || field(0x0a, &[0x10, 2]);
    vec![
        ("justifications", Qbft, Box::new(|| [vote(), filled(Qbft, &[0x12, 0])].concat()) as Built),
        ("values", Qbft, Box::new(|| [vote(), filled(Qbft, &[0x1a, 0])].concat())),
        ("entries of a value", Qbft, Box::new(|| valued("UnsignedDataSet", &filled(Qbft, &[0x0a, 0])))),
        ("one entry of a value", Qbft, Box::new(|| valued("UnsignedDataSet", &one_entry()))),
        ("messages of a result", Qbft, Box::new(|| valued("PriorityResult", &filled(Qbft, &[0x0a, 0])))),
        ("topics of a result", Qbft, Box::new(|| valued("PriorityResult", &filled(Qbft, &[0x12, 0])))),
        ("entries of a set", ParSigEx, Box::new(move || [duty(), field(0x12, &filled(ParSigEx, &[0x0a, 0]))].concat())),
        ("data sets", ParSigEx, Box::new(move || [duty(), filled(ParSigEx, &[0x12, 0])].concat())),
        (
            "a long string",
            ParSigEx,
            Box::new(|| payload(7, &[b"{\"epoch\":\"", &filled(ParSigEx, b"\\n")[..], b"\"}"].concat())),
        ),
        ("deep lists", ParSigEx, Box::new(|| payload(4, &[b"{\"x\":", &filled(ParSigEx, b"[")[..]].concat()))),
        ("a block of many transactions", ParSigEx, Box::new(|| payload(1, &block_of_many_transactions()))),
        ("topics", Priority, Box::new(|| filled(Priority, &[0x12, 0]))),
        ("a long name", PeerInfo, Box::new(|| field(0x0a, &filled(PeerInfo, b"v")))),
    ]
}

/// A consensus message that is right as it is.
fn vote() -> Vec<u8> {
    let frames = load("qbft-attester.json");
    frame::split(Protocol::Qbft, &bytes(&list(&frames, "frames")[0], "frame")).unwrap().to_vec()
}

/// The same with one more value.
fn valued(name: &str, value: &[u8]) -> Vec<u8> {
    let url = field(0x0a, format!("type.googleapis.com/core.corepb.v1.{name}").as_bytes());
    [vote(), field(0x1a, &[url, field(0x12, value)].concat())].concat()
}

/// A set with one entry.
fn payload(kind: u8, payload: &[u8]) -> Vec<u8> {
    let entry = [field(0x0a, key().as_bytes()), field(0x12, &[&field(0x0a, payload)[..], &[0x18, 1]].concat())];
    [field(0x0a, &[0x10, kind]), field(0x12, &field(0x0a, &entry.concat()))].concat()
}

/// As many elements as fit into a frame with some room for what is around them.
fn filled(protocol: Protocol, element: &[u8]) -> Vec<u8> {
    element.repeat((protocol.frame_len_max() - 2000) / element.len())
}

fn field(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag][..], &frame::encode(content)].concat()
}

fn key() -> String {
    format!("0x{}", "ab".repeat(48))
}

/// An entry that fills the frame by itself.
fn one_entry() -> Vec<u8> {
    let data = vec![7; Protocol::Qbft.frame_len_max() - 2500];
    field(0x0a, &[field(0x0a, key().as_bytes()), field(0x12, &data)].concat())
}

/// The captured block with as many empty transactions as a block may have, and a large one to fill the frame.
fn block_of_many_transactions() -> Vec<u8> {
    let frames = load("parsigex.json");
    let captured = list(&frames, "messages").iter().find(|message| message["duty"]["type"] == 1).unwrap();
    let frame = bytes(captured, "frame");
    let set = PartialSet::decode(frame::split(Protocol::ParSigEx, &frame).unwrap(), 3).unwrap();
    let Some(Payload::Proposal(mut partial)) = set.partials.into_values().next().map(|partial| partial.payload) else {
        panic!("the captured message is a proposal")
    };
    let SignedProposal::Deneb(contents) = &mut partial.proposal else { panic!("the captured block is deneb's") };
    let mut transactions = vec![Default::default(); 1 << 20];
    transactions[0] = vec![7; 10 << 20].try_into().unwrap();
    contents.signed_block.message.body.execution_payload.transactions = transactions.try_into().unwrap();
    let object = partial.proposal.to_ssz();
    [&4_u64.to_le_bytes()[..], &[0], &13_u32.to_le_bytes(), &object].concat()
}

/// The most memory that the process ever had, in KiB.
fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
