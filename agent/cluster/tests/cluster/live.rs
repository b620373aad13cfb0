//! Locks, definitions and deposit files of live clusters: they verify in full and are written byte for byte.

use std::fs;

use holdfast_cluster::{
    Enr, NodeKey, VerifiedDefinition, VerifiedLock, deposit_files, read_definition, read_lock, write_definition,
    write_lock,
};
use holdfast_types::OperatorIndex;
use serde_json::Value;

use crate::common::{live_files, networks, told, vectors};

#[test]
fn every_live_lock_verifies_and_is_written_byte_for_byte() {
    let files = live_files("cluster-lock.json");
    assert_eq!(files.len(), 21);
    let mut deposits = 0;
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let lock = read_lock(&bytes).unwrap();
        assert_eq!(write_lock(&lock).as_bytes(), bytes, "{}", path.display());
        let lock = VerifiedLock::verify(lock, &networks())
            .unwrap_or_else(|error| panic!("{}: {}", path.display(), told(&error)));
        for file in deposit_files(&lock) {
            let Ok(expected) = fs::read_to_string(path.with_file_name(&file.name)) else { continue };
            // Edits that leave the validators alone write no deposit files; additions write those of the new ones only.
            if !path.to_str().unwrap().contains("live-dkg-edit") {
                assert_eq!(file.json, expected, "{} of {}", file.name, path.display());
                deposits += 1;
            }
        }
    }
    assert_eq!(deposits, 32);
}

#[test]
fn live_definitions_verify_and_are_written_byte_for_byte() {
    let files = [live_files("cluster-definition-unsigned.json"), live_files("cluster-definition.json")].concat();
    assert_eq!(files.len(), 17);
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let definition = read_definition(&bytes).unwrap_or_else(|error| panic!("{}: {}", path.display(), told(&error)));
        let written = write_definition(&definition);
        // These two were not written by the reference: one was cut out of its lock, the other does not escape as it does.
        if path.ends_with("live-cluster-a/cluster-definition.json") || path.parent().unwrap().ends_with("name-html") {
            assert_eq!(read_definition(written.as_bytes()).unwrap(), definition);
        } else {
            assert_eq!(written.as_bytes(), bytes, "{}", path.display());
        }
        let verified = VerifiedDefinition::verify(definition, &networks());
        let verified = verified.unwrap_or_else(|error| panic!("{}: {}", path.display(), told(&error)));
        assert_eq!(verified.enrs().len(), verified.definition().operators.len());
        assert_eq!(verified.network().name, "hoodi");
    }
}

#[test]
fn a_node_finds_what_it_needs_in_a_lock() {
    let dir = vectors().join("live-cluster-a");
    let lock = read_lock(&fs::read(dir.join("cluster-lock.json")).unwrap()).unwrap();
    let lock = VerifiedLock::verify(lock, &networks()).unwrap();
    let keys: Value = serde_json::from_str(&fs::read_to_string(dir.join("keys.json")).unwrap()).unwrap();
    assert_eq!((lock.name(), lock.threshold(), lock.enrs().len()), ("live-cluster-a", 3, 4));
    assert_eq!(lock.lock_hash().to_string(), keys["lock_hash"]);
    assert_eq!(lock.fork_version().0, [0x10, 0x00, 0x09, 0x10]);
    let mut dead = [0; 20];
    dead[18..].copy_from_slice(&[0xde, 0xad]);
    for at in 0..4 {
        let known = &keys["nodes"][at];
        let key = NodeKey::read(&dir.join(format!("node{at}/charon-enr-private-key"))).unwrap();
        assert_eq!(*key.text(), known["node_private_key"]);
        assert_eq!(Enr::make(&key).text(), known["enr"]);
        assert_eq!(Enr::make(&key), lock.enrs()[at]);
        assert_eq!(hex::encode(key.public()), known["public_key"]);
        assert_eq!(lock.operator_of(&key.public()), Some(OperatorIndex(at.try_into().unwrap())));
        for (validator, known) in lock.validators().zip(known["validator_shares"].as_array().unwrap()) {
            assert_eq!(validator.public.to_string(), known["validator"]);
            assert_eq!(validator.shares[at].to_string(), known["public_share"]);
            assert_eq!((validator.fee_recipient, validator.withdrawal), (dead, dead));
        }
    }
    assert_eq!(lock.operator_of(&[2; 33]), None);
}

#[test]
fn every_node_record_in_the_vectors_holds() {
    let mut seen = 0;
    for path in live_files("cluster-lock.json") {
        for operator in read_lock(&fs::read(path).unwrap()).unwrap().definition.operators {
            Enr::parse(&operator.enr).unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 86);
}
