//! A whole cluster made on one machine, with all keys in it (`cluster-files.md` section 4.2): for tests and trials.
//!
//! The keys of a cluster that guards money are made by a ceremony, so that no machine ever holds one whole.

use holdfast_bls::{AggregateError, ShareSecret, SplitError, ValidatorSecret, aggregate};
use holdfast_eth::{
    BuilderRegistration, ClusterDefinition, ClusterLock, Creator, DefinitionVersion, DepositData, DepositMessage,
    DistributedValidator, GWEI_PER_ETH, HashError, Operator, SignedRegistration, ValidatorAddresses,
    withdrawal_credentials,
};
use holdfast_types::{LockHash, OPERATORS_MAX, PartialSignature, Root};
use rand_core::{CryptoRng, RngCore};

use crate::enr::Enr;
use crate::identity::NodeKey;
use crate::json::{AmountsError, check_amounts};
use crate::keystore::dashed;
use crate::lock::{LockError, VerifiedLock};
use crate::network::{Network, Networks};

/// What to make.
#[derive(Clone, Debug)]
pub struct CreateParams {
    /// The cluster's name for humans.
    pub name: String,
    /// The network; its genesis fork version and time go into what is signed.
    pub network: Network,
    /// How many operators, from 3 on.
    pub operators: u8,
    /// How many shares make a group signature; [`default_threshold`] is what suits.
    pub threshold: u8,
    /// The addresses of each validator; there are as many validators as entries.
    pub validators: Vec<ValidatorAddresses>,
    /// The deposits of each validator in Gwei; empty for the usual ones.
    pub deposit_amounts: Vec<u64>,
    /// The preferred consensus protocol; may be empty.
    pub consensus_protocol: String,
    /// The gas limit for builder registrations; 60 million is usual, 0 is refused.
    pub target_gas_limit: u64,
    /// Whether the validators compound.
    pub compounding: bool,
    /// The time of making, RFC 3339; may be empty.
    pub timestamp: String,
}

/// A cluster and all its secrets.
#[derive(Debug)]
pub struct CreatedCluster {
    /// The lock, checked like a foreign one.
    pub lock: VerifiedLock,
    /// The nodes in the order of the operators.
    pub nodes: Vec<CreatedNode>,
}

/// The secrets of one node.
#[derive(Debug)]
pub struct CreatedNode {
    /// The node key.
    pub key: NodeKey,
    /// The node's share of each validator, in the order of the lock.
    pub shares: Vec<ShareSecret>,
}

/// Why a cluster cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The shares' signatures have no sum.
    #[error("cannot add up the signatures of the lock hash")]
    Aggregate(#[source] AggregateError),
    /// A deposit amount breaks a rule.
    #[error("the deposit amounts cannot be used")]
    Amounts(#[source] AmountsError),
    /// The gas limit is 0.
    #[error("the gas limit is 0: give one, 60000000 is usual")]
    GasLimit,
    /// Something does not fit into the file.
    #[error("the cluster does not fit into its file")]
    Hash(#[source] HashError),
    /// A validator lacks an address.
    #[error("validator {validator} lacks its fee recipient or withdrawal address")]
    NoAddress {
        /// The position of the validator.
        validator: usize,
    },
    /// No validators.
    #[error("a cluster has at least one validator: give the addresses of each")]
    NoValidators,
    /// Too few or too many operators.
    #[error("{operators} operators: a cluster has between 3 and {OPERATORS_MAX}")]
    Operators {
        /// How many were asked for.
        operators: u8,
    },
    /// A key cannot be split.
    #[error("cannot split a validator key")]
    Split(#[source] SplitError),
    /// The threshold does not fit.
    #[error("threshold {threshold}: it is at least 2 and at most the {operators} operators")]
    Threshold {
        /// What was asked for.
        threshold: u8,
        /// How many operators there are.
        operators: u8,
    },
    /// The result does not pass the check that it will meet everywhere.
    #[error("the cluster that was made does not verify")]
    Verify(#[source] LockError),
}

/// The threshold that suits this many operators: two thirds, rounded up.
#[must_use]
pub const fn default_threshold(operators: u8) -> u8 {
    (operators as u16 * 2).div_ceil(3) as u8
}

/// Makes a cluster: node keys, validator keys and their shares, deposits, registrations, and the lock.
///
/// # Errors
///
/// When the parameters break a rule.
pub fn create(params: &CreateParams, rng: &mut (impl RngCore + CryptoRng)) -> Result<CreatedCluster, CreateError> {
    check(params)?;
    let keys: Vec<NodeKey> = (0..params.operators).map(|_| NodeKey::random(rng)).collect();
    let definition = define(params, &keys, rng)?;
    let mut nodes: Vec<_> = keys.into_iter().map(|key| CreatedNode { key, shares: Vec::new() }).collect();
    let mut validators = Vec::with_capacity(params.validators.len());
    for addresses in &params.validators {
        let secret = ValidatorSecret::random(rng);
        let shares = secret.split(params.threshold, params.operators, rng).map_err(CreateError::Split)?;
        validators.push(DistributedValidator {
            public: secret.public(),
            shares: shares.iter().map(|(_, share)| share.public()).collect(),
            registration: register(params, addresses, &secret),
            deposits: deposit(params, addresses, &secret),
        });
        nodes.iter_mut().zip(shares).for_each(|(node, (_, share))| node.shares.push(share));
    }
    let lock = seal(definition, validators, &nodes)?;
    let networks = Networks::with_custom(params.network.clone());
    let lock = VerifiedLock::verify(lock, &networks).map_err(CreateError::Verify)?;
    Ok(CreatedCluster { lock, nodes })
}

fn check(params: &CreateParams) -> Result<(), CreateError> {
    let (operators, threshold) = (params.operators, params.threshold);
    if operators < 3 || usize::from(operators) > OPERATORS_MAX {
        return Err(CreateError::Operators { operators });
    }
    if !(2..=operators).contains(&threshold) {
        return Err(CreateError::Threshold { threshold, operators });
    }
    if params.validators.is_empty() {
        return Err(CreateError::NoValidators);
    }
    if params.target_gas_limit == 0 {
        return Err(CreateError::GasLimit);
    }
    let lacks = |one: &ValidatorAddresses| one.fee_recipient.is_empty() || one.withdrawal.is_empty();
    if let Some(validator) = params.validators.iter().position(lacks) {
        return Err(CreateError::NoAddress { validator });
    }
    check_amounts(&params.deposit_amounts, params.compounding).map_err(CreateError::Amounts)
}

fn define(
    params: &CreateParams,
    keys: &[NodeKey],
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<ClusterDefinition, CreateError> {
    let mut uuid = [0; 16];
    rng.fill_bytes(&mut uuid);
    // Version 4, variant 1 (RFC 9562).
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let operator = |key| Operator { enr: Enr::make(key).text().to_owned(), ..Operator::default() };
    let amounts = &params.deposit_amounts;
    let mut definition = ClusterDefinition {
        name: params.name.clone(),
        creator: Creator::default(),
        operators: keys.iter().map(operator).collect(),
        uuid: dashed(&uuid),
        version: DefinitionVersion::V1_11,
        timestamp: params.timestamp.clone(),
        num_validators: params.validators.len() as u64,
        threshold: u64::from(params.threshold),
        validators: params.validators.clone(),
        dkg_algorithm: "default".into(),
        fork_version: params.network.genesis_fork_version,
        deposit_amounts: (!amounts.is_empty()).then(|| amounts.clone()),
        consensus_protocol: params.consensus_protocol.clone(),
        target_gas_limit: params.target_gas_limit,
        compounding: params.compounding,
        config_hash: Root::default(),
        definition_hash: Root::default(),
    };
    definition.store_hashes().map_err(CreateError::Hash)?;
    Ok(definition)
}

fn register(params: &CreateParams, addresses: &ValidatorAddresses, secret: &ValidatorSecret) -> SignedRegistration {
    let message = BuilderRegistration {
        fee_recipient: addresses.fee_recipient.bytes().expect("the parameters were checked for addresses"),
        gas_limit: params.target_gas_limit,
        timestamp_s: params.network.genesis_time_s,
        pubkey: secret.public(),
    };
    SignedRegistration { message, signature: secret.sign(message.signing_root(params.network.genesis_fork_version)) }
}

/// One deposit for each distinct amount, ascending.
fn deposit(params: &CreateParams, addresses: &ValidatorAddresses, secret: &ValidatorSecret) -> Vec<DepositData> {
    let usual: &[u64] = if params.compounding { &[1, 8, 32, 256] } else { &[1, 32] };
    let mut amounts = params.deposit_amounts.clone();
    if amounts.is_empty() {
        amounts = usual.iter().map(|ether| ether * GWEI_PER_ETH).collect();
    }
    amounts.sort_unstable();
    amounts.dedup();
    let address = addresses.withdrawal.bytes().expect("the parameters were checked for addresses");
    let withdrawal_credentials = withdrawal_credentials(address, params.compounding);
    let signed = |amount_gwei| {
        let message = DepositMessage { pubkey: secret.public(), withdrawal_credentials, amount_gwei };
        DepositData { message, signature: secret.sign(message.signing_root(params.network.genesis_fork_version)) }
    };
    amounts.into_iter().map(signed).collect()
}

/// Hashes the lock and lets every share and every node sign the hash.
fn seal(
    definition: ClusterDefinition,
    validators: Vec<DistributedValidator>,
    nodes: &[CreatedNode],
) -> Result<ClusterLock, CreateError> {
    let mut lock = ClusterLock {
        definition,
        validators,
        signature_aggregate: Vec::new(),
        lock_hash: LockHash::default(),
        node_signatures: Vec::new(),
    };
    lock.lock_hash = lock.compute_lock_hash().map_err(CreateError::Hash)?;
    let shares = nodes.iter().flat_map(|node| &node.shares);
    let partials: Vec<PartialSignature> = shares.map(|share| share.sign_lock_hash(lock.lock_hash)).collect();
    lock.signature_aggregate = aggregate(&partials).map_err(CreateError::Aggregate)?.0.to_vec();
    lock.node_signatures = nodes.iter().map(|node| node.key.sign_hash(&lock.lock_hash.0).to_vec()).collect();
    Ok(lock)
}
