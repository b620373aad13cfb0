//! Who sits on the bus: reads nothing, and changes nothing without being noticed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use holdfast_evidence::Credential;
use holdfast_hal::tpm::{PcrIndex, Tpm, TpmError};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::bus::code;
use crate::lab::{COUNTER, Lab, SECRET, assert_done, digest, firmware, image, key, ready};

const ACTIVATE_CREDENTIAL: u32 = 0x147;
const CREATE_PRIMARY: u32 = 0x131;
const GET_RANDOM: u32 = 0x17b;
const NV_CERTIFY: u32 = 0x184;
const NV_INCREMENT: u32 = 0x134;
const NV_READ: u32 = 0x14e;
const NV_READ_PUBLIC: u32 = 0x169;
const PCR_READ: u32 = 0x17e;
const QUOTE: u32 = 0x158;
const READ_CLOCK: u32 = 0x181;
const START_AUTH_SESSION: u32 = 0x176;
const UNSEAL: u32 = 0x15e;

#[test]
fn no_secret_is_ever_on_the_bus_and_the_bus_would_see_it() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let counter = tpm.counter_define(COUNTER).unwrap().reading;
    let halves = [SECRET, *b"and a second half, sealed apart."];
    let policies = [firmware(&key(1), [0; 32], counter.value), image(&key(2), 3, [0; 32], counter.value)];
    let mut blobs = Vec::new();
    for (half, policy) in halves.iter().zip(&policies) {
        let blob = tpm.seal(half, &digest(policy, &counter.name)).unwrap();
        assert_eq!(tpm.unseal(&blob, policy).unwrap().as_slice(), half);
        blobs.push(blob);
    }
    let random = tpm.random(32).unwrap();
    for fragment in halves.iter().flat_map(|half| half.chunks(8)).chain(random.chunks(8)) {
        assert!(!lab.bus.saw(fragment), "secret bytes went over the bus");
    }
    // The control: what crosses the bus in the clear is found, also when the stack takes it apart and marshals it anew.
    for (blob, policy) in blobs.iter().zip(&policies) {
        assert!(lab.bus.saw(&blob.public), "the recorder sees what is there");
        assert!(lab.bus.saw(&blob.private), "the recorder sees what is there");
        assert!(lab.bus.saw(&policy.policy_ref), "the recorder sees what is there");
    }
}

#[test]
fn a_changed_answer_is_noticed_and_the_next_call_is_good_again() {
    type Call = fn(&mut holdfast_hal_tpm::EsapiTpm) -> Option<TpmError>;
    let attacked: [(u32, usize, Call); 10] = [
        (NV_READ, 23, |tpm| tpm.counter_read(COUNTER).err()),
        (NV_READ_PUBLIC, 63, |tpm| tpm.counter_read(COUNTER).err()),
        (NV_INCREMENT, 20, |tpm| tpm.counter_increment(COUNTER).err()),
        (PCR_READ, 61, |tpm| tpm.read_pcrs(&[PcrIndex(11)]).err()),
        (READ_CLOCK, 33, |tpm| tpm.resets().err()),
        (QUOTE, 100, |tpm| tpm.quote(&[PcrIndex(11)], &[0; 32]).err()),
        (NV_CERTIFY, 100, |tpm| tpm.certify_counter(COUNTER, &[0; 32]).err()),
        (ACTIVATE_CREDENTIAL, 20, |tpm| {
            let (key, name) = (tpm.endorsement_key().unwrap().public, tpm.attestation_key_name().unwrap().0);
            let made = Credential::make(&key, &name, &SECRET, &mut StdRng::seed_from_u64(1)).unwrap();
            tpm.activate_credential(&made.id_object, &made.secret).err()
        }),
        (GET_RANDOM, 20, |tpm| tpm.random(32).err()),
        (UNSEAL, 20, |tpm| {
            let (policy, digest) = ready(tpm);
            let blob = tpm.seal(&SECRET, &digest).unwrap();
            tpm.unseal(&blob, &policy).err()
        }),
    ];
    for (command, at, call) in attacked {
        let lab = Lab::new();
        let mut tpm = lab.open();
        let name = tpm.counter_define(COUNTER).unwrap().reading.name;
        let changed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&changed);
        lab.bus.tamper(move |_, sent, mut answer| {
            // Without a session the answer proves nothing and nothing rests on it.
            if code(sent) == command && sent[..2] == [0x80, 0x02] {
                counted.fetch_add(1, Ordering::SeqCst);
                answer[at] ^= 1;
            }
            answer
        });
        assert!(matches!(call(&mut tpm), Some(TpmError::Refused { .. })), "{command:#x} accepted a changed answer");
        assert_eq!(changed.load(Ordering::SeqCst), 1, "{command:#x}: the answer was changed");
        lab.bus.tamper(|_, _, answer| answer);
        assert!(call(&mut tpm).is_none(), "{command:#x}: a new connection is opened");
        assert_eq!(tpm.counter_read(COUNTER).unwrap().name, name);
        assert_eq!(lab.handles(), 1, "what the lost connection left is gone");
    }
}

#[test]
fn a_replayed_increment_is_noticed() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    tpm.counter_define(COUNTER).unwrap();
    let mut recorded: Option<Vec<u8>> = None;
    lab.bus.tamper(move |_, sent, answer| {
        if code(sent) != NV_INCREMENT {
            return answer;
        }
        recorded.get_or_insert(answer).clone()
    });
    tpm.counter_increment(COUNTER).unwrap();
    assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::Refused { .. })));
    lab.bus.tamper(|_, _, answer| answer);
    assert_eq!(tpm.counter_read(COUNTER).unwrap().value, 3, "only the read-back says what happened");
}

#[test]
fn what_killed_clients_left_is_cleared_away() {
    let lab = Lab::new();
    let made = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&made);
    lab.bus.before_command(move |_, command| {
        if [CREATE_PRIMARY, START_AUTH_SESSION].contains(&code(command)) {
            recorded.lock().unwrap().push(command.to_vec());
        }
    });
    let mut tpm = lab.open();
    tpm.random(1).unwrap();
    drop(tpm);
    let made = made.lock().unwrap().clone();
    assert_eq!(made.iter().map(|command| code(command)).collect::<Vec<_>>(), [CREATE_PRIMARY, START_AUTH_SESSION]);
    for _ in 0..3 {
        assert_done(&lab.bus.send(&made[0]));
    }
    assert_eq!(lab.bus.send(&made[0])[6..10], [0, 0, 0x09, 0x02], "no room for one more object");
    assert_eq!(lab.handles(), 3);
    lab.open().random(1).unwrap();
    assert_eq!(lab.handles(), 0);
}
