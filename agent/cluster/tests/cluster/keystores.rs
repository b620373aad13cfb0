//! Keystores of live nodes decrypt to the shares in their locks, and ours read like theirs.

use std::fs;

use holdfast_bls::ShareSecret;
use holdfast_cluster::{Keystore, KeystoreCost, KeystoreError, NodeKey, VerifiedLock, read_keystores, read_lock};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::common::{live_files, networks, shared, vectors};

/// Checks the keystores of these nodes of a live cluster against its lock; gives how many there were.
fn check(cluster: &str, nodes: &[&str]) -> usize {
    let dir = vectors().join(cluster);
    let lock = read_lock(&fs::read(dir.join("cluster-lock.json")).unwrap()).unwrap();
    let lock = VerifiedLock::verify(lock, &networks()).unwrap();
    let mut checked = 0;
    for node in nodes {
        let key = NodeKey::read(&dir.join(node).join("charon-enr-private-key")).unwrap();
        let operator = usize::from(lock.operator_of(&key.public()).unwrap().0);
        let shares = read_keystores(&dir.join(node).join("validator_keys")).unwrap();
        assert_eq!(shares.len(), lock.validators().len());
        for (share, validator) in shares.iter().zip(lock.validators()) {
            assert_eq!(share.public(), validator.shares[operator]);
            checked += 1;
        }
    }
    checked
}

#[test]
fn keystores_of_a_created_cluster_are_the_shares_of_its_lock() {
    assert_eq!(check("live-cluster-a", &["node0", "node1", "node2", "node3"]), 12);
}

#[test]
fn keystores_of_ceremonies_are_the_shares_of_their_locks() {
    assert_eq!(check("live-dkg-frost", &["node0"]), 1);
    assert_eq!(check("live-dkg-pedersen", &["node3"]), 2);
}

#[test]
fn a_scrypt_keystore_opens() {
    let (Some(json), Some(password)) = (shared("keystore-scrypt.json"), shared("keystore-scrypt.txt")) else { return };
    let keystore = Keystore::parse(&json).unwrap();
    let share = keystore.decrypt(std::str::from_utf8(&password).unwrap()).unwrap();
    assert!(share.public().to_string().starts_with("0xaffcbf73"));
}

#[test]
fn keystores_are_written_byte_for_byte() {
    for path in live_files("keystore-insecure-0.json").into_iter().chain(live_files("keystore-0.json")) {
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(Keystore::parse(text.as_bytes()).unwrap().to_json(), text);
    }
}

#[test]
fn a_keystore_of_ours_opens_with_its_password_only() {
    let mut rng = StdRng::seed_from_u64(1);
    let share = ShareSecret::from_bytes(&[5; 32]).unwrap();
    let keystore = Keystore::encrypt(&share, "pässword", KeystoreCost::DangerInsecure, &mut rng);
    let keystore = Keystore::parse(keystore.to_json().as_bytes()).unwrap();
    assert_eq!(keystore.decrypt("pa\u{308}ssword\n").unwrap().public(), share.public());
    assert!(matches!(keystore.decrypt("password"), Err(KeystoreError::WrongPassword)));
}

#[test]
fn a_keystore_cannot_ask_for_any_amount_of_work() {
    let path = vectors().join("live-cluster-a/node0/validator_keys/keystore-insecure-0.json");
    let text = fs::read_to_string(path).unwrap();
    let decrypt = |from: &str, to: &str| {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        Keystore::parse(changed.as_bytes()).unwrap().decrypt("").unwrap_err()
    };
    assert!(matches!(decrypt("\"c\": 16", "\"c\": 4294967295"), KeystoreError::Cost { .. }));
    assert!(matches!(decrypt("\"c\": 16", "\"c\": 0"), KeystoreError::Cost { .. }));
    assert!(matches!(decrypt("\"dklen\": 32", "\"dklen\": 33"), KeystoreError::Unsupported { .. }));
    assert!(matches!(decrypt("aes-128-ctr", "aes-256-ctr"), KeystoreError::Unsupported { .. }));
    let Some(scrypt) = shared("keystore-scrypt.json") else { return };
    let scrypt = String::from_utf8(scrypt).unwrap().replace("\"n\": 262144", "\"n\": 1073741824");
    let error = Keystore::parse(scrypt.as_bytes()).unwrap().decrypt("").unwrap_err();
    assert!(matches!(error, KeystoreError::Cost { .. }));
}
