//! The TPM crate against a real swtpm: sealing, counting, and a bus that belongs to an attacker.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that does not hold")]

mod bus;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use holdfast_hal::tpm::{NvIndex, PcrIndex, SEAL_LEN_MAX, SealedBlob, Tpm, TpmError, TpmKind};
use holdfast_hal_tpm::EsapiTpm;
use holdfast_tests::swtpm::Swtpm;
use tempfile::TempDir;

use bus::{Bus, code};

const COUNTER: NvIndex = NvIndex(0x0180_4846);
const REGISTERS: [PcrIndex; 2] = [PcrIndex(11), PcrIndex(7)];
const SECRET: [u8; 32] = *b"thirty-two bytes that stay here!";

const UNRELATED_REGISTER: u8 = 10;
const CREATE_PRIMARY: u32 = 0x131;
const NV_INCREMENT: u32 = 0x134;
const NV_READ: u32 = 0x14e;
const PCR_READ: u32 = 0x17e;
const START_AUTH_SESSION: u32 = 0x176;
const UNSEAL: u32 = 0x15e;

/// A TPM with its state folder, and a bus to it.
struct Lab {
    bus: Bus,
    _swtpm: Swtpm,
    _state: TempDir,
}

impl Lab {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let swtpm = start(state.path());
        Self { bus: Bus::new(swtpm.port()), _swtpm: swtpm, _state: state }
    }

    fn open(&self) -> EsapiTpm {
        EsapiTpm::open(&self.bus.address()).unwrap()
    }

    /// Loaded objects and loaded or saved sessions of the TPM, whoever made them.
    fn handles(&self) -> usize {
        [0x8000_0000, 0x0200_0000, 0x0300_0000].into_iter().map(|first| handles_from(&self.bus, first)).sum()
    }
}

fn start(state: &Path) -> Swtpm {
    Swtpm::start(state).expect("swtpm starts: install the package swtpm")
}

fn handles_from(bus: &Bus, first: u32) -> usize {
    let mut command = vec![0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7a, 0, 0, 0, 1];
    command.extend_from_slice(&first.to_be_bytes());
    command.extend_from_slice(&64u32.to_be_bytes());
    let answer = bus.send(&command);
    assert_eq!(answer[6..10], [0; 4], "the TPM lists its handles");
    usize::try_from(u32::from_be_bytes(answer[15..19].try_into().unwrap())).unwrap()
}

/// `PCR_Extend` of the SHA-256 bank with an empty password.
fn extend(pcr: u8) -> Vec<u8> {
    let mut command = vec![0x80, 0x02, 0, 0, 0, 65, 0, 0, 0x01, 0x82, 0, 0, 0, pcr];
    command.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command.extend_from_slice(&[0, 0, 0, 1, 0, 0x0b]);
    command.extend_from_slice(&[0x5a; 32]);
    command
}

fn assert_done(answer: &[u8]) {
    assert_eq!(answer[6..10], [0; 4], "the TPM did it");
}

#[test]
fn what_is_sealed_opens_on_the_same_tpm_after_storage_and_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    assert_eq!(tpm.kind(), TpmKind::Emulated);
    let root = tpm.storage_root_name().unwrap();
    let stored: Vec<_> = [&[][..], &REGISTERS]
        .into_iter()
        .flat_map(|pcrs| [&SECRET[..1], &SECRET, &[7; SEAL_LEN_MAX]].map(|secret| (secret, pcrs)))
        .map(|(secret, pcrs)| (secret, tpm.seal(secret, pcrs).unwrap().to_bytes()))
        .collect();
    assert!(matches!(tpm.seal(&[0; SEAL_LEN_MAX + 1], &[]), Err(TpmError::SecretTooLong { len: 129 })));
    drop((tpm, swtpm));
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    assert_eq!(tpm.storage_root_name().unwrap(), root);
    for (secret, bytes) in stored {
        assert_eq!(tpm.unseal(&SealedBlob::from_bytes(&bytes).unwrap()).unwrap().as_slice(), secret);
    }
}

#[test]
fn another_tpm_refuses_and_names_both() {
    let (here, there) = (Lab::new(), Lab::new());
    let (mut tpm, mut other) = (here.open(), there.open());
    let mut blob = tpm.seal(&SECRET, &REGISTERS).unwrap();
    let (ours, theirs) = (tpm.storage_root_name().unwrap(), other.storage_root_name().unwrap());
    assert_ne!(ours, theirs);
    let refused = other.unseal(&blob).unwrap_err();
    assert!(refused.to_string().contains(&ours.to_string()) && refused.to_string().contains(&theirs.to_string()));
    assert!(matches!(refused, TpmError::OtherTpm { sealed, present } if sealed == ours && present == theirs));
    blob.storage_root = theirs;
    assert!(matches!(other.unseal(&blob), Err(TpmError::OtherTpm { .. })), "a forged label does not help");
    assert_eq!(there.handles(), 1, "a refused load leaves nothing but the storage root key");
}

#[test]
fn a_changed_register_refuses_and_a_narrower_selection_does_not_help() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let mut blob = tpm.seal(&SECRET, &REGISTERS).unwrap();
    assert_done(&lab.bus.send(&extend(4)));
    assert_eq!(tpm.unseal(&blob).unwrap().as_slice(), SECRET, "a register outside the policy does not matter");
    assert_eq!(tpm.read_pcr(PcrIndex(11)).unwrap(), [0; 32]);
    assert_done(&lab.bus.send(&extend(11)));
    assert_ne!(tpm.read_pcr(PcrIndex(11)).unwrap(), [0; 32]);
    assert!(matches!(tpm.unseal(&blob), Err(TpmError::PolicyFailed)));
    blob.pcrs = vec![PcrIndex(7)];
    assert!(matches!(tpm.unseal(&blob), Err(TpmError::PolicyFailed)));
    blob.pcrs = vec![PcrIndex(24)];
    assert!(matches!(tpm.unseal(&blob), Err(TpmError::Refused { .. })));
    assert_eq!(lab.handles(), 1);
}

#[test]
fn an_extend_during_the_unsealing_costs_a_try_and_ten_end_it() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let blob = tpm.seal(&SECRET, &REGISTERS).unwrap();
    let left = Arc::new(AtomicUsize::new(3));
    let extends_left = Arc::clone(&left);
    lab.bus.before_command(move |wire, command| {
        let some_left = |left: usize| left.checked_sub(1);
        if code(command) == UNSEAL && extends_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, some_left).is_ok() {
            assert_done(&wire.send(&extend(UNRELATED_REGISTER)));
        }
    });
    assert_eq!(tpm.unseal(&blob).unwrap().as_slice(), SECRET);
    assert_eq!(lab.bus.count(UNSEAL), 4);
    left.store(10, Ordering::SeqCst);
    assert!(matches!(tpm.unseal(&blob), Err(TpmError::Refused { operation: "unseal", .. })));
    assert_eq!(lab.bus.count(UNSEAL), 14);
    assert_eq!(lab.handles(), 1);
    assert_eq!(tpm.unseal(&blob).unwrap().as_slice(), SECRET);
}

#[test]
fn the_counter_only_rises_also_over_a_power_cut() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    assert!(matches!(tpm.counter_increment(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    tpm.counter_define(COUNTER).unwrap();
    let first = tpm.counter_read(COUNTER).unwrap();
    tpm.counter_increment(COUNTER).unwrap();
    tpm.counter_define(COUNTER).unwrap();
    assert_eq!(tpm.counter_read(COUNTER).unwrap(), first + 1);
    // Dropping kills it with SIGKILL; the connection is cut under the client.
    drop(swtpm);
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::Refused { .. })));
    drop(tpm);
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    assert_eq!(tpm.counter_read(COUNTER).unwrap(), first + 1);
    tpm.counter_increment(COUNTER).unwrap();
    assert_eq!(tpm.counter_read(COUNTER).unwrap(), first + 2);
}

#[test]
fn what_is_no_counter_of_ours_is_named() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    assert!(matches!(tpm.counter_define(NvIndex(0x8180_0001)), Err(TpmError::Refused { .. })));
    // Ordinary, then a counter with the owner's write access, then one that jumps (ORDERLY).
    for (index, attributes) in [(1, 0x0204_0004u32), (2, 0x0204_0016), (3, 0x0604_0014)] {
        let index = NvIndex(0x0180_0000 + index);
        assert_done(&lab.bus.send(&define_space(index, attributes)));
        assert!(matches!(tpm.counter_define(index), Err(TpmError::NotACounter(found)) if found == index));
        assert!(matches!(tpm.counter_read(index), Err(TpmError::NotACounter(_))));
        assert!(matches!(tpm.counter_increment(index), Err(TpmError::NotACounter(_))));
    }
    assert_eq!(lab.handles(), 1);
}

#[test]
fn a_definition_that_was_cut_off_is_finished() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    assert_done(&lab.bus.send(&define_space(COUNTER, 0x0204_0014)));
    assert!(matches!(tpm.counter_read(COUNTER), Err(TpmError::CounterMissing(COUNTER))));
    tpm.counter_define(COUNTER).unwrap();
    assert_eq!(tpm.counter_read(COUNTER).unwrap(), 1);
}

/// `NV_DefineSpace` of 8 bytes by the owner with empty passwords.
fn define_space(index: NvIndex, attributes: u32) -> Vec<u8> {
    let mut command = vec![0x80, 0x02, 0, 0, 0, 45, 0, 0, 0x01, 0x2a, 0x40, 0, 0, 1];
    command.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    command.extend_from_slice(&[0, 0, 0, 14]);
    command.extend_from_slice(&index.0.to_be_bytes());
    command.extend_from_slice(&[0, 0x0b]);
    command.extend_from_slice(&attributes.to_be_bytes());
    command.extend_from_slice(&[0, 0, 0, 8]);
    command
}

#[test]
fn a_hundred_rounds_leave_no_handle() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    assert_eq!(lab.handles(), 1, "the storage root key is loaded");
    tpm.counter_define(COUNTER).unwrap();
    let blob = tpm.seal(&SECRET, &REGISTERS).unwrap();
    for _ in 0..100 {
        let sealed = tpm.seal(&SECRET, &REGISTERS).unwrap();
        assert_eq!(tpm.unseal(&sealed).unwrap().as_slice(), SECRET);
        assert_eq!(tpm.random(32).unwrap().len(), 32);
        tpm.counter_increment(COUNTER).unwrap();
        tpm.counter_read(COUNTER).unwrap();
        assert!(tpm.random(33).is_err());
        assert!(tpm.seal(&SECRET, &[PcrIndex(24)]).is_err());
        assert!(tpm.counter_read(NvIndex(0x0180_9999)).is_err());
    }
    assert_done(&lab.bus.send(&extend(7)));
    for _ in 0..100 {
        assert!(matches!(tpm.unseal(&blob), Err(TpmError::PolicyFailed)));
    }
    assert_eq!(lab.handles(), 1);
    drop(tpm);
    assert_eq!(lab.handles(), 0);
}

#[test]
fn the_secret_is_never_on_the_bus_and_the_bus_would_see_it() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let blob = tpm.seal(&SECRET, &REGISTERS).unwrap();
    assert_eq!(tpm.unseal(&blob).unwrap().as_slice(), SECRET);
    let random = tpm.random(32).unwrap();
    tpm.counter_define(COUNTER).unwrap();
    for fragment in SECRET.chunks(8).chain(random.chunks(8)) {
        assert!(!lab.bus.saw(fragment), "secret bytes went over the bus");
    }
    // The control: what crosses the bus in the clear is found, also when the stack takes it apart and marshals it anew.
    assert!(lab.bus.saw(&blob.public[2..]), "the recorder sees what is there");
    assert!(lab.bus.saw(&blob.private), "the recorder sees what is there");
}

#[test]
fn a_changed_answer_is_noticed() {
    for (command, at_end_of_value) in [(NV_READ, 24), (PCR_READ, 62)] {
        let lab = Lab::new();
        let mut tpm = lab.open();
        tpm.counter_define(COUNTER).unwrap();
        let changed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&changed);
        lab.bus.tamper(move |_, sent, mut answer| {
            if code(sent) == command {
                counted.fetch_add(1, Ordering::SeqCst);
                answer[at_end_of_value - 1] ^= 1;
            }
            answer
        });
        let refused = match command {
            NV_READ => tpm.counter_read(COUNTER).err(),
            _ => tpm.read_pcr(PcrIndex(11)).err(),
        };
        assert!(matches!(refused, Some(TpmError::Refused { .. })), "{command:#x} accepted a changed answer");
        assert_eq!(changed.load(Ordering::SeqCst), 1, "the answer was changed");
        assert!(matches!(tpm.random(32), Err(TpmError::Refused { .. })), "a connection that was lied to is at its end");
        lab.bus.tamper(|_, _, answer| answer);
        drop(tpm);
        let mut tpm = lab.open();
        assert_eq!(tpm.counter_read(COUNTER).unwrap(), 1);
        assert_eq!(lab.handles(), 1, "what the dead connection left is gone");
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
    drop(tpm);
    assert_eq!(lab.open().counter_read(COUNTER).unwrap(), 3, "only the read-back says what happened");
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

/// No secret stays in this process once the caller dropped it. Scans our own writable memory for it.
#[test]
fn nothing_of_the_secret_stays_in_memory() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    for len in [32, SEAL_LEN_MAX] {
        let key = tpm.random(32).unwrap();
        let secret = || secret_of(&key, len);
        let blob = tpm.seal(&secret(), &REGISTERS).unwrap();
        assert_eq!(residue(&key, len), 0, "{len} bytes: a copy stays after sealing");
        let unsealed = tpm.unseal(&blob).unwrap();
        assert_ne!(residue(&key, len), 0, "{len} bytes: the scan finds a copy that is there");
        drop(unsealed);
        assert_eq!(residue(&key, len), 0, "{len} bytes: a copy stays after unsealing");
    }
}

/// A secret that can be made again from `key`, so that the scan needs no copy of it.
fn secret_of(key: &[u8], len: usize) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new((0..len).map(|at| secret_byte(key, at)).collect())
}

fn secret_byte(key: &[u8], at: usize) -> u8 {
    key[at % 32].rotate_left(3) ^ key[(at * 7 + 1) % 32] ^ u8::try_from(at).unwrap()
}

/// How many places of our writable memory hold 16 bytes of the secret in a row.
fn residue(key: &[u8], len: usize) -> usize {
    let pieces: Vec<[u8; 16]> =
        (0..len).step_by(16).map(|start| std::array::from_fn(|at| secret_byte(key, start + at) ^ MASK)).collect();
    let first: [bool; 256] = std::array::from_fn(|byte| pieces.iter().any(|piece| usize::from(piece[0]) == byte));
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut chunk = vec![0; 1 << 20];
    // Reading the buffer into itself would find what was read just before.
    let own = chunk.as_ptr().addr() as u64..(chunk.as_ptr().addr() + chunk.len()) as u64;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [mut at, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
        while at < to {
            if own.contains(&at) {
                at = own.end;
                continue;
            }
            let until = if at < own.start { to.min(own.start) } else { to };
            let len = usize::try_from(until - at).unwrap().min(chunk.len());
            let read = memory.read_at(&mut chunk[..len], at).unwrap_or(0);
            if read == 0 {
                break;
            }
            chunk.iter_mut().for_each(|byte| *byte ^= MASK);
            found += chunk[..read]
                .windows(16)
                .filter(|window| first[usize::from(window[0])] && pieces.iter().any(|piece| piece == window))
                .count();
            // What lies across two chunks is found in the second, which starts that much earlier.
            at += u64::try_from(if read == chunk.len() { read - 15 } else { read }).unwrap();
        }
    }
    found
}

const MASK: u8 = 0x99;

/// Not a limit, a report: `cargo test -p holdfast-tests --test tpm -- --nocapture latencies`.
#[test]
fn latencies_are_measured() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = start(state.path());
    let mut tpm = EsapiTpm::open(&swtpm.address()).unwrap();
    tpm.counter_define(COUNTER).unwrap();
    let blob = tpm.seal(&SECRET, &REGISTERS).unwrap();
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
    report("seal", &mut |tpm| assert!(tpm.seal(&SECRET, &REGISTERS).is_ok()));
    report("unseal", &mut |tpm| assert!(tpm.unseal(&blob).is_ok()));
    report("counter increment", &mut |tpm| assert!(tpm.counter_increment(COUNTER).is_ok()));
    report("counter read", &mut |tpm| assert!(tpm.counter_read(COUNTER).is_ok()));
    report("random", &mut |tpm| assert!(tpm.random(32).is_ok()));
    report("register read", &mut |tpm| assert!(tpm.read_pcr(PcrIndex(11)).is_ok()));
    assert_eq!(tpm.counter_read(COUNTER).unwrap(), 51);
}
