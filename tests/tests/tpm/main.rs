//! The TPM crate against a real swtpm: sealing, counting, signing, and a bus that belongs to an attacker.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod bus;
mod counters;
mod evidence;
mod keys;
mod lab;
mod memory;
mod sealing;
mod wire;

use std::time::Instant;

use holdfast_hal::tpm::{NvIndex, PcrIndex, Tpm, TpmError};
use holdfast_hal_tpm::EsapiTpm;

use lab::{COUNTER, Lab, SECRET, extend, ready, start};

#[test]
fn a_tpm_that_is_not_there_is_unreachable() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = start(state.path());
    let address = swtpm.address();
    drop(swtpm);
    assert!(matches!(EsapiTpm::open(&address), Err(TpmError::Unreachable { address: tried, .. }) if tried == address));
    let missing = EsapiTpm::open("device:/dev/no-such-tpm");
    assert!(matches!(missing, Err(TpmError::Unreachable { .. })));
}

#[test]
fn registers_come_in_the_order_asked_for_and_more_of_them_than_one_answer_holds() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    lab.done(&extend(3));
    let alone = tpm.read_pcrs(&[PcrIndex(3)]).unwrap()[0];
    let asked: Vec<_> = (0..12).rev().chain([3]).map(PcrIndex).collect();
    let values = tpm.read_pcrs(&asked).unwrap();
    assert_eq!(values.len(), asked.len());
    for (pcr, value) in asked.iter().zip(values) {
        assert_eq!(value, if pcr.0 == 3 { alone } else { [0; 32] }, "{pcr:?}");
    }
    assert_eq!(tpm.read_pcrs(&[]).unwrap(), Vec::<[u8; 32]>::new());
    assert!(matches!(tpm.read_pcrs(&[PcrIndex(24)]), Err(TpmError::Refused { .. })));
}

#[test]
fn random_bytes_differ_and_too_many_are_refused() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    assert_ne!(tpm.random(32).unwrap(), tpm.random(32).unwrap());
    assert_eq!(tpm.random(5).unwrap().len(), 5);
    assert!(tpm.random(33).is_err());
}

/// Not a limit, a report: `cargo test -p holdfast-tests --test tpm -- --nocapture latencies`.
#[test]
fn latencies_are_measured() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    let (policy, digest) = ready(&mut tpm);
    let counter = NvIndex(COUNTER.0 + 1);
    let first = tpm.counter_define(counter).unwrap().reading.value;
    let blob = tpm.seal(&SECRET, &digest).unwrap();
    let mut report = |name: &str, act: &mut dyn FnMut(&mut EsapiTpm)| {
        let mut micros: Vec<_> = (0..50)
            .map(|_| {
                let started = Instant::now();
                act(&mut tpm);
                started.elapsed().as_micros()
            })
            .collect();
        micros.sort_unstable();
        println!("{name}: median {:.2} ms, p90 {:.2} ms", micros[25] as f64 / 1e3, micros[45] as f64 / 1e3);
    };
    report("seal", &mut |tpm| assert!(tpm.seal(&SECRET, &digest).is_ok()));
    report("unseal", &mut |tpm| assert!(tpm.unseal(&blob, &policy).is_ok()));
    report("counter increment", &mut |tpm| assert!(tpm.counter_increment(counter).is_ok()));
    report("counter read", &mut |tpm| assert!(tpm.counter_read(counter).is_ok()));
    report("random", &mut |tpm| assert!(tpm.random(32).is_ok()));
    report("register read", &mut |tpm| assert!(tpm.read_pcrs(&[PcrIndex(11)]).is_ok()));
    report("quote", &mut |tpm| assert!(tpm.quote(&[PcrIndex(11)], &[0; 32]).is_ok()));
    report("box key signature", &mut |tpm| assert!(tpm.sign_with_box_key(&[0; 32]).is_ok()));
    assert_eq!(tpm.counter_read(counter).unwrap().value, first + 50);
}
