//! Every subset of a small cluster.

use holdfast_bls::{VerifyError, combine, interpolate_public, prove_batch};

use crate::{deal, root};

#[test]
fn exactly_the_subsets_with_the_threshold_combine() {
    for (threshold, shares) in [(3, 4), (5, 7)] {
        let (whole, dealt) = deal(threshold, shares, 10);
        let group = whole.sign(root(9));
        let partials: Vec<_> = dealt.iter().map(|(index, share)| (*index, share.sign(root(9)))).collect();
        let publics: Vec<_> = dealt.iter().map(|(index, share)| (*index, share.public())).collect();
        for subset in 1..1_u32 << shares {
            let chosen = |at: &usize| subset >> at & 1 == 1;
            let some: Vec<_> = (0..partials.len()).filter(chosen).map(|at| partials[at]).collect();
            let keys: Vec<_> = (0..publics.len()).filter(chosen).map(|at| publics[at]).collect();
            let proven = combine(&some).unwrap().prove(&whole.public(), root(9));
            let enough = some.len() >= usize::from(threshold);
            assert_eq!(proven, if enough { Ok(group) } else { Err(VerifyError::Mismatch) }, "{subset:b} of {shares}");
            assert_eq!(interpolate_public(&keys).unwrap() == whole.public(), enough, "{subset:b} of {shares}");
        }
    }
}

#[test]
fn a_batch_of_combinations_gives_signatures_for_the_right_ones_only() {
    let clusters: Vec<_> = (0..5).map(|case| deal(3, 4, 20 + case)).collect();
    let candidates: Vec<_> = clusters
        .iter()
        .enumerate()
        .map(|(at, (whole, dealt))| {
            // The third cluster gets a partial over another root, the fourth one share too few.
            let sign = |index: usize| dealt[index].1.sign(root(if at == 2 && index == 1 { 1 } else { 5 }));
            let used = if at == 3 { 2 } else { 3 };
            let partials: Vec<_> = (0..used).map(|index| (dealt[index].0, sign(index))).collect();
            (whole.public(), root(5), combine(&partials).unwrap())
        })
        .collect();
    let proven = prove_batch(&candidates, &[3; 32]);
    let expected: Vec<_> = clusters.iter().map(|(whole, _)| Some(whole.sign(root(5)))).collect();
    assert_eq!(proven, [expected[0], expected[1], None, None, expected[4]]);
}
