//! The processors, by proc(5) and the kernel's documentation of hwmon, thermal zones and cpufreq.

use std::path::{Path, PathBuf};

use holdfast_hal::board::Board;
use holdfast_hal::cpu::CpuReading;

use crate::files::{entries, number, sum, text, word};
use crate::memory::{field, pressure};
use crate::process::MS_PER_TICK;

pub(crate) fn read(root: &Path, board: Option<&Board>) -> CpuReading {
    let names = |name: &str| match board {
        Some(board) => board.cpu_sensors.iter().any(|sensor| sensor == name),
        None => SENSORS.contains(&name),
    };
    let heat: Vec<Heat> = hwmon(root, &names).into_iter().chain(zones(root, &names)).collect();
    let firmware_mc = board.and_then(|board| board.slows_down_at_c).map(|celsius| i64::from(celsius) * 1000);
    let processors = entries(&root.join("sys/devices/system/cpu"), "cpu");
    let throttles = processors.iter().map(|(_, folder)| number(&folder.join("thermal_throttle/core_throttle_count")));
    let policy = slowest_policy(root);
    let times = text(&root.join("proc/stat")).and_then(|stat| times_ms(&stat));
    CpuReading {
        missing_features: missing_features(root),
        temperature_mc: heat.iter().map(|heat| heat.temperature_mc).max(),
        trip_mc: heat.iter().filter_map(|heat| heat.trip_mc).chain(firmware_mc).min(),
        throttles: sum(throttles),
        frequency_allowed_khz: policy.map(|(allowed, _)| allowed),
        frequency_best_khz: policy.map(|(_, best)| best),
        pressure: pressure(root, "cpu"),
        steal_ms: times.map(|(steal, _)| steal),
        total_ms: times.map(|(_, total)| total),
    }
}

/// One sensor, and where it slows its processor down or switches it off. In thousandths of a °C.
struct Heat {
    temperature_mc: i64,
    trip_mc: Option<i64>,
}

fn hwmon(root: &Path, is_ours: &impl Fn(&str) -> bool) -> Vec<Heat> {
    let chips = entries(&root.join("sys/class/hwmon"), "hwmon");
    let ours = chips.into_iter().filter(|(_, chip)| word(&chip.join("name")).is_some_and(|name| is_ours(&name)));
    let sensors = ours.flat_map(|(_, chip)| {
        let inputs = entries(&chip, "temp").into_iter().filter_map(|(name, _)| {
            let sensor = name.strip_suffix("_input")?.to_owned();
            Some((chip.clone(), sensor))
        });
        inputs.collect::<Vec<(PathBuf, String)>>()
    });
    let heat = sensors.filter_map(|(chip, sensor)| {
        let limit = |kind| number(&chip.join(format!("{sensor}_{kind}"))).filter(|limit| plausible(*limit));
        let temperature_mc = number(&chip.join(format!("{sensor}_input"))).filter(|value| plausible(*value))?;
        // By hwmon/coretemp.rst fans run at full speed at `max`, and the processor protects itself at `crit`.
        Some(Heat { temperature_mc, trip_mc: limit("crit").or_else(|| limit("max")) })
    });
    heat.collect()
}

fn zones(root: &Path, is_ours: &impl Fn(&str) -> bool) -> Vec<Heat> {
    let zones = entries(&root.join("sys/class/thermal"), "thermal_zone");
    let ours = zones.into_iter().filter(|(_, zone)| word(&zone.join("type")).is_some_and(|name| is_ours(&name)));
    let heat = ours.filter_map(|(_, zone)| {
        let temperature_mc = number(&zone.join("temp")).filter(|value| plausible(*value))?;
        let trips = entries(&zone, "trip_point_").into_iter().filter_map(|(name, path)| {
            let point = name.strip_suffix("_type")?;
            // A trip point of type `active` only turns a fan.
            matches!(word(&path)?.as_str(), "passive" | "hot" | "critical").then_some(())?;
            number(&zone.join(format!("{point}_temp"))).filter(|value| plausible(*value))
        });
        Some(Heat { temperature_mc, trip_mc: trips.min() })
    });
    heat.collect()
}

/// Sensors and trip points that are not wired show zero, or what they would at absolute zero.
fn plausible(mc: i64) -> bool {
    (1_000..200_000).contains(&mc)
}

/// The policy that is held back most: what its processors may run at, and what they could.
fn slowest_policy(root: &Path) -> Option<(u64, u64)> {
    let policies = entries(&root.join("sys/devices/system/cpu/cpufreq"), "policy");
    let both = policies.iter().filter_map(|(_, policy)| {
        let best: u64 = number(&policy.join("cpuinfo_max_freq"))?;
        Some((number(&policy.join("scaling_max_freq"))?, best)).filter(|_| best > 0)
    });
    // By the share, written as products so that nothing is rounded.
    both.min_by(|(a, best_a), (b, best_b)| {
        (u128::from(*a) * u128::from(*best_b)).cmp(&(u128::from(*b) * u128::from(*best_a)))
    })
}

/// Steal and the whole of the first line, in ms. Guest time is in user time already.
fn times_ms(stat: &str) -> Option<(u64, u64)> {
    let line = field(stat, "cpu")?;
    let ticks: Vec<u64> = line.split_whitespace().take(TIMES).map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let total = ticks.iter().try_fold(0, |sum: u64, ticks| sum.checked_add(*ticks))?;
    Some((ticks.get(STEAL)?.checked_mul(MS_PER_TICK)?, total.checked_mul(MS_PER_TICK)?))
}

/// Of the features that the fast assembly of blst wants, those that `/proc/cpuinfo` does not list. arm64 always has what
/// it needs, and says so in a line of another name.
fn missing_features(root: &Path) -> Option<Vec<&'static str>> {
    let info = text(&root.join("proc/cpuinfo"))?;
    let line = |name| info.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
    if let Some(flags) = line("flags") {
        let has = |feature: &&&str| !flags.split_whitespace().any(|flag| flag == **feature);
        return Some(X86_FEATURES.iter().filter(has).copied().collect());
    }
    line("Features").map(|_| Vec::new())
}

/// Chips and zones that measure a processor, where no board says which.
const SENSORS: &[&str] =
    &["coretemp", "k10temp", "zenpower", "x86_pkg_temp", "cpu_thermal", "cpu-thermal", "soc_thermal", "soc-thermal"];
/// blst, `mulx_mont_384`.
const X86_FEATURES: &[&str] = &["adx", "bmi2"];
/// user, nice, system, idle, iowait, irq, softirq, steal.
const TIMES: usize = 8;
const STEAL: usize = 7;
