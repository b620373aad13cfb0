//! Signatures of many shares by a table are those that each share makes alone.

use holdfast_bls::{HashedRoot, InvalidSecret, sign_many, sign_with};
use holdfast_types::SigningRoot;
use proptest::prelude::*;

use crate::root;

const ORDER: &str = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

/// The order of the group less this number.
fn below_order(less: u8) -> [u8; 32] {
    let mut bytes: [u8; 32] = hex::decode(ORDER).unwrap().try_into().unwrap();
    // The lowest 32 bits are 1, so what is taken away is borrowed from the next ones.
    let low = u64::from_be_bytes(bytes[24..].try_into().unwrap()) - u64::from(less);
    bytes[24..].copy_from_slice(&low.to_be_bytes());
    bytes
}

fn small(number: u128) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The powers of the curve's parameter and their neighbours, where pieces of a secret are 0 or at their highest.
fn edges() -> Vec<[u8; 32]> {
    let z = 0xd201_0000_0001_0000_u128;
    let mut edges: Vec<_> = (1..6).map(below_order).collect();
    edges.extend([1, 2, 3, z - 1, z, z + 1, 2 * z - 1, 2 * z, 2 * z + 1, z * z - 1, z * z, z * z + 1].map(small));
    edges.extend((0..255).map(|bit| {
        let mut bytes = [0; 32];
        bytes[31 - bit / 8] = 1 << (bit % 8);
        bytes
    }));
    edges.retain(|secret| *secret < below_order(0));
    edges
}

fn check(secrets: &[[u8; 32]], over: SigningRoot) {
    let hashed = HashedRoot::new(over);
    let alone: Vec<_> = secrets.iter().map(|secret| sign_with(secret, &hashed)).collect();
    assert_eq!(sign_many(&secrets.iter().collect::<Vec<_>>(), &hashed), alone);
}

#[test]
fn the_edges_of_the_pieces_sign_alike() {
    check(&edges(), root(1));
}

#[test]
fn any_number_of_secrets_signs_alike() {
    let edges = edges();
    for count in (0..=20).chain([31, 32, 33]) {
        check(&edges[..count], root(count as u8));
    }
}

#[test]
fn what_is_no_secret_spoils_no_other_signature() {
    let good = small(7);
    let bad = [[0; 32], below_order(0), [0xff; 32]];
    let hashed = HashedRoot::new(root(3));
    let expected = sign_with(&good, &hashed);
    for bad in &bad {
        let signed = sign_many(&[&good, bad, &good, bad, &good], &hashed);
        assert_eq!(signed, [expected, Err(InvalidSecret), expected, Err(InvalidSecret), expected]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_secrets_sign_alike(mut secrets in prop::collection::vec(any::<[u8; 32]>(), 4..24), over in any::<[u8; 32]>()) {
        secrets.iter_mut().for_each(|secret| secret[0] &= 0x3f);
        check(&secrets, SigningRoot(over));
    }
}
