//! Captured instances of the reference implementation, replayed: the same messages at the same times make us say the
//! same words and decide the same value in the same round (`cluster-wire.md` section 14).

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdfast_core::qbft::operators::Operators;
use holdfast_core::qbft::{Instance, Output, Params};
use holdfast_types::{DutyId, DutyKind, Millis, OperatorIndex, Slot};
use holdfast_wire::frame;
use holdfast_wire::k1::{NodeKey, NodePublic};
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::{ConsensusMsg, MsgKind, SignedMsg, ValueHash};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The operator whose place our probe took when the frames were captured.
const OWN: OperatorIndex = OperatorIndex(3);

#[derive(Deserialize)]
struct RawCapture {
    duty: RawDuty,
    slot_seconds: Option<u64>,
    frames: Vec<RawFrame>,
}

#[derive(Deserialize)]
struct RawDuty {
    slot: u64,
    #[serde(rename = "type")]
    kind: i32,
}

#[derive(Deserialize)]
struct RawFrame {
    t_ms: u64,
    from: u8,
    to: Vec<u8>,
    frame: String,
}

#[derive(Deserialize)]
struct RawPeers {
    peers: Vec<RawPeer>,
    network: RawNetwork,
}

#[derive(Deserialize)]
struct RawPeer {
    public_key: String,
}

#[derive(Deserialize)]
struct RawNetwork {
    genesis_time: u64,
}

#[derive(Deserialize)]
struct RawKeys {
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
struct RawNode {
    node_private_key: String,
}

/// A captured frame, decoded and verified.
struct Frame {
    at: Millis,
    from: OperatorIndex,
    to_us: bool,
    message: ConsensusMsg,
}

/// A captured instance.
struct Capture {
    params: Params,
    frames: Vec<Frame>,
    own_key: NodeKey,
}

/// What became of a replay.
struct Replayed {
    instance: Instance,
    now: Millis,
    said: Vec<(SignedMsg, Vec<SignedMsg>)>,
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn read<T: DeserializeOwned>(path: &str) -> T {
    let path = vectors().join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

impl Capture {
    fn load(name: &str) -> Self {
        let raw: RawCapture = read(&format!("wire/{name}.json"));
        let peers: RawPeers = read("wire/peers.json");
        let keys: RawKeys = read("live-cluster-a/keys.json");
        let public = |peer: &RawPeer| NodePublic::from_slice(&hex::decode(&peer.public_key).unwrap()).unwrap();
        let public: Vec<NodePublic> = peers.peers.iter().map(public).collect();
        let secret = hex::decode(&keys.nodes[usize::from(OWN.0)].node_private_key).unwrap();
        let slot_ms = 1000 * raw.slot_seconds.unwrap_or(2);
        let duty = DutyId { slot: Slot(raw.duty.slot), kind: DutyKind::try_from(raw.duty.kind).unwrap() };
        let offset_ms = match duty.kind {
            DutyKind::Attester => slot_ms / 3,
            DutyKind::Aggregator | DutyKind::SyncContribution => 2 * slot_ms / 3,
            _ => 0,
        };
        let start = Millis(1000 * peers.network.genesis_time + slot_ms * raw.duty.slot + offset_ms);
        let decode = |raw: &RawFrame| {
            let bytes = hex::decode(&raw.frame).unwrap();
            let message = frame::split(Protocol::Qbft, &bytes).unwrap();
            Frame {
                at: Millis(raw.t_ms),
                from: OperatorIndex(raw.from),
                to_us: raw.to.contains(&OWN.0),
                message: ConsensusMsg::decode(message, &public).unwrap(),
            }
        };
        Self {
            params: Params {
                operators: Operators::new(public.len()).unwrap(),
                own: OWN,
                duty,
                start,
                end: start.plus(60_000),
            },
            frames: raw.frames.iter().map(decode).collect(),
            own_key: NodeKey::from_bytes(&secret.try_into().unwrap()).unwrap(),
        }
    }

    /// The value that the captured COMMITs are for, and their round.
    fn committed(&self) -> (u64, ValueHash) {
        let commits = self.frames.iter().map(|frame| frame.message.msg.msg()).filter(|msg| msg.kind == MsgKind::Commit);
        commits.map(|msg| (msg.round, msg.value.unwrap())).max().expect("the capture holds COMMITs")
    }

    /// Plays every frame that came to us. `withheld` says which of our own messages never left, as in the live run.
    fn replay(&self, withheld: impl Fn(MsgKind) -> bool) -> Replayed {
        let mut replayed = Replayed { instance: Instance::new(self.params), now: self.params.start, said: Vec::new() };
        let mut out = Vec::new();
        replayed.instance.start(replayed.now, &mut out);
        // Whoever led had a value, and it was the one that all agreed on.
        replayed.instance.set_input(self.committed().1, replayed.now, &mut out);
        self.speak(&mut replayed, out, &withheld);
        for frame in self.frames.iter().filter(|frame| frame.to_us) {
            self.pass_time(&mut replayed, frame.at, &withheld);
            let mut out = Vec::new();
            let ConsensusMsg { msg, justification, .. } = &frame.message;
            replayed.instance.on_message(msg, justification, replayed.now, &mut out).expect("nodes say what is just");
            self.speak(&mut replayed, out, &withheld);
        }
        replayed
    }

    fn pass_time(&self, replayed: &mut Replayed, until: Millis, withheld: &impl Fn(MsgKind) -> bool) {
        while let Some(deadline) = replayed.instance.deadline().filter(|deadline| *deadline <= until) {
            let mut out = Vec::new();
            replayed.now = replayed.now.max(deadline);
            replayed.instance.on_time(replayed.now, &mut out);
            self.speak(replayed, out, withheld);
        }
        replayed.now = replayed.now.max(until);
    }

    /// Signs what the instance says and gives it back, until it has no more to say.
    fn speak(&self, replayed: &mut Replayed, out: Vec<Output>, withheld: &impl Fn(MsgKind) -> bool) {
        let mut pending = std::collections::VecDeque::from(out);
        while let Some(output) = pending.pop_front() {
            let Output::Broadcast { msg, justification } = output else { continue };
            if withheld(msg.kind) {
                continue;
            }
            let signed = msg.sign(&self.own_key);
            let mut out = Vec::new();
            replayed.instance.on_message(&signed, &justification, replayed.now, &mut out).expect("we are just");
            replayed.said.push((signed, justification));
            pending.extend(out);
        }
    }

    /// Holds what we said against what the probe said: every captured message of ours, byte for byte.
    fn check_own_words(&self, replayed: &Replayed) {
        for frame in self.frames.iter().filter(|frame| frame.from == OWN) {
            let ConsensusMsg { msg, justification, .. } = &frame.message;
            let captured: BTreeSet<_> = justification.iter().collect();
            let same =
                replayed.said.iter().any(|(said, by)| said == msg && by.iter().collect::<BTreeSet<_>>() == captured);
            assert!(same, "we should have said {:?} with {} justifying it", msg.msg(), captured.len());
        }
    }
}

/// Replays a captured instance that decided.
fn check(name: &str, round: u64) {
    let capture = Capture::load(name);
    let replayed = capture.replay(|_| false);
    assert_eq!(capture.committed().0, round, "{name}: the round of the captured COMMITs");
    assert_eq!(replayed.instance.decided(), Some(capture.committed()), "{name}");
    capture.check_own_words(&replayed);
}

#[test]
fn every_duty_decides_as_captured_in_round_1() {
    for name in [
        "qbft-aggregator",
        "qbft-attester",
        "qbft-info-sync",
        "qbft-proposer",
        "qbft-sync-contribution",
        "qbft-sync-contribution-single",
        "qbft-sync-contribution-unsorted-value",
    ] {
        check(name, 1);
    }
}

#[test]
fn a_silent_leader_costs_one_round_as_captured() {
    check("qbft-attester-round2", 2);
    check("qbft-proposer-round2", 2);
}

/// Our probe prepared in rounds 1, 3 and 7 and kept its COMMITs to itself, so nobody could decide.
#[test]
fn rounds_that_are_prepared_but_not_committed_go_on_as_captured() {
    let capture = Capture::load("qbft-attester-prepared-round-change");
    let replayed = capture.replay(|kind| kind == MsgKind::Commit);
    let value = capture.committed().1;
    assert_eq!(replayed.instance.decided(), None);
    assert_eq!(replayed.instance.round(), 7);
    assert_eq!(replayed.instance.prepared(), Some((7, value)));
    let words: Vec<_> = replayed.said.iter().map(|(said, by)| (said.msg().kind, said.msg().round, by.len())).collect();
    let change = |round| (MsgKind::RoundChange, round, 3);
    let proposal = (MsgKind::PrePrepare, 1, 0);
    let prepare = |round| (MsgKind::Prepare, round, 0);
    let in_order = [
        proposal,
        prepare(1),
        change(2),
        change(3),
        prepare(3),
        change(4),
        change(5),
        change(6),
        change(7),
        prepare(7),
    ];
    assert_eq!(words, in_order);
    capture.check_own_words(&replayed);
    assert_eq!(replayed.instance.deadline(), Some(capture.params.start.plus(14_000)));
}

/// Our probe kept its COMMIT to itself and sent a DECIDED with it instead.
#[test]
fn a_decision_is_told_and_believed_as_captured() {
    let capture = Capture::load("qbft-decided");
    let mut replayed = capture.replay(|_| false);
    assert_eq!(replayed.instance.decided(), Some(capture.committed()));
    let ConsensusMsg { msg, justification, .. } = &capture.frames.last().expect("the capture has frames").message;
    assert_eq!(msg.msg().kind, MsgKind::Decided);

    let mut latecomer = Instance::new(Params { own: OperatorIndex(0), ..capture.params });
    let mut out = Vec::new();
    latecomer.start(replayed.now, &mut out);
    out.clear();
    latecomer.on_message(msg, justification, replayed.now, &mut out).unwrap();
    assert_eq!(latecomer.decided(), Some(capture.committed()));

    // A latecomer's ROUND-CHANGE, taken from another duty's capture in form only: its signature is ours to make here.
    let keys: RawKeys = read("live-cluster-a/keys.json");
    let secret = hex::decode(&keys.nodes[0].node_private_key).unwrap();
    let change = holdfast_wire::qbft::Msg {
        kind: MsgKind::RoundChange,
        peer: OperatorIndex(0),
        round: 2,
        value: None,
        ..*msg.msg()
    };
    let change = change.sign(&NodeKey::from_bytes(&secret.try_into().unwrap()).unwrap());
    let mut out = Vec::new();
    replayed.instance.on_message(&change, &[], replayed.now, &mut out).unwrap();
    capture.speak(&mut replayed, out, &|_| false);
    assert_eq!(replayed.said.last().map(|(said, _)| said), Some(msg), "the captured DECIDED, byte for byte");
}
