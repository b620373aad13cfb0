//! A machine with every sensor that there is, all of them well, and one whose readings follow a script.

use holdfast_hal::chip::{Tier, TpmReading};
use holdfast_hal::clock::{ClockReading, Leap};
use holdfast_hal::cpu::CpuReading;
use holdfast_hal::link::{LinkReading, NetReading};
use holdfast_hal::machine::{Clock, Cpu, Link, MachineReading, Memory, Power, Pressure, Storage, System};
use holdfast_hal::memory::MemoryReading;
use holdfast_hal::power::{PowerReading, ResetCounts, UpsReading};
use holdfast_hal::storage::{DiskReading, FilesystemReading, HistoryReading, StorageReading};
use holdfast_hal::system::SystemReading;

use crate::Script;

/// A small server whose every sensor is present and shows what it should.
#[must_use]
pub fn sound() -> MachineReading {
    MachineReading {
        storage: storage(),
        memory: MemoryReading {
            total_kib: Some(8 << 20),
            available_kib: Some(6 << 20),
            pressure: STILL,
            oom_kills: Some(0),
            ecc_corrected: Some(0),
            ecc_uncorrected: Some(0),
        },
        cpu: CpuReading {
            missing_features: Some(Vec::new()),
            temperature_mc: Some(52_000),
            trip_mc: Some(95_000),
            throttles: Some(0),
            frequency_allowed_khz: Some(3_400_000),
            frequency_best_khz: Some(3_400_000),
            pressure: STILL,
            steal_ms: Some(0),
            total_ms: Some(0),
        },
        power: PowerReading {
            under_voltage: Some(false),
            resets: ResetCounts { watchdog: Some(0), power: Some(0), panic: Some(0) },
            ups: Some(UpsReading {
                answers: true,
                on_battery: Some(false),
                low: Some(false),
                replace: Some(false),
                charge_percent: Some(100),
                runtime_s: Some(2400),
            }),
        },
        clock: ClockReading {
            synchronised: Some(true),
            source: Some("time.example".to_owned()),
            offset_us: Some(-400),
            root_delay_us: Some(20_000),
            root_dispersion_us: Some(1_500),
            stratum: Some(3),
            leap: Some(Leap::Normal),
            authenticated: Some(true),
            jump_ms: Some(0),
        },
        tpm: TpmReading {
            present: Some(true),
            maker: Some("IFX".to_owned()),
            firmware: Some((16, 13)),
            self_test_passed: Some(true),
            lockout_count: Some(0),
            lockout_max: Some(32),
            latency_ms: Some(60),
            nv_writes_left: Some(400_000),
            nv_writes_day: Some(40),
            tier: Some(Tier::A),
        },
        net: net(),
        system: SystemReading {
            uptime_s: Some(3600),
            taint: Some(0),
            machine_checks: Some(0),
            watchdog_armed: Some(true),
            booted_as_meant: Some(true),
            days_since_update: Some(12),
            shutdown_clean: Some(true),
        },
    }
}

fn storage() -> StorageReading {
    let nvme = DiskReading {
        name: "nvme0n1".to_owned(),
        model: Some("Sim NVMe 512".to_owned()),
        passed: Some(true),
        critical_warning: Some(0),
        used_percent: Some(4),
        spare_percent: Some(100),
        spare_limit_percent: Some(10),
        pre_eol: None,
        media_errors: Some(0),
        io_errors: Some(0),
        temperature_c: Some(44),
        temperature_limit_c: Some(84),
    };
    let emmc = DiskReading {
        name: "mmcblk0".to_owned(),
        used_percent: Some(10),
        pre_eol: Some(1),
        io_errors: Some(0),
        ..DiskReading::default()
    };
    let state = FilesystemReading {
        mount: "/var/lib/holdfast".to_owned(),
        bytes: Some(400 << 30),
        free_bytes: Some(300 << 30),
        inodes: Some(26_000_000),
        free_inodes: Some(25_900_000),
        read_only: Some(false),
        written: true,
        errors: Some(0),
    };
    let image = FilesystemReading {
        mount: "/usr".to_owned(),
        bytes: Some(2 << 30),
        read_only: Some(true),
        ..FilesystemReading::default()
    };
    let history = HistoryReading { writable: Some(true), fsync_p50_us: Some(900), fsync_p99_us: Some(4_000) };
    StorageReading { disks: vec![nvme, emmc], filesystems: vec![state, image], history }
}

fn net() -> NetReading {
    let used = LinkReading {
        name: "enp1s0".to_owned(),
        used: true,
        carrier: Some(true),
        speed_mbps: Some(1000),
        speed_best_mbps: Some(2500),
        full_duplex: Some(true),
        errors: Some(0),
        drops: Some(0),
        packets: Some(0),
        carrier_changes: Some(2),
        mtu: Some(1500),
    };
    let spare = LinkReading { name: "enp2s0".to_owned(), carrier: Some(false), ..LinkReading::default() };
    NetReading {
        links: vec![used, spare],
        has_address: Some(true),
        has_default_route: Some(true),
        dns_answers: Some(true),
        dns_ms: Some(18),
    }
}

/// Nothing waits.
const STILL: Pressure = Pressure { some_percent: Some(0.0), full_percent: Some(0.0) };

/// A machine whose readings follow a script; the time is what it is told.
pub struct SimMachine {
    script: Script<MachineReading>,
    now_ms: u64,
}

impl SimMachine {
    /// A machine at the beginning of its script.
    #[must_use]
    pub fn new(script: Script<MachineReading>) -> Self {
        Self { script, now_ms: 0 }
    }

    /// Lets it be another time, in ms since the beginning of the script.
    pub fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Everything that it shows now.
    #[must_use]
    pub fn reading(&self) -> MachineReading {
        self.script.at(self.now_ms)
    }
}

impl Storage for SimMachine {
    fn storage(&mut self) -> StorageReading {
        self.reading().storage
    }
}

impl Memory for SimMachine {
    fn memory(&mut self) -> MemoryReading {
        self.reading().memory
    }
}

impl Cpu for SimMachine {
    fn cpu(&mut self) -> CpuReading {
        self.reading().cpu
    }
}

impl Power for SimMachine {
    fn power(&mut self) -> PowerReading {
        self.reading().power
    }
}

impl Clock for SimMachine {
    fn clock(&mut self) -> ClockReading {
        self.reading().clock
    }
}

impl Link for SimMachine {
    fn net(&mut self) -> NetReading {
        self.reading().net
    }
}

impl System for SimMachine {
    fn system(&mut self) -> SystemReading {
        self.reading().system
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_machine_follows_the_script() {
        let script = Script::sound(sound()).between(5, 10, |machine, _| *machine = MachineReading::default());
        let mut machine = SimMachine::new(script);
        for (now_ms, expected) in [(4, sound()), (5, MachineReading::default()), (10, sound())] {
            machine.set_now(now_ms);
            let read = MachineReading {
                storage: machine.storage(),
                memory: machine.memory(),
                cpu: machine.cpu(),
                power: machine.power(),
                clock: machine.clock(),
                tpm: machine.reading().tpm,
                net: machine.net(),
                system: machine.system(),
            };
            assert_eq!(read, expected, "at {now_ms}");
        }
    }
}
