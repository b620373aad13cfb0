//! What the vault's tests rely on.

use holdfast_evidence::{Approval, Credential, SigningKey, areas, policy, verify};
use holdfast_hal::tpm::{PolicyStep, SEAL_LEN_MAX};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest, Sha256};

use super::*;

const COUNTER: NvIndex = NvIndex(0x0180_4801);
const OTHER_COUNTER: NvIndex = NvIndex(0x0180_4802);
const REGISTERS: [PcrIndex; 3] = [PcrIndex(11), PcrIndex(12), PcrIndex(13)];
const MEASURED: [u8; 32] = [0x11; 32];
const SECRET: [u8; 48] = [0xa5; 48];

/// A TPM with a measured image and a counter at 5, the policy that it meets, and a secret sealed to it.
struct Sealed {
    tpm: SimTpm,
    policy: UnsealPolicy,
    blob: SealedBlob,
}

impl Sealed {
    fn new() -> Self {
        let mut tpm = SimTpm::new(1);
        tpm.set_pcr(PcrIndex(11), MEASURED);
        tpm.set_counter(COUNTER, 5);
        tpm.set_counter(OTHER_COUNTER, 5);
        let approval = Approval::of_image(&key(1), "board", 3, MEASURED);
        let policy = UnsealPolicy {
            pcrs: REGISTERS.to_vec(),
            approved: approval.policy,
            policy_ref: approval.policy_ref.into_bytes(),
            signer: key(1).public(),
            signature: approval.signature,
            counter: COUNTER,
            counter_value: 5,
        };
        let authorized = policy::authorized(&policy.signer, &policy.policy_ref).unwrap();
        let name = tpm.counter_read(COUNTER).unwrap().name;
        let blob = tpm.seal(&SECRET, &policy::counter_equals(&authorized, &name.0, 5)).unwrap();
        Self { tpm, policy, blob }
    }

    fn unseal(&mut self) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        self.tpm.unseal(&self.blob, &self.policy)
    }

    #[track_caller]
    fn opens(&mut self) {
        assert_eq!(self.unseal().unwrap().as_slice(), SECRET);
    }

    #[track_caller]
    fn fails(&mut self, at: PolicyStep) {
        let refused = self.unseal();
        assert!(matches!(refused, Err(TpmError::PolicyFailed { step }) if step == at), "{refused:?}");
    }

    /// Signs anew what the policy says now.
    fn approve(&mut self, signer: &SigningKey) {
        self.policy.signer = signer.public();
        self.policy.signature = signer.sign(&[&self.policy.approved.0, self.policy.policy_ref.as_slice()].concat());
    }
}

fn key(secret: u8) -> SigningKey {
    SigningKey::from_bytes(&[secret; 32]).unwrap()
}

#[test]
fn a_met_policy_opens_again_and_again_and_the_secret_is_not_in_the_clear() {
    let mut sealed = Sealed::new();
    sealed.opens();
    sealed.opens();
    assert!(!sealed.blob.private.windows(8).any(|window| window == &SECRET[..8]));
    sealed.tpm.set_pcr(PcrIndex(4), [1; 32]);
    sealed.opens();
}

#[test]
fn the_same_secret_is_never_sealed_to_the_same_bytes() {
    let mut sealed = Sealed::new();
    let policy = PolicyDigest([1; 32]);
    assert_ne!(sealed.tpm.seal(&SECRET, &policy).unwrap(), sealed.tpm.seal(&SECRET, &policy).unwrap());
}

#[test]
fn another_tpm_refuses_even_under_a_forged_label() {
    let mut sealed = Sealed::new();
    sealed.tpm = SimTpm::new(2);
    assert!(matches!(sealed.unseal(), Err(TpmError::OtherTpm { .. })));
    sealed.blob.storage_root = sealed.tpm.storage_root_name().unwrap();
    assert!(matches!(sealed.unseal(), Err(TpmError::OtherTpm { .. })));
}

#[test]
fn every_changed_byte_of_a_blob_is_refused_so_its_policy_cannot_be_swapped() {
    let mut sealed = Sealed::new();
    for at in 0..sealed.blob.public.len() {
        sealed.blob.public[at] ^= 1;
        assert!(matches!(sealed.unseal(), Err(TpmError::OtherTpm { .. })), "public byte {at}");
        sealed.blob.public[at] ^= 1;
    }
    for at in 0..sealed.blob.private.len() {
        sealed.blob.private[at] ^= 1;
        assert!(matches!(sealed.unseal(), Err(TpmError::OtherTpm { .. })), "private byte {at}");
        sealed.blob.private[at] ^= 1;
    }
    sealed.blob.private.truncate(31);
    assert!(matches!(sealed.unseal(), Err(TpmError::OtherTpm { .. })));
}

#[test]
fn registers_that_were_not_approved_fail_until_they_are_back() {
    let mut sealed = Sealed::new();
    sealed.opens();
    sealed.tpm.set_pcr(PcrIndex(12), [1; 32]);
    sealed.fails(PolicyStep::Registers);
    sealed.tpm.set_pcr(PcrIndex(12), [0; 32]);
    sealed.opens();
    sealed.policy.pcrs.pop();
    sealed.fails(PolicyStep::Registers);
}

#[test]
fn a_signature_of_somebody_else_or_over_something_else_is_no_approval() {
    let mut sealed = Sealed::new();
    sealed.opens();
    let good = sealed.policy.signature;
    sealed.policy.signature.0[63] ^= 1;
    sealed.fails(PolicyStep::Approval);
    sealed.policy.signature = good;
    sealed.policy.policy_ref.push(b'0');
    sealed.fails(PolicyStep::Approval);
    sealed.policy.policy_ref.pop();
    sealed.policy.signer = key(2).public();
    sealed.fails(PolicyStep::Approval);
    sealed.policy.signer = P256Public([0xff; 33]);
    sealed.fails(PolicyStep::Approval);
}

#[test]
fn another_value_of_the_counter_fails_whoever_names_it() {
    let mut sealed = Sealed::new();
    sealed.tpm.counter_increment(COUNTER).unwrap();
    sealed.fails(PolicyStep::Counter);
    sealed.policy.counter_value = 6;
    sealed.fails(PolicyStep::Digest);
    sealed.tpm.remove_index(COUNTER);
    assert!(matches!(sealed.unseal(), Err(TpmError::CounterMissing(COUNTER))));
    sealed.tpm.place_ordinary_index(COUNTER);
    assert!(matches!(sealed.unseal(), Err(TpmError::NotACounter(COUNTER))));
}

#[test]
fn steps_that_are_met_but_not_those_of_the_blob_fail() {
    let mut sealed = Sealed::new();
    sealed.policy.counter = OTHER_COUNTER;
    sealed.fails(PolicyStep::Digest);
    sealed.policy.counter = COUNTER;
    sealed.approve(&key(2));
    sealed.fails(PolicyStep::Digest);
    sealed.policy.policy_ref = b"os/board/4".to_vec();
    sealed.approve(&key(1));
    sealed.fails(PolicyStep::Digest);
    sealed.policy.policy_ref = b"os/board/3".to_vec();
    sealed.approve(&key(1));
    sealed.opens();
    sealed.tpm.place_foreign_counter(COUNTER, 5);
    sealed.fails(PolicyStep::Digest);
}

#[test]
fn another_image_opens_under_an_approval_of_its_own() {
    let mut sealed = Sealed::new();
    sealed.tpm.set_pcr(PcrIndex(11), [0x22; 32]);
    sealed.fails(PolicyStep::Registers);
    let approval = Approval::of_image(&key(1), "board", 3, [0x22; 32]);
    sealed.policy.approved = approval.policy;
    sealed.policy.signature = approval.signature;
    sealed.opens();
}

#[test]
fn a_counter_counts_and_what_is_no_counter_is_named() {
    let mut tpm = SimTpm::new(1);
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    let defined = tpm.counter_define(COUNTER).unwrap();
    assert_eq!((defined.created, defined.reading.value), (true, 1));
    tpm.counter_increment(COUNTER).unwrap();
    let again = tpm.counter_define(COUNTER).unwrap();
    assert_eq!((again.created, again.reading.value), (false, 2));
    assert_eq!(tpm.counter_read(COUNTER).unwrap(), again.reading);
    tpm.place_ordinary_index(COUNTER);
    assert!(matches!(tpm.counter_define(COUNTER), Err(TpmError::NotACounter(COUNTER))));
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::NotACounter(COUNTER))));
    tpm.remove_index(COUNTER);
    assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
}

#[test]
fn a_new_counter_starts_above_every_deleted_one_under_the_same_name() {
    let mut tpm = SimTpm::new(1);
    let name = tpm.counter_define(COUNTER).unwrap().reading.name;
    tpm.set_counter(COUNTER, 40);
    tpm.set_counter(OTHER_COUNTER, 30);
    tpm.remove_index(COUNTER);
    tpm.remove_index(OTHER_COUNTER);
    let defined = tpm.counter_define(COUNTER).unwrap();
    assert_eq!((defined.created, defined.reading.value, defined.reading.name), (true, 41, name));
    tpm.clear();
    assert_eq!(tpm.counter_define(OTHER_COUNTER).unwrap().reading.value, 42);
}

#[test]
fn the_name_of_a_counter_tells_its_place_and_its_kind() {
    let mut tpm = SimTpm::new(1);
    let ours = tpm.counter_define(COUNTER).unwrap().reading;
    assert_ne!(tpm.counter_define(OTHER_COUNTER).unwrap().reading.name, ours.name);
    assert_eq!(SimTpm::new(2).counter_define(COUNTER).unwrap().reading.name, ours.name);
    tpm.place_foreign_counter(COUNTER, ours.value);
    assert_ne!(tpm.counter_read(COUNTER).unwrap().name, ours.name);
    assert!(matches!(tpm.counter_define(COUNTER), Err(TpmError::NotACounter(COUNTER))));
}

#[test]
fn faults_are_played_once_and_each_in_its_way() {
    let mut tpm = SimTpm::new(1);
    tpm.set_counter(COUNTER, 7);
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::Lied] {
        tpm.fail_next(Operation::CounterIncrement, fault);
    }
    assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::Refused { .. })));
    assert_eq!(tpm.counter_read(COUNTER).unwrap().value, 7);
    assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::Refused { .. })));
    assert_eq!(tpm.counter_read(COUNTER).unwrap().value, 8);
    tpm.counter_increment(COUNTER).unwrap();
    assert_eq!(tpm.counter_read(COUNTER).unwrap().value, 8);
    tpm.counter_increment(COUNTER).unwrap();
    assert_eq!(tpm.counter_read(COUNTER).unwrap().value, 9);
}

#[test]
fn every_operation_can_be_refused_and_only_that_one_is() {
    let mut sealed = Sealed::new();
    let (blob, policy) = (sealed.blob.clone(), sealed.policy.clone());
    let tpm = &mut sealed.tpm;
    type Call<'a> = Box<dyn Fn(&mut SimTpm) -> Result<(), TpmError> + 'a>;
    let name = tpm.attestation_key_name().unwrap().0;
    let key = tpm.endorsement_key().unwrap().public;
    let credential = Credential::make(&key, &name, &[7; 32], &mut StdRng::seed_from_u64(1)).unwrap();
    let activate = |tpm: &mut SimTpm| tpm.activate_credential(&credential.id_object, &credential.secret).map(drop);
    let calls: [(Operation, Call<'_>); 16] = [
        (Operation::ActivateCredential, Box::new(activate)),
        (Operation::CertifyCounter, Box::new(|tpm| tpm.certify_counter(COUNTER, &[0; 32]).map(drop))),
        (Operation::EndorsementKey, Box::new(|tpm| tpm.endorsement_key().map(drop))),
        (Operation::AttestationKeyName, Box::new(|tpm| tpm.attestation_key_name().map(drop))),
        (Operation::BoxKey, Box::new(|tpm| tpm.box_key().map(drop))),
        (Operation::CounterDefine, Box::new(|tpm| tpm.counter_define(COUNTER).map(drop))),
        (Operation::CounterIncrement, Box::new(|tpm| tpm.counter_increment(OTHER_COUNTER))),
        (Operation::CounterRead, Box::new(|tpm| tpm.counter_read(COUNTER).map(drop))),
        (Operation::Quote, Box::new(|tpm| tpm.quote(&REGISTERS, &[0; 32]).map(drop))),
        (Operation::Random, Box::new(|tpm| tpm.random(32).map(drop))),
        (Operation::ReadPcrs, Box::new(|tpm| tpm.read_pcrs(&REGISTERS).map(drop))),
        (Operation::Resets, Box::new(|tpm| tpm.resets().map(drop))),
        (Operation::Seal, Box::new(|tpm| tpm.seal(&SECRET, &PolicyDigest([0; 32])).map(drop))),
        (Operation::SignWithBoxKey, Box::new(|tpm| tpm.sign_with_box_key(&[0; 32]).map(drop))),
        (Operation::StorageRootName, Box::new(|tpm| tpm.storage_root_name().map(drop))),
        (Operation::Unseal, Box::new(|tpm| tpm.unseal(&blob, &policy).map(drop))),
    ];
    for (failing, _) in &calls {
        tpm.fail_next(*failing, Fault::Refused);
        for (operation, call) in &calls {
            assert_eq!(call(tpm).is_err(), operation == failing, "{operation:?} while {failing:?} fails");
        }
    }
}

#[test]
fn the_attestation_key_outlives_a_clear_and_nothing_else_of_the_tpm_does() {
    let mut sealed = Sealed::new();
    let tpm = &mut sealed.tpm;
    let identity = |tpm: &mut SimTpm| (tpm.attestation_key_name().unwrap(), tpm.storage_root_name().unwrap());
    let (attestation, root) = identity(tpm);
    let box_key = tpm.box_key().unwrap();
    tpm.power_cycle();
    assert_eq!(identity(tpm), (attestation.clone(), root.clone()));
    assert_eq!(tpm.resets().unwrap(), Resets { resets: 1, restarts: 0 });
    assert_eq!(tpm.read_pcrs(&REGISTERS).unwrap(), [MEASURED, [0; 32], [0; 32]]);
    tpm.clear();
    let (same, other) = identity(tpm);
    assert_eq!(same, attestation);
    assert_ne!(other, root);
    assert_ne!(tpm.box_key().unwrap(), box_key);
    assert_eq!(tpm.resets().unwrap().resets, 0);
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    assert!(matches!(sealed.unseal(), Err(TpmError::OtherTpm { .. })));
}

#[test]
fn a_quote_binds_registers_and_qualifying_data_and_is_the_attestation_keys() {
    let mut tpm = Sealed::new().tpm;
    let quote = tpm.quote(&[PcrIndex(13), PcrIndex(11), PcrIndex(12)], &[9; 32]).unwrap();
    let name = [&[0, 0x0b], Sha256::digest(&quote.key).as_slice()].concat();
    assert_eq!(tpm.attestation_key_name().unwrap().0, name);
    let (x, y) = (&quote.key[quote.key.len() - 66..][..32], &quote.key[quote.key.len() - 32..]);
    let public = P256Public::from_slice(&[&[2 + (y[31] & 1)], x].concat()).unwrap();
    assert!(verify(&public, &quote.message, &quote.signature));
    assert!(quote.message.windows(32).any(|window| window == [9; 32]));
    assert!(quote.message.ends_with(&Sha256::digest([MEASURED, [0; 32], [0; 32]].concat())));
    assert!(tpm.quote(&[PcrIndex(24)], &[9; 32]).is_err());
}

#[test]
fn a_counter_is_certified_with_its_name_and_what_is_no_counter_is_not() {
    let mut tpm = Sealed::new().tpm;
    let Statement { message, signature } = tpm.certify_counter(COUNTER, &[9; 32]).unwrap();
    let key = tpm.quote(&REGISTERS, &[0; 32]).unwrap().key;
    assert!(verify(&areas::attestation_key(&key).unwrap(), &message, &signature));
    assert!(message.windows(32).any(|window| window == [9; 32]));
    let about = [&[0, 34][..], &tpm.counter_read(COUNTER).unwrap().name.0, &[0, 0, 0, 8], &5u64.to_be_bytes()].concat();
    assert!(message.ends_with(&about));
    tpm.remove_index(COUNTER);
    assert!(matches!(tpm.certify_counter(COUNTER, &[9; 32]), Err(TpmError::CounterMissing(COUNTER))));
    for place in [SimTpm::place_ordinary_index, |tpm: &SimTpm, index| tpm.place_foreign_counter(index, 5)] {
        place(&tpm, COUNTER);
        assert!(matches!(tpm.certify_counter(COUNTER, &[9; 32]), Err(TpmError::NotACounter(COUNTER))));
    }
}

#[test]
fn a_credential_opens_for_its_two_keys_only_and_both_outlive_a_clear() {
    let (mut tpm, mut other) = (SimTpm::new(1), SimTpm::new(2));
    let (key, name) = (tpm.endorsement_key().unwrap(), tpm.attestation_key_name().unwrap().0);
    assert_eq!(key.certificate, None);
    let made = |key: &[u8], name: &[u8]| Credential::make(key, name, &[7; 32], &mut StdRng::seed_from_u64(1)).unwrap();
    let open = |tpm: &mut SimTpm, made: &Credential| tpm.activate_credential(&made.id_object, &made.secret);
    tpm.clear();
    tpm.set_certificate(vec![1]);
    let credential = made(&key.public, &name);
    assert_eq!(open(&mut tpm, &credential).unwrap().as_slice(), [7; 32]);
    assert_eq!(tpm.endorsement_key().unwrap().certificate, Some(vec![1]));
    assert!(matches!(open(&mut other, &credential), Err(TpmError::NotOurs)));
    let for_the_other = made(&key.public, &other.attestation_key_name().unwrap().0);
    assert!(matches!(open(&mut tpm, &for_the_other), Err(TpmError::NotOurs)));
}

#[test]
fn the_box_key_signs_digests_that_verify() {
    let mut tpm = SimTpm::new(1);
    let signature = tpm.sign_with_box_key(&Sha256::digest(b"a certificate").into()).unwrap();
    assert!(verify(&tpm.box_key().unwrap(), b"a certificate", &signature));
    assert_ne!(SimTpm::new(2).box_key().unwrap(), tpm.box_key().unwrap());
}

#[test]
fn a_restored_copy_is_the_tpm_as_it_was_but_for_its_generator() {
    let mut sealed = Sealed::new();
    let copy = sealed.tpm.snapshot();
    let drawn = sealed.tpm.random(32).unwrap();
    sealed.tpm.counter_increment(COUNTER).unwrap();
    sealed.tpm.set_pcr(PcrIndex(11), [0; 32]);
    sealed.tpm.clear();
    sealed.tpm.restore(&copy);
    sealed.opens();
    assert_ne!(sealed.tpm.random(32).unwrap(), drawn);
    let attestation = sealed.tpm.attestation_key_name().unwrap();
    sealed.tpm = SimTpm::new(2);
    sealed.tpm.restore(&copy);
    sealed.opens();
    assert_eq!(sealed.tpm.attestation_key_name().unwrap(), attestation);
}

#[test]
fn equal_seeds_make_equal_tpms() {
    let all = |seed| {
        let mut tpm = SimTpm::new(seed);
        (tpm.random(32).unwrap(), tpm.seal(&SECRET, &PolicyDigest([1; 32])).unwrap(), tpm.box_key().unwrap())
    };
    assert_eq!(all(7), all(7));
    assert_ne!(all(7), all(8));
}

#[test]
fn it_is_emulated_unless_told_to_be_a_device() {
    assert_eq!(SimTpm::new(1).kind(), TpmKind::Emulated);
    assert_eq!(SimTpm::new(1).as_device().clone().kind(), TpmKind::Device);
}

#[test]
fn random_bytes_differ_and_too_many_are_refused() {
    let mut tpm = SimTpm::new(1);
    assert_ne!(tpm.random(32).unwrap(), tpm.random(32).unwrap());
    assert_eq!(tpm.random(16).unwrap().len(), 16);
    assert!(tpm.random(33).is_err());
}

#[test]
fn a_secret_that_is_too_long_and_a_register_that_is_not_there_are_refused() {
    let mut tpm = SimTpm::new(1);
    let refused = tpm.seal(&[0; SEAL_LEN_MAX + 1], &PolicyDigest([0; 32]));
    assert!(matches!(refused, Err(TpmError::SecretTooLong { len: 129 })));
    assert!(tpm.seal(&[0; SEAL_LEN_MAX], &PolicyDigest([0; 32])).is_ok());
    assert!(tpm.read_pcrs(&[PcrIndex(24)]).is_err());
}
