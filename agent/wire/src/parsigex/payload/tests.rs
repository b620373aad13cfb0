use holdfast_eth::aggregate::Attestation;
use holdfast_types::Root;
use ssz::{Decode, Encode};

use super::*;

/// `VersionedAttestation` of `cluster-wire.md` section 14.6, with the index.
const GOLDEN: &str = concat!(
    "06000000000000000f0000000000000014000000ec0000005fa0a8c0569a0d4c6c9886ddf099e234f11f99ef25258727c8b2922e22f5563d",
    "39490544d0ec4c0e68f23b572665b0e6b00acba00faa243dfd4ffbf4ebe0530c03f2ecd45fac9d4aef1d6a649ec7799f34798eb91ff4c4fe",
    "1ce2871974a4378521819c51945e7ed3df1fb0b5a4e0e895804813d1f4a80680595fb94b5763691045bb08f5197bb91ffb894a8e40f9a837",
    "cbbccd54915ca94d509daa426fe2a33e1b669111cc4ff4fcc5071606dc666e998b5982ab0f52cf75924a308bcb99683bccc2813229bf922a",
    "af112694262a4c953678a238749d8e791fa82ad773e2bb97ff000000000000000c58485fe3352bc5b501",
);

fn golden() -> Vec<u8> {
    hex::decode(GOLDEN).unwrap()
}

fn attestation(bytes: &[u8]) -> Result<PartialAttestation, BadPayload> {
    match Payload::decode(DutyKind::Attester, bytes)? {
        Payload::Attestation(attestation) => Ok(attestation),
        other => panic!("expected an attestation, got {other:?}"),
    }
}

#[test]
fn the_golden_attestation_decodes() {
    let decoded = attestation(&golden()).unwrap();
    assert_eq!((decoded.version, decoded.validator, decoded.committee), (6, Some(ValidatorIndex(15)), None));
    assert_eq!(decoded.data.slot.0, 5_480_206_018_969_903_199);
    assert_eq!(decoded.data.index, 3_810_777_494_496_647_276);
    assert_eq!(decoded.data.source.epoch.0, 4_405_833_319_574_080_176);
    assert_eq!(decoded.data.target.epoch.0, 9_599_321_949_314_998_812);
    let body = &golden()[20..];
    assert_eq!(Attestation::from_ssz_bytes(body).unwrap().as_ssz_bytes(), body);
}

#[test]
fn the_header_without_an_index_is_taken_too() {
    let bytes = golden();
    let short = [&bytes[..8], &12_u32.to_le_bytes(), &bytes[20..]].concat();
    let decoded = attestation(&short).unwrap();
    assert_eq!(decoded, PartialAttestation { validator: None, ..attestation(&bytes).unwrap() });
}

#[test]
fn our_own_attestation_round_trips_in_both_forms() {
    let golden = attestation(&golden()).unwrap();
    for validator in [None, Some(ValidatorIndex(7))] {
        for committee in [None, Some(0), Some(63)] {
            let ours = PartialAttestation { validator, committee, ..golden.clone() };
            assert_eq!(attestation(&ours.encode()), Ok(ours));
        }
    }
}

#[test]
fn json_is_taken_when_the_bytes_are_no_ssz() {
    let golden = attestation(&golden()).unwrap();
    let data = &golden.data;
    let text = format!(
        r#"{{"version":6,"validator_index":"15","attestation":{{"aggregation_bits":"0x0c58485fe3352bc5b501",
        "data":{{"slot":"{}","index":"{}","beacon_block_root":"{}","source":{{"epoch":"{}","root":"{}"}},
        "target":{{"epoch":"{}","root":"{}"}}}},"signature":"{}","committee_bits":"0xff00000000000000"}}}}"#,
        data.slot,
        data.index,
        data.beacon_block_root,
        data.source.epoch,
        data.source.root,
        data.target.epoch,
        data.target.root,
        golden.signature
    );
    assert_eq!(attestation(text.as_bytes()), Ok(golden.clone()));
    let without = text.replace("\"15\"", "null");
    assert_eq!(attestation(without.as_bytes()), Ok(PartialAttestation { validator: None, ..golden }));
    assert!(matches!(attestation(b"{}"), Err(BadPayload::Malformed { .. })));
}

#[test]
fn what_is_no_attestation_is_refused() {
    let bytes = golden();
    for len in 0..bytes.len() - 10 {
        assert!(matches!(attestation(&bytes[..len]), Err(BadPayload::Malformed { .. })), "{len} bytes");
    }
    let mut old = bytes.clone();
    old[0] = 4;
    assert_eq!(attestation(&old), Err(BadPayload::Version(4)));
    let mut unsigned = bytes.clone();
    unsigned[20 + 132..20 + 132 + 96].fill(0);
    assert_eq!(attestation(&unsigned), Err(BadPayload::ZeroSignature));
}

/// JSON payloads of `cluster-wire.md` section 14.6: signatures there are 96 random bytes.
#[test]
fn the_golden_json_payloads_round_trip() {
    let signature = "58485fe3352bc5b52456f0eff11f99ef25258727c8b2922e22f5563d39490544d0ec4c0e68f23b572665b0e60f46fd4ffbf4ebe0530c03\
                     f2ecd45fac9d4aef1d6a649ec7799f34798eb91ff4c4fe748e21819c51945e7ed3df1fb0b5a4e0e895";
    let randao = "0272908d45b0164a1ed1fe5f6c6bb64a52fa1a95e2bdff2aea5190ce067ad5d23f96d5ce92f83e0212d3077d0549b01b83b78e64fc147e\
                  5086ae7c1ac5bbb6496af67041b0d88158d69078e3e244ee141c7cfe1c0ef0c2f60c29616c2f6b3a80";
    let (validator, slot) = (r#""validator_index":"11154013587666973726""#, r#""slot":"12258969221770119542""#);
    let known = [
        (
            DutyKind::Exit,
            format!(
                r#"{{"message":{{"epoch":"17349330445822630798","validator_index":"8074401586156473090"}},"signature":"0x{signature}"}}"#
            ),
        ),
        (DutyKind::Randao, format!(r#"{{"epoch":"11154013587666973726","signature":"0x{randao}"}}"#)),
        (DutyKind::PrepareAggregator, format!(r#"{{{validator},{slot},"selection_proof":"0x{randao}"}}"#)),
        (
            DutyKind::PrepareSyncContribution,
            format!(
                r#"{{{validator},{slot},"subcommittee_index":"7833179233048568588","selection_proof":"0x{randao}"}}"#
            ),
        ),
        (
            DutyKind::BuilderRegistration,
            format!(
                r#"{{"version":0,"registration":{{"message":{{"fee_recipient":"0x{}","gas_limit":"30000000","timestamp":"1","pubkey":"0x{}"}},"signature":"0x{signature}"}}}}"#,
                "11".repeat(20),
                "22".repeat(48)
            ),
        ),
    ];
    for (kind, json) in known {
        let payload = Payload::decode(kind, json.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(payload.encode()).unwrap(), json);
        let cut = &json.as_bytes()[..json.len() - 1];
        assert!(matches!(Payload::decode(kind, cut), Err(BadPayload::Malformed { .. })), "{kind}");
    }
}

/// `VersionedSignedAggregateAndProof` of `cluster-wire.md` section 14.6.
const AGGREGATE: &str = concat!(
    "06000000000000000c000000640000007d6f657ed2087a246b2a63f812829816a3019101a49a6a268bc71e1e9867ae25640f4e158921c540",
    "09b7b78713ebabe0e6f188aab1968170cf910311c84e1469a0aa9696c7c6a5507bcb0400cf695e3ebc1b8668a081e3435809b8c533f091d7",
    "76090e708e9b20aa6c000000fdb4c49a3f8cff429c026a404df8b9f7305d8a820f2f1fa5a1350874452a54bc1d4d3021afb9a99adb32f0e7",
    "586d114eb003386bd4374680a26a00f0d6ed086dd4369f0897c9e5d32d3df8099046f2bbed9d544205208fe1a216b739392c2fecec000000",
    "5fa0a8c0569a0d4c6c9886ddf099e234f11f99ef25258727c8b2922e22f5563d39490544d0ec4c0e68f23b572665b0e6b00acba00faa243d",
    "fd4ffbf4ebe0530c03f2ecd45fac9d4aef1d6a649ec7799f34798eb91ff4c4fe1ce2871974a4378521819c51945e7ed3df1fb0b5a4e0e895",
    "804813d1f4a80680595fb94b5763691045bb08f5197bb91ffb894a8e40f9a837cbbccd54915ca94d509daa426fe2a33e1b669111cc4ff4fc",
    "c5071606dc666e998b5982ab0f52cf75924a308bcb99683bccc2813229bf922aaf112694262a4c953678a238749d8e791fa82ad773e2bb97",
    "ff0000000000000058485fe3352bc5b501",
);

fn aggregate() -> SignedAggregateAndProof {
    match Payload::decode(DutyKind::Aggregator, &hex::decode(AGGREGATE).unwrap()).unwrap() {
        Payload::Aggregate(PartialAggregate::Electra { version: 6, signed }) => *signed,
        other => panic!("expected an aggregate of fulu, got {other:?}"),
    }
}

#[test]
fn the_golden_aggregate_round_trips_and_so_do_those_of_old_forks() {
    let bytes = hex::decode(AGGREGATE).unwrap();
    assert_eq!(bytes.len(), 465);
    let golden = Payload::decode(DutyKind::Aggregator, &bytes).unwrap();
    assert_eq!(golden.encode(), bytes);

    let SignedAggregateAndProof { message, signature } = aggregate();
    let old = Phase0SignedAggregateAndProof {
        message: holdfast_eth::aggregate::Phase0AggregateAndProof {
            aggregator_index: message.aggregator_index,
            aggregate: holdfast_eth::aggregate::Phase0Attestation {
                aggregation_bits: ssz::BitList::from_ssz_bytes(&[0x05]).unwrap(),
                data: message.aggregate.data,
                signature: message.aggregate.signature,
            },
            selection_proof: message.selection_proof,
        },
        signature,
    };
    for version in [None, Some(0), Some(4)] {
        let payload = Payload::Aggregate(PartialAggregate::Phase0 { version, signed: Box::new(old.clone()) });
        assert_eq!(Payload::decode(DutyKind::Aggregator, &payload.encode()), Ok(payload));
    }
    let mut future = bytes.clone();
    future[0] = 7;
    assert_eq!(Payload::decode(DutyKind::Aggregator, &future), Err(BadPayload::Version(7)));
}

#[test]
fn kinds_that_are_sent_as_ssz_are_taken_as_json_too() {
    let SignedAggregateAndProof { message, signature } = aggregate();
    let data = &message.aggregate.data;
    let (root, signature) = (Root([7; 32]), PartialSignature(signature));
    let proof = PartialSignature(message.selection_proof);
    let bits = hex::encode(message.aggregate.aggregation_bits.as_ssz_bytes());
    let attested = format!(
        r#"{{"aggregation_bits":"0x{bits}","data":{{"slot":"{}","index":"{}","beacon_block_root":"{}","source":{{"epoch":"{}","root":"{}"}},
        "target":{{"epoch":"{}","root":"{}"}}}},"signature":"{}","committee_bits":"0xff00000000000000"}}"#,
        data.slot,
        data.index,
        data.beacon_block_root,
        data.source.epoch,
        data.source.root,
        data.target.epoch,
        data.target.root,
        PartialSignature(message.aggregate.signature),
    );
    let known = [
        (
            DutyKind::Aggregator,
            format!(
                r#"{{"version":6,"aggregate_and_proof":{{"message":{{"aggregator_index":"{}","aggregate":{attested},"selection_proof":"{proof}"}},"signature":"{signature}"}}}}"#,
                message.aggregator_index
            ),
        ),
        (
            DutyKind::SyncMessage,
            format!(r#"{{"slot":"1","beacon_block_root":"{root}","validator_index":"2","signature":"{signature}"}}"#),
        ),
        (
            DutyKind::SyncContribution,
            format!(
                r#"{{"message":{{"aggregator_index":"1","contribution":{{"slot":"2","beacon_block_root":"{root}","subcommittee_index":"3",
                "aggregation_bits":"0x{}","signature":"{proof}"}},"selection_proof":"{proof}"}},"signature":"{signature}"}}"#,
                "80".repeat(16)
            ),
        ),
    ];
    for (kind, json) in known {
        let payload = Payload::decode(kind, json.as_bytes()).unwrap();
        assert_eq!(payload.signature(), signature, "{kind}");
        assert_eq!(Payload::decode(kind, &payload.encode()), Ok(payload), "{kind}: sent as SSZ again");
    }
    assert_eq!(Payload::decode(DutyKind::Aggregator, &hex::decode(AGGREGATE).unwrap()), {
        let signed = Box::new(aggregate());
        Ok(Payload::Aggregate(PartialAggregate::Electra { version: 6, signed }))
    });
}

#[test]
fn exits_are_taken_as_ssz_too() {
    let exit = PartialExit { epoch: Epoch(1), validator: ValidatorIndex(2), signature: PartialSignature([3; 96]) };
    let bytes = [&1_u64.to_le_bytes()[..], &2_u64.to_le_bytes(), &[3; 96]].concat();
    assert_eq!(Payload::decode(DutyKind::Exit, &bytes), Ok(Payload::Exit(exit)));
    assert!(Payload::decode(DutyKind::Exit, &bytes[1..]).is_err());
}

#[test]
fn kinds_without_partial_signatures_are_refused() {
    for kind in [DutyKind::Signature, DutyKind::BuilderProposer, DutyKind::InfoSync] {
        assert_eq!(Payload::decode(kind, b"{}"), Err(BadPayload::NotExchanged(kind)));
    }
}
