//! Sealing under approvals: what opens, what does not, and for which reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_evidence::policy;
use holdfast_hal::tpm::{
    NvIndex, PcrIndex, PolicyStep, SEAL_LEN_MAX, SealedBlob, Tpm, TpmError, TpmKind, UnsealPolicy,
};
use holdfast_hal_tpm::EsapiTpm;
use holdfast_types::{P256Public, P256Signature, PolicyDigest};

use crate::bus::code;
use crate::lab::{
    ALG_SHA256, COUNTER, Lab, NULL, ORDINARY, SECRET, assert_done, command, define_space, digest, extend, firmware,
    image, key, ready, sized, start, undefine_space, write_number,
};

const UNRELATED_REGISTER: u8 = 10;
const UNSEAL: u32 = 0x15e;

#[test]
fn what_is_sealed_opens_on_the_same_tpm_after_storage_and_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    assert_eq!(tpm.kind(), TpmKind::Emulated);
    let root = tpm.storage_root_name().unwrap();
    let counter = tpm.counter_define(COUNTER).unwrap().reading;
    let policies = [firmware(&key(1), [0; 32], counter.value), image(&key(2), 3, [0; 32], counter.value)];
    let mut stored = Vec::new();
    for policy in &policies {
        for secret in [&SECRET[..1], &SECRET, &[7; SEAL_LEN_MAX]] {
            let blob = tpm.seal(secret, &digest(policy, &counter.name)).unwrap();
            stored.push((secret, policy, blob.to_bytes()));
        }
    }
    assert!(matches!(
        tpm.seal(&[0; SEAL_LEN_MAX + 1], &PolicyDigest([0; 32])),
        Err(TpmError::SecretTooLong { len: 129 })
    ));
    drop((tpm, swtpm));
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    assert_eq!(tpm.storage_root_name().unwrap(), root);
    for (secret, policy, bytes) in stored {
        assert_eq!(tpm.unseal(&SealedBlob::from_bytes(&bytes).unwrap(), policy).unwrap().as_slice(), secret);
    }
}

#[test]
fn another_tpm_refuses_and_names_both() {
    let (here, there) = (Lab::new(), Lab::new());
    let (mut tpm, mut other) = (here.open(), there.open());
    let (policy, digest) = ready(&mut tpm);
    assert_eq!(ready(&mut other), (policy.clone(), digest), "all but the TPM is alike");
    let mut blob = tpm.seal(&SECRET, &digest).unwrap();
    let (ours, theirs) = (tpm.storage_root_name().unwrap(), other.storage_root_name().unwrap());
    assert_ne!(ours, theirs);
    let refused = other.unseal(&blob, &policy).unwrap_err();
    assert!(refused.to_string().contains(&ours.to_string()) && refused.to_string().contains(&theirs.to_string()));
    assert!(matches!(refused, TpmError::OtherTpm { sealed, present } if sealed == ours && present == theirs));
    blob.storage_root = theirs;
    assert!(matches!(other.unseal(&blob, &policy), Err(TpmError::OtherTpm { .. })), "a forged label does not help");
    assert_eq!(there.handles(), 1, "a refused load leaves nothing but the storage root key");
}

#[test]
fn a_damaged_blob_is_not_this_tpms() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let (policy, digest) = ready(&mut tpm);
    let blob = tpm.seal(&SECRET, &digest).unwrap();
    let mut damaged = vec![
        SealedBlob { public: Vec::new(), ..blob.clone() },
        SealedBlob { private: Vec::new(), ..blob.clone() },
        SealedBlob { private: vec![0; 4096], ..blob.clone() },
    ];
    for at in (0..blob.public.len()).step_by(5) {
        damaged.push(blob.clone());
        damaged.last_mut().unwrap().public[at] ^= 1;
        damaged.push(SealedBlob { public: blob.public[..at].to_vec(), ..blob.clone() });
    }
    for at in (0..blob.private.len()).step_by(11) {
        damaged.push(blob.clone());
        damaged.last_mut().unwrap().private[at] ^= 1;
        damaged.push(SealedBlob { private: blob.private[..at].to_vec(), ..blob.clone() });
    }
    for damaged in damaged {
        let refused = tpm.unseal(&damaged, &policy);
        assert!(matches!(refused, Err(TpmError::OtherTpm { .. })), "{damaged:?}: {refused:?}");
    }
    assert_eq!(lab.handles(), 1);
    assert_eq!(tpm.unseal(&blob, &policy).unwrap().as_slice(), SECRET);
}

/// A policy that misses exactly one step, made from one that misses none.
type Missed = (&'static str, PolicyStep, fn(&mut UnsealPolicy));

const MISSED: &[Missed] = &[
    ("r is another number", PolicyStep::Approval, |policy| policy.signature.0[31] ^= 1),
    ("s is another number", PolicyStep::Approval, |policy| policy.signature.0[63] ^= 1),
    ("no number", PolicyStep::Approval, |policy| policy.signature = P256Signature([0; 64])),
    ("a number beyond the order", PolicyStep::Approval, |policy| policy.signature = P256Signature([0xff; 64])),
    ("signed by another", PolicyStep::Approval, |policy| policy.signature = firmware(&key(2), [0; 32], 0).signature),
    ("claimed by another", PolicyStep::Approval, |policy| policy.signer = key(2).public()),
    ("no key", PolicyStep::Approval, |policy| policy.signer = P256Public([0xff; 33])),
    ("signed for another purpose", PolicyStep::Approval, |policy| policy.policy_ref.push(b'0')),
    ("signed for other values", PolicyStep::Approval, |policy| policy.approved.0[0] ^= 1),
    ("other values approved", PolicyStep::Registers, |policy| {
        *policy = firmware(&key(1), [1; 32], policy.counter_value);
    }),
    ("other registers", PolicyStep::Registers, |policy| policy.pcrs = vec![PcrIndex(8)]),
    ("more registers", PolicyStep::Registers, |policy| policy.pcrs.push(PcrIndex(8))),
    ("no registers", PolicyStep::Registers, |policy| policy.pcrs.clear()),
    ("a generation too early", PolicyStep::Counter, |policy| policy.counter_value += 1),
    ("a generation too late", PolicyStep::Counter, |policy| policy.counter_value -= 1),
    ("approved by a stranger", PolicyStep::Digest, |policy| {
        *policy = firmware(&key(2), [0; 32], policy.counter_value);
    }),
    ("approved for another purpose", PolicyStep::Digest, |policy| {
        *policy = image(&key(1), 1, [0; 32], policy.counter_value);
    }),
    ("another counter of this value", PolicyStep::Digest, |policy| policy.counter = NvIndex(COUNTER.0 + 1)),
];

#[test]
fn each_step_fails_for_its_reason_and_leaves_nothing_behind() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let (policy, digest) = ready(&mut tpm);
    let twin = tpm.counter_define(NvIndex(COUNTER.0 + 1)).unwrap().reading;
    assert_eq!(twin.value, policy.counter_value, "the twin differs only in its place");
    let blob = tpm.seal(&SECRET, &digest).unwrap();
    for (what, expected, miss) in MISSED {
        let mut missing = policy.clone();
        miss(&mut missing);
        let refused = tpm.unseal(&blob, &missing);
        assert!(
            matches!(refused, Err(TpmError::PolicyFailed { step }) if step == *expected),
            "{what}: expected {expected:?}, got {refused:?}"
        );
        assert_eq!(lab.handles(), 1, "{what}: something stays loaded");
        assert_eq!(tpm.unseal(&blob, &policy).unwrap().as_slice(), SECRET, "{what}: the whole policy opens");
    }
    let beyond = UnsealPolicy { pcrs: vec![PcrIndex(24)], ..policy };
    assert!(matches!(tpm.unseal(&blob, &beyond), Err(TpmError::Refused { .. })));
    assert_eq!(lab.handles(), 1);
}

#[test]
fn a_counter_that_is_not_there_or_no_counter_opens_nothing() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let (policy, digest) = ready(&mut tpm);
    let blob = tpm.seal(&SECRET, &digest).unwrap();
    lab.done(&undefine_space(COUNTER));
    assert!(matches!(tpm.unseal(&blob, &policy), Err(TpmError::CounterMissing(COUNTER))));
    lab.done(&define_space(COUNTER, ORDINARY));
    lab.done(&write_number(COUNTER, policy.counter_value));
    assert!(matches!(tpm.unseal(&blob, &policy), Err(TpmError::NotACounter(COUNTER))));
    assert_eq!(lab.handles(), 1);
}

#[test]
fn a_new_approval_opens_the_same_blob_and_a_new_generation_opens_it_never_again() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let counter = tpm.counter_define(COUNTER).unwrap().reading;
    let (authority, release) = (key(1), key(2));
    let mut policies = [firmware(&authority, [0; 32], counter.value), image(&release, 3, [0; 32], counter.value)];
    let blobs = policies.each_ref().map(|policy| tpm.seal(&SECRET, &digest(policy, &counter.name)).unwrap());
    lab.done(&extend(4));
    for (at, register) in [(0, 7), (1, 11)] {
        assert_eq!(tpm.unseal(&blobs[at], &policies[at]).unwrap().as_slice(), SECRET);
        lab.done(&extend(register));
        let refused = tpm.unseal(&blobs[at], &policies[at]);
        assert!(matches!(refused, Err(TpmError::PolicyFailed { step: PolicyStep::Registers })), "{refused:?}");
        let value = tpm.read_pcrs(&[PcrIndex(register)]).unwrap()[0];
        assert_ne!(value, [0; 32]);
        policies[at] = match register {
            7 => firmware(&authority, value, counter.value),
            _ => image(&release, 3, value, counter.value),
        };
        assert_eq!(tpm.unseal(&blobs[at], &policies[at]).unwrap().as_slice(), SECRET);
    }
    let crossed = tpm.unseal(&blobs[0], &policies[1]);
    assert!(
        matches!(crossed, Err(TpmError::PolicyFailed { step: PolicyStep::Digest })),
        "one half never opens the other"
    );
    lab.done(&extend(12));
    let refused = tpm.unseal(&blobs[1], &policies[1]);
    assert!(matches!(refused, Err(TpmError::PolicyFailed { step: PolicyStep::Registers })), "12 must stay zero");
    tpm.counter_increment(COUNTER).unwrap();
    let refused = tpm.unseal(&blobs[0], &policies[0]);
    assert!(matches!(refused, Err(TpmError::PolicyFailed { step: PolicyStep::Counter })), "{refused:?}");
    let [mut later, _] = policies;
    later.counter_value += 1;
    let refused = tpm.unseal(&blobs[0], &later);
    assert!(matches!(refused, Err(TpmError::PolicyFailed { step: PolicyStep::Digest })), "{refused:?}");
    assert_eq!(lab.handles(), 1);
}

#[test]
fn the_digests_that_are_computed_without_a_tpm_are_the_tpms() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    lab.done(&extend(11));
    let counter = tpm.counter_define(COUNTER).unwrap().reading;
    let value = tpm.read_pcrs(&[PcrIndex(11)]).unwrap()[0];
    let policy = image(&key(1), 3, value, counter.value);
    let parameters = [sized(&[7; 16]), sized(&[]), vec![3, 0, 0x10], ALG_SHA256.to_vec()].concat();
    let started = lab.done(&command(0x176, &[NULL, NULL], false, &parameters));
    let trial = u32::from_be_bytes(started[..4].try_into().unwrap());
    let now = || lab.done(&command(0x189, &[trial], false, &[]))[2..].to_vec();

    let registers = [&[0, 0, 0, 1][..], &ALG_SHA256, &[3, 0, 0x38, 0]].concat();
    lab.done(&command(0x17f, &[trial], false, &[sized(&[]), registers].concat()));
    assert_eq!(now(), policy::pcrs(&[11, 12, 13], &[value, [0; 32], [0; 32]]).0);

    let name = policy::signer_name(&policy.signer).unwrap();
    let no_ticket = [&[0x80, 0x22][..], &NULL.to_be_bytes(), &[0, 0]].concat();
    let parameters = [sized(&policy.approved.0), sized(&policy.policy_ref), sized(&name), no_ticket].concat();
    lab.done(&command(0x16a, &[trial], false, &parameters));
    assert_eq!(now(), policy::authorized(&policy.signer, &policy.policy_ref).unwrap().0);

    let parameters = [sized(&counter.value.to_be_bytes()), vec![0; 4]].concat();
    lab.done(&command(0x149, &[COUNTER.0, COUNTER.0, trial], true, &parameters));
    assert_eq!(now(), digest(&policy, &counter.name).0);
    lab.done(&command(0x165, &[], false, &trial.to_be_bytes()));
}

#[test]
fn an_extend_during_the_unsealing_costs_a_try_and_ten_end_it() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let (policy, digest) = ready(&mut tpm);
    let blob = tpm.seal(&SECRET, &digest).unwrap();
    let left = Arc::new(AtomicUsize::new(3));
    let extends_left = Arc::clone(&left);
    lab.bus.before_command(move |wire, command| {
        let some_left = |left: usize| left.checked_sub(1);
        if code(command) == UNSEAL && extends_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, some_left).is_ok() {
            assert_done(&wire.send(&extend(UNRELATED_REGISTER)));
        }
    });
    assert_eq!(tpm.unseal(&blob, &policy).unwrap().as_slice(), SECRET);
    assert_eq!(lab.bus.count(UNSEAL), 4);
    left.store(10, Ordering::SeqCst);
    assert!(matches!(tpm.unseal(&blob, &policy), Err(TpmError::Refused { operation: "unseal", .. })));
    assert_eq!(lab.bus.count(UNSEAL), 14);
    assert_eq!(lab.handles(), 1);
    assert_eq!(tpm.unseal(&blob, &policy).unwrap().as_slice(), SECRET);
}

#[test]
fn a_hundred_rounds_leave_no_handle() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    assert_eq!(lab.handles(), 1, "the storage root key is loaded");
    let (policy, digest) = ready(&mut tpm);
    let late = UnsealPolicy { counter_value: policy.counter_value - 1, ..policy.clone() };
    let counter = NvIndex(COUNTER.0 + 1);
    tpm.counter_define(counter).unwrap();
    for _ in 0..100 {
        let sealed = tpm.seal(&SECRET, &digest).unwrap();
        assert_eq!(tpm.unseal(&sealed, &policy).unwrap().as_slice(), SECRET);
        assert!(tpm.unseal(&sealed, &late).is_err());
        assert_eq!(tpm.random(32).unwrap().len(), 32);
        tpm.counter_increment(counter).unwrap();
        tpm.counter_read(counter).unwrap();
        tpm.quote(&[PcrIndex(7)], &[0; 32]).unwrap();
        tpm.sign_with_box_key(&[0; 32]).unwrap();
        assert!(tpm.random(33).is_err());
        assert!(tpm.quote(&[PcrIndex(24)], &[0; 32]).is_err());
        assert!(tpm.counter_read(NvIndex(0x0180_9999)).is_err());
    }
    assert_eq!(lab.handles(), 1);
    drop(tpm);
    assert_eq!(lab.handles(), 0);
}
