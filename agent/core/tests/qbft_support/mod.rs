//! A cluster's keys, and messages signed with them, for the tests of consensus.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::RefCell;
use std::collections::BTreeMap;

use holdfast_core::qbft::operators::Operators;
use holdfast_core::qbft::{Instance, Output, Params};
use holdfast_types::{DutyId, Millis, OperatorIndex, Slot};
use holdfast_wire::k1::NodeKey;
use holdfast_wire::qbft::{Msg, MsgKind, SignedMsg, ValueHash};

thread_local! {
    static SIGNED: RefCell<BTreeMap<Msg, SignedMsg>> = const { RefCell::new(BTreeMap::new()) };
}

/// When every duty of these tests starts, in milliseconds.
pub(crate) const START_MS: u64 = 1_000_000;

/// The deadline of an attester duty after its start, with slots of 12 s (`cluster-wire.md` section 14.5).
pub(crate) const DUTY_MS: u64 = 381_000;

/// The operators of a cluster, their keys, and a duty of theirs.
pub(crate) struct Cluster {
    pub(crate) operators: Operators,
    pub(crate) duty: DutyId,
    keys: Vec<NodeKey>,
}

impl Cluster {
    /// `n` operators and an attester duty of which operator 0 leads round 1.
    pub(crate) fn new(n: usize) -> Self {
        let operators = Operators::new(n).unwrap();
        let duty = (0..32).map(|slot| DutyId::attester(Slot(slot)));
        let duty = duty.into_iter().find(|duty| operators.leader(*duty, 1) == OperatorIndex(0)).unwrap();
        let keys = (1..=n).map(|secret| NodeKey::from_bytes(&[u8::try_from(secret).unwrap(); 32]).unwrap()).collect();
        Self { operators, duty, keys }
    }

    /// An instance that has not started.
    pub(crate) fn instance(&self, own: u8) -> Instance {
        Instance::new(Params {
            operators: self.operators,
            own: OperatorIndex(own),
            duty: self.duty,
            start: Millis(START_MS),
            end: Millis(START_MS + DUTY_MS),
        })
    }

    pub(crate) fn leader(&self, round: u64) -> u8 {
        self.operators.leader(self.duty, round).0
    }

    /// Signs with the key of the operator that the message names.
    ///
    /// What was signed once is remembered: simulated clusters say the same things again and again, and have the same keys.
    pub(crate) fn sign(&self, msg: Msg) -> SignedMsg {
        let sign = || msg.sign(&self.keys[usize::from(msg.peer.0)]);
        SIGNED.with_borrow_mut(|signed| *signed.entry(msg).or_insert_with(sign))
    }

    /// A message that is about a value.
    pub(crate) fn about(&self, kind: MsgKind, peer: u8, round: u64, value: u8) -> SignedMsg {
        self.sign(Msg {
            kind,
            duty: self.duty,
            peer: OperatorIndex(peer),
            round,
            prepared_round: 0,
            value: Some(hash(value)),
            prepared_value: None,
        })
    }

    pub(crate) fn proposal(&self, round: u64, value: u8) -> SignedMsg {
        self.about(MsgKind::PrePrepare, self.leader(round), round, value)
    }

    pub(crate) fn prepare(&self, peer: u8, round: u64, value: u8) -> SignedMsg {
        self.about(MsgKind::Prepare, peer, round, value)
    }

    pub(crate) fn commit(&self, peer: u8, round: u64, value: u8) -> SignedMsg {
        self.about(MsgKind::Commit, peer, round, value)
    }

    /// A ROUND-CHANGE that claims to have prepared a value in a round, or nothing.
    pub(crate) fn round_change(&self, peer: u8, round: u64, prepared: Option<(u64, u8)>) -> SignedMsg {
        self.sign(Msg {
            kind: MsgKind::RoundChange,
            duty: self.duty,
            peer: OperatorIndex(peer),
            round,
            prepared_round: prepared.map_or(0, |(round, _)| round),
            value: None,
            prepared_value: prepared.map(|(_, value)| hash(value)),
        })
    }
}

/// A value, named by a number.
pub(crate) fn hash(value: u8) -> ValueHash {
    ValueHash([value; 32])
}

/// A time in milliseconds after the duty's start.
pub(crate) fn after_start(ms: u64) -> Millis {
    Millis(START_MS + ms)
}

/// What an instance said, without what justifies it: `PREPARE r1 v7`.
pub(crate) fn said(out: &[Output]) -> Vec<String> {
    out.iter().map(one_said).collect()
}

fn one_said(output: &Output) -> String {
    match output {
        Output::Broadcast { msg, justification } => {
            let mut text = format!("{} r{}", name(msg.kind), msg.round);
            if let Some(value) = msg.value {
                text += &format!(" v{}", value.0[0]);
            }
            if let Some(value) = msg.prepared_value {
                text += &format!(" prepared r{} v{}", msg.prepared_round, value.0[0]);
            }
            if !justification.is_empty() {
                text += &format!(" by {}", justification.len());
            }
            text
        }
        Output::Decided { value, round, commits } => {
            format!("decided r{round} v{} by {}", value.0[0], commits.len())
        }
    }
}

/// The type's name in the specification.
pub(crate) fn name(kind: MsgKind) -> &'static str {
    match kind {
        MsgKind::PrePrepare => "PRE-PREPARE",
        MsgKind::Prepare => "PREPARE",
        MsgKind::Commit => "COMMIT",
        MsgKind::RoundChange => "ROUND-CHANGE",
        MsgKind::Decided => "DECIDED",
    }
}
