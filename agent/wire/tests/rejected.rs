//! The wrong messages that were sent to a running node, and the few right ones among them: what it refused is refused
//! here, for the same reason, and what it took is taken.
//!
//! What it refused only for what it had stored before is taken here: memory is the core's.

#![allow(clippy::unwrap_used, reason = "a test whose vectors are not as expected has failed")]

mod common;

use common::{Cluster, bytes, list, load, number, text};
use holdfast_bls::verify_partial;
use holdfast_types::{DutyId, Millis, OperatorIndex, ShareIndex, UnknownDutyKind, ValidatorPublic};
use holdfast_wire::NotProtobuf;
use holdfast_wire::frame::{self, FrameError};
use holdfast_wire::gate::{duty_deadline, duty_in_gate};
use holdfast_wire::parsigex::{BadPayload, PartialSet, PartialsRejected};
use holdfast_wire::peerinfo::PeerInfo;
use holdfast_wire::priority::{PriorityRejected, SignedPriority};
use holdfast_wire::protocol::Protocol;
use holdfast_wire::qbft::{BadValue, ConsensusMsg, ConsensusRejected, MsgRejected};

/// Why a message goes no further.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("protocol is not served")]
    NotServed,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Consensus(#[from] ConsensusRejected),
    #[error(transparent)]
    Partials(#[from] PartialsRejected),
    #[error(transparent)]
    PeerInfo(#[from] NotProtobuf),
    #[error(transparent)]
    Priority(#[from] PriorityRejected),
    #[error("duty is too far ahead")]
    TooEarly,
    #[error("duty is over")]
    Over,
    #[error("validator {0} has no share {1}")]
    NoShare(ValidatorPublic, ShareIndex),
    #[error("partial signature does not hold")]
    BadPartial,
}

/// All that a listener checks before it looks at what it knows already. We are node 0; node 3 sent everything.
fn judge(cluster: &Cluster, protocol: &str, frame: &[u8], now: Millis) -> Result<(), Refusal> {
    let protocol = Protocol::from_id(protocol).ok_or(Refusal::NotServed)?;
    let message = frame::split(protocol, frame)?;
    match protocol {
        Protocol::Qbft => in_time(cluster, ConsensusMsg::decode(message, &cluster.keys)?.msg.msg().duty, now),
        Protocol::ParSigEx => {
            let set = PartialSet::decode(message, cluster.validators.len())?;
            for (validator, partial) in &set.partials {
                let public =
                    cluster.share(validator, partial.share).ok_or(Refusal::NoShare(*validator, partial.share))?;
                let root = partial.payload.signed().signing_root(&cluster.spec, cluster.version);
                verify_partial(&public, root, &partial.payload.signature()).map_err(|_| Refusal::BadPartial)?;
            }
            in_time(cluster, set.duty, now)
        }
        Protocol::PeerInfo => Ok(PeerInfo::decode(message).map(|_| ())?),
        Protocol::Priority => {
            in_time(cluster, SignedPriority::decode(message, OperatorIndex(3), &cluster.keys)?.duty(), now)
        }
    }
}

fn in_time(cluster: &Cluster, duty: DutyId, now: Millis) -> Result<(), Refusal> {
    if !duty_in_gate(duty, &cluster.spec, now) {
        return Err(Refusal::TooEarly);
    }
    match duty_deadline(duty, &cluster.spec) {
        Some(deadline) if deadline < now => Err(Refusal::Over),
        _ => Ok(()),
    }
}

/// Whether a case came out as it has to. A case without a line here fails the test.
fn is_right(case: &str, outcome: &Result<(), Refusal>) -> bool {
    use Refusal::{Consensus, Frame, Partials};
    let Err(refusal) = outcome else {
        return matches!(
            case,
            "qbft valid future prepare with null value"
                | "parsig valid, then conflicting"
                | "parsig conflicting (other epoch)"
                | "peerinfo empty"
        );
    };
    match case {
        "qbft bad signature" => matches!(refusal, Consensus(ConsensusRejected::Msg(MsgRejected::Signature { .. }))),
        "qbft no duty" => matches!(refusal, Consensus(ConsensusRejected::Msg(MsgRejected::NoDuty))),
        "qbft duty type 0" => {
            let unknown = UnknownDutyKind(0);
            matches!(refusal, Consensus(ConsensusRejected::Msg(MsgRejected::UnknownDuty(found))) if *found == unknown)
        }
        "qbft round 0" => matches!(refusal, Consensus(ConsensusRejected::Msg(MsgRejected::Round(0)))),
        "qbft value missing" => matches!(refusal, Consensus(ConsensusRejected::ValueMissing(_))),
        "qbft unknown value type" => {
            matches!(refusal, Consensus(ConsensusRejected::Value { index: 0, err: BadValue::UnknownType(_) }))
        }
        "qbft too many values" => {
            matches!(refusal, Consensus(ConsensusRejected::TooManyValues { found: 3, max: 2 }))
        }
        "qbft far future" | "parsig far future" => matches!(refusal, Refusal::TooEarly),
        "qbft expired" | "parsig expired" | "priority valid but not the time" => matches!(refusal, Refusal::Over),
        "qbft empty frame" => matches!(refusal, Consensus(ConsensusRejected::NoMsg)),
        "qbft garbage" => matches!(refusal, Consensus(ConsensusRejected::NotProtobuf(_))),
        "qbft 40 MB length" => matches!(refusal, Frame(FrameError::TooLong { len: 40_000_000.., .. })),
        "qbft short frame" => matches!(refusal, Frame(FrameError::Truncated)),
        "qbft non-minimal length" => matches!(refusal, Frame(FrameError::NotMinimal)),
        "parsig wrong share idx" => matches!(refusal, Refusal::BadPartial),
        "parsig share idx 9" => matches!(refusal, Refusal::NoShare(_, ShareIndex(9))),
        "parsig zero signature" => {
            matches!(refusal, Partials(PartialsRejected::Payload { err: BadPayload::ZeroSignature, .. }))
        }
        "parsig upper-case key" => matches!(refusal, Partials(PartialsRejected::Key(_))),
        "parsig empty set" => matches!(refusal, Partials(PartialsRejected::Empty)),
        "parsig no set" => matches!(refusal, Partials(PartialsRejected::Absent("data set"))),
        "priority wrong peer id" => matches!(refusal, Refusal::Priority(PriorityRejected::OtherPeer { .. })),
        "peerinfo garbage" => matches!(refusal, Refusal::PeerInfo(_)),
        "unknown protocol" => matches!(refusal, Refusal::NotServed),
        _ => false,
    }
}

#[test]
fn every_case_comes_out_as_with_the_reference() {
    let (cluster, json) = (Cluster::load(), load("rejected.json"));
    let mut failed = Vec::new();
    let cases = list(&json, "messages");
    for case in cases {
        let (name, sent) = (text(case, "name"), Millis(number(case, "t_ms")));
        let outcome = judge(&cluster, text(case, "protocol"), &bytes(case, "frame"), sent);
        let words = outcome.as_ref().map_or_else(ToString::to_string, |()| "accepted".to_owned());
        println!("{name}: {words} (reference: {})", text(case, "charon_v1_11"));
        if !is_right(name, &outcome) {
            failed.push((name, words));
        }
    }
    assert_eq!(failed, []);
    assert_eq!(cases.len(), 30);
}
