//! Checks of many signatures at the price of few, with the same answers.
//!
//! # Why the answer is the one that single checks give
//!
//! A signature s of message m under key P is right when e(P, H(m)) = e(g, s). Each item i gets a blinding factor r_i of 128
//! bits, and the batch is accepted when the product over the messages of e(sum of r_i P_i, H(m)) is e(g, sum of r_i s_i).
//!
//! - Right items always pass together, since the equation is linear.
//! - Every point was checked to be in its subgroup of prime order q, so a wrong item i misses by a factor e(g, d_i) with
//!   d_i not 0. The batch passes although items are wrong only when the sum of r_i d_i is 0. With all other factors fixed,
//!   that is one value of r_i modulo q, and the 2^128 values of r_i are distinct modulo q: the chance is at most 2^-128.
//!   Without the blinding two wrong signatures could make up for each other; a test shows that they do not.
//! - Who chooses the items must not know the factors before. They are SHA-256 of a secret seed and of all items, so they are
//!   fixed only when the items are. Even a known seed leaves an attacker only the search for a hash: 2^128 tries.
//! - A batch that fails is halved, down to single checks by the plain equation. Each half is blinded anew. So a wrong item is
//!   named by a single check, and a right one is never refused because of its neighbours.
//!
//! Cost: two Miller loops and one final exponentiation for a whole batch of one message. If k of n items are wrong, about
//! k log2(n) batches more; if all are, at most twice the work of single checks.

use std::collections::BTreeMap;

use holdfast_types::{PartialSignature, SharePublic, Signature, SigningRoot, ValidatorPublic};

use crate::raw::{MessagePoint, PublicPoint, SignaturePoint, sha256};
use crate::verify::{fits, pairs_fit};

/// One signature to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchItem {
    public: [u8; 48],
    root: [u8; 32],
    signature: [u8; 96],
}

impl BatchItem {
    /// A partial signature under the key of its share.
    #[must_use]
    pub const fn partial(public: SharePublic, root: SigningRoot, signature: PartialSignature) -> Self {
        Self { public: public.0, root: root.0, signature: signature.0 }
    }

    /// A group signature under the key that the chain knows.
    #[must_use]
    pub const fn group(public: ValidatorPublic, root: SigningRoot, signature: Signature) -> Self {
        Self { public: public.0, root: root.0, signature: signature.0 }
    }
}

/// Checks all items; the answer at each position is the one that a single check of that item gives.
///
/// `seed` is 32 random bytes that nobody knew who had a part in the items. It may serve for many batches.
#[must_use]
pub fn verify_batch(items: &[BatchItem], seed: &[u8; 32]) -> Vec<bool> {
    let decoded: Vec<Decoded> = items.iter().enumerate().filter_map(|(at, item)| Decoded::new(at, item)).collect();
    let hashed: BTreeMap<[u8; 32], MessagePoint> =
        decoded.iter().map(|item| item.item.root).map(|root| (root, MessagePoint::hash(&root))).collect();
    let mut answers = vec![false; items.len()];
    let mut waiting = vec![&decoded[..]];
    while let Some(part) = waiting.pop() {
        match part {
            [] => {}
            [only] => answers[only.at] = fits(&only.public, &only.item.root, &only.signature),
            _ if all_fit(part, &hashed, seed) => part.iter().for_each(|item| answers[item.at] = true),
            _ => {
                let (left, right) = part.split_at(part.len() / 2);
                waiting.extend([right, left]);
            }
        }
    }
    answers
}

/// An item whose points are usable, with its position in the answer.
struct Decoded<'a> {
    at: usize,
    item: &'a BatchItem,
    public: PublicPoint,
    signature: SignaturePoint,
}

impl<'a> Decoded<'a> {
    fn new(at: usize, item: &'a BatchItem) -> Option<Self> {
        let public = PublicPoint::decode(&item.public)?;
        Some(Self { at, item, public, signature: SignaturePoint::decode(&item.signature)? })
    }
}

/// Whether the blinded sum of the items fits. A sum that happens to be infinity counts as failed, which costs only time.
fn all_fit(part: &[Decoded<'_>], hashed: &BTreeMap<[u8; 32], MessagePoint>, seed: &[u8; 32]) -> bool {
    let blinding = Blinding::new(part, seed);
    let mut groups: BTreeMap<&[u8; 32], (Vec<_>, Vec<u8>)> = BTreeMap::new();
    let (mut signatures, mut factors) = (Vec::with_capacity(part.len()), Vec::with_capacity(part.len() * FACTOR_LEN));
    for (at, item) in part.iter().enumerate() {
        let factor = blinding.factor(at);
        signatures.push(item.signature.0);
        factors.extend(factor);
        let group = groups.entry(&item.item.root).or_default();
        group.0.push(item.public.0);
        group.1.extend(factor);
    }
    let signature = SignaturePoint::sum_of_multiples(&signatures, &factors, FACTOR_LEN * 8);
    let sums: Vec<(PublicPoint, &MessagePoint)> = groups
        .into_iter()
        .map(|(root, (publics, factors))| {
            (PublicPoint::sum_of_multiples(&publics, &factors, FACTOR_LEN * 8), &hashed[root])
        })
        .collect();
    !signature.is_infinity()
        && sums.iter().all(|(public, _)| !public.is_infinity())
        && pairs_fit(sums.iter().map(|(public, message)| (public, *message)), &signature)
}

/// The source of the factors of one part of a batch.
struct Blinding([u8; 32]);

impl Blinding {
    fn new(part: &[Decoded<'_>], seed: &[u8; 32]) -> Self {
        let mut transcript = Vec::with_capacity(seed.len() + part.len() * (48 + 32 + 96));
        transcript.extend(seed);
        for Decoded { item, .. } in part {
            transcript.extend(item.public.iter().chain(&item.root).chain(&item.signature));
        }
        Self(sha256(&transcript))
    }

    fn factor(&self, at: usize) -> [u8; FACTOR_LEN] {
        let mut input = [0; 40];
        input[..32].copy_from_slice(&self.0);
        input[32..].copy_from_slice(&(at as u64).to_le_bytes());
        let digest = sha256(&input);
        let mut factor = [0; FACTOR_LEN];
        factor.copy_from_slice(&digest[..FACTOR_LEN]);
        factor
    }
}

/// The bytes of a blinding factor.
const FACTOR_LEN: usize = 16;
