//! A cluster made here verifies, its shares make the validator keys, and its folders read back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use holdfast_bls::combine;
use holdfast_cluster::{
    CreateError, CreateParams, CreatedCluster, KeystoreCost, Network, Networks, NodeDirError, NodeKey, VerifiedLock,
    create, default_threshold, read_keystores, read_lock, write_lock, write_node_dirs,
};
use holdfast_eth::{GWEI_PER_ETH, ValidatorAddresses};
use holdfast_types::{ForkVersion, ShareIndex, SigningRoot};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn local() -> Network {
    Network {
        name: "holdfast-local".into(),
        chain_id: 32_382,
        genesis_fork_version: ForkVersion([0x10, 0, 0, 0x38]),
        genesis_time_s: 1_700_000_000,
    }
}

fn params(validators: usize) -> CreateParams {
    let address: &str = "0x000000000000000000000000000000000000dEaD";
    let addresses =
        ValidatorAddresses { fee_recipient: address.parse().unwrap(), withdrawal: address.parse().unwrap() };
    CreateParams {
        name: "made <here> & now".into(),
        network: local(),
        operators: 4,
        threshold: default_threshold(4),
        validators: vec![addresses; validators],
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: 60_000_000,
        compounding: false,
        timestamp: "2026-11-24T12:00:00Z".into(),
    }
}

fn created(params: &CreateParams, seed: u64) -> CreatedCluster {
    create(params, &mut StdRng::seed_from_u64(seed)).unwrap()
}

#[test]
fn a_created_lock_verifies_after_a_round_trip_through_its_file() {
    let cluster = created(&params(2), 1);
    let text = write_lock(cluster.lock.lock());
    assert!(text.contains("made \\u003chere\\u003e \\u0026 now"));
    let lock = read_lock(text.as_bytes()).unwrap();
    let verified = VerifiedLock::verify(lock.clone(), &Networks::with_custom(local())).unwrap();
    assert_eq!(verified, cluster.lock);
    assert!(VerifiedLock::verify(lock, &Networks::public()).is_err());
    assert_eq!(verified.lock().validators[0].registration.message.timestamp_s, 1_700_000_000);
    assert_eq!(verified.lock().definition.uuid.as_bytes()[14], b'4');
}

#[test]
fn any_threshold_of_shares_signs_for_the_validator_and_fewer_do_not() {
    let cluster = created(&params(2), 2);
    let root = SigningRoot([9; 32]);
    for (at, validator) in cluster.lock.validators().enumerate() {
        let partials: Vec<_> = (1..)
            .map(ShareIndex)
            .zip(&cluster.nodes)
            .map(|(index, node)| (index, node.shares[at].sign(root)))
            .collect();
        for left_out in 0..4 {
            let mut some = partials.clone();
            some.remove(left_out);
            combine(&some).unwrap().prove(&validator.public, root).unwrap();
            some.pop();
            assert!(combine(&some).unwrap().prove(&validator.public, root).is_err());
        }
    }
}

#[test]
fn amounts_are_deposited_once_each_in_ascending_order() {
    let amounts = |params: &CreateParams| -> Vec<u64> {
        let cluster = created(params, 3);
        let validator = &cluster.lock.lock().validators[0];
        validator.deposits.iter().map(|deposit| deposit.message.amount_gwei / GWEI_PER_ETH).collect()
    };
    assert_eq!(amounts(&params(1)), [1, 32]);
    assert_eq!(amounts(&CreateParams { compounding: true, ..params(1) }), [1, 8, 32, 256]);
    let chosen = [16, 8, 16].map(|ether| ether * GWEI_PER_ETH).to_vec();
    assert_eq!(amounts(&CreateParams { deposit_amounts: chosen, ..params(1) }), [8, 16]);
}

#[test]
fn deposits_are_signed_for_the_network() {
    let cluster = created(&params(1), 4);
    for deposit in &cluster.lock.lock().validators[0].deposits {
        let root = deposit.message.signing_root(local().genesis_fork_version);
        holdfast_bls::verify_group(&deposit.message.pubkey, root, &deposit.signature).unwrap();
        let elsewhere = deposit.message.signing_root(ForkVersion([0; 4]));
        assert!(holdfast_bls::verify_group(&deposit.message.pubkey, elsewhere, &deposit.signature).is_err());
    }
}

#[test]
fn the_same_randomness_makes_the_same_cluster_and_other_randomness_another() {
    assert_eq!(created(&params(1), 5).lock, created(&params(1), 5).lock);
    assert_ne!(created(&params(1), 5).lock.lock_hash(), created(&params(1), 6).lock.lock_hash());
}

#[test]
fn parameters_that_break_a_rule_are_refused() {
    let refused = |params: CreateParams| create(&params, &mut StdRng::seed_from_u64(7)).unwrap_err();
    assert!(matches!(refused(CreateParams { operators: 2, ..params(1) }), CreateError::Operators { .. }));
    assert!(matches!(refused(CreateParams { operators: 33, ..params(1) }), CreateError::Operators { .. }));
    assert!(matches!(refused(CreateParams { threshold: 1, ..params(1) }), CreateError::Threshold { .. }));
    assert!(matches!(refused(CreateParams { threshold: 5, ..params(1) }), CreateError::Threshold { .. }));
    assert!(matches!(refused(params(0)), CreateError::NoValidators));
    assert!(matches!(refused(CreateParams { target_gas_limit: 0, ..params(1) }), CreateError::GasLimit));
    assert!(matches!(refused(CreateParams { deposit_amounts: vec![1], ..params(1) }), CreateError::Amounts(_)));
    assert!(matches!(refused(CreateParams { name: "n".repeat(257), ..params(1) }), CreateError::Hash(_)));
    let nowhere = vec![ValidatorAddresses::default()];
    assert!(matches!(
        refused(CreateParams { validators: nowhere, ..params(1) }),
        CreateError::NoAddress { validator: 0 }
    ));
    assert_eq!([3, 4, 5, 6, 7, 10].map(default_threshold), [2, 3, 4, 4, 5, 7]);
}

#[test]
fn folders_hold_each_node_and_are_never_overwritten() {
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(8));
    let cluster = created(&params(2), 8);
    write_node_dirs(&cluster, dir.path(), KeystoreCost::DangerInsecure, &mut rng).unwrap();
    for (at, node) in cluster.nodes.iter().enumerate() {
        let home = dir.path().join(format!("node{at}"));
        assert_eq!(read_lock(&fs::read(home.join("cluster-lock.json")).unwrap()).unwrap(), *cluster.lock.lock());
        assert_eq!(*NodeKey::read(&home.join("charon-enr-private-key")).unwrap().text(), *node.key.text());
        let shares = read_keystores(&home.join("validator_keys")).unwrap();
        assert_eq!(shares.len(), 2);
        for (read, made) in shares.iter().zip(&node.shares) {
            assert_eq!(read.public(), made.public());
        }
        let mode = |name: &str| fs::metadata(home.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("charon-enr-private-key"), mode("validator_keys/keystore-insecure-1.txt")), (0o600, 0o400));
        assert!(home.join("deposit-data.json").exists() && home.join("deposit-data-1eth.json").exists());
    }
    let again = write_node_dirs(&cluster, dir.path(), KeystoreCost::DangerInsecure, &mut rng);
    assert!(matches!(again, Err(NodeDirError::Write { path, .. }) if path.ends_with("node0/cluster-lock.json")));
    fs::remove_file(dir.path().join("node0/validator_keys/keystore-insecure-0.json")).unwrap();
    let gap = read_keystores(&dir.path().join("node0/validator_keys"));
    assert!(matches!(gap, Err(NodeDirError::Missing { number: 0, .. })));
}

#[test]
fn insecure_keystores_are_refused_where_keys_guard_money() {
    let network = Networks::public().find(ForkVersion([0; 4])).unwrap().clone();
    let cluster = created(&CreateParams { network, ..params(1) }, 9);
    let dir = tempfile::tempdir().unwrap();
    let refused =
        write_node_dirs(&cluster, dir.path(), KeystoreCost::DangerInsecure, &mut StdRng::seed_from_u64(9)).unwrap_err();
    assert_eq!(refused.to_string(), "insecure keystores are refused on mainnet: use the standard cost");
}
