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
use crate::weights::{Weights, distinct};

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
    let indices = distinct(partials.iter().map(|(index, _)| *index))?;
    let decode = |(index, partial): &(ShareIndex, PartialSignature)| {
        SignaturePoint::decode(&partial.0).ok_or(CombineError::BadPoint(*index))
    };
    let points = partials.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    let sum = match Weights::new(&indices) {
        Some(weights) => sum_by_small_weights(&points, &weights),
        None => sum_by_field_weights(&points, &indices),
    };
    if sum.is_infinity() { Err(CombineError::Infinity) } else { Ok(Unproven(sum.compress())) }
}

fn sum_by_small_weights(points: &[SignaturePoint], weights: &Weights) -> SignaturePoint {
    let bits = weights.bits();
    let signed = points.iter().zip(&weights.numerators);
    let signed: Vec<_> = signed.map(|(point, numerator)| point.negative_if(*numerator < 0).0).collect();
    let short = |numerator: &i64| numerator.unsigned_abs().to_le_bytes().into_iter().take(bits.div_ceil(8));
    let scalars_le: Vec<u8> = weights.numerators.iter().flat_map(short).collect();
    let sum = SignaturePoint::sum_of_multiples(&signed, &scalars_le, bits);
    if weights.scale == 1 || sum.is_infinity() {
        return sum;
    }
    sum.times(&Scalar::from_small(weights.scale).inverse())
}

fn sum_by_field_weights(points: &[SignaturePoint], indices: &[ShareIndex]) -> SignaturePoint {
    let points: Vec<_> = points.iter().map(|point| point.0).collect();
    SignaturePoint::sum_of_multiples(&points, &side_by_side(&lagrange_at_zero(indices)), SCALAR_BITS)
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
    let scalars_le = side_by_side(&lagrange_at_zero(&distinct(shares.iter().map(|(index, _)| *index))?));
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

/// The weight of each of these distinct indices: the product of j / (j - i) over the other indices j.
pub(crate) fn lagrange_at_zero(indices: &[ShareIndex]) -> Vec<Scalar> {
    let scalars: Vec<Scalar> = indices.iter().map(|index| Scalar::from_small(u64::from(index.0))).collect();
    let weight = |at: usize| {
        let one = || Scalar::from_small(1);
        let (above, below) =
            (0..scalars.len()).filter(|other| *other != at).fold((one(), one()), |(above, below), j| {
                (above.times(&scalars[j]), below.times(&scalars[j].minus(&scalars[at])))
            });
        above.times(&below.inverse())
    };
    (0..scalars.len()).map(weight).collect()
}

/// Scalars as sums of multiples take them.
fn side_by_side(scalars: &[Scalar]) -> Vec<u8> {
    scalars.iter().flat_map(|scalar| *scalar.le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::MessagePoint;

    /// Both ways to the sum, over all subsets of five shares and over subsets that have no small weights.
    #[test]
    fn small_weights_and_those_of_the_field_give_the_same_sum() {
        let points: Vec<SignaturePoint> =
            (0..32).map(|byte| SignaturePoint(MessagePoint::hash(&[byte; 32]).affine())).collect();
        let (mut small, mut divided) = (0, 0);
        for set in (1_u32..1 << 5).chain((0..32).map(|bits| u32::MAX << bits)) {
            let chosen: Vec<usize> = (0..32).filter(|at| set >> at & 1 == 1).collect();
            let indices: Vec<ShareIndex> = chosen.iter().map(|at| ShareIndex(*at as u8 + 1)).collect();
            let points: Vec<SignaturePoint> = chosen.iter().map(|at| points[*at]).collect();
            if let Some(weights) = Weights::new(&indices) {
                let expected = sum_by_field_weights(&points, &indices).compress();
                assert_eq!(sum_by_small_weights(&points, &weights).compress(), expected, "{set:b}");
                small += 1;
                divided += u32::from(weights.scale != 1);
            }
        }
        assert!(small > 40 && divided > 10, "{small} sums by small weights, {divided} of them divided");
    }
}
