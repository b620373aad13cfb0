//! `cluster-wire.md` sections 14.2 and 14.3.

use holdfast_types::ValidatorPublic;

use prost::Message as _;

use super::*;
use crate::attester;
use crate::hash::hash_canonical;

fn keys() -> Vec<NodePublic> {
    (1..=4).map(|byte| key(byte).public()).collect()
}

fn key(byte: u8) -> NodeKey {
    NodeKey::from_bytes(&[byte; 32]).unwrap()
}

fn value() -> Value {
    let validator = "e5301bb68d031b01ef7f35613a77f05f6134983fedd8b0107ec2e45c9bb480eb52accb3174a9a936f255f96410d2eb03";
    Value::DataSet([(validator.parse().unwrap(), attester::tests::golden().encode())].into())
}

fn msg(kind: MsgKind, peer: u8, round: u64, value: Option<ValueHash>) -> Msg {
    Msg {
        kind,
        duty: DutyId::attester(Slot(123_456)),
        peer: OperatorIndex(peer),
        round,
        prepared_round: 0,
        value,
        prepared_value: None,
    }
}

fn pre_prepare() -> SignedMsg {
    msg(MsgKind::PrePrepare, 3, 1, Some(value().hash())).sign(&key(4))
}

#[test]
fn the_value_hashes_as_specified() {
    assert_eq!(value().canonical().len(), 338);
    assert_eq!(hex::encode(value().hash().0), "d8f9bc3de8b0cb0e3eb1f773c14a96d58f7acaf0f09192ce6562d84ea315e67b");
}

#[test]
fn an_entry_without_data_is_hashed_with_its_empty_value() {
    let empty = Value::DataSet([(ValidatorPublic::default(), vec![])].into());
    let bytes = empty.canonical();
    assert_eq!(&bytes[bytes.len() - 2..], &[0x12, 0x00]);
    assert_eq!(Value::from_any(empty.to_any()), Ok(empty));
}

#[test]
fn messages_have_the_specified_bytes_hashes_and_signatures() {
    let hash = Some(value().hash());
    let known = [
        (
            msg(MsgKind::PrePrepare, 3, 1, hash),
            "24dd2e9d37d90db118f4bd40b099ad55ea5bed63c5ea0bc49b3dae7f8971980e",
            "ed10e629fa2ebacb063710f97f73dd98e279a3b20e7ed132c306e5bd2f1701e873889ef75818dce10270e0a2da4f6b038a7e3b07\
             6d9812d34de045a7adca378000",
        ),
        (
            msg(MsgKind::Prepare, 0, 1, hash),
            "daf29acc86307326db0bfa81cf272b2ed9963df8303b7c59f00abfa7b8bfda3d",
            "eaf273dca713827187808b386707d6a60190048d5986607dbd32dcc8f3fb7faa267753c58c99c3530c0d097fc4832307d3bac95f\
             d6b158eac4d0f485c32014f201",
        ),
        (
            msg(MsgKind::RoundChange, 1, 2, None),
            "38c28ce70fe2311b06753a32e0183764127aff407efbb41675a88510028ab880",
            "c40f3317bc1bb192de37c9935f1a3b5b73df72b1024e7bf89a8ec76891366d3763b0661a95700811b1b0308221f645e712bb3ddb\
             946ea7d6b0a9138e500f3b5900",
        ),
    ];
    for (msg, digest, signature) in known {
        assert_eq!(hex::encode(msg.digest()), digest);
        assert_eq!(hex::encode(msg.sign(&key(msg.peer.0 + 1)).signature().0), signature);
    }
}

#[test]
fn whole_frames_are_the_specified_ones() {
    let proposal = ConsensusMsg::new(pre_prepare(), vec![], vec![value()]).encode();
    assert_eq!(proposal.len(), 548);
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&proposal);
    assert_eq!(hex::encode(digest), "a7b188dd5fd576b30a695b89269c865c5afcf5fb45c34e793c5f94014ac5cd51");
    assert_eq!(&crate::frame::encode(&proposal)[..4], &[0xa4, 0x04, 0x0a, 0x95]);

    let round_change = ConsensusMsg::new(msg(MsgKind::RoundChange, 1, 2, None).sign(&key(2)), vec![], vec![]).encode();
    assert_eq!(
        hex::encode(crate::frame::encode(&round_change)),
        "98010a95010804120608c0c4071002180120024241c40f3317bc1bb192de37c9935f1a3b5b73df72b1024e7bf89a8ec76891366d3763b0661a\
         95700811b1b0308221f645e712bb3ddb946ea7d6b0a9138e500f3b59005a2000000000000000000000000000000000000000000000000000\
         000000000000006220000000000000000000000000000000000000000000000000000000000000000\
         0"
    );
}

#[test]
fn what_was_sent_is_what_is_read() {
    let votes: Vec<SignedMsg> =
        (0..3).map(|peer| msg(MsgKind::Commit, peer, 1, Some(value().hash())).sign(&key(peer + 1))).collect();
    let decided = msg(MsgKind::Decided, 2, 1, Some(value().hash())).sign(&key(3));
    let unnamed = Value::DataSet([(ValidatorPublic::default(), vec![1])].into());
    let message = ConsensusMsg::new(decided, votes, vec![value(), unnamed]);
    assert_eq!(message.values.len(), 1, "a value that nothing names stays behind");
    assert_eq!(ConsensusMsg::decode(&message.encode(), &keys()), Ok(message));
}

/// A peer may leave a null hash out. What it signed then lacks the field, and so must what we pass on.
#[test]
fn a_hash_that_was_left_out_is_kept_so() {
    let vote = msg(MsgKind::RoundChange, 1, 2, None);
    let mut proto = proto::QbftMsg::decode(&vote.sign(&key(2)).encode()[..]).unwrap();
    for field in [&mut proto.value_hash, &mut proto.prepared_value_hash, &mut proto.signature] {
        field.clear();
    }
    proto.signature = key(2).sign(&hash_canonical(&proto.encode_to_vec())).0.to_vec();
    let sent = proto::QbftConsensusMsg { msg: Some(proto), ..Default::default() }.encode_to_vec();
    let read = ConsensusMsg::decode(&sent, &keys()).unwrap();
    assert_eq!(read.msg.msg(), &vote);
    assert_eq!(read.encode(), sent);
}

/// A vote of peer 1 with fields that we do not know in the message and in its duty, signed as section 3.1 has it: the
/// unknown fields after the known ones.
fn vote_of_a_later_version(in_duty: &[u8], in_message: &[u8]) -> Vec<u8> {
    let known = proto::QbftMsg::decode(&msg(MsgKind::RoundChange, 1, 2, None).sign(&key(2)).encode()[..]).unwrap();
    let mut bytes = proto::QbftMsg { kind: known.kind, ..Default::default() }.encode_to_vec();
    proto::put_field(&mut bytes, 2, &[&known.duty.unwrap().encode_to_vec()[..], in_duty].concat());
    let rest = proto::QbftMsg { kind: 0, duty: None, ..known };
    let unsigned = proto::QbftMsg { signature: vec![], ..rest.clone() }.encode_to_vec();
    let signature = key(2).sign(&hash_canonical(&[&bytes[..], &unsigned, in_message].concat())).0.to_vec();
    [&bytes[..], &proto::QbftMsg { signature, ..rest }.encode_to_vec(), in_message].concat()
}

/// Fields 20 of a number, 7 (reserved) of a number, and 21 of bytes.
const UNKNOWN: [u8; 10] = [0xa0, 0x01, 0x05, 0x38, 0x01, 0xaa, 0x01, 0x02, 0x61, 0x62];

#[test]
fn unknown_fields_are_verified_and_passed_on_as_they_came() {
    for (in_duty, in_message) in [(&[][..], &UNKNOWN[..]), (&UNKNOWN, &[]), (&UNKNOWN[..3], &UNKNOWN)] {
        let vote = vote_of_a_later_version(in_duty, in_message);
        let mut sent = Vec::new();
        proto::put_field(&mut sent, 1, &vote);
        proto::put_field(&mut sent, 2, &vote);
        let read = ConsensusMsg::decode(&[&sent[..], &UNKNOWN].concat(), &keys()).unwrap();
        assert_eq!(read.msg.msg(), &msg(MsgKind::RoundChange, 1, 2, None));
        assert_eq!(read.encode(), sent, "but what stands beside the signed messages is nobody's");
    }
}

#[test]
fn a_value_with_unknown_fields_is_hashed_with_them_and_passed_on() {
    let canonical = value().canonical();
    // Wherever a field stood, it is hashed after the known ones.
    let any = |bytes: Vec<u8>| proto::Any { value: bytes, ..value().to_any() };
    let read = Value::from_any(any([&UNKNOWN[..], &canonical].concat())).unwrap();
    assert_eq!(read.hash(), ValueHash(hash_canonical(&[&canonical[..], &UNKNOWN].concat())));
    assert_eq!(read.data_set(), value().data_set());
    assert_eq!(Value::from_any(read.to_any()), Ok(read));
    let many = Value::from_any(any([canonical, UNKNOWN.repeat(103)].concat()));
    assert!(matches!(many, Err(BadValue::TooLarge { found: 1030, .. })));
}

#[test]
fn an_unknown_field_counts_for_the_signature_and_is_bounded() {
    let decode = |vote: &[u8]| {
        let mut sent = Vec::new();
        proto::put_field(&mut sent, 1, vote);
        msg_fault(ConsensusMsg::decode(&sent, &keys()))
    };
    let mut added = vote_of_a_later_version(&[], &UNKNOWN);
    added.extend_from_slice(&[0x38, 0x01]);
    assert!(matches!(decode(&added), MsgRejected::Signature { err: BadSignature::OtherKey, .. }));
    let many = vote_of_a_later_version(&UNKNOWN, &UNKNOWN.repeat(6));
    assert_eq!(decode(&many), MsgRejected::UnknownFields { found: 70, max: 64 });
}

/// Encodes a proposal after something was done to it.
fn altered(alter: impl FnOnce(&mut proto::QbftConsensusMsg)) -> Result<ConsensusMsg, ConsensusRejected> {
    let bytes = ConsensusMsg::new(pre_prepare(), vec![], vec![value()]).encode();
    let mut proto = proto::QbftConsensusMsg::decode(&bytes[..]).unwrap();
    alter(&mut proto);
    ConsensusMsg::decode(&proto.encode_to_vec(), &keys())
}

/// The same, with the message signed again by peer 3.
fn altered_msg(alter: impl FnOnce(&mut proto::QbftMsg)) -> Result<ConsensusMsg, ConsensusRejected> {
    altered(|proto| {
        let msg = proto.msg.as_mut().unwrap();
        msg.signature.clear();
        alter(msg);
        msg.signature = key(4).sign(&hash_canonical(&msg.encode_to_vec())).0.to_vec();
    })
}

fn msg_fault(result: Result<ConsensusMsg, ConsensusRejected>) -> MsgRejected {
    match result {
        Err(ConsensusRejected::Msg(fault)) => fault,
        other => panic!("expected a fault of the message itself, got {other:?}"),
    }
}

#[test]
fn every_fault_of_a_single_message_is_named() {
    assert!(altered_msg(|_| ()).is_ok());
    assert!(matches!(altered(|proto| proto.msg = None), Err(ConsensusRejected::NoMsg)));
    assert_eq!(msg_fault(altered_msg(|msg| msg.duty = None)), MsgRejected::NoDuty);
    for kind in [0, 6, -1] {
        assert_eq!(msg_fault(altered_msg(|msg| msg.kind = kind)), MsgRejected::UnknownKind(kind));
    }
    for kind in [0, 14, -1] {
        let fault = msg_fault(altered_msg(|msg| msg.duty = Some(proto::Duty { slot: 1, kind })));
        assert_eq!(fault, MsgRejected::UnknownDuty(UnknownDutyKind(kind)));
    }
    for round in [0, -1] {
        assert_eq!(msg_fault(altered_msg(|msg| msg.round = round)), MsgRejected::Round(round));
    }
    assert_eq!(msg_fault(altered_msg(|msg| msg.prepared_round = -1)), MsgRejected::PreparedRound(-1));
    for peer in [4, -1, 256] {
        assert_eq!(msg_fault(altered_msg(|msg| msg.peer_idx = peer)), MsgRejected::UnknownPeer(peer));
    }
    assert_eq!(msg_fault(altered_msg(|msg| msg.value_hash = vec![1; 31])), MsgRejected::HashLength(31));
    let by_other = MsgRejected::Signature { peer: OperatorIndex(2), err: BadSignature::OtherKey };
    assert_eq!(msg_fault(altered_msg(|msg| msg.peer_idx = 2)), by_other);
    assert!(matches!(
        msg_fault(altered(|proto| proto.msg.as_mut().unwrap().signature.push(0))),
        MsgRejected::Signature { err: BadSignature::Length(66), .. }
    ));
}

#[test]
fn duties_without_consensus_are_no_fault_of_the_message() {
    for kind in 1..=13 {
        let read = altered_msg(|msg| msg.duty = Some(proto::Duty { slot: 1, kind })).unwrap();
        assert_eq!(i32::from(read.msg.msg().duty.kind.number()), kind);
    }
}

#[test]
fn every_fault_of_the_rest_is_named() {
    let vote = |slot| {
        let duty = DutyId::attester(Slot(slot));
        let signed = Msg { duty, ..msg(MsgKind::RoundChange, 1, 2, None) }.sign(&key(2));
        proto::QbftMsg::decode(&signed.encode()[..]).unwrap()
    };
    assert!(altered(|proto| proto.justification = vec![vote(123_456); 8]).is_ok());
    assert_eq!(
        altered(|proto| proto.justification = vec![vote(123_456); 9]),
        Err(ConsensusRejected::TooManyJustifications { found: 9, max: 8 })
    );
    assert!(altered(|proto| proto.values.push(proto.values[0].clone())).is_ok());
    assert_eq!(
        altered(|proto| proto.values = vec![value().to_any(); 3]),
        Err(ConsensusRejected::TooManyValues { found: 3, max: 2 })
    );
    assert!(matches!(
        altered(|proto| proto.justification = vec![vote(123_456), vote(123_457)]),
        Err(ConsensusRejected::OtherDuty { index: 1, .. })
    ));
    assert!(matches!(
        altered(|proto| proto.justification = vec![proto::QbftMsg { round: 3, ..vote(123_456) }]),
        Err(ConsensusRejected::Justification { index: 0, err: MsgRejected::Signature { .. } })
    ));
    assert_eq!(altered(|proto| proto.values.clear()), Err(ConsensusRejected::ValueMissing(value().hash())));
    let bad_value = |alter: fn(&mut proto::Any)| match altered(|proto| alter(&mut proto.values[0])) {
        Err(ConsensusRejected::Value { index: 0, err }) => err,
        other => panic!("expected a fault of the value, got {other:?}"),
    };
    assert!(matches!(bad_value(|any| any.type_url.push('x')), BadValue::UnknownType(_)));
    assert!(matches!(bad_value(|any| any.value.truncate(9)), BadValue::NotProtobuf(_)));
    assert!(matches!(bad_value(|any| any.value[5] = b'X'), BadValue::Key(_)));
    assert!(matches!(bad_value(|any| any.value = [0x0a, 0x00].repeat(4097)), BadValue::TooLarge { found: 4097, .. }));
    let result = "type.googleapis.com/core.corepb.v1.PriorityResult";
    assert!(matches!(
        altered(|proto| proto.values[0] = proto::Any { type_url: result.to_owned(), value: vec![0; (1 << 20) + 1] }),
        Err(ConsensusRejected::Value { err: BadValue::TooLarge { what: "bytes", .. }, .. })
    ));
}
