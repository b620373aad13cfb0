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
    PartialAttestation::decode(bytes)
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
