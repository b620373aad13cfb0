//! The check of a lock (`cluster-files.md` section 3.4), cheapest first, and what a node reads from a checked one.
//!
//! Signatures of deposits are not checked, as in the reference: they are part of the lock hash that all shares signed.

use std::collections::BTreeSet;

use holdfast_bls::{VerifyError, fast_aggregate_verify, interpolate_public, verify_group};
use holdfast_eth::{BuilderRegistration, ClusterLock, DistributedValidator, HashError};
use holdfast_types::{ForkVersion, LockHash, OperatorIndex, ShareIndex, SharePublic, Signature, ValidatorPublic};

use crate::definition::{Checked, DefinitionError, check_hashes, check_rest};
use crate::enr::Enr;
use crate::k1;
use crate::network::{Network, Networks};

/// A lock in which everything holds. Only the check makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLock {
    lock: ClusterLock,
    checked: Checked,
}

/// A validator of a verified lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedValidator<'a> {
    /// The key that the chain knows.
    pub public: ValidatorPublic,
    /// The public keys of the shares in the order of the operators.
    pub shares: &'a [SharePublic],
    /// The fee recipient that the operators agreed to.
    pub fee_recipient: [u8; 20],
    /// The withdrawal address that the operators agreed to.
    pub withdrawal: [u8; 20],
}

/// Why a lock does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The sum of the shares' signatures does not verify.
    #[error("signature_aggregate is not the signature of the lock hash by all public shares")]
    Aggregate(#[source] VerifyError),
    /// The sum of the shares' signatures is not one signature long.
    #[error("signature_aggregate has {len} bytes instead of 96")]
    AggregateLength {
        /// How many bytes there are.
        len: usize,
    },
    /// The definition in it does not hold.
    #[error("the cluster definition in the lock does not hold")]
    Definition(#[source] DefinitionError),
    /// Two shares of a validator have one key.
    #[error("distributed_validators[{validator}].public_shares[{operator}] is the share of an earlier operator")]
    DuplicateShare {
        /// The position of the validator.
        validator: usize,
        /// The later of the two operators.
        operator: OperatorIndex,
    },
    /// Two validators have one key.
    #[error("distributed_validators[{validator}] has the key of an earlier validator")]
    DuplicateValidator {
        /// The position of the later one.
        validator: usize,
    },
    /// Something does not fit, so that there is no hash.
    #[error("the lock cannot be hashed")]
    Hash(#[source] HashError),
    /// The stored lock hash is not that of the content.
    #[error("lock_hash is {stored}, and the content hashes to {computed}: the lock was changed")]
    LockHash {
        /// What the file says.
        stored: LockHash,
        /// What is right.
        computed: LockHash,
    },
    /// A node signature is not by the node key of the operator.
    #[error("node_signatures[{operator}] is not by the key in that operator's node record")]
    NodeSignature {
        /// Whose signature.
        operator: OperatorIndex,
    },
    /// The number of node signatures is not that of the operators.
    #[error("node_signatures has {signatures} entries for {operators} operators")]
    NodeSignatureCount {
        /// How many signatures there are.
        signatures: usize,
        /// How many operators there are.
        operators: usize,
    },
    /// The builder registration is not signed by the validator key.
    #[error(
        "distributed_validators[{validator}].builder_registration is not signed by its validator for the fee recipient of the definition"
    )]
    Registration {
        /// The position of the validator.
        validator: usize,
        /// Why.
        #[source]
        err: VerifyError,
    },
    /// The number of shares of a validator is not that of the operators.
    #[error("distributed_validators[{validator}].public_shares has {shares} entries for {operators} operators")]
    ShareCount {
        /// The position of the validator.
        validator: usize,
        /// How many shares there are.
        shares: usize,
        /// How many operators there are.
        operators: usize,
    },
    /// As many shares as the threshold do not give the validator key: one of them is wrong.
    #[error(
        "distributed_validators[{validator}].public_shares: the first shares with that of operator {operator} do not give the validator key"
    )]
    ShareMismatch {
        /// The position of the validator.
        validator: usize,
        /// The operator of the last share in the set; the others are the first of the list.
        operator: OperatorIndex,
    },
    /// The number of validators is not that of the definition.
    #[error("distributed_validators has {entries} entries, the definition says {stated}")]
    ValidatorCount {
        /// How many entries there are.
        entries: usize,
        /// What the definition says.
        stated: u64,
    },
}

impl VerifiedLock {
    /// Checks a lock in full.
    ///
    /// # Errors
    ///
    /// When anything in it does not hold.
    pub fn verify(lock: ClusterLock, networks: &Networks) -> Result<Self, LockError> {
        check_hashes(&lock.definition).map_err(LockError::Definition)?;
        let (entries, stated) = (lock.validators.len(), lock.definition.num_validators);
        if entries as u64 != stated || entries != lock.definition.validators.len() {
            return Err(LockError::ValidatorCount { entries, stated });
        }
        let (stored, computed) = (lock.lock_hash, lock.compute_lock_hash().map_err(LockError::Hash)?);
        if stored != computed {
            return Err(LockError::LockHash { stored, computed });
        }
        let checked = check_rest(&lock.definition, networks).map_err(LockError::Definition)?;
        check_uniqueness(&lock)?;
        check_node_signatures(&lock, &checked.enrs)?;
        check_aggregate(&lock)?;
        let lock = Self { lock, checked };
        for (at, validator) in lock.lock.validators.iter().enumerate() {
            lock.check_shares(at, validator)?;
            lock.check_registration(at, validator)?;
        }
        Ok(lock)
    }

    /// The lock.
    #[must_use]
    pub const fn lock(&self) -> &ClusterLock {
        &self.lock
    }

    /// The cluster's name for humans; may be empty.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.lock.definition.name
    }

    /// The hash that identifies the cluster.
    #[must_use]
    pub const fn lock_hash(&self) -> LockHash {
        self.lock.lock_hash
    }

    /// The network that the cluster is for.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.checked.network
    }

    /// The genesis fork version of the network.
    #[must_use]
    pub const fn fork_version(&self) -> ForkVersion {
        self.lock.definition.fork_version
    }

    /// How many shares make a group signature.
    #[must_use]
    pub const fn threshold(&self) -> u8 {
        self.checked.threshold
    }

    /// The node records, with the node keys, in the order of the operators.
    #[must_use]
    pub fn enrs(&self) -> &[Enr] {
        &self.checked.enrs
    }

    /// The operator with this compressed node key.
    #[must_use]
    pub fn operator_of(&self, node_public: &[u8; 33]) -> Option<OperatorIndex> {
        (0..).map(OperatorIndex).zip(&self.checked.enrs).find(|(_, enr)| enr.public() == *node_public).map(|(at, _)| at)
    }

    /// The validators in the order of the lock.
    pub fn validators(&self) -> impl ExactSizeIterator<Item = LockedValidator<'_>> {
        self.lock.validators.iter().zip(&self.lock.definition.validators).map(|(keys, addresses)| {
            let [fee_recipient, withdrawal] = [&addresses.fee_recipient, &addresses.withdrawal]
                .map(|address| address.bytes().expect("the check found both addresses"));
            LockedValidator { public: keys.public, shares: &keys.shares, fee_recipient, withdrawal }
        })
    }

    /// The first shares up to the threshold give the validator key, and so does each further one in place of the last.
    fn check_shares(&self, at: usize, validator: &DistributedValidator) -> Result<(), LockError> {
        let shares: Vec<_> = (1..).map(ShareIndex).zip(validator.shares.iter().copied()).collect();
        let (first, others) = shares.split_at(usize::from(self.checked.threshold) - 1);
        for &other in others {
            let set = [first, &[other]].concat();
            if interpolate_public(&set) != Ok(validator.public) {
                let operator = other.0.operator().expect("share indices begin at 1");
                return Err(LockError::ShareMismatch { validator: at, operator });
            }
        }
        Ok(())
    }

    fn check_registration(&self, at: usize, validator: &DistributedValidator) -> Result<(), LockError> {
        let (registered, agreed) = (validator.registration.message, &self.lock.definition.validators[at]);
        let message = BuilderRegistration {
            fee_recipient: agreed.fee_recipient.bytes().expect("the definition's check found it"),
            pubkey: validator.public,
            ..registered
        };
        verify_group(&validator.public, message.signing_root(self.fork_version()), &validator.registration.signature)
            .map_err(|err| LockError::Registration { validator: at, err })
    }
}

fn check_uniqueness(lock: &ClusterLock) -> Result<(), LockError> {
    let operators = lock.definition.operators.len();
    let mut seen = BTreeSet::new();
    for (at, validator) in lock.validators.iter().enumerate() {
        let shares = &validator.shares;
        if shares.len() != operators {
            return Err(LockError::ShareCount { validator: at, shares: shares.len(), operators });
        }
        if !seen.insert(validator.public) {
            return Err(LockError::DuplicateValidator { validator: at });
        }
        let mut shares_seen = BTreeSet::new();
        for (operator, share) in (0..).map(OperatorIndex).zip(shares) {
            if !shares_seen.insert(*share) {
                return Err(LockError::DuplicateShare { validator: at, operator });
            }
        }
    }
    Ok(())
}

fn check_node_signatures(lock: &ClusterLock, enrs: &[Enr]) -> Result<(), LockError> {
    let (signatures, operators) = (lock.node_signatures.len(), enrs.len());
    if signatures != operators {
        return Err(LockError::NodeSignatureCount { signatures, operators });
    }
    for ((operator, enr), signature) in (0..).map(OperatorIndex).zip(enrs).zip(&lock.node_signatures) {
        let signer = k1::recover(&lock.lock_hash.0, signature).map(|key| k1::compressed(&key));
        if signer != Some(enr.public()) {
            return Err(LockError::NodeSignature { operator });
        }
    }
    Ok(())
}

fn check_aggregate(lock: &ClusterLock) -> Result<(), LockError> {
    let bytes = &lock.signature_aggregate;
    let aggregate = Signature::from_slice(bytes).ok_or(LockError::AggregateLength { len: bytes.len() })?;
    let shares: Vec<_> = lock.validators.iter().flat_map(|validator| validator.shares.iter().copied()).collect();
    fast_aggregate_verify(&shares, &lock.lock_hash.0, &aggregate).map_err(LockError::Aggregate)
}
