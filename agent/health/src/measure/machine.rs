//! The machine's own parts.

use holdfast_hal::chip::{Tier, TpmReading};
use holdfast_hal::clock::{ClockReading, Leap};
use holdfast_hal::cpu::CpuReading;
use holdfast_hal::link::{LinkReading, NetReading};
use holdfast_hal::memory::MemoryReading;
use holdfast_hal::power::PowerReading;
use holdfast_hal::storage::{DiskReading, FilesystemReading, StorageReading};
use holdfast_hal::system::SystemReading;

use super::{HOUR_MS, Measure, Samples, bounded, float, percent};
use crate::condition::Subject;
use crate::memory::days;

const ONLY: Subject = Subject::ONLY;

pub(super) fn disk(reading: &StorageReading, samples: &mut Samples<'_>) {
    for (of, disk) in bounded(&reading.disks, |disk| &disk.name) {
        one_disk(&of, disk, samples);
    }
    for (of, filesystem) in bounded(&reading.filesystems, |filesystem| &filesystem.mount) {
        one_filesystem(&of, filesystem, samples);
    }
    let history = &reading.history;
    samples.flag(Measure::DiskHistory, &ONLY, history.writable.map(|writable| !writable));
    samples.number(Measure::DiskFsync, &ONLY, history.fsync_p99_us.map(ms));
    samples.number(Measure::DiskFsyncMedian, &ONLY, history.fsync_p50_us.map(ms));
}

fn one_disk(of: &Subject, disk: &DiskReading, samples: &mut Samples<'_>) {
    let failing = match (disk.passed, disk.critical_warning) {
        (None, None) => None,
        (passed, warning) => Some(passed == Some(false) || warning.is_some_and(|bits| bits != 0)),
    };
    samples.flag(Measure::DiskFailing, of, failing);
    samples.number(Measure::DiskUsed, of, disk.used_percent.map(f64::from));
    let spare = disk.spare_percent.map(|spare| f64::from(spare) - f64::from(disk.spare_limit_percent.unwrap_or(0)));
    samples.number(Measure::DiskSpare, of, spare);
    samples.number(Measure::DiskReserve, of, disk.pre_eol.filter(|state| *state > 0).map(f64::from));
    samples.growth(Measure::DiskMedia, of, disk.media_errors);
    samples.growth(Measure::DiskIo, of, disk.io_errors);
    let temperature = disk.temperature_c.map(f64::from);
    let limit = f64::from(disk.temperature_limit_c.unwrap_or(DISK_LIMIT_C));
    samples.number(Measure::DiskHeadroom, of, temperature.map(|temperature| limit - temperature));
    samples.number(Measure::DiskTemperature, of, temperature);
}

fn one_filesystem(of: &Subject, filesystem: &FilesystemReading, samples: &mut Samples<'_>) {
    samples.number(Measure::DiskFree, of, percent(filesystem.free_bytes, filesystem.bytes));
    samples.number(Measure::DiskFiles, of, percent(filesystem.free_inodes, filesystem.inodes));
    samples.days_left(Measure::DiskDaysLeft, of, filesystem.free_bytes);
    samples.days_left(Measure::DiskFilesDaysLeft, of, filesystem.free_inodes);
    samples.number(Measure::DiskFilesystem, of, filesystem.errors.map(float));
    samples.flag(Measure::DiskReadOnly, of, filesystem.read_only.map(|read_only| read_only && filesystem.written));
}

pub(super) fn memory(reading: &MemoryReading, samples: &mut Samples<'_>) {
    samples.number(Measure::MemoryAvailable, &ONLY, percent(reading.available_kib, reading.total_kib));
    samples.number(Measure::MemoryTotal, &ONLY, reading.total_kib.map(|kib| float(kib / 1024)));
    samples.number(Measure::MemorySome, &ONLY, reading.pressure.some_percent);
    samples.number(Measure::MemoryFull, &ONLY, reading.pressure.full_percent);
    samples.growth(Measure::MemoryKills, &ONLY, reading.oom_kills);
    samples.growth(Measure::MemoryCorrected, &ONLY, reading.ecc_corrected);
    samples.number(Measure::MemoryUncorrected, &ONLY, reading.ecc_uncorrected.map(float));
}

pub(super) fn cpu(reading: &CpuReading, samples: &mut Samples<'_>) {
    samples.number(Measure::CpuMissing, &ONLY, reading.missing_features.as_ref().map(|list| float(list.len() as u64)));
    let temperature = reading.temperature_mc.and_then(celsius);
    let headroom = temperature.zip(reading.trip_mc.and_then(celsius)).map(|(temperature, trip)| trip - temperature);
    samples.number(Measure::CpuHeadroom, &ONLY, headroom);
    samples.number(Measure::CpuTemperature, &ONLY, temperature);
    samples.growth(Measure::CpuThrottles, &ONLY, reading.throttles);
    samples.number(Measure::CpuCap, &ONLY, percent(reading.frequency_allowed_khz, reading.frequency_best_khz));
    samples.number(Measure::CpuPressure, &ONLY, reading.pressure.some_percent);
    let steal = samples.share(Measure::CpuSteal, &ONLY, (reading.steal_ms, reading.total_ms), 0);
    samples.number(Measure::CpuSteal, &ONLY, steal.map(|share| share * 100.0));
}

pub(super) fn power(reading: &PowerReading, samples: &mut Samples<'_>) {
    samples.flag(Measure::PowerVoltage, &ONLY, reading.under_voltage);
    samples.number(Measure::PowerLost, &ONLY, reading.resets.power.map(f64::from));
    samples.number(Measure::SystemWatchdog, &ONLY, reading.resets.watchdog.map(f64::from));
    samples.number(Measure::SystemPanics, &ONLY, reading.resets.panic.map(f64::from));
    let Some(ups) = reading.ups else { return };
    samples.flag(Measure::PowerUpsSilent, &ONLY, Some(!ups.answers));
    samples.flag(Measure::PowerOnBattery, &ONLY, ups.on_battery);
    samples.flag(Measure::PowerUpsLow, &ONLY, ups.low);
    samples.flag(Measure::PowerReplace, &ONLY, ups.replace);
    samples.number(Measure::PowerCharge, &ONLY, ups.charge_percent.map(f64::from));
    samples.number(Measure::PowerRuntime, &ONLY, ups.runtime_s.map(f64::from));
}

pub(super) fn clock(reading: &ClockReading, samples: &mut Samples<'_>) {
    // A source that is itself not synchronised, or stratum 16 (RFC 5905), keeps nothing right.
    let adrift = reading.leap == Some(Leap::Unsynchronised) || reading.stratum.is_some_and(|stratum| stratum >= 16);
    samples.flag(Measure::ClockUnsynchronised, &ONLY, reading.synchronised.map(|synchronised| !synchronised || adrift));
    samples.number(Measure::ClockOffset, &ONLY, reading.offset_us.map(|us| ms(us.unsigned_abs())));
    // The synchronisation distance of RFC 5905: half of the way to the root and back, and what the root may be wrong by.
    let distance = reading.root_delay_us.zip(reading.root_dispersion_us);
    let root = distance.map(|(delay, dispersion)| ms((delay / 2).saturating_add(dispersion)));
    samples.number(Measure::ClockRoot, &ONLY, root);
    samples.number(Measure::ClockStratum, &ONLY, reading.stratum.map(f64::from));
    samples.flag(Measure::ClockBare, &ONLY, reading.authenticated.map(|authenticated| !authenticated));
    samples.number(Measure::ClockJump, &ONLY, reading.jump_ms.map(float));
}

pub(super) fn tpm(reading: &TpmReading, samples: &mut Samples<'_>) {
    samples.flag(Measure::TpmGone, &ONLY, reading.present.map(|present| !present));
    let known = reading.maker.as_deref().zip(reading.firmware);
    samples.flag(Measure::TpmBad, &ONLY, known.map(|(maker, firmware)| crate::table::is_known_bad(maker, firmware)));
    samples.flag(Measure::TpmSelfTest, &ONLY, reading.self_test_passed.map(|passed| !passed));
    let lockout = percent(reading.lockout_count.map(u64::from), reading.lockout_max.map(u64::from));
    samples.number(Measure::TpmLockout, &ONLY, lockout);
    samples.number(Measure::TpmLatency, &ONLY, reading.latency_ms.map(float));
    let rate = reading.nv_writes_left.zip(reading.nv_writes_day);
    samples.number(Measure::TpmNv, &ONLY, rate.map(|(left, day)| days(float(left) / float(day))));
    let tier = reading.tier.map(|tier| match tier {
        Tier::A => 1.0,
        Tier::B => 2.0,
        Tier::C => 3.0,
    });
    samples.number(Measure::TpmTier, &ONLY, tier);
}

pub(super) fn link(reading: &NetReading, samples: &mut Samples<'_>) {
    for (of, link) in bounded(&reading.links, |link| &link.name) {
        // What nobody uses may be unplugged, slow or noisy.
        if link.used {
            one_link(&of, link, samples);
        }
    }
    samples.flag(Measure::LinkAddress, &ONLY, reading.has_address.map(|has| !has));
    samples.flag(Measure::LinkRoute, &ONLY, reading.has_default_route.map(|has| !has));
    samples.flag(Measure::LinkDns, &ONLY, reading.dns_answers.map(|answers| !answers));
    samples.number(Measure::LinkDnsTime, &ONLY, reading.dns_ms.map(float));
}

fn one_link(of: &Subject, link: &LinkReading, samples: &mut Samples<'_>) {
    samples.flag(Measure::LinkDown, of, link.carrier.map(|carrier| !carrier));
    samples.number(Measure::LinkSpeed, of, link.speed_mbps.map(f64::from));
    samples.number(Measure::LinkBest, of, percent(link.speed_mbps.map(u64::from), link.speed_best_mbps.map(u64::from)));
    samples.flag(Measure::LinkHalf, of, link.full_duplex.map(|full| !full));
    for (measure, bad) in [(Measure::LinkErrors, link.errors), (Measure::LinkDrops, link.drops)] {
        let share = samples.share(measure, of, (bad, link.packets), PACKETS_LEAST);
        samples.number(measure, of, share.map(|share| share * 1e6));
    }
    samples.growth(Measure::LinkFlaps, of, link.carrier_changes);
    samples.number(Measure::LinkMtu, of, link.mtu.map(f64::from));
}

pub(super) fn system(reading: &SystemReading, samples: &mut Samples<'_>) {
    let faults = reading.taint.map(|taint| f64::from((taint & TAINT_FAULTS).count_ones()));
    samples.number(Measure::SystemTaint, &ONLY, faults);
    samples.growth(Measure::SystemMce, &ONLY, reading.machine_checks);
    samples.flag(Measure::SystemUnwatched, &ONLY, reading.watchdog_armed.map(|armed| !armed));
    samples.flag(Measure::SystemFallback, &ONLY, reading.booted_as_meant.map(|meant| !meant));
    samples.number(Measure::SystemUpdate, &ONLY, reading.days_since_update.map(f64::from));
    // Told for a day; a boot that went well for longer has outlived it.
    let new = reading.uptime_s.is_none_or(|uptime_s| uptime_s < DAY_S);
    samples.flag(Measure::SystemUnclean, &ONLY, reading.shutdown_clean.map(|clean| !clean && new));
}

impl Samples<'_> {
    /// The share that one counter's growth has in another's over the last hour; `None` while the other grew by no more
    /// than `least`, because a share of almost nothing says nothing.
    fn share(
        &mut self,
        measure: Measure,
        of: &Subject,
        (part, whole): (Option<u64>, Option<u64>),
        least: u64,
    ) -> Option<f64> {
        let part = self.memory.growth((measure, of), self.now_ms, HOUR_MS, part?);
        let whole = self.memory.growth_of_whole((measure, of), self.now_ms, HOUR_MS, whole?);
        (whole > least).then(|| float(part) / float(whole))
    }
}

/// Thousandths of a degree as degrees; `None` for what no sensor means.
fn celsius(thousandths: i64) -> Option<f64> {
    i32::try_from(thousandths).ok().map(|thousandths| f64::from(thousandths) / 1000.0)
}

fn ms(us: u64) -> f64 {
    float(us) / 1000.0
}

/// What disks without a limit of their own are held to: the least that makers of consumer NVMe drives allow.
const DISK_LIMIT_C: i32 = 70;
/// At fewer packets an hour than this, one that is damaged would already cross the limit.
const PACKETS_LEAST: u64 = 10_000;
const DAY_S: u64 = 24 * 3600;
/// Machine check, bad page, oops, kernel warning, soft lockup: bits 4, 5, 7, 9 and 14 of `admin-guide/tainted-kernels.rst`.
/// The other bits say what was loaded, not what went wrong.
const TAINT_FAULTS: u64 = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;
