//! The vault with a simulated TPM, a real state folder and a clock in the test's hand.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use holdfast_bls::{ShareSecret, verify_partial};
use holdfast_eth::AttestationData;
use holdfast_hal::tpm::PcrIndex;
use holdfast_hal_sim::{Fault, Operation, SimTpm};
use holdfast_types::{Epoch, LockHash, Root, ShareIndex, SharePublic, Slot, ValidatorPublic};
use holdfast_vault_client::{AttestationRefusal, IdentityKey};
use zeroize::Zeroizing;

use super::*;
use crate::testing::{attestation, chain};

const VALIDATORS: [ValidatorPublic; 3] = [ValidatorPublic([1; 48]), ValidatorPublic([2; 48]), ValidatorPublic([3; 48])];

/// A share of a validator that is easy to know again on a disk.
fn secret(of: usize) -> [u8; 32] {
    [0x20 + u8::try_from(of).unwrap(); 32]
}

fn public(of: usize) -> SharePublic {
    ShareSecret::from_bytes(&secret(of)).unwrap().public()
}

fn import() -> Import {
    let share = |of: usize| Share { validator: VALIDATORS[of], secret: Zeroizing::new(secret(of)) };
    Import {
        lock_hash: LockHash([5; 32]),
        chain: chain(),
        identity: IdentityKey([0x66; 32]),
        share_index: ShareIndex(2),
        shares: (0..VALIDATORS.len()).map(share).collect(),
    }
}

/// A machine: a TPM, a disk, a clock.
struct Machine {
    place: tempfile::TempDir,
    tpm: SimTpm,
    now: Rc<Cell<Millis>>,
}

impl Machine {
    fn new() -> Self {
        let machine =
            Self { place: tempfile::tempdir().unwrap(), tpm: SimTpm::new(1), now: Rc::new(Cell::new(Millis(0))) };
        machine.set_slot(100);
        machine
    }

    fn set_slot(&self, slot: u64) {
        self.now.set(chain().slot_start(Slot(slot)));
    }

    fn start(&self) -> Vault {
        self.start_with(self.place.path(), &self.tpm)
    }

    fn start_with(&self, disk: &Path, tpm: &SimTpm) -> Vault {
        let now = self.now.clone();
        let state = StateFolder::open(disk).unwrap();
        Vault::open(state, Box::new(tpm.clone()), Box::new(move || now.get())).unwrap()
    }

    fn with_shares() -> (Self, Vault) {
        let machine = Self::new();
        let mut vault = machine.start();
        vault.import(&import()).unwrap();
        (machine, vault)
    }
}

fn to_sign(of: usize, data: AttestationData) -> AttestationToSign {
    AttestationToSign { validator: VALIDATORS[of], data }
}

fn sign(vault: &mut Vault, batch: &[AttestationToSign]) -> Vec<Result<PartialSignature, SigningRefused>> {
    match vault.answer(Request::SignAttestations(batch.to_vec())) {
        Response::Attestations(answers) => answers,
        other => panic!("{other:?}"),
    }
}

fn sign_one(vault: &mut Vault, of: usize, data: AttestationData) -> Result<PartialSignature, SigningRefused> {
    sign(vault, &[to_sign(of, data)]).remove(0)
}

fn signs_nothing(vault: &mut Vault) -> String {
    match vault.answer(Request::SignAttestations(vec![to_sign(0, attestation(100, 2))])) {
        Response::Rejected(Rejection::Closed(reason)) => {
            assert_eq!(vault.status().closed.as_ref(), Some(&reason));
            reason
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_vault_says_so_and_signs_nothing() {
    let mut vault = Machine::new().start();
    let status = vault.status();
    assert_eq!((status.lock_hash, status.share_index, status.closed), (None, None, None));
    assert!(matches!(vault.answer(Request::IdentityKey), Response::Rejected(Rejection::Empty)));
    let batch = Request::SignAttestations(vec![to_sign(0, attestation(100, 2))]);
    assert!(matches!(vault.answer(batch), Response::Rejected(Rejection::Empty)));
}

#[test]
fn shares_sign_after_the_import_and_after_a_restart() {
    let (machine, mut vault) = Machine::with_shares();
    for slot in [100, 101] {
        machine.set_slot(slot * 32);
        let data = attestation(slot * 32, slot - 1);
        let batch: Vec<_> = (0..VALIDATORS.len()).map(|of| to_sign(of, data)).collect();
        let root = attestation_signing_root(&chain(), &data);
        for (of, answer) in sign(&mut vault, &batch).into_iter().enumerate() {
            verify_partial(&public(of), root, &answer.unwrap()).unwrap();
        }
        let status = vault.status();
        assert_eq!(status.validators, VALIDATORS);
        assert_eq!((status.lock_hash, status.share_index), (Some(LockHash([5; 32])), Some(ShareIndex(2))));
        let Response::IdentityKey(identity) = vault.answer(Request::IdentityKey) else { panic!("no identity") };
        assert_eq!(identity.0, [0x66; 32]);
        drop(vault);
        vault = machine.start();
    }
}

#[test]
fn a_second_import_is_refused() {
    let (machine, mut vault) = Machine::with_shares();
    assert_eq!(vault.import(&import()), Err(Rejection::NotEmpty));
    drop(vault);
    assert_eq!(machine.start().import(&import()), Err(Rejection::NotEmpty));
}

#[test]
fn an_import_that_makes_no_sense_leaves_the_vault_empty() {
    type Spoil = fn(&mut Import);
    let spoils: [Spoil; 9] = [
        |import| import.shares.clear(),
        |import| import.shares[1].validator = VALIDATORS[0],
        |import| *import.shares[1].secret = [0; 32],
        |import| *import.shares[1].secret = [0xff; 32],
        |import| import.share_index = ShareIndex(0),
        |import| import.share_index = ShareIndex(33),
        |import| import.chain.slot_ms = 0,
        |import| import.chain.slots_per_epoch = 0,
        |import| import.chain.forks.reverse(),
    ];
    let machine = Machine::new();
    let mut vault = machine.start();
    for (number, spoil) in spoils.iter().enumerate() {
        let mut import = import();
        spoil(&mut import);
        assert!(matches!(vault.import(&import), Err(Rejection::Malformed(_))), "spoil {number}");
    }
    let mut large = import();
    large.shares = (0..1_001u32)
        .map(|number| {
            let mut validator = ValidatorPublic::default();
            validator.0[..4].copy_from_slice(&number.to_be_bytes());
            Share { validator, secret: Zeroizing::new(secret(0)) }
        })
        .collect();
    assert_eq!(vault.import(&large), Err(Rejection::TooLarge { found: 1_001, allowed: 1_000 }));
    vault.import(&import()).unwrap();
}

#[test]
fn a_power_cut_at_any_write_of_the_import_leaves_nothing_or_everything() {
    let mut complete = 0;
    for cut in 0.. {
        let machine = Machine::new();
        let mut vault = machine.start();
        vault.state.writes_left.set(Some(cut));
        let imported = vault.import(&import());
        if imported.is_err() {
            assert!(signs_nothing(&mut vault).starts_with("the import failed"));
        }
        drop(vault);
        let mut vault = machine.start();
        if vault.status().validators.is_empty() {
            assert!(imported.is_err(), "lost after a cut at write {cut}");
            vault.import(&import()).unwrap();
        } else {
            complete += 1;
        }
        assert!(sign_one(&mut vault, 2, attestation(100, 2)).is_ok(), "after a cut at write {cut}");
        if imported.is_ok() {
            break;
        }
    }
    // The last cut lies between the rename of the sealed key and the sync of its folder: both outcomes are whole.
    assert_eq!(complete, 2);
}

#[test]
fn double_surrounding_and_surrounded_votes_are_refused_whether_or_not_it_restarts() {
    for restarting in [false, true] {
        let (machine, mut vault) = Machine::with_shares();
        let first = attestation(100, 2);
        assert!(sign_one(&mut vault, 0, first).is_ok());
        let next = |vault: Vault| {
            if !restarting {
                return vault;
            }
            drop(vault);
            machine.start()
        };
        vault = next(vault);
        let mut other = first;
        other.beacon_block_root = Root([0xbb; 32]);
        let signed = Root(attestation_signing_root(&chain(), &first).0);
        let double = AttestationRefusal::DoubleVote { target: Epoch(3), signed };
        assert_eq!(sign_one(&mut vault, 0, other), Err(SigningRefused::Slashable(double)));
        vault = next(vault);
        machine.set_slot(128);
        let surround = AttestationRefusal::SourceTooLow { source_epoch: Epoch(1), highest_source: Epoch(2) };
        assert_eq!(sign_one(&mut vault, 0, attestation(128, 1)), Err(SigningRefused::Slashable(surround)));
        vault = next(vault);
        let low = AttestationRefusal::TargetTooLow { target: Epoch(2), highest_target: Epoch(3) };
        assert_eq!(sign_one(&mut vault, 0, attestation(95, 2)), Err(SigningRefused::Slashable(low)));
        vault = next(vault);
        assert!(sign_one(&mut vault, 0, first).is_ok(), "the same vote may be signed again");
        assert!(sign_one(&mut vault, 0, attestation(128, 3)).is_ok());
    }
}

#[test]
fn each_of_a_batch_is_answered_on_its_own_and_in_order() {
    let (_machine, mut vault) = Machine::with_shares();
    let data = attestation(100, 2);
    let mut double = data;
    double.index = 1;
    let unknown = AttestationToSign { validator: ValidatorPublic([9; 48]), data };
    let batch = [to_sign(2, data), unknown, to_sign(1, attestation(102, 2)), to_sign(2, double), to_sign(0, data)];
    let answers = sign(&mut vault, &batch);
    let root = attestation_signing_root(&chain(), &data);
    verify_partial(&public(2), root, answers[0].as_ref().unwrap()).unwrap();
    assert_eq!(answers[1], Err(SigningRefused::UnknownValidator(ValidatorPublic([9; 48]))));
    assert!(matches!(answers[2], Err(SigningRefused::OutOfRange { slot: 102, target: 3, .. })));
    assert!(matches!(answers[3], Err(SigningRefused::Slashable(AttestationRefusal::DoubleVote { .. }))));
    verify_partial(&public(0), root, answers[4].as_ref().unwrap()).unwrap();
}

#[test]
fn each_share_of_a_batch_signs_its_own_root() {
    let (_machine, mut vault) = Machine::with_shares();
    let votes = [0, 1, 2].map(|of| (of, AttestationData { index: u64::try_from(of).unwrap(), ..attestation(100, 2) }));
    let answers = sign(&mut vault, &votes.map(|(of, data)| to_sign(of, data)));
    for ((of, data), answer) in votes.iter().zip(answers) {
        verify_partial(&public(*of), attestation_signing_root(&chain(), data), &answer.unwrap()).unwrap();
    }
}

#[test]
fn what_is_out_of_range_leaves_no_record() {
    let (machine, mut vault) = Machine::with_shares();
    assert!(sign_one(&mut vault, 0, attestation(3_200, 2)).is_err());
    machine.set_slot(104);
    assert!(sign_one(&mut vault, 0, attestation(104, 2)).is_ok());
}

/// Another crate of one build may switch the request on in the shared client; only the vault's own feature counts.
#[cfg(not(feature = "danger_emulated_tpm"))]
#[test]
fn without_the_feature_no_request_brings_shares_in_the_clear() {
    let tag_and_zeros = |zeros| [vec![3], vec![0; zeros]].concat();
    let decoded = (0..300).find_map(|zeros| holdfast_vault_client::codec::decode_request(&tag_and_zeros(zeros)).ok());
    let mut vault = Machine::new().start();
    if let Some(import) = decoded {
        let answer = vault.answer(import);
        let Response::Rejected(Rejection::Malformed(reason)) = answer else { panic!("{answer:?}") };
        assert!(reason.contains("danger_emulated_tpm"), "{reason}");
    }
    assert!(matches!(vault.answer(Request::IdentityKey), Response::Rejected(Rejection::Empty)));
}

#[test]
fn a_batch_over_the_bound_is_refused_as_a_whole() {
    let (_machine, mut vault) = Machine::with_shares();
    let batch = Request::SignAttestations(vec![to_sign(0, attestation(100, 2)); 1_001]);
    let answer = vault.answer(batch);
    assert!(matches!(answer, Response::Rejected(Rejection::TooLarge { found: 1_001, allowed: 1_000 })), "{answer:?}");
}

#[test]
fn a_disk_in_another_machine_signs_nothing_and_names_the_tpm() {
    let (machine, vault) = Machine::with_shares();
    drop(vault);
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(machine.place.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let mut vault = machine.start_with(copy.path(), &SimTpm::new(2));
    let reason = signs_nothing(&mut vault);
    assert!(reason.contains("another machine's TPM"), "{reason}");
    assert!(matches!(vault.answer(Request::IdentityKey), Response::Rejected(Rejection::Closed(_))));
    assert!(matches!(vault.import(&import()), Err(Rejection::Closed(_))));
    assert!(vault.status().validators.is_empty());
}

#[test]
fn a_changed_register_signs_nothing_until_it_is_back() {
    let (machine, vault) = Machine::with_shares();
    drop(vault);
    machine.tpm.set_pcr(PcrIndex(7), [1; 32]);
    let mut vault = machine.start();
    assert!(signs_nothing(&mut vault).contains("a platform register changed"));
    drop(vault);
    machine.tpm.set_pcr(PcrIndex(7), [0; 32]);
    assert!(sign_one(&mut machine.start(), 0, attestation(100, 2)).is_ok());
}

#[test]
fn a_tpm_that_fails_the_import_closes_the_vault() {
    let machine = Machine::new();
    let mut vault = machine.start();
    machine.tpm.fail_next(Operation::Seal, Fault::Refused);
    assert!(matches!(vault.import(&import()), Err(Rejection::Closed(_))));
    assert!(signs_nothing(&mut vault).contains("the TPM does not seal"));
    drop(vault);
    machine.start().import(&import()).unwrap();
}

#[test]
fn any_file_missing_or_changed_signs_nothing() {
    let (machine, vault) = Machine::with_shares();
    drop(vault);
    let names: Vec<_> = fs::read_dir(machine.place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let sealed: Vec<_> = names.into_iter().filter(|name| name.to_string_lossy().ends_with(".aead")).collect();
    assert_eq!(sealed.len(), 2 + VALIDATORS.len());
    for name in sealed {
        let path = machine.place.path().join(&name);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, changed).unwrap();
        let reason = signs_nothing(&mut machine.start());
        assert!(reason.contains("was changed") && reason.contains(&*name.to_string_lossy()), "{reason}");
        fs::remove_file(&path).unwrap();
        let reason = signs_nothing(&mut machine.start());
        assert!(reason.contains("is missing"), "{reason}");
        fs::write(&path, whole).unwrap();
    }
    assert!(sign_one(&mut machine.start(), 0, attestation(100, 2)).is_ok());
}

#[test]
fn without_its_history_it_signs_nothing_but_keeps_its_identity() {
    let (machine, vault) = Machine::with_shares();
    drop(vault);
    fs::remove_file(machine.place.path().join(HISTORY_FILE)).unwrap();
    let mut vault = machine.start();
    assert!(signs_nothing(&mut vault).contains("history.sqlite is missing"));
    assert!(matches!(vault.answer(Request::IdentityKey), Response::IdentityKey(_)));
    assert_eq!(vault.status().validators, VALIDATORS);
    drop(vault);
    assert!(signs_nothing(&mut machine.start()).contains("is missing"), "a start made a new history");
}

/// SQLite's complaints quote names out of the file, which may be anything.
#[test]
fn a_damaged_history_with_a_long_complaint_can_still_be_told() {
    let machine = Machine::new();
    drop(machine.start());
    let table = "x".repeat(300_000);
    let db = rusqlite::Connection::open(machine.place.path().join(HISTORY_FILE)).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE {table} (a); INSERT INTO {table} VALUES (NULL); PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = 'CREATE TABLE {table} (a NOT NULL)' WHERE name = '{table}';"
    ))
    .unwrap();
    drop(db);
    let mut vault = machine.start();
    assert!(signs_nothing(&mut vault).contains("is damaged"));
    let status = vault.answer(Request::Status);
    assert!(holdfast_vault_client::codec::encode_response(&status).is_ok(), "the status does not fit into a frame");
}

#[test]
fn a_history_that_cannot_be_written_closes_the_vault_until_it_restarts() {
    let (machine, mut vault) = Machine::with_shares();
    let Standing::Open { history, .. } = &mut vault.standing else { panic!("not open") };
    history.break_writes();
    let reason = signs_nothing(&mut vault);
    assert!(reason.starts_with("cannot write the slashing history"), "{reason}");
    signs_nothing(&mut vault);
    assert!(matches!(vault.answer(Request::IdentityKey), Response::IdentityKey(_)));
    drop(vault);
    assert!(sign_one(&mut machine.start(), 0, attestation(100, 2)).is_ok());
}

#[test]
fn no_file_holds_a_key_in_the_clear() {
    let (machine, mut vault) = Machine::with_shares();
    assert!(sign_one(&mut vault, 0, attestation(100, 2)).is_ok());
    let holds = |key: &[u8; 32]| {
        fs::read_dir(machine.place.path()).unwrap().any(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(16).any(|window| window == &key[..16])
        })
    };
    for of in 0..VALIDATORS.len() {
        assert!(!holds(&secret(of)), "share {of}");
    }
    assert!(!holds(&[0x66; 32]), "the identity key");
    fs::write(machine.place.path().join("planted"), secret(0)).unwrap();
    assert!(holds(&secret(0)), "the search finds nothing at all");
}
