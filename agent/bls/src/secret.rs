//! Secret keys: of a share, which signs, and of a validator, which exists only where a cluster is dealt.
//!
//! No secret can be printed, compared or copied by accident, and all are wiped when dropped. They are boxed, so that moving one
//! leaves nothing behind. Dealing makes no such promise for its intermediate values: it never runs on a box.

use std::cell::OnceCell;
use std::fmt;

use holdfast_types::{
    LockHash, OPERATORS_MAX, PartialSignature, ShareIndex, SharePublic, Signature, SigningRoot, ValidatorPublic,
};
use rand_core::{CryptoRng, RngCore};
use zeroize::{Zeroize, Zeroizing};

use crate::fixed::Table;
use crate::raw::{MessagePoint, Scalar, SignaturePoint};

/// The bytes are no secret key: 0, or not below the group order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a BLS secret key: 0, or not below the group order")]
pub struct InvalidSecret;

/// A validator key cannot be split like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot split a key into {shares} shares with threshold {threshold}: 1 <= threshold <= shares <= {OPERATORS_MAX}"
)]
pub struct SplitError {
    /// The threshold that was asked for.
    pub threshold: u8,
    /// The number of shares that was asked for.
    pub shares: u8,
}

/// The secret of one share.
pub struct ShareSecret(Box<Scalar>);

impl ShareSecret {
    /// The share with these big-endian bytes.
    ///
    /// # Errors
    ///
    /// When the bytes are no secret key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidSecret> {
        boxed(bytes).map(Self)
    }

    /// The big-endian bytes, for a keystore or a seal; wiped when dropped.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<[u8; 32]> {
        expose(&self.0)
    }

    /// The public key of this share.
    #[must_use]
    pub fn public(&self) -> SharePublic {
        SharePublic(self.0.public())
    }

    /// Signs a signing root.
    #[must_use]
    pub fn sign(&self, root: SigningRoot) -> PartialSignature {
        PartialSignature(self.0.sign(&MessagePoint::hash(&root.0)))
    }

    /// Signs a lock hash as it is, without a domain, as ceremonies do (`dkg.md`).
    #[must_use]
    pub fn sign_lock_hash(&self, hash: LockHash) -> PartialSignature {
        PartialSignature(self.0.sign(&MessagePoint::hash(&hash.0)))
    }
}

impl fmt::Debug for ShareSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShareSecret(..)")
    }
}

/// A signing root hashed to the curve: half the work of a signature, shared by all keys that sign the same root. What many
/// keys sign gets a table besides, which does most of the other half.
pub struct HashedRoot {
    point: MessagePoint,
    table: OnceCell<Option<Table>>,
}

impl HashedRoot {
    /// Hashes a signing root to the curve.
    #[must_use]
    pub fn new(root: SigningRoot) -> Self {
        Self { point: MessagePoint::hash(&root.0), table: OnceCell::new() }
    }

    /// The table, when it is there or will pay for itself.
    fn table_for(&self, secrets: usize) -> Option<&Table> {
        if secrets < TABLE_PAYS_FROM && self.table.get().is_none() {
            return None;
        }
        self.table.get_or_init(|| Table::new(&self.point)).as_ref()
    }
}

impl fmt::Debug for HashedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedRoot(..)")
    }
}

/// Signs with a share whose big-endian bytes stay where they are, for instance in locked memory.
///
/// The scalar exists on the stack of this call only and is wiped before it returns, by blst's scalar here and by blst's C
/// code for its own copy.
///
/// # Errors
///
/// When the bytes are no secret key.
pub fn sign_with(secret_be: &[u8; 32], root: &HashedRoot) -> Result<PartialSignature, InvalidSecret> {
    let mut secret = Scalar::from_small(0);
    if secret.set_secret(secret_be) { Ok(PartialSignature(secret.sign(&root.point))) } else { Err(InvalidSecret) }
}

/// Signs one root with many shares; the answers are those of [`sign_with`], in the order of the shares. Once there are enough
/// shares for it to pay, a table of the root does most of the work.
///
/// The time depends on how many shares there are, not on which. Their scalars and all sums of secret multiples are wiped
/// before this returns; what single operations leave in frames that are gone is for the caller to overwrite.
#[must_use]
pub fn sign_many(secrets_be: &[&[u8; 32]], root: &HashedRoot) -> Vec<Result<PartialSignature, InvalidSecret>> {
    match root.table_for(secrets_be.len()) {
        None => secrets_be.iter().map(|secret| sign_with(secret, root)).collect(),
        Some(table) => {
            let answer = |point: SignaturePoint| PartialSignature(point.compress());
            table.sign(secrets_be).into_iter().map(|point| point.map(answer).ok_or(InvalidSecret)).collect()
        }
    }
}

/// A table costs 4.3 million aarch64 instructions and saves 1.2 million a signature, less where few share a division.
const TABLE_PAYS_FROM: usize = 4;

/// The public key of a share whose big-endian bytes stay where they are.
///
/// # Errors
///
/// When the bytes are no secret key.
pub fn public_of(secret_be: &[u8; 32]) -> Result<SharePublic, InvalidSecret> {
    let mut secret = Scalar::from_small(0);
    if secret.set_secret(secret_be) { Ok(SharePublic(secret.public())) } else { Err(InvalidSecret) }
}

/// A whole validator key. It exists only where a cluster is dealt on one machine, never on a box.
pub struct ValidatorSecret(Box<Scalar>);

impl ValidatorSecret {
    /// A new key from the randomness given.
    pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        Self(Box::new(random_scalar(rng)))
    }

    /// The key with these big-endian bytes.
    ///
    /// # Errors
    ///
    /// When the bytes are no secret key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidSecret> {
        boxed(bytes).map(Self)
    }

    /// The public key that the chain knows.
    #[must_use]
    pub fn public(&self) -> ValidatorPublic {
        ValidatorPublic(self.0.public())
    }

    /// Signs a signing root, for instance of a deposit.
    #[must_use]
    pub fn sign(&self, root: SigningRoot) -> Signature {
        Signature(self.0.sign(&MessagePoint::hash(&root.0)))
    }

    /// Splits the key by a fresh polynomial of degree `threshold - 1`: any `threshold` of the shares with indices 1 to
    /// `shares` can sign for it, and fewer say nothing about it.
    ///
    /// # Errors
    ///
    /// Unless 1 <= `threshold` <= `shares` <= 32.
    pub fn split(
        &self,
        threshold: u8,
        shares: u8,
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Result<Vec<(ShareIndex, ShareSecret)>, SplitError> {
        if threshold == 0 || threshold > shares || usize::from(shares) > OPERATORS_MAX {
            return Err(SplitError { threshold, shares });
        }
        loop {
            let higher: Vec<Scalar> = (1..threshold).map(|_| random_scalar(rng)).collect();
            let dealt: Vec<_> =
                (1..=shares).map(|x| (ShareIndex(x), ShareSecret(Box::new(self.evaluate(&higher, x))))).collect();
            // A share of 0 has no public key; it comes once in 2^250 dealings.
            if dealt.iter().all(|(_, share)| !share.0.is_zero()) {
                return Ok(dealt);
            }
        }
    }

    /// The polynomial with the key as constant term and these higher coefficients, at `x` (Horner).
    fn evaluate(&self, higher: &[Scalar], x: u8) -> Scalar {
        let x = Scalar::from_small(u64::from(x));
        let tail = higher.iter().rev().fold(Scalar::from_small(0), |sum, coefficient| sum.plus(coefficient).times(&x));
        tail.plus(&self.0)
    }
}

impl fmt::Debug for ValidatorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValidatorSecret(..)")
    }
}

fn boxed(bytes: &[u8; 32]) -> Result<Box<Scalar>, InvalidSecret> {
    let mut secret = Box::new(Scalar::from_small(0));
    if secret.set_secret(bytes) { Ok(secret) } else { Err(InvalidSecret) }
}

fn expose(secret: &Scalar) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    secret.write_be(&mut bytes);
    bytes
}

fn random_scalar(rng: &mut (impl RngCore + CryptoRng)) -> Scalar {
    let mut bytes = [0; 64];
    let scalar = loop {
        rng.fill_bytes(&mut bytes);
        if let Some(scalar) = Scalar::from_wide_bytes(&bytes) {
            break scalar;
        }
    };
    bytes.zeroize();
    scalar
}
