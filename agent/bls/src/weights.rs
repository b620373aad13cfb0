//! Lagrange weights at 0 as small whole numbers.
//!
//! The weight of index i in a subset is the product of j / (j - i) over the other indices j: a fraction. With the common
//! denominator of all of them as *scale*, each is a whole number over it, small for clusters of usual sizes (4 bits for 3 of 4, 12
//! bits for 7 of 10). So the sum of the parts needs short multiples only, and one division by the scale modulo the group
//! order at its end, or none where the scale is 1.

use holdfast_types::{OPERATORS_MAX, ShareIndex};

use crate::combine::CombineError;

/// The weights of a subset, in its order: each over the scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weights {
    /// Whole numbers, none of them 0.
    pub(crate) numerators: Vec<i64>,
    pub(crate) scale: u64,
}

/// The indices, when each is one of a share and none is there twice.
pub(crate) fn distinct(indices: impl IntoIterator<Item = ShareIndex>) -> Result<Vec<ShareIndex>, CombineError> {
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
    if seen.is_empty() { Err(CombineError::Empty) } else { Ok(seen) }
}

impl Weights {
    /// The weights of distinct indices; `None` where one does not fit 63 bits, as in odd subsets of very large clusters.
    pub(crate) fn new(indices: &[ShareIndex]) -> Option<Self> {
        let fractions = indices.iter().map(|own| fraction(indices, *own)).collect::<Option<Vec<_>>>()?;
        let scale =
            fractions.iter().try_fold(1_i128, |scale, (_, below)| (scale / gcd(scale, *below)).checked_mul(*below))?;
        let whole = |(above, below): &(i128, i128)| i64::try_from(above.checked_mul(scale / below)?).ok();
        let numerators = fractions.iter().map(whole).collect::<Option<Vec<_>>>()?;
        let fits = numerators.iter().all(|numerator| *numerator != i64::MIN);
        Some(Self { numerators, scale: u64::try_from(scale).ok().filter(|_| fits)? })
    }

    /// How many bits the largest weight has, without its sign.
    pub(crate) fn bits(&self) -> usize {
        let bits = |numerator: &i64| u64::BITS - numerator.unsigned_abs().leading_zeros();
        self.numerators.iter().map(bits).max().unwrap_or(0) as usize
    }
}

/// The weight of one index as a fraction in its lowest terms, with a denominator above 0.
fn fraction(indices: &[ShareIndex], own: ShareIndex) -> Option<(i128, i128)> {
    let mut fraction = (1_i128, 1_i128);
    for other in indices.iter().filter(|other| **other != own) {
        let above = fraction.0.checked_mul(i128::from(other.0))?;
        let below = fraction.1.checked_mul(i128::from(other.0) - i128::from(own.0))?;
        let common = gcd(above, below) * below.signum();
        fraction = (above / common, below / common);
    }
    Some(fraction)
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::raw::Scalar;

    fn indices(of: &[u8]) -> Vec<ShareIndex> {
        of.iter().copied().map(ShareIndex).collect()
    }

    fn scalar(number: i64) -> Scalar {
        let size = Scalar::from_small(number.unsigned_abs());
        if number < 0 { Scalar::from_small(0).minus(&size) } else { size }
    }

    /// numerator = scale times the weight that the field says; `false` when there are no small weights.
    fn agrees_with_the_field(indices: &[ShareIndex]) -> bool {
        let Some(weights) = Weights::new(indices) else { return false };
        let field = crate::combine::lagrange_at_zero(indices);
        let scale = Scalar::from_small(weights.scale);
        for (numerator, weight) in weights.numerators.iter().zip(&field) {
            assert_eq!(scalar(*numerator).le_bytes(), scale.times(weight).le_bytes(), "{indices:?}");
        }
        true
    }

    #[test]
    fn every_subset_of_a_small_cluster_has_the_weights_of_the_field() {
        for set in 1_u32..1 << 10 {
            let chosen: Vec<u8> = (0..10).filter(|at| set >> at & 1 == 1).map(|at| at + 1).collect();
            assert!(agrees_with_the_field(&indices(&chosen)), "{chosen:?}");
        }
    }

    #[test]
    fn every_full_cluster_has_small_weights() {
        for shares in 1..=32 {
            assert!(agrees_with_the_field(&indices(&(1..=shares).collect::<Vec<_>>())), "{shares}");
        }
    }

    proptest! {
        #[test]
        fn weights_are_those_of_the_field(set in any::<u32>()) {
            let chosen: Vec<u8> = (0..32).filter(|at| set >> at & 1 == 1).map(|at| at + 1).collect();
            agrees_with_the_field(&indices(&chosen));
        }
    }

    /// As counted for the design: subsets without a division, and the most bits and the largest scale of all.
    #[test]
    fn the_sizes_are_those_that_were_counted() {
        for (threshold, shares, free, bits, scale) in [(3, 4, 3, 4, 3), (5, 7, 7, 8, 15), (7, 10, 24, 12, 108)] {
            let sets = (0_u32..1 << shares).filter(|set| set.count_ones() == threshold);
            let all: Vec<Weights> = sets
                .map(|set| (0..shares).filter(|at| set >> at & 1 == 1).map(|at| ShareIndex(at + 1)).collect::<Vec<_>>())
                .map(|set| Weights::new(&set).unwrap())
                .collect();
            assert_eq!(all.iter().filter(|weights| weights.scale == 1).count(), free);
            assert!(all.iter().all(|weights| weights.bits() <= bits && weights.scale <= scale));
        }
    }
}
