//! Vaults that panic where a real one refuses: in a simulation nobody may even ask for what is slashable.

use std::collections::BTreeMap;

use holdfast_bls::ShareSecret;
use holdfast_eth::AttestationData;
use holdfast_eth::domain::attestation_signing_root;
use holdfast_types::{ChainSpec, Epoch, PartialSignature, Root, ValidatorPublic};

/// One operator's shares, and what they signed.
pub(crate) struct Vault {
    shares: BTreeMap<ValidatorPublic, ShareSecret>,
    signed: BTreeMap<ValidatorPublic, Vec<AttestationData>>,
    /// Whether it holds the shares of some other cluster.
    pub(crate) foreign: bool,
}

impl Vault {
    pub(crate) fn new(shares: BTreeMap<ValidatorPublic, ShareSecret>) -> Self {
        Self { shares, signed: BTreeMap::new(), foreign: false }
    }

    pub(crate) fn share(&self, validator: &ValidatorPublic) -> &ShareSecret {
        &self.shares[validator]
    }

    pub(crate) fn sign(
        &mut self,
        spec: &ChainSpec,
        validator: &ValidatorPublic,
        data: &AttestationData,
    ) -> Result<PartialSignature, String> {
        let before = self.signed.entry(*validator).or_default();
        for earlier in before.iter() {
            let double = earlier.target.epoch == data.target.epoch && earlier != data;
            let (lower, upper) =
                if earlier.source.epoch < data.source.epoch { (earlier, data) } else { (data, earlier) };
            let surround = lower.source.epoch < upper.source.epoch && upper.target.epoch < lower.target.epoch;
            assert!(!double && !surround, "slashable: {earlier:?} and {data:?}");
        }
        before.push(*data);
        let share = &self.shares[validator];
        let other = ShareSecret::from_bytes(&[1; 32]).expect("a small scalar");
        let share = if self.foreign { &other } else { share };
        Ok(share.sign(attestation_signing_root(spec, data)))
    }

    pub(crate) fn count(&self) -> usize {
        self.signed.values().map(Vec::len).sum()
    }
}

/// What the whole cluster signed: one root for a validator and a target.
#[derive(Default)]
pub(crate) struct SignedRoots(BTreeMap<(ValidatorPublic, Epoch), Root>);

impl SignedRoots {
    pub(crate) fn check(&mut self, validator: ValidatorPublic, data: &AttestationData) {
        let root = data.hash_tree_root();
        let first = *self.0.entry((validator, data.target.epoch)).or_insert(root);
        assert_eq!(first, root, "two roots for {} at target {}", validator.short(), data.target.epoch);
    }
}
