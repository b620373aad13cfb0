//! Slashing history files, by the rules of EIP-3076. The cases are our own: the public test vectors of the format carry
//! no licence. What those cover is covered here, rule by rule.

use std::collections::BTreeMap;

use holdfast_cluster::{
    HISTORY_ENTRIES_MAX, HistoryFileError, HistoryLimits, VerifiedLock, history_of_cluster, read_history, read_lock,
    write_history,
};
use holdfast_types::{
    AttestationMark, BlockMark, Epoch, HistoryMarks, Root, SigningRoot, Slot, ValidatorMarks, ValidatorPublic,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::common::{self, told};

const NETWORK: Root = Root([4; 32]);
const LIMITS: HistoryLimits =
    HistoryLimits { genesis_validators_root: NETWORK, last_epoch: Epoch(3_010), last_slot: Slot(96_000) };

fn key(byte: u8) -> String {
    ValidatorPublic([byte; 48]).to_string()
}

fn root(byte: u8) -> String {
    Root([byte; 32]).to_string()
}

fn file(data: Value) -> Value {
    let metadata = json!({ "interchange_format_version": "5", "genesis_validators_root": NETWORK.to_string() });
    json!({ "metadata": metadata, "data": data })
}

fn entry(validator: u8, blocks: Value, attestations: Value) -> Value {
    json!({ "pubkey": key(validator), "signed_blocks": blocks, "signed_attestations": attestations })
}

fn read(file: &Value) -> Result<HistoryMarks, HistoryFileError> {
    read_history(file.to_string().as_bytes(), &LIMITS)
}

/// One validator's marks as `(source, target, root)` and `(slot, root)`.
type Marks = (Option<(u64, u64, Option<u8>)>, Option<(u64, Option<u8>)>);

fn marks_of(validator: &ValidatorMarks) -> Marks {
    let first = |root: SigningRoot| root.0[0];
    (
        validator.attestation.map(|mark| (mark.source.0, mark.target.0, mark.root.map(first))),
        validator.block.map(|mark| (mark.slot.0, mark.root.map(first))),
    )
}

/// The marks of the only validator of a file.
fn only(blocks: Value, attestations: Value) -> Marks {
    let read = read(&file(json!([entry(1, blocks, attestations)]))).unwrap();
    assert_eq!(read.validators.len(), 1);
    marks_of(&read.validators[0])
}

fn vote(source: u64, target: u64, signing_root: Option<u8>) -> Value {
    let mut vote = json!({ "source_epoch": source.to_string(), "target_epoch": target.to_string() });
    if let Some(byte) = signing_root {
        vote["signing_root"] = root(byte).into();
    }
    vote
}

fn block(slot: u64, signing_root: Option<u8>) -> Value {
    let mut block = json!({ "slot": slot.to_string() });
    if let Some(byte) = signing_root {
        block["signing_root"] = root(byte).into();
    }
    block
}

#[test]
fn the_complete_form_gives_the_highest_of_each_kind() {
    let blocks = json!([block(81_952, Some(1)), block(81_951, None)]);
    let votes = json!([vote(2_290, 3_007, Some(2)), vote(2_290, 3_008, None)]);
    assert_eq!(only(blocks, votes), (Some((2_290, 3_008, None)), Some((81_952, Some(1)))));
}

#[test]
fn the_highest_source_and_target_may_be_of_different_votes() {
    assert_eq!(only(json!([]), json!([vote(9, 10, Some(1)), vote(2, 30, Some(2))])).0, Some((9, 30, Some(2))));
}

#[test]
fn a_validator_that_signed_nothing_is_kept_as_such() {
    assert_eq!(only(json!([]), json!([])), (None, None));
    assert_eq!(
        only(json!([block(0, Some(7))]), json!([vote(0, 0, Some(8))])),
        (Some((0, 0, Some(8))), Some((0, Some(7))))
    );
}

#[test]
fn a_root_is_kept_when_all_at_the_highest_agree() {
    for (roots, kept) in [
        (vec![Some(1), Some(1)], Some(1)),
        (vec![Some(1), Some(2)], None),
        (vec![Some(1), None], None),
        (vec![None, Some(1), Some(1)], None),
        (vec![Some(1), Some(2), Some(1)], None),
    ] {
        let votes: Vec<Value> = roots.iter().map(|root| vote(3, 5, *root)).collect();
        let blocks: Vec<Value> = roots.iter().map(|root| block(5, *root)).collect();
        let found = only(blocks.into(), votes.into());
        assert_eq!(found, (Some((3, 5, kept)), Some((5, kept))), "{roots:?}");
    }
}

#[test]
fn several_entries_of_one_key_in_any_case_are_one_validator() {
    let mut upper = entry(0xab, json!([block(7, Some(1))]), json!([vote(1, 4, None)]));
    upper["pubkey"] = format!("0x{}", "AB".repeat(48)).into();
    let lower = entry(0xab, json!([block(9, Some(2))]), json!([vote(2, 3, None)]));
    for data in [json!([upper, lower]), json!([lower, upper])] {
        let read = read(&file(data)).unwrap();
        let found: Vec<Marks> = read.validators.iter().map(marks_of).collect();
        assert_eq!(found, [(Some((2, 4, None)), Some((9, Some(2))))]);
    }
}

#[test]
fn a_vote_with_its_source_above_its_target_bars_both() {
    assert_eq!(only(json!([]), json!([vote(8, 7, Some(1))])).0, Some((8, 8, None)));
    assert_eq!(only(json!([]), json!([vote(5, 2, None), vote(6, 7, Some(1))])).0, Some((6, 7, Some(1))));
}

#[test]
fn unknown_fields_and_any_order_of_the_known_ones_are_taken() {
    let votes = r#"[{"x": [1], "target_epoch": "4", "signing_root": null, "source_epoch": "3"}]"#;
    let entry =
        format!(r#"{{"signed_attestations": {votes}, "note": {{}}, "signed_blocks": [], "pubkey": "{}"}}"#, key(1));
    let text = format!(
        r#" {{"data": [{entry}], "z": null, "metadata": {{"a": 1.5, "genesis_validators_root": "{NETWORK}",
        "interchange_format_version": "5"}}}} "#
    );
    let read = read_history(text.as_bytes(), &LIMITS).unwrap();
    assert_eq!(marks_of(&read.validators[0]).0, Some((3, 4, None)));
}

#[test]
fn another_version_or_network_is_refused_and_named() {
    let mut other = file(json!([]));
    other["metadata"]["interchange_format_version"] = "4".into();
    let refused = told(&read(&other).unwrap_err());
    assert!(refused.starts_with("metadata.interchange_format_version is \"4\", only \"5\" is read"), "{refused}");

    let mut other = file(json!([]));
    other["metadata"]["genesis_validators_root"] = root(9).into();
    match read(&other).unwrap_err() {
        HistoryFileError::OtherNetwork { found, expected } => assert_eq!((found, expected), (Root([9; 32]), NETWORK)),
        error => panic!("another error: {error}"),
    }
    // Metadata behind the data count as much.
    let text = format!(r#"{{"data": [], "metadata": {}}}"#, other["metadata"]);
    assert!(matches!(read_history(text.as_bytes(), &LIMITS), Err(HistoryFileError::OtherNetwork { .. })));
}

#[test]
fn what_nobody_can_have_signed_yet_is_refused_with_validator_and_value() {
    for (blocks, votes, place, found, last) in [
        (json!([block(1, None), block(96_001, None)]), json!([]), "data[1].signed_blocks[1].slot", 96_001, 96_000),
        (json!([]), json!([vote(0, 3_011, None)]), "data[1].signed_attestations[0].target_epoch", 3_011, 3_010),
        (
            json!([]),
            json!([vote(0, 1, None), vote(u64::MAX, 2, None)]),
            "data[1].signed_attestations[1].source_epoch",
            u64::MAX,
            3_010,
        ),
    ] {
        let data = json!([entry(1, json!([]), json!([])), entry(2, blocks, votes)]);
        match read(&file(data)).unwrap_err() {
            HistoryFileError::Future { place: at, validator, found: value, last: bound } => {
                assert_eq!((at.as_str(), value, bound), (place, found, last));
                assert_eq!(validator, ValidatorPublic([2; 48]));
            }
            error => panic!("another error: {error}"),
        }
    }
    let at_the_bound = only(json!([block(96_000, None)]), json!([vote(3_010, 3_010, None)]));
    assert_eq!(at_the_bound, (Some((3_010, 3_010, None)), Some((96_000, None))));
}

#[test]
fn each_wrong_form_is_refused_with_its_place() {
    let good = file(json!([entry(1, json!([block(1, Some(1))]), json!([vote(1, 2, Some(2))]))])).to_string();
    read_history(good.as_bytes(), &LIMITS).unwrap();
    let votes = "data[0].signed_attestations[0]";
    for (right, wrong, place) in [
        (r#""slot":"1""#, r#""slot":1"#, "data[0].signed_blocks[0]"),
        (r#""slot":"1""#, r#""slot":"+1""#, "data[0].signed_blocks[0]"),
        (r#""slot":"1""#, r#""slot":"""#, "data[0].signed_blocks[0]"),
        (r#""slot":"1""#, r#""slot":" 1""#, "data[0].signed_blocks[0]"),
        (r#""slot":"1""#, r#""slot":"0x1""#, "data[0].signed_blocks[0]"),
        (r#""slot":"1""#, r#""slot":"1","slot":"0""#, "data[0].signed_blocks[0]"),
        (r#""slot":"1""#, r#""slots":"1""#, "data[0].signed_blocks[0]"),
        (r#""source_epoch":"1""#, r#""source_epoch":null"#, votes),
        (r#""target_epoch":"2""#, r#""target_epoch":"18446744073709551616""#, votes),
        (r#""target_epoch":"2""#, r#""target_epoch":2.0"#, votes),
        (&root(2), "0x02", votes),
        (&key(1), "0x01", "data[0]"),
        (r#""signed_blocks":["#, r#""signed_blocks":[[]],"x":["#, "data[0].signed_blocks[0]"),
        (r#""signed_blocks":["#, r#""signed_blocks":[["1","2"]],"x":["#, "data[0].signed_blocks[0]"),
        (r#""signed_blocks":["#, r#""x":["#, "data[0]"),
        (r#""signed_blocks":["#, r#""signed_blocks":null,"x":["#, "data[0].signed_blocks"),
        (r#""signed_blocks":["#, r#""signed_blocks":[],"signed_blocks":["#, "data[0]"),
        (r#""signed_attestations":["#, r#""x":["#, "data[0]"),
        (r#""pubkey":"#, r#""x":"#, "data[0]"),
        (r#""data":["#, r#""data":[[],"#, "data[0]"),
        (r#""data":["#, r#""data":[],"data":["#, "the history file"),
        (r#""data":"#, r#""x":"#, "the history file"),
        (r#""metadata":"#, r#""x":"#, "the history file"),
        (r#""interchange_format_version":"5""#, r#""interchange_format_version":5"#, "the history file"),
        (&NETWORK.to_string(), "0x04", "the history file"),
    ] {
        assert!(good.contains(right), "{right}");
        let text = good.replacen(right, wrong, 1);
        match read_history(text.as_bytes(), &LIMITS) {
            Err(HistoryFileError::Form { place: at, .. }) => assert_eq!(at, place, "{wrong}"),
            other => panic!("expected {wrong} to be refused for its form, saw {other:?}"),
        }
    }
    for text in [&good[..good.len() - 1], &format!("{good}{good}"), "[]", "null", ""] {
        assert!(matches!(read_history(text.as_bytes(), &LIMITS), Err(HistoryFileError::Form { .. })), "{text}");
    }
    let refused =
        told(&read_history(good.replacen(r#""slot":"1""#, r#""slot":1"#, 1).as_bytes(), &LIMITS).unwrap_err());
    assert!(refused.contains("data[0].signed_blocks[0] is not in the form of EIP-3076"), "{refused}");
}

#[test]
fn more_entries_than_are_read_are_refused() {
    let entry = entry(1, json!([]), json!([])).to_string();
    let text = |count: usize| {
        file(json!(["ENTRIES"])).to_string().replace("\"ENTRIES\"", &vec![entry.clone(); count].join(","))
    };
    assert_eq!(read_history(text(HISTORY_ENTRIES_MAX).as_bytes(), &LIMITS).unwrap().validators.len(), 1);
    let refused = read_history(text(HISTORY_ENTRIES_MAX + 1).as_bytes(), &LIMITS).unwrap_err();
    assert!(matches!(refused, HistoryFileError::TooMany), "{refused}");
}

#[test]
fn the_minimal_form_is_the_same_bytes_for_the_same_marks() {
    let marks = HistoryMarks {
        genesis_validators_root: NETWORK,
        validators: vec![
            ValidatorMarks { validator: ValidatorPublic([1; 48]), attestation: None, block: None },
            ValidatorMarks {
                validator: ValidatorPublic([2; 48]),
                attestation: Some(AttestationMark { source: Epoch(1), target: Epoch(2), root: None }),
                block: Some(BlockMark { slot: Slot(3), root: Some(SigningRoot([5; 32])) }),
            },
        ],
    };
    let (one, two, block_root) = (key(1), key(2), root(5));
    let expected = format!(
        r#"{{
  "metadata": {{
    "interchange_format_version": "5",
    "genesis_validators_root": "{NETWORK}"
  }},
  "data": [
    {{
      "pubkey": "{one}",
      "signed_blocks": [],
      "signed_attestations": []
    }},
    {{
      "pubkey": "{two}",
      "signed_blocks": [
        {{
          "slot": "3",
          "signing_root": "{block_root}"
        }}
      ],
      "signed_attestations": [
        {{
          "source_epoch": "1",
          "target_epoch": "2"
        }}
      ]
    }}
  ]
}}
"#
    );
    assert_eq!(write_history(&marks), expected);
    assert_eq!(read_history(expected.as_bytes(), &LIMITS).unwrap(), marks);
}

#[test]
fn what_shares_signed_their_validator_signed() {
    let bytes = std::fs::read(common::vectors().join("live-cluster-a/cluster-lock.json")).unwrap();
    let lock = VerifiedLock::verify(read_lock(&bytes).unwrap(), &common::networks()).unwrap();
    let validator = lock.validators().next().unwrap();
    let mark = |key: ValidatorPublic, target| ValidatorMarks {
        validator: key,
        attestation: Some(AttestationMark { source: Epoch(1), target: Epoch(target), root: None }),
        block: None,
    };
    let stranger = ValidatorPublic([9; 48]);
    let share = |index: usize| ValidatorPublic(validator.shares[index].0);
    let validators = vec![mark(share(0), 5), mark(stranger, 9), mark(share(1), 7), mark(validator.public, 6)];
    let found = history_of_cluster(&HistoryMarks { genesis_validators_root: NETWORK, validators }, &lock);
    assert_eq!(found.marks.validators, [mark(validator.public, 7)]);
    assert_eq!(found.marks.genesis_validators_root, NETWORK);
    assert_eq!(found.others, [stranger]);
}

type Record = (u64, u64, Option<u8>);

/// Entries of few validators with few epochs, slots and roots, so that they meet.
fn entries() -> impl Strategy<Value = Vec<(u8, Vec<Record>, Vec<Record>)>> {
    let root = || proptest::option::of(1..3u8);
    let votes = proptest::collection::vec((0..6u64, 0..6u64, root()), 0..5);
    let blocks = proptest::collection::vec((0..6u64, Just(0), root()), 0..5);
    proptest::collection::vec((1..4u8, votes, blocks), 0..6)
}

fn file_of(entries: &[(u8, Vec<Record>, Vec<Record>)]) -> Value {
    let data = entries.iter().map(|(validator, votes, blocks)| {
        let votes: Vec<Value> = votes.iter().map(|(source, target, root)| vote(*source, *target, *root)).collect();
        let blocks: Vec<Value> = blocks.iter().map(|(slot, _, root)| block(*slot, *root)).collect();
        entry(*validator, blocks.into(), votes.into())
    });
    file(data.collect())
}

/// The same by looking at all records at once.
fn expected(entries: &[(u8, Vec<Record>, Vec<Record>)]) -> BTreeMap<u8, Marks> {
    let agreed = |roots: Vec<Option<u8>>| roots[0].filter(|_| roots.iter().all(|root| *root == roots[0]));
    let keys = entries.iter().map(|(validator, ..)| *validator);
    keys.map(|key| {
        let of_key = || entries.iter().filter(move |(validator, ..)| *validator == key);
        let votes: Vec<Record> = of_key().flat_map(|(_, votes, _)| votes).map(sensible).collect();
        let blocks: Vec<Record> = of_key().flat_map(|(_, _, blocks)| blocks).copied().collect();
        let attestation = votes.iter().map(|vote| vote.1).max().map(|target| {
            let source = votes.iter().map(|vote| vote.0).max().unwrap();
            (source, target, agreed(votes.iter().filter(|vote| vote.1 == target).map(|vote| vote.2).collect()))
        });
        let block =
            blocks.iter().map(|block| block.0).max().map(|slot| {
                (slot, agreed(blocks.iter().filter(|block| block.0 == slot).map(|block| block.2).collect()))
            });
        (key, (attestation, block))
    })
    .collect()
}

fn sensible(&(source, target, root): &Record) -> Record {
    if source > target { (source, source, None) } else { (source, target, root) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn marks_are_the_highest_in_whatever_order_the_records_come(
        entries in entries(),
        more in entries(),
    ) {
        let marks = read(&file_of(&entries)).unwrap();
        let found: BTreeMap<u8, Marks> = marks.validators.iter().map(|of| (of.validator.0[0], marks_of(of))).collect();
        prop_assert_eq!(found, expected(&entries));

        let mut both = [entries.clone(), more].concat();
        let together = read(&file_of(&both)).unwrap();
        both.reverse();
        both.iter_mut().for_each(|(_, votes, blocks)| { votes.reverse(); blocks.reverse(); });
        prop_assert_eq!(read(&file_of(&both)).unwrap(), together.clone());

        let written = write_history(&together);
        let again = read_history(written.as_bytes(), &LIMITS).unwrap();
        prop_assert_eq!(write_history(&again), written);
        prop_assert_eq!(again, together);
    }

    #[test]
    fn a_damaged_file_is_refused_or_read_and_never_a_panic(
        entries in entries(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = file_of(&entries).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(marks) = read_history(&bytes, &LIMITS) {
            prop_assert_eq!(read_history(write_history(&marks).as_bytes(), &LIMITS).unwrap(), marks);
        }
    }
}
