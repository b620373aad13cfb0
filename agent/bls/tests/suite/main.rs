//! The crate from outside: against a second library, against a live cluster, and against hostile input.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod against_blstrs;
mod batches;
mod hostile;
mod live_cluster;
mod many;
mod subsets;

use holdfast_bls::{ShareSecret, ValidatorSecret};
use holdfast_types::{ShareIndex, SigningRoot};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Repeatable randomness for one case.
fn rng(case: u64) -> StdRng {
    StdRng::seed_from_u64(case)
}

/// A fresh validator key and its shares.
fn deal(threshold: u8, shares: u8, case: u64) -> (ValidatorSecret, Vec<(ShareIndex, ShareSecret)>) {
    let mut rng = rng(case);
    let secret = ValidatorSecret::random(&mut rng);
    let dealt = secret.split(threshold, shares, &mut rng).unwrap();
    (secret, dealt)
}

fn root(byte: u8) -> SigningRoot {
    SigningRoot([byte; 32])
}
