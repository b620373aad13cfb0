//! The machine at hand. One test in a process of its own, so that nothing else opens files beside it.

use std::fs::File;
use std::hint::black_box;

use holdfast_hal_linux::Machine;

#[test]
fn this_process_shows_what_it_takes() {
    let machine = Machine::real();
    let before = machine.own_process();
    assert!(before.resident_kib.unwrap() > 0 && before.open_files.unwrap() >= 3);

    let files: Vec<File> = (0..10).map(|_| File::open("/dev/null").unwrap()).collect();
    let memory = black_box(vec![7_u8; 64 * 1024 * 1024]);
    while machine.own_process().cpu_ms.unwrap() < before.cpu_ms.unwrap() + 20 {
        black_box(memory.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    }
    let after = machine.own_process();
    assert_eq!(after.open_files.unwrap(), before.open_files.unwrap() + files.len() as u64);
    assert!(after.private_kib.unwrap() >= before.private_kib.unwrap() + 60 * 1024, "{before:?}, then {after:?}");
    assert!(after.resident_kib.unwrap() >= 60 * 1024, "{after:?}");
}
