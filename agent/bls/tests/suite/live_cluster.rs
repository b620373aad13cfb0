//! Shares that the reference implementation dealt.

use std::path::Path;

use holdfast_bls::{ShareSecret, combine, fast_aggregate_verify, interpolate_public, verify_partial};
use holdfast_types::{ShareIndex, SharePublic, Signature, ValidatorPublic};
use serde_json::Value;

use crate::root;

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/live-cluster-a").join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn parse<T: std::str::FromStr>(value: &Value) -> T
where
    T::Err: std::fmt::Debug,
{
    value.as_str().unwrap().parse().unwrap()
}

fn share_of(keys: &Value, node: usize, validator: usize) -> ShareSecret {
    let text = keys["nodes"][node]["validator_shares"][validator]["secret_share"].as_str().unwrap();
    ShareSecret::from_bytes(&hex::decode(&text[2..]).unwrap().try_into().unwrap()).unwrap()
}

#[test]
fn the_shares_fit_the_lock_and_combine_to_signatures_of_its_validators() {
    let (keys, lock) = (read("keys.json"), read("cluster-lock.json"));
    let validators = lock["distributed_validators"].as_array().unwrap();
    assert_eq!(validators.len(), 3);
    for (at, validator) in validators.iter().enumerate() {
        let group: ValidatorPublic = parse(&validator["distributed_public_key"]);
        let publics: Vec<SharePublic> = validator["public_shares"].as_array().unwrap().iter().map(parse).collect();
        let shares: Vec<_> = (0..4).map(|node| share_of(&keys, node, at)).collect();
        assert_eq!(shares.iter().map(ShareSecret::public).collect::<Vec<_>>(), publics);
        for left_out in 0..4 {
            let used = || (0..4_u8).filter(|node| *node != left_out);
            let partials: Vec<_> =
                used().map(|node| (ShareIndex(node + 1), shares[usize::from(node)].sign(root(6)))).collect();
            let keys: Vec<_> = used().map(|node| (ShareIndex(node + 1), publics[usize::from(node)])).collect();
            assert_eq!(verify_partial(&keys[0].1, root(6), &partials[0].1), Ok(()));
            assert!(combine(&partials).unwrap().prove(&group, root(6)).is_ok());
            assert_eq!(interpolate_public(&keys).unwrap(), group);
        }
    }
}

#[test]
fn the_aggregate_of_the_lock_verifies_under_all_share_keys() {
    let lock = read("cluster-lock.json");
    let validators = lock["distributed_validators"].as_array().unwrap();
    let publics: Vec<SharePublic> =
        validators.iter().flat_map(|validator| validator["public_shares"].as_array().unwrap()).map(parse).collect();
    let hash: holdfast_types::LockHash = parse(&lock["lock_hash"]);
    let aggregate: Signature = parse(&lock["signature_aggregate"]);
    assert_eq!(publics.len(), 12);
    assert_eq!(fast_aggregate_verify(&publics, &hash.0, &aggregate), Ok(()));
    assert!(fast_aggregate_verify(&publics[1..], &hash.0, &aggregate).is_err());
}
