//! Lagrange interpolation at 0: partial signatures to a group signature, share keys to a validator key.
//!
//! What comes out of [`combine`] is not called a signature until it was checked under the group key: one bad partial
//! spoils it, and the sum looks like any other point.

use holdfast_types::{
    OPERATORS_MAX, PartialSignature, ShareIndex, SharePublic, Signature, SigningRoot, ValidatorPublic,
};

use crate::batch::{BatchItem, verify_batch};
use crate::raw::{PublicPoint, SCALAR_BITS, Scalar, SignaturePoint};
use crate::verify::{VerifyError, verify_group};

/// Why parts cannot be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// The part of this share is no point of its group, or infinity.
    #[error("the part of share {0} is no point of its group")]
    BadPoint(ShareIndex),
    /// Two parts of one share.
    #[error("share {0} is there twice")]
    Duplicate(ShareIndex),
    /// No parts.
    #[error("no parts to combine")]
    Empty,
    /// An index that no share has.
    #[error("share index {0} is not between 1 and {OPERATORS_MAX}")]
    Index(ShareIndex),
    /// The sum is the point at infinity, so some part is wrong.
    #[error("the parts add up to the point at infinity")]
    Infinity,
}

/// The combination of partials that nobody checked: a signature if all of them were right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unproven([u8; 96]);

impl Unproven {
    /// Checks the combination under the group key. Many are checked faster by [`prove_batch`].
    ///
    /// # Errors
    ///
    /// When it does not verify; then at least one partial was wrong, or fewer than the threshold were combined.
    pub fn prove(self, public: &ValidatorPublic, root: SigningRoot) -> Result<Signature, VerifyError> {
        let signature = Signature(self.0);
        verify_group(public, root, &signature).map(|()| signature)
    }
}

/// Combines partials of distinct shares of one validator key over one root, in any order.
///
/// The caller brings at least the threshold of them: fewer combine to a point that fails the proof.
///
/// # Errors
///
/// When an index or a point is unusable.
pub fn combine(partials: &[(ShareIndex, PartialSignature)]) -> Result<Unproven, CombineError> {
    let scalars_le = lagrange_at_zero(partials.iter().map(|(index, _)| *index))?;
    let decode = |(index, partial): &(ShareIndex, PartialSignature)| {
        SignaturePoint::decode(&partial.0).map(|point| point.0).ok_or(CombineError::BadPoint(*index))
    };
    let points = partials.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    let sum = SignaturePoint::sum_of_multiples(&points, &scalars_le, SCALAR_BITS);
    if sum.is_infinity() { Err(CombineError::Infinity) } else { Ok(Unproven(sum.compress())) }
}

/// Proves many combinations at once; the answers stand in the order of the candidates.
///
/// `seed` as for [`verify_batch`].
#[must_use]
pub fn prove_batch(candidates: &[(ValidatorPublic, SigningRoot, Unproven)], seed: &[u8; 32]) -> Vec<Option<Signature>> {
    let group = |(public, root, candidate): &(_, _, Unproven)| BatchItem::group(*public, *root, Signature(candidate.0));
    let items: Vec<_> = candidates.iter().map(group).collect();
    let good = verify_batch(&items, seed);
    candidates.iter().zip(good).map(|((_, _, candidate), good)| good.then_some(Signature(candidate.0))).collect()
}

/// The validator key that these share keys belong to, when they are at least the threshold of one dealing.
///
/// # Errors
///
/// When an index or a key is unusable.
pub fn interpolate_public(shares: &[(ShareIndex, SharePublic)]) -> Result<ValidatorPublic, CombineError> {
    let scalars_le = lagrange_at_zero(shares.iter().map(|(index, _)| *index))?;
    let decode = |(index, public): &(ShareIndex, SharePublic)| {
        PublicPoint::decode(&public.0).map(|point| point.0).ok_or(CombineError::BadPoint(*index))
    };
    let points = shares.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    let sum = PublicPoint::sum_of_multiples(&points, &scalars_le, SCALAR_BITS);
    if sum.is_infinity() { Err(CombineError::Infinity) } else { Ok(ValidatorPublic(sum.compress())) }
}

/// The plain sum of signatures, as a lock carries it (`cluster-files.md`); for [`crate::fast_aggregate_verify`].
///
/// # Errors
///
/// When there are none, one is no signature, or the sum is infinity. A bad one is named by its position, from 1.
pub fn aggregate(partials: &[PartialSignature]) -> Result<Signature, AggregateError> {
    if partials.is_empty() {
        return Err(AggregateError::Empty);
    }
    let decode = |(at, partial): (usize, &PartialSignature)| {
        SignaturePoint::decode(&partial.0).map(|point| point.0).ok_or(AggregateError::BadPoint(at + 1))
    };
    let points = partials.iter().enumerate().map(decode).collect::<Result<Vec<_>, _>>()?;
    let sum = SignaturePoint::sum(&points);
    if sum.is_infinity() { Err(AggregateError::Infinity) } else { Ok(Signature(sum.compress())) }
}

/// Why signatures have no usable sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// The signature at this position, from 1, is no point of G2, or infinity.
    #[error("signature {0} is no point of G2, or the point at infinity")]
    BadPoint(usize),
    /// Nothing to add.
    #[error("no signatures to add")]
    Empty,
    /// The sum is the point at infinity.
    #[error("the signatures add up to the point at infinity")]
    Infinity,
}

/// The coefficient of each index, little-endian and side by side: the product of j / (j - i) over the other indices j.
fn lagrange_at_zero(indices: impl Iterator<Item = ShareIndex>) -> Result<Vec<u8>, CombineError> {
    let mut seen = Vec::with_capacity(OPERATORS_MAX);
    for index in indices {
        if index.0 == 0 || usize::from(index.0) > OPERATORS_MAX {
            return Err(CombineError::Index(index));
        }
        if seen.contains(&index) {
            return Err(CombineError::Duplicate(index));
        }
        seen.push(index);
    }
    if seen.is_empty() {
        return Err(CombineError::Empty);
    }
    let scalars: Vec<Scalar> = seen.iter().map(|index| Scalar::from_small(u64::from(index.0))).collect();
    let coefficient = |at: usize| {
        let one = || Scalar::from_small(1);
        let (above, below) =
            (0..scalars.len()).filter(|other| *other != at).fold((one(), one()), |(above, below), j| {
                (above.times(&scalars[j]), below.times(&scalars[j].minus(&scalars[at])))
            });
        above.times(&below.inverse())
    };
    Ok((0..scalars.len()).flat_map(|at| *coefficient(at).le_bytes()).collect())
}
