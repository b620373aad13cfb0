//! Locks, keystores and histories of live clusters and of clusters made here.

use std::fs;

use holdfast_cluster::{CreateParams, CreatedCluster, KeystoreCost, ValidatorAddresses, create, write_node_dirs};
use holdfast_types::Slot;
use rand_core::OsRng;
use tempfile::TempDir;

use super::*;
use crate::exit::Exit;

/// A lock, node keys and keystores that the reference made.
fn live() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/live-cluster-a")
}

fn live_lock() -> CheckedLock {
    CheckedLock::read(&live().join("cluster-lock.json"), &KnownNetworks::default()).unwrap()
}

fn read(dir: &Path, lock: &CheckedLock) -> Result<Shares, Failure> {
    Shares::read(dir, lock, &mut |_| Progress::unseen())
}

/// A cluster made here, whose keystores open at once.
pub(crate) fn made(validators: usize) -> (TempDir, CreatedCluster) {
    let network = KnownNetworks::default().named("hoodi").unwrap();
    let address = || "0x8943545177806ed17b9f23f0a21ee5948ecaa776".parse().unwrap();
    let params = CreateParams {
        name: "Four Friends".into(),
        network,
        operators: 4,
        threshold: 3,
        validators: vec![ValidatorAddresses { fee_recipient: address(), withdrawal: address() }; validators],
        deposit_amounts: Vec::new(),
        consensus_protocol: String::new(),
        target_gas_limit: 60_000_000,
        compounding: false,
        timestamp: String::new(),
    };
    let cluster = create(&params, &mut OsRng).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_node_dirs(&cluster, dir.path(), KeystoreCost::DangerInsecure, &mut OsRng).unwrap();
    (dir, cluster)
}

fn made_lock(dir: &TempDir) -> CheckedLock {
    CheckedLock::read(&dir.path().join("node0/cluster-lock.json"), &KnownNetworks::default()).unwrap()
}

#[test]
fn the_keystores_of_each_live_node_are_the_shares_of_its_operator() {
    let lock = live_lock();
    assert!(lock.told().contains("4 operators, threshold 3"), "{}", lock.told());
    for node in 0..4 {
        let dir = live().join(format!("node{node}"));
        let shares = read(&dir.join("validator_keys"), &lock).unwrap();
        assert_eq!((shares.operator, shares.index()), (OperatorIndex(node), ShareIndex(node + 1)));
        assert_eq!(shares.plain().len(), lock.lock.validators().len() * 32);
        assert!(shares.validators().is_sorted());
        let key = node_key(&dir.join("charon-enr-private-key")).unwrap();
        lock.check_identity(&Enr::make(&key), shares.operator).unwrap();
    }
}

#[test]
fn a_lock_with_one_changed_letter_does_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock.json");
    let text = fs::read_to_string(live().join("cluster-lock.json")).unwrap();
    fs::write(&path, text.replacen("\"threshold\": 3", "\"threshold\": 2", 1)).unwrap();
    let failure = CheckedLock::read(&path, &KnownNetworks::default()).unwrap_err();
    assert!(failure.told().contains("does not hold: "), "{}", failure.told());
}

#[test]
fn shares_come_in_the_order_of_their_validators() {
    let (dir, cluster) = made(3);
    let shares = read(&dir.path().join("node2/validator_keys"), &made_lock(&dir)).unwrap();
    let mut expected: Vec<_> = cluster.lock.validators().map(|one| one.public).zip(&cluster.nodes[2].shares).collect();
    expected.sort_by_key(|(validator, _)| *validator);
    assert_eq!(shares.validators(), expected.iter().map(|(validator, _)| *validator).collect::<Vec<_>>());
    let plain: Vec<u8> = expected.iter().flat_map(|(_, share)| *share.expose()).collect();
    assert_eq!(*shares.plain(), plain);
    assert_eq!(format!("{shares:?}"), "Shares(3 of operator 2)");
}

#[test]
fn keystores_that_are_not_all_of_one_operator_are_refused() {
    let (dir, _) = made(2);
    let lock = made_lock(&dir);
    let keys = |node: usize| dir.path().join(format!("node{node}/validator_keys"));
    let refusal = |dir: &Path| {
        let failure = read(dir, &lock).unwrap_err();
        (failure.exit(), failure.told())
    };
    let mixed = tempfile::tempdir().unwrap();
    let copy = |from: &Path, to: usize| {
        for end in ["json", "txt"] {
            let target = mixed.path().join(format!("keystore-{to}.{end}"));
            fs::copy(from.with_extension(end), target).unwrap();
        }
    };
    copy(&keys(0).join("keystore-insecure-0.json"), 0);
    let (exit, told) = refusal(mixed.path());
    assert_eq!(exit, Exit::Refused);
    assert!(told.contains("1 of the 2 validators"), "{told}");
    copy(&keys(0).join("keystore-insecure-0.json"), 1);
    assert!(refusal(mixed.path()).1.contains("there twice"));
    fs::remove_file(mixed.path().join("keystore-1.json")).unwrap();
    fs::remove_file(mixed.path().join("keystore-1.txt")).unwrap();
    copy(&keys(1).join("keystore-insecure-1.json"), 1);
    let (_, told) = refusal(mixed.path());
    assert!(told.contains("holds a share of operator 2, and the keystores before it those of operator 1"), "{told}");
    let (other, _) = made(2);
    assert!(refusal(&other.path().join("node0/validator_keys")).1.contains("none of the lock's"));
}

#[test]
fn a_keystore_that_does_not_open_is_named() {
    let (dir, _) = made(1);
    let keys = dir.path().join("node0/validator_keys");
    let password = keys.join("keystore-insecure-0.txt");
    fs::remove_file(&password).unwrap();
    fs::write(&password, "wrong").unwrap();
    let told = read(&keys, &made_lock(&dir)).unwrap_err().told();
    assert!(told.contains("keystore-insecure-0.json: the password does not open the keystore"), "{told}");
    fs::remove_file(&password).unwrap();
    assert!(matches!(read(&keys, &made_lock(&dir)), Err(Failure::Read { .. })));
    let empty = tempfile::tempdir().unwrap();
    assert!(read(empty.path(), &made_lock(&dir)).unwrap_err().told().contains("has 0 files"));
}

#[test]
fn an_identity_that_does_not_fit_is_shown_beside_those_that_would() {
    let (dir, cluster) = made(1);
    let lock = made_lock(&dir);
    let enr = |node: usize| Enr::make(&cluster.nodes[node].key);
    let told = lock.check_identity(&enr(1), OperatorIndex(0)).unwrap_err().told();
    assert!(told.contains(enr(0).text()) && told.contains(enr(1).text()), "{told}");
    let stranger = Enr::make(&NodeKey::random(&mut OsRng));
    let failure = lock.operator_of(&stranger).unwrap_err();
    assert_eq!(failure.exit(), Exit::Refused);
    assert!(failure.told().contains(stranger.text()));
    assert!((0..4).all(|node| failure.told().contains(enr(node).text())), "{}", failure.told());
}

/// A history of these validators, with an attestation at this target.
fn history_file(lock: &CheckedLock, validators: &[ValidatorPublic], target: Epoch) -> tempfile::NamedTempFile {
    let mark = |validator: &ValidatorPublic| holdfast_types::ValidatorMarks {
        validator: *validator,
        attestation: Some(holdfast_types::AttestationMark { source: Epoch(1), target, root: None }),
        block: Some(holdfast_types::BlockMark { slot: Slot(3), root: None }),
    };
    let marks = HistoryMarks {
        genesis_validators_root: lock.chain.genesis_validators_root,
        validators: validators.iter().map(mark).collect(),
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), holdfast_cluster::write_history(&marks)).unwrap();
    file
}

#[test]
fn a_history_must_be_of_every_validator_and_of_the_past() {
    let (dir, cluster) = made(2);
    let lock = made_lock(&dir);
    let now = Millis(lock.chain.slot_start(lock.chain.first_slot(Epoch(100))).0);
    let keys: Vec<_> = cluster.lock.validators().map(|validator| validator.public).collect();
    let stranger = ValidatorPublic([3; 48]);
    let all = history_file(&lock, &[keys[0], keys[1], stranger], Epoch(99));
    let known = history(all.path(), &lock, now).unwrap();
    assert_eq!((known.marks.validators.len(), known.others), (2, 1));
    let some = history_file(&lock, &keys[..1], Epoch(99));
    let failure = history(some.path(), &lock, now).unwrap_err();
    assert_eq!(failure.exit(), Exit::Refused);
    assert!(failure.told().contains("says nothing of 1 of the 2 validators"), "{failure}");
    let later = history_file(&lock, &keys, Epoch(102));
    assert!(history(later.path(), &lock, now).unwrap_err().told().contains("check the clocks"));
}
