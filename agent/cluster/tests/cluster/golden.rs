//! The golden files of the reference: their hashes hold, their signatures are random.

use holdfast_cluster::{
    FileError, LockError, Networks, VerifiedDefinition, VerifiedLock, read_definition, read_lock, write_definition,
    write_lock,
};

use crate::common::{networks, shared, told};

#[test]
fn golden_locks_hash_as_stated_and_do_not_verify() {
    for name in ["golden-v1.10.0", "golden-v1.11.0", "app-test-v1.10.0"] {
        let Some(bytes) = shared(&format!("cluster-lock-{name}.json")) else { return };
        let lock = read_lock(&bytes).unwrap();
        assert_eq!(lock.definition.compute_config_hash().unwrap(), lock.definition.config_hash, "{name}");
        assert_eq!(lock.definition.compute_definition_hash().unwrap(), lock.definition.definition_hash, "{name}");
        assert_eq!(lock.compute_lock_hash().unwrap(), lock.lock_hash, "{name}");
        assert_eq!(write_lock(&lock).as_bytes(), bytes, "{name}");
        assert!(matches!(VerifiedLock::verify(lock, &networks()), Err(LockError::Definition(_))), "{name}");
    }
}

#[test]
fn golden_definitions_hash_as_stated_and_do_not_verify() {
    for name in ["golden-v1.10.0", "golden-v1.11.0"] {
        let Some(bytes) = shared(&format!("cluster-definition-{name}.json")) else { return };
        let definition = read_definition(&bytes).unwrap();
        assert_eq!(definition.compute_config_hash().unwrap(), definition.config_hash, "{name}");
        assert_eq!(definition.compute_definition_hash().unwrap(), definition.definition_hash, "{name}");
        assert_eq!(write_definition(&definition).as_bytes(), bytes, "{name}");
        assert!(VerifiedDefinition::verify(definition, &networks()).is_err(), "{name}");
    }
}

#[test]
fn the_signed_lock_of_v1_10_verifies_where_its_network_is_known() {
    let Some(bytes) = shared("cluster-lock-signed-holesky-v1.10.0.json") else { return };
    let lock = read_lock(&bytes).unwrap();
    assert_eq!(write_lock(&lock).as_bytes(), bytes);
    let unknown = VerifiedLock::verify(lock.clone(), &Networks::public()).unwrap_err();
    assert!(told(&unknown).contains("0x01017000 is of no known network: configure it"), "{}", told(&unknown));
    let lock = VerifiedLock::verify(lock, &networks()).unwrap();
    assert_eq!((lock.validators().len(), lock.network().chain_id), (5, 17_000));
}

#[test]
fn a_lock_with_an_edited_fork_version_is_refused_at_its_first_hash() {
    let Some(bytes) = shared("cluster-lock-bad-hash-v1.10.0.json") else { return };
    let error = VerifiedLock::verify(read_lock(&bytes).unwrap(), &networks()).unwrap_err();
    assert!(told(&error).contains("config_hash is 0x"), "{}", told(&error));
}

#[test]
fn older_versions_are_refused_by_name() {
    for minor in 0..10 {
        let Some(lock) = shared(&format!("cluster-lock-golden-v1.{minor}.0.json")) else { return };
        let Some(definition) = shared(&format!("cluster-definition-golden-v1.{minor}.0.json")) else { return };
        for error in [read_lock(&lock).unwrap_err(), read_definition(&definition).unwrap_err()] {
            assert!(matches!(error, FileError::Version(_)), "{error:?}");
            assert!(error.to_string().contains(&format!("version v1.{minor}.0 of the cluster files is older")));
        }
    }
}
