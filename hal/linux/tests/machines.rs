//! Recorded machines, replayed through the root folder, and the machine at hand.
//!
//! The trees in `machines` were written by hand in the formats of the kernel's documentation and of real machines of these
//! kinds: a mini-PC with an NVMe drive, a Pi 4 with a weak supply, a server with ECC memory, a board with eMMC.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_hal::board::Architecture;
use holdfast_hal::cpu::CpuReading;
use holdfast_hal::link::{LinkReading, NetReading};
use holdfast_hal::machine::{
    Clock as _, Cpu as _, Link as _, Memory as _, Power as _, Pressure, Storage as _, System as _,
};
use holdfast_hal::memory::MemoryReading;
use holdfast_hal::power::{BootCause, PowerReading};
use holdfast_hal::storage::{DiskReading, FilesystemReading, StorageReading};
use holdfast_hal::system::SystemReading;
use holdfast_hal_linux::Machine;
use proptest::prelude::*;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines").join(name)
}

fn recorded(name: &str, architecture: Architecture) -> Machine {
    let machine = Machine::at(folder(name));
    let board = machine.recognise(architecture).unwrap();
    machine.with_board(board).with_filesystem("/var/lib/holdfast", true)
}

fn waits(some: f64, full: f64) -> Pressure {
    Pressure { some_percent: Some(some), full_percent: Some(full) }
}

#[test]
fn a_mini_pc_with_nvme() {
    let mut machine = recorded("x86-mini-pc", Architecture::X86_64);
    assert_eq!(machine.recognise(Architecture::X86_64).unwrap().name, "x86-64-uefi");
    assert_eq!(
        machine.memory(),
        MemoryReading {
            total_kib: Some(16_137_216),
            available_kib: Some(13_987_654),
            pressure: waits(0.0, 0.0),
            oom_kills: Some(0),
            ecc_corrected: None,
            ecc_uncorrected: None,
        }
    );
    assert_eq!(
        machine.cpu(),
        CpuReading {
            missing_features: Some(vec![]),
            temperature_mc: Some(53_000),
            trip_mc: Some(105_000),
            throttles: Some(7),
            frequency_allowed_khz: Some(1_700_000),
            frequency_best_khz: Some(3_400_000),
            pressure: waits(1.25, 0.0),
            steal_ms: Some(0),
            total_ms: Some(96_677_930),
        }
    );
    assert_eq!(
        machine.storage(),
        StorageReading {
            disks: vec![DiskReading {
                name: "nvme0n1".to_owned(),
                model: Some("Samsung SSD 980 500GB".to_owned()),
                temperature_c: Some(42),
                temperature_limit_c: Some(81),
                ..DiskReading::default()
            }],
            filesystems: vec![state(false, 0)],
            ..StorageReading::default()
        }
    );
    assert_eq!(machine.power(), PowerReading::default());
    assert_eq!(machine.boot_cause(), BootCause { by_watchdog: Some(false), panicked: Some(false) });
    assert_eq!(
        machine.system(),
        SystemReading {
            uptime_s: Some(86_412),
            taint: Some(0),
            machine_checks: Some(0),
            watchdog_armed: Some(true),
            ..SystemReading::default()
        }
    );
    assert_eq!(machine.clock().synchronised, None, "a recorded machine has no clock");
    assert!(!machine.clock_is_synchronised());
}

/// The filesystem of the state; a recorded machine has no space.
fn state(read_only: bool, errors: u64) -> FilesystemReading {
    FilesystemReading {
        mount: "/var/lib/holdfast".to_owned(),
        read_only: Some(read_only),
        written: true,
        errors: Some(errors),
        ..FilesystemReading::default()
    }
}

#[test]
fn the_ports_of_a_mini_pc_one_of_them_unplugged() {
    let used = LinkReading {
        name: "enp1s0".to_owned(),
        used: true,
        carrier: Some(true),
        speed_mbps: Some(1000),
        speed_best_mbps: None,
        full_duplex: Some(true),
        errors: Some(3),
        drops: Some(12),
        packets: Some(1_524_690),
        carrier_changes: Some(2),
        mtu: Some(1500),
    };
    let unplugged = LinkReading {
        name: "enp2s0".to_owned(),
        used: false,
        carrier: Some(false),
        speed_mbps: None,
        full_duplex: None,
        errors: Some(0),
        drops: Some(0),
        packets: Some(0),
        carrier_changes: Some(1),
        ..used.clone()
    };
    let expected = NetReading {
        links: vec![used, unplugged],
        has_address: Some(true),
        has_default_route: Some(true),
        ..NetReading::default()
    };
    assert_eq!(recorded("x86-mini-pc", Architecture::X86_64).net(), expected);
}

#[test]
fn a_port_that_loses_its_carrier_and_with_it_its_routes_stays_one_that_is_used() {
    let root = tempfile::tempdir().unwrap();
    copy(&folder("x86-mini-pc"), root.path());
    let mut machine = Machine::at(root.path());
    machine.net();
    fs::write(root.path().join("proc/net/route"), "Iface\tDestination\n").unwrap();
    fs::write(root.path().join("sys/class/net/enp1s0/carrier"), "0\n").unwrap();
    let net = machine.net();
    assert_eq!((net.has_address, net.has_default_route), (Some(false), Some(false)));
    assert_eq!((net.links[0].used, net.links[0].carrier), (true, Some(false)));
    assert!(!Machine::at(root.path()).net().links[0].used, "who starts now has never seen it used");
    fs::remove_dir_all(root.path().join("sys/class/net/enp1s0")).unwrap();
    assert_eq!(machine.net().links.len(), 1);
}

#[test]
fn a_pi_4_with_a_weak_supply() {
    let mut machine = recorded("raspberry-pi-4", Architecture::Aarch64);
    assert_eq!(machine.recognise(Architecture::Aarch64).unwrap().name, "raspberry-pi-4");
    assert_eq!(machine.power().under_voltage, Some(true));
    assert_eq!(machine.boot_cause(), BootCause { by_watchdog: Some(true), panicked: Some(true) });
    let cpu = machine.cpu();
    assert_eq!((cpu.temperature_mc, cpu.trip_mc), (Some(71_086), Some(80_000)), "the firmware slows down first");
    assert_eq!((cpu.frequency_allowed_khz, cpu.frequency_best_khz), (Some(600_000), Some(1_500_000)));
    assert_eq!((cpu.missing_features, cpu.throttles), (Some(vec![]), None));
    assert_eq!(
        cpu.pressure,
        Pressure { some_percent: Some(2.5), full_percent: None },
        "kernels before 5.13 have no full"
    );
    let storage = machine.storage();
    assert_eq!(storage.filesystems, [state(true, 2)], "the later mount hides the earlier");
    assert_eq!((storage.disks[0].name.as_str(), storage.disks[0].model.as_deref()), ("mmcblk0", Some("SD64G")));
    assert_eq!((storage.disks[0].used_percent, storage.disks[0].pre_eol), (None, None), "an SD card does not tell");
    let net = machine.net();
    assert_eq!((net.has_address, net.has_default_route), (Some(false), Some(false)), "only the link's own address");
    assert_eq!((net.links[0].full_duplex, net.links[0].used), (Some(false), false));
    let system = machine.system();
    assert_eq!((system.machine_checks, system.watchdog_armed), (None, Some(false)));
    assert_eq!(machine.memory().oom_kills, Some(1));
}

#[test]
fn a_server_with_ecc() {
    let mut machine = recorded("ecc-server", Architecture::X86_64).with_filesystem("/", false);
    let memory = machine.memory();
    assert_eq!((memory.ecc_corrected, memory.ecc_uncorrected), (Some(20), Some(1)), "over all controllers");
    let cpu = machine.cpu();
    assert_eq!(cpu.missing_features, Some(vec!["adx", "bmi2"]));
    assert_eq!((cpu.temperature_mc, cpu.trip_mc, cpu.steal_ms), (Some(44_125), Some(100_000), Some(42_420)));
    let storage = machine.storage();
    let disk = DiskReading {
        name: "sda".to_owned(),
        model: Some("INTEL SSDSC2KB48".to_owned()),
        io_errors: Some(31),
        temperature_c: Some(31),
        temperature_limit_c: Some(70),
        ..DiskReading::default()
    };
    assert_eq!(storage.disks, [disk]);
    assert_eq!(storage.filesystems[0].read_only, None, "nothing is mounted there");
    assert_eq!(storage.filesystems[1].errors, Some(0));
    let system = machine.system();
    assert_eq!((system.taint, system.machine_checks, system.watchdog_armed), (Some(512), Some(3), Some(false)));
    let net = machine.net();
    assert_eq!((net.has_address, net.has_default_route), (Some(true), Some(true)));
    assert_eq!(net.links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["eno1"], "a bond is no port");
}

#[test]
fn a_board_with_emmc() {
    let mut machine = recorded("emmc-board", Architecture::Aarch64);
    assert_eq!(machine.recognise(Architecture::Aarch64).unwrap().name, "arm64-uefi", "no board of its own");
    let storage = machine.storage();
    assert_eq!(storage.disks.len(), 1, "boot partitions are no disks: {storage:?}");
    assert_eq!((storage.disks[0].used_percent, storage.disks[0].pre_eol), (Some(105), Some(2)), "the worse estimate");
    assert_eq!(storage.filesystems[0].errors, None);
    let cpu = machine.cpu();
    assert_eq!((cpu.temperature_mc, cpu.trip_mc), (Some(63_000), Some(85_000)), "a fan's trip point does not count");
    assert_eq!((cpu.steal_ms, cpu.frequency_best_khz), (None, None));
    let memory = machine.memory();
    assert_eq!((memory.oom_kills, memory.pressure), (None, Pressure::default()));
    let net = machine.net();
    assert_eq!((net.links[0].carrier, net.has_address), (None, None));
    assert_eq!(machine.system().watchdog_armed, Some(false));
}

#[test]
fn a_machine_that_shows_nothing_has_nothing_present() {
    let mut machine = Machine::at(folder("nowhere"));
    assert_eq!(machine.memory(), MemoryReading::default());
    assert_eq!(machine.cpu(), CpuReading::default());
    assert_eq!(machine.storage(), StorageReading::default());
    assert_eq!(machine.power(), PowerReading::default());
    assert_eq!(machine.net(), NetReading::default());
    assert_eq!(machine.system(), SystemReading::default());
    assert_eq!(machine.boot_cause(), BootCause::default());
}

#[test]
fn the_machine_at_hand_shows_memory_time_and_space() {
    let mut machine = Machine::real().with_filesystem("/", true);
    let memory = machine.memory();
    assert!(memory.available_kib.unwrap() <= memory.total_kib.unwrap());
    assert!(machine.cpu().total_ms.unwrap() > 0);
    assert!(machine.system().uptime_s.is_some());
    let root = &machine.storage().filesystems[0];
    assert!(root.free_bytes.unwrap() <= root.bytes.unwrap() && root.read_only == Some(false), "{root:?}");
    assert!(machine.clock().synchronised.is_some());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() { copy(&path, &to) } else { _ = fs::copy(&path, &to).unwrap() }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Whatever stands in the kernel's files, reading them neither panics nor makes temperatures that cannot be.
    #[test]
    fn garbage_in_any_file_breaks_nothing(
        seed in any::<u64>(),
        garbage in prop::collection::vec(prop_oneof![any::<Vec<u8>>(), "-?[0-9]{1,25}( [0-9a-fx]{1,9}){0,12}\n?".prop_map(String::into_bytes)], 1..8),
    ) {
        for name in ["x86-mini-pc", "raspberry-pi-4", "ecc-server", "emmc-board"] {
            let root = tempfile::tempdir().unwrap();
            copy(&folder(name), root.path());
            let mut all = files(root.path());
            all.sort();
            for (at, path) in all.iter().enumerate() {
                let pick = (seed.rotate_left(u32::try_from(at % 64).unwrap()) % 7) as usize;
                if let Some(garbage) = garbage.get(pick) {
                    fs::write(path, garbage).unwrap();
                }
            }
            let mut machine = Machine::at(root.path()).with_filesystem("/var/lib/holdfast", true);
            _ = machine.recognise(Architecture::Aarch64);
            _ = (machine.memory(), machine.storage(), machine.power(), machine.net(), machine.system(), machine.boot_cause());
            let cpu = machine.cpu();
            prop_assert!(cpu.temperature_mc.is_none_or(|mc| (1_000..200_000).contains(&mc)));
            prop_assert!(cpu.pressure.some_percent.is_none_or(|percent| (0.0..=100.0).contains(&percent)));
        }
    }
}
