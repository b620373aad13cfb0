//! What stays of a secret in this process: nothing, once the caller dropped it.

use std::os::unix::fs::FileExt;

use holdfast_hal::tpm::{SEAL_LEN_MAX, Tpm};

use crate::lab::{Lab, ready};

/// Scans our own writable memory for the secret.
#[test]
fn nothing_of_the_secret_stays_in_memory() {
    let lab = Lab::new();
    let mut tpm = lab.open();
    let (policy, digest) = ready(&mut tpm);
    for len in [32, SEAL_LEN_MAX] {
        let key = tpm.random(32).unwrap();
        let secret = || secret_of(&key, len);
        let blob = tpm.seal(&secret(), &digest).unwrap();
        assert_eq!(residue(&key, len), 0, "{len} bytes: a copy stays after sealing");
        let unsealed = tpm.unseal(&blob, &policy).unwrap();
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
