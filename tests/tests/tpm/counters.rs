//! Counters: they only rise, they keep their Name, and what is no counter of ours is named.

use holdfast_hal::tpm::{NvIndex, Tpm, TpmError, TpmName};
use holdfast_hal_tpm::EsapiTpm;

use crate::lab::{COUNTER, Lab, ORDINARY, command, define_space, start, undefine_space, write_number};

#[test]
fn a_counter_only_rises_and_keeps_its_name_also_over_a_power_cut() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    let defined = tpm.counter_define(COUNTER).unwrap();
    assert!(defined.created);
    let first = defined.reading;
    assert_eq!(tpm.counter_read(COUNTER).unwrap(), first);
    tpm.counter_increment(COUNTER).unwrap();
    let again = tpm.counter_define(COUNTER).unwrap();
    assert!(!again.created, "it was there");
    assert_eq!((again.reading.value, &again.reading.name), (first.value + 1, &first.name));
    let before = tpm.resets().unwrap();
    // Dropping kills it with SIGKILL; the connection is cut under the client.
    drop(swtpm);
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::Refused { .. })));
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::Unreachable { .. })), "a new connection is tried");
    drop(tpm);
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    assert_eq!(tpm.resets().unwrap().resets, before.resets + 1);
    assert_eq!(tpm.counter_read(COUNTER).unwrap(), again.reading);
    tpm.counter_increment(COUNTER).unwrap();
    let last = tpm.counter_read(COUNTER).unwrap();
    assert_eq!((last.value, last.name), (first.value + 2, first.name));
}

#[test]
fn the_name_is_the_one_that_the_tpm_gives() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let name = tpm.counter_define(COUNTER).unwrap().reading.name;
    let answer = lab.done(&command(0x169, &[COUNTER.0], false, &[]));
    assert_eq!(answer[answer.len() - 34..], name.0);
    let other = tpm.counter_define(NvIndex(COUNTER.0 + 1)).unwrap().reading.name;
    assert_ne!(name, other);
}

#[test]
fn a_counter_that_was_defined_anew_is_above_the_old_one() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let name = tpm.counter_define(COUNTER).unwrap().reading.name;
    for _ in 0..5 {
        tpm.counter_increment(COUNTER).unwrap();
    }
    let old = tpm.counter_read(COUNTER).unwrap().value;
    lab.done(&undefine_space(COUNTER));
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    let anew = tpm.counter_define(COUNTER).unwrap();
    assert!(anew.created);
    assert_eq!((anew.reading.value, anew.reading.name), (old + 1, name));
}

#[test]
fn what_is_no_counter_of_ours_is_named() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    assert!(matches!(tpm.counter_define(NvIndex(0x8180_0001)), Err(TpmError::Refused { .. })));
    // Ordinary, then a counter with the owner's write access, then one that jumps (ORDERLY).
    for (index, attributes) in [(1, ORDINARY), (2, 0x0204_0016), (3, 0x0604_0014)] {
        let index = NvIndex(0x0180_0000 + index);
        lab.done(&define_space(index, attributes));
        assert!(matches!(tpm.counter_define(index), Err(TpmError::NotACounter(found)) if found == index));
        assert!(matches!(tpm.counter_read(index), Err(TpmError::NotACounter(_))));
        assert!(matches!(tpm.counter_increment(index), Err(TpmError::NotACounter(_))));
    }
    assert_eq!(lab.handles(), 1);
}

#[test]
fn an_ordinary_index_in_a_counters_place_is_noticed_whatever_it_holds() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let value = tpm.counter_define(COUNTER).unwrap().reading.value;
    lab.done(&undefine_space(COUNTER));
    lab.done(&define_space(COUNTER, ORDINARY));
    lab.done(&write_number(COUNTER, value));
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::NotACounter(COUNTER))));
    assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::NotACounter(COUNTER))));
    assert_eq!(lab.handles(), 1);
}

#[test]
fn a_definition_that_was_cut_off_is_finished() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    lab.done(&define_space(COUNTER, 0x0204_0014));
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    let defined = tpm.counter_define(COUNTER).unwrap();
    assert!(defined.created, "it has its first value from now");
    assert_eq!(defined.reading.value, 1);
    assert_ne!(defined.reading.name, TpmName(Vec::new()));
}
