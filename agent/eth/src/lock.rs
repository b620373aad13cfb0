//! The cluster lock: the definition with the keys that were made for it, and the hash that identifies the cluster.

use holdfast_types::{LockHash, SharePublic, ValidatorPublic};

use crate::chunks::{Chunk, container, list, raw};
use crate::definition::{ClusterDefinition, HashError, fit};
use crate::deposit::{DepositData, public_root, signature_root};
use crate::registration::SignedRegistration;

/// A cluster lock. Nothing is known of its hashes, keys and signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterLock {
    /// What the operators agreed to.
    pub definition: ClusterDefinition,
    /// The validators in the order of the definition.
    pub validators: Vec<DistributedValidator>,
    /// The sum of the signatures of the lock hash by every share of every validator.
    pub signature_aggregate: Vec<u8>,
    /// The hash of the lock, as stored.
    pub lock_hash: LockHash,
    /// The signatures of the lock hash by the node key of every operator.
    pub node_signatures: Vec<Vec<u8>>,
}

/// A validator whose key is in shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributedValidator {
    /// The key that the chain knows.
    pub public: ValidatorPublic,
    /// The public keys of the shares in the order of the operators.
    pub shares: Vec<SharePublic>,
    /// Its registration with builders, signed when the key was made.
    pub registration: SignedRegistration,
    /// Its deposits, signed when the key was made, ascending by amount.
    pub deposits: Vec<DepositData>,
}

impl ClusterLock {
    /// The hash of the lock, the stored config hash included, computed (`cluster-files.md` section 3.2).
    ///
    /// # Errors
    ///
    /// When something does not fit into its place.
    pub fn compute_lock_hash(&self) -> Result<LockHash, HashError> {
        let validators = self.validators.iter().enumerate().map(|(at, validator)| validator.root(at));
        let validators = validators.collect::<Result<Vec<_>, _>>()?;
        let part = || "distributed_validators".into();
        let validators = fit(list(&validators, 65_536), validators.len(), 65_536, part)?;
        Ok(LockHash(container(&[self.definition.compute_definition_hash()?.0, validators])))
    }
}

impl DistributedValidator {
    fn root(&self, at: usize) -> Result<Chunk, HashError> {
        let shares = self.shares.iter().map(|share| raw(&share.0).expect("a key is not empty"));
        let shares: Vec<_> = shares.collect();
        let deposits: Vec<_> = self.deposits.iter().map(|deposit| deposit.hash_tree_root().0).collect();
        let part = |name: &str| format!("distributed_validators[{at}].{name}");
        let registration = &self.registration;
        Ok(container(&[
            public_root(&self.public),
            fit(list(&shares, 256), shares.len(), 256, || part("public_shares"))?,
            fit(list(&deposits, 256), deposits.len(), 256, || part("partial_deposit_data"))?,
            container(&[registration.message.hash_tree_root().0, signature_root(&registration.signature)]),
        ]))
    }
}
