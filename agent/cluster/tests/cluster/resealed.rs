//! Locks that are wrong, with hashes and signatures made anew over the wrong content: the checks beyond the hashes.

use holdfast_bls::{ShareSecret, aggregate};
use holdfast_cluster::{
    CreateParams, CreatedCluster, CreatedNode, DefinitionError, LockError, Networks, VerifiedLock, create,
};
use holdfast_eth::{ClusterLock, ValidatorAddresses};
use holdfast_types::{ForkVersion, OperatorIndex};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::common::networks;

const ADDRESS: &str = "0x000000000000000000000000000000000000dEaD";

fn cluster() -> CreatedCluster {
    let network = Networks::public().find(ForkVersion([0x10, 0x00, 0x09, 0x10])).unwrap().clone();
    let addresses =
        ValidatorAddresses { fee_recipient: ADDRESS.parse().unwrap(), withdrawal: ADDRESS.parse().unwrap() };
    let params = CreateParams {
        name: "resealed".into(),
        network,
        operators: 4,
        threshold: 3,
        validators: vec![addresses; 2],
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: 60_000_000,
        compounding: false,
        timestamp: String::new(),
    };
    create(&params, &mut StdRng::seed_from_u64(1)).unwrap()
}

/// Makes hashes and signatures anew, as operators who agree on wrong content would.
fn reseal(lock: &mut ClusterLock, nodes: &[CreatedNode]) {
    lock.definition.store_hashes().unwrap();
    lock.lock_hash = lock.compute_lock_hash().unwrap();
    let shares = nodes.iter().flat_map(|node| &node.shares);
    let partials: Vec<_> = shares.map(|share| share.sign_lock_hash(lock.lock_hash)).collect();
    lock.signature_aggregate = aggregate(&partials).unwrap().0.to_vec();
    lock.node_signatures = nodes.iter().map(|node| node.key.sign_hash(&lock.lock_hash.0).to_vec()).collect();
}

/// The error for a lock that was changed, resealed, and changed again.
fn refused(
    change: impl FnOnce(&mut ClusterLock, &mut [CreatedNode]),
    after: impl FnOnce(&mut ClusterLock),
) -> LockError {
    let CreatedCluster { lock, mut nodes } = cluster();
    let mut lock = lock.lock().clone();
    change(&mut lock, &mut nodes);
    reseal(&mut lock, &nodes);
    after(&mut lock);
    VerifiedLock::verify(lock, &networks()).unwrap_err()
}

#[test]
fn a_lock_that_was_only_resealed_verifies() {
    let CreatedCluster { lock, nodes } = cluster();
    let mut resealed = lock.lock().clone();
    reseal(&mut resealed, &nodes);
    assert_eq!(VerifiedLock::verify(resealed, &networks()), Ok(lock));
}

#[test]
fn a_share_of_another_key_is_found() {
    for operator in 0..4_u8 {
        let error = refused(
            |lock, nodes| {
                let foreign = ShareSecret::from_bytes(&[3; 32]).unwrap();
                lock.validators[1].shares[usize::from(operator)] = foreign.public();
                nodes[usize::from(operator)].shares[1] = foreign;
            },
            |_| {},
        );
        let at = OperatorIndex(operator.max(2));
        assert_eq!(error, LockError::ShareMismatch { validator: 1, operator: at });
    }
}

#[test]
fn a_threshold_below_the_real_one_is_found() {
    let error = refused(|lock, _| lock.definition.threshold = 2, |_| {});
    assert_eq!(error, LockError::ShareMismatch { validator: 0, operator: OperatorIndex(1) });
    let error = refused(|lock, _| lock.definition.threshold = 1, |_| {});
    assert_eq!(error, LockError::Definition(DefinitionError::Threshold { threshold: 1, operators: 4 }));
}

#[test]
fn shares_and_validators_are_counted_and_distinct() {
    let error = refused(|lock, _| lock.validators[0].shares.truncate(3), |_| {});
    assert_eq!(error, LockError::ShareCount { validator: 0, shares: 3, operators: 4 });
    let error = refused(|lock, _| lock.validators[0].shares[3] = lock.validators[0].shares[0], |_| {});
    assert_eq!(error, LockError::DuplicateShare { validator: 0, operator: OperatorIndex(3) });
    let error = refused(|lock, _| lock.validators[1] = lock.validators[0].clone(), |_| {});
    assert_eq!(error, LockError::DuplicateValidator { validator: 1 });
    let error = refused(|lock, _| drop(lock.validators.pop()), |_| {});
    assert_eq!(error, LockError::ValidatorCount { entries: 1, stated: 2 });
}

#[test]
fn a_registration_for_something_else_is_found() {
    let is_registration = |error| matches!(error, LockError::Registration { validator: 1, .. });
    assert!(is_registration(refused(|lock, _| lock.validators[1].registration.message.gas_limit += 1, |_| {})));
    let elsewhere = "0x0000000000000000000000000000000000000001";
    let error = |lock: &mut ClusterLock| lock.definition.validators[1].fee_recipient = elsewhere.parse().unwrap();
    assert!(is_registration(refused(|lock, _| error(lock), |_| {})));
}

#[test]
fn node_signatures_are_of_their_operators() {
    let error = refused(|_, _| {}, |lock| lock.node_signatures.swap(1, 2));
    assert_eq!(error, LockError::NodeSignature { operator: OperatorIndex(1) });
    let error = refused(|_, _| {}, |lock| drop(lock.node_signatures.pop()));
    assert_eq!(error, LockError::NodeSignatureCount { signatures: 3, operators: 4 });
}

#[test]
fn the_aggregate_is_of_all_shares() {
    let error = refused(|_, nodes| drop(nodes[3].shares.pop()), |_| {});
    assert!(matches!(error, LockError::Aggregate(_)), "{error:?}");
    let error = refused(|_, _| {}, |lock| lock.signature_aggregate.clear());
    assert_eq!(error, LockError::AggregateLength { len: 0 });
}

#[test]
fn operators_have_their_own_nodes_and_valid_records() {
    let error = refused(|lock, _| lock.definition.operators[3].enr = lock.definition.operators[0].enr.clone(), |_| {});
    let (first, second) = (OperatorIndex(0), OperatorIndex(3));
    assert_eq!(error, LockError::Definition(DefinitionError::DuplicateNode { first, second }));
    let error = refused(|lock, _| lock.definition.operators[2].enr.clear(), |_| {});
    assert!(matches!(error, LockError::Definition(DefinitionError::Enr { operator: OperatorIndex(2), .. })));
}
