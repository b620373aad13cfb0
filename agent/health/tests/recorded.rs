//! From the kernel's files to the operator's words: the recorded machines of `hal/linux`, as health sees them.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::path::{Path, PathBuf};

use holdfast_hal::board::Architecture;
use holdfast_hal::machine::{Clock as _, Cpu as _, Link as _, Memory as _, Power as _, Storage as _, System as _};
use holdfast_hal::storage::StorageReading;
use holdfast_hal_linux::{Machine, parse_smart};
use holdfast_health::{Grade, Health, Now, Reading};
use holdfast_types::Millis;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../hal/linux/tests").join(name)
}

/// What an output of `smartctl` adds to the disk of its name.
fn with_smart(mut storage: StorageReading, smart: Option<&str>) -> StorageReading {
    let told = smart.map(|name| parse_smart(&std::fs::read(folder("smart").join(name)).unwrap()).unwrap());
    for disk in &mut storage.disks {
        if let Some(told) = told.as_ref().filter(|told| told.name == disk.name) {
            *disk = disk.clone().or(told.clone());
        }
    }
    storage
}

/// Lets health look at a machine for twenty minutes; answers its grade and what it says.
fn seen(name: &str, architecture: Architecture, smart: Option<&str>) -> (Option<Grade>, Vec<String>) {
    let machine = Machine::at(folder("machines").join(name)).with_filesystem("/var/lib/holdfast", true);
    let board = machine.recognise(architecture).unwrap();
    let (mut machine, mut health) = (machine.with_board(board), Health::new());
    for now_ms in (0..1_200_000).step_by(10_000) {
        let now = Now { monotonic_ms: now_ms, unix: Millis(now_ms) };
        for reading in [
            Reading::Clock(machine.clock()),
            Reading::Cpu(machine.cpu()),
            Reading::Disk(with_smart(machine.storage(), smart)),
            Reading::Link(machine.net()),
            Reading::Memory(machine.memory()),
            Reading::Power(machine.power()),
            Reading::System(machine.system()),
        ] {
            health.observe(now, &reading);
        }
    }
    let said = |condition: &&holdfast_health::Condition| format!("{}: {}", condition.id, condition.summary);
    (health.box_grade(), health.conditions().iter().map(said).collect())
}

#[test]
fn the_worn_mini_pc() {
    let (grade, said) = seen("x86-mini-pc", Architecture::X86_64, Some("nvme-worn.json"));
    assert_eq!(
        said,
        [
            "cpu.capped: the processor may run at 50 % of its speed only",
            "disk.worn: disk nvme0n1 has used up 87 % of its rated life",
        ]
    );
    assert_eq!(grade, Some(Grade::Fair));
}

#[test]
fn the_pi_4_with_a_weak_supply() {
    let (grade, said) = seen("raspberry-pi-4", Architecture::Aarch64, None);
    assert_eq!(
        said,
        [
            "disk.filesystem-errors: the filesystem at /var/lib/holdfast found 2 errors in itself",
            "disk.read-only: the filesystem at /var/lib/holdfast became read-only",
            "link.no-address: the box has no address",
            "link.no-route: packets for the rest of the world have no way",
            "cpu.capped: the processor may run at 40 % of its speed only",
            "cpu.hot: the processor has 71.1 °C, only 8.9 °C below where it slows down",
            "power.under-voltage: the power supply does not keep its voltage",
            "system.watchdog-off: no hardware watchdog runs: a box that hangs stays hung",
        ]
    );
    assert_eq!(grade, Some(Grade::Poor));
}

#[test]
fn the_ecc_server() {
    let (grade, said) = seen("ecc-server", Architecture::X86_64, Some("sata-ssd.json"));
    assert_eq!(
        said,
        [
            "memory.ecc-uncorrected: memory errors that ECC could not correct: 1 since the boot",
            "system.kernel-fault: the kernel met faults since the boot: 1 of five kinds",
            "system.watchdog-off: no hardware watchdog runs: a box that hangs stays hung",
            "cpu.features-missing: the processor lacks features that make signatures fast: 2",
        ],
        "errors that were there before the first look have no time"
    );
    assert_eq!(grade, Some(Grade::Poor));
}

#[test]
fn the_board_with_emmc() {
    let (grade, said) = seen("emmc-board", Architecture::Aarch64, None);
    assert_eq!(
        said,
        [
            "disk.worn: disk mmcblk1 has used up 105 % of its rated life, which is all that its maker vouches for",
            "disk.reserve-low: eMMC mmcblk1 has used up 80 % of its reserve",
            "memory.low: 5 % of the memory is left",
            "system.watchdog-off: no hardware watchdog runs: a box that hangs stays hung",
        ]
    );
    assert_eq!(grade, Some(Grade::Poor));
}
