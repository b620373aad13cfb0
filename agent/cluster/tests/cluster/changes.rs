//! No byte of a lock can be changed: what alters the value of the file fails to parse or to verify.
//!
//! Every byte is changed, in every bit for the locks that cover the kinds of files, in one bit for the others, and on top
//! every value and every entry of the JSON is replaced or removed, by a list that comes from the JSON itself. A change
//! that leaves the value equal is no change: JSON whitespace, and the case of a hex digit. Beside these, the file may say
//! the same in other words: `null` for an empty hex text, and an empty list for `null` deposit amounts, which have the
//! hash of an empty list.

use std::fs;
use std::path::Path;
use std::thread;

use holdfast_cluster::{Networks, VerifiedLock, read_lock};
use holdfast_eth::ClusterLock;
use serde_json::Value;

use crate::common::{live_files, networks, shared, vectors};

const ALL_BITS: &[u32] = &[0, 1, 2, 3, 4, 5, 6, 7];
const LOW_BIT: &[u32] = &[0];

#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    SameValue,
    Accepted,
}

fn load(bytes: &[u8], original: &ClusterLock, networks: &Networks) -> Outcome {
    match read_lock(bytes) {
        Err(_) => Outcome::Refused,
        Ok(lock) if lock == *original => Outcome::SameValue,
        Ok(lock) => match VerifiedLock::verify(lock, networks) {
            Err(_) => Outcome::Refused,
            Ok(_) => Outcome::Accepted,
        },
    }
}

/// Whether two bytes at one place mean the same: both whitespace, or one hex letter in both cases.
fn means_the_same(old: u8, new: u8) -> bool {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    (is_space(old) && is_space(new)) || (old.is_ascii_hexdigit() && old.eq_ignore_ascii_case(&new))
}

/// Changes every byte in each of these bits.
fn change_every_byte(name: &str, bytes: &[u8], bits: &[u32]) {
    let (networks, original) = (networks(), read_lock(bytes).unwrap());
    assert!(VerifiedLock::verify(original.clone(), &networks).is_ok(), "{name} verifies as it is");
    let every_other = |first: usize| {
        let (networks, original) = (&networks, &original);
        move || {
            let mut changed = bytes.to_vec();
            let mut refused = 0;
            for at in (first..bytes.len()).step_by(2) {
                for bit in bits {
                    changed[at] = bytes[at] ^ (1 << bit);
                    match load(&changed, original, networks) {
                        Outcome::Refused => refused += 1,
                        Outcome::SameValue if means_the_same(bytes[at], changed[at]) => {}
                        outcome => panic!("{name}: {:?} at {at} changed to {:?}: {outcome:?}", bytes[at], changed[at]),
                    }
                }
                changed[at] = bytes[at];
            }
            refused
        }
    };
    let refused = thread::scope(|scope| {
        let halves = [scope.spawn(every_other(0)), scope.spawn(every_other(1))];
        halves.map(|half| half.join().unwrap()).iter().sum::<usize>()
    });
    assert!(refused > bytes.len() * bits.len() / 2, "{name}: most of the file is meaningful");
}

#[test]
fn no_bit_of_a_created_lock_can_be_changed() {
    let path = vectors().join("live-cluster-a/cluster-lock.json");
    change_every_byte("live-cluster-a", &fs::read(path).unwrap(), ALL_BITS);
}

#[test]
fn no_bit_of_a_lock_with_operator_signatures_can_be_changed() {
    let path = vectors().join("live-dkg-frost/cluster-lock.json");
    change_every_byte("live-dkg-frost", &fs::read(path).unwrap(), ALL_BITS);
}

#[test]
fn no_byte_of_the_lock_of_v1_10_can_be_changed() {
    let Some(bytes) = shared("cluster-lock-signed-holesky-v1.10.0.json") else { return };
    change_every_byte("holesky v1.10", &bytes, LOW_BIT);
}

#[test]
fn no_byte_of_any_live_lock_can_be_changed() {
    let whole = ["live-cluster-a/cluster-lock.json", "live-dkg-frost/cluster-lock.json"];
    for path in live_files("cluster-lock.json").iter().filter(|path| !whole.iter().any(|done| path.ends_with(done))) {
        change_every_byte(path.to_str().unwrap(), &fs::read(path).unwrap(), LOW_BIT);
    }
}

/// The place of every value in a JSON tree, objects and lists included, as JSON pointers.
fn places(value: &Value, here: &str, found: &mut Vec<String>) {
    let mut child = |key: String, value: &Value| {
        let place = format!("{here}/{key}");
        found.push(place.clone());
        places(value, &place, found);
    };
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| child(at.to_string(), item)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| child(key.clone(), value)),
        _ => {}
    }
}

/// Other values that could stand in a place and mean something else.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => {
            let again = items.iter().chain(items.last()).cloned().collect();
            let turned = items.iter().rev().cloned().collect();
            vec![Value::Array(again), Value::Array(turned), Value::Array(Vec::new())]
        }
        Value::Bool(truth) => vec![Value::Bool(!truth)],
        Value::Null => vec![Value::from(vec!["32000000000"])],
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            vec![Value::from(number + 1), Value::from(number ^ 1), Value::from(0)]
        }
        Value::Object(_) => Vec::new(),
        Value::String(text) => vec![Value::from(format!("{text}0")), Value::from(format!("{text}00")), Value::from("")],
    }
}

fn remove(tree: &mut Value, place: &str) {
    let (parent, key) = place.rsplit_once('/').unwrap();
    match tree.pointer_mut(parent).unwrap() {
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        Value::Object(entries) => drop(entries.remove(key)),
        _ => unreachable!("only these have children"),
    }
}

/// Replaces and removes every value; gives how many changes were refused.
fn change_every_value(path: &Path) -> usize {
    let (networks, bytes) = (networks(), fs::read(path).unwrap());
    let (original, tree) = (read_lock(&bytes).unwrap(), serde_json::from_slice::<Value>(&bytes).unwrap());
    let mut found = Vec::new();
    places(&tree, "", &mut found);
    let mut refused = 0;
    for place in &found {
        let mut check = |changed: &Value| {
            let outcome = load(changed.to_string().as_bytes(), &original, &networks);
            let now = changed.pointer(place);
            assert_eq!(outcome, Outcome::Refused, "{}: {place} changed to {now:?}", path.display());
            refused += 1;
        };
        for other in others(tree.pointer(place).unwrap()) {
            let mut changed = tree.clone();
            *changed.pointer_mut(place).unwrap() = other;
            // A reversed list of equal entries is the same list.
            if changed != tree {
                check(&changed);
            }
        }
        let mut removed = tree.clone();
        remove(&mut removed, place);
        check(&removed);
    }
    assert!(refused >= 2 * found.len(), "{refused} refusals for {} places", found.len());
    refused
}

#[test]
fn every_value_and_entry_of_a_lock_is_covered() {
    for name in ["live-cluster-a", "live-dkg-frost", "live-dkg-variants/amounts-8-16-8-1"] {
        assert!(change_every_value(&vectors().join(name).join("cluster-lock.json")) > 200, "{name}");
    }
}

#[test]
fn the_file_may_say_the_same_in_other_words() {
    let text = fs::read_to_string(vectors().join("live-cluster-a/cluster-lock.json")).unwrap();
    let original = read_lock(text.as_bytes()).unwrap();
    let compact = serde_json::from_str::<Value>(&text).unwrap().to_string();
    let unknown = text.replacen('{', "{\"unknown\": {\"a\": [1]},", 1);
    let no_prefix = text.replace("\"0x", "\"");
    let null = text.replace("\"config_signature\": \"\"", "\"config_signature\": null");
    for same in [compact, unknown, no_prefix, null] {
        assert_ne!(same, text);
        assert_eq!(load(same.as_bytes(), &original, &networks()), Outcome::SameValue);
    }
    let no_amounts = text.replace("\"deposit_amounts\": null", "\"deposit_amounts\": []");
    assert_eq!(load(no_amounts.as_bytes(), &original, &networks()), Outcome::Accepted);
}
