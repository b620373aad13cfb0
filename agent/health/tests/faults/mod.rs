//! One scripted fault for every row of the table, each with a twin just within the limit. The values are written here anew,
//! so that a limit that moves is noticed.

use holdfast_hal::chip::Tier;
use holdfast_hal::link::LinkReading;
use holdfast_hal::storage::{DiskReading, FilesystemReading};
use holdfast_health::Part;
use holdfast_health::Severity::{self, Critical, Info, Warning};
use holdfast_health::reading::{BeaconReading, PeerPath, PeerReading};
use holdfast_types::{DutyKind, Slot};

use crate::world::World;

/// A change that holds for a while, told for how many seconds it has held.
type Change = fn(&mut World, u64);

/// A fault that brings one row, and its twin that must not.
pub(crate) struct Fault {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    pub(crate) beyond: Change,
    pub(crate) within: Change,
    /// How long it takes until the measure shows it, in s.
    pub(crate) lead_s: u64,
}

const fn fault(id: &'static str, severity: Severity, beyond: Change, within: Change) -> Fault {
    Fault { id, severity, beyond, within, lead_s: 0 }
}

impl Fault {
    const fn after(mut self, lead_s: u64) -> Self {
        self.lead_s = lead_s;
        self
    }
}

/// What a flag that is not up needs for a twin: the world as it is.
fn nothing(_: &mut World, _: u64) {}

fn nvme(world: &mut World) -> &mut DiskReading {
    &mut world.machine.storage.disks[0]
}

fn emmc(world: &mut World) -> &mut DiskReading {
    &mut world.machine.storage.disks[1]
}

fn state(world: &mut World) -> &mut FilesystemReading {
    &mut world.machine.storage.filesystems[0]
}

fn port(world: &mut World) -> &mut LinkReading {
    &mut world.machine.net.links[0]
}

fn north(world: &mut World) -> &mut PeerReading {
    &mut world.peers.peers[0]
}

fn local(world: &mut World) -> &mut BeaconReading {
    &mut world.beacons.nodes[0]
}

fn free_percent(world: &mut World, percent: u64) {
    let state = state(world);
    state.bytes = Some(1000 << 30);
    state.free_bytes = Some(percent * (10 << 30));
}

fn offsets(world: &mut World, ms: [i64; 3]) {
    for (peer, ms) in world.peers.peers.iter_mut().zip(ms) {
        peer.clock_offset_ms = Some(ms);
    }
}

fn present(world: &mut World, peers: usize) {
    for (at, peer) in world.peers.peers.iter_mut().enumerate() {
        peer.connected = at < peers;
    }
}

fn ups(world: &mut World) -> &mut holdfast_hal::power::UpsReading {
    world.machine.power.ups.as_mut().unwrap()
}

/// What a filesystem loses each second that is full in so many days.
fn shrink(left: &mut Option<u64>, since_s: u64, days: u64) {
    *left = left.map(|left| left - left * since_s / (days * 86_400 + 6 * 3600));
}

const HOURS: u64 = 3600;

pub(crate) const FAULTS: &[&[Fault]] = &[DISK, MACHINE, TIME, TPM, NET, CLUSTER];

const DISK: &[Fault] = &[
    fault("disk.history-not-writable", Critical, |w, _| w.machine.storage.history.writable = Some(false), nothing),
    fault(
        "disk.failing",
        Critical,
        |w, _| nvme(w).critical_warning = Some(4),
        |w, _| nvme(w).critical_warning = Some(0),
    ),
    fault("disk.spare-low", Warning, |w, _| nvme(w).spare_percent = Some(19), |w, _| nvme(w).spare_percent = Some(20)),
    fault("disk.spare-low", Critical, |w, _| nvme(w).spare_percent = Some(10), |w, _| nvme(w).spare_percent = Some(11)),
    fault("disk.worn", Warning, |w, _| nvme(w).used_percent = Some(81), |w, _| nvme(w).used_percent = Some(80)),
    fault("disk.worn", Critical, |w, _| nvme(w).used_percent = Some(100), |w, _| nvme(w).used_percent = Some(99)),
    fault("disk.reserve-low", Warning, |w, _| emmc(w).pre_eol = Some(2), |w, _| emmc(w).pre_eol = Some(1)),
    fault("disk.reserve-low", Critical, |w, _| emmc(w).pre_eol = Some(3), |w, _| emmc(w).pre_eol = Some(2)),
    fault("disk.media-errors", Warning, |w, _| nvme(w).media_errors = Some(1), nothing),
    fault("disk.io-errors", Warning, |w, _| nvme(w).io_errors = Some(1), nothing),
    fault("disk.hot", Warning, |w, _| nvme(w).temperature_c = Some(80), |w, _| nvme(w).temperature_c = Some(79)),
    fault("disk.hot", Critical, |w, _| nvme(w).temperature_c = Some(85), |w, _| nvme(w).temperature_c = Some(84)),
    fault("disk.filesystem-errors", Critical, |w, _| state(w).errors = Some(1), nothing),
    fault("disk.read-only", Critical, |w, _| state(w).read_only = Some(true), nothing),
    fault("disk.space-low", Warning, |w, _| free_percent(w, 9), |w, _| free_percent(w, 10)),
    fault("disk.space-low", Critical, |w, _| free_percent(w, 2), |w, _| free_percent(w, 3)),
    fault(
        "disk.files-low",
        Warning,
        |w, _| state(w).free_inodes = Some(2_599_999),
        |w, _| {
            state(w).free_inodes = Some(2_600_000);
        },
    ),
    fault(
        "disk.files-low",
        Critical,
        |w, _| state(w).free_inodes = Some(779_999),
        |w, _| {
            state(w).free_inodes = Some(780_000);
        },
    ),
    fault(
        "disk.filling",
        Warning,
        |w, s| shrink(&mut state(w).free_bytes, s, 6),
        |w, s| {
            shrink(&mut state(w).free_bytes, s, 9);
        },
    )
    .after(6 * HOURS - 600),
    fault(
        "disk.files-filling",
        Warning,
        |w, s| shrink(&mut state(w).free_inodes, s, 6),
        |w, s| {
            shrink(&mut state(w).free_inodes, s, 9);
        },
    )
    .after(6 * HOURS - 600),
    fault(
        "disk.fsync-slow",
        Info,
        |w, _| w.machine.storage.history.fsync_p99_us = Some(50_001),
        |w, _| {
            w.machine.storage.history.fsync_p99_us = Some(50_000);
        },
    ),
    fault(
        "disk.fsync-slow",
        Warning,
        |w, _| w.machine.storage.history.fsync_p99_us = Some(300_001),
        |w, _| {
            w.machine.storage.history.fsync_p99_us = Some(300_000);
        },
    ),
    fault(
        "disk.fsync-slow",
        Critical,
        |w, _| w.machine.storage.history.fsync_p99_us = Some(2_000_001),
        |w, _| {
            w.machine.storage.history.fsync_p99_us = Some(2_000_000);
        },
    ),
];

const MACHINE: &[Fault] = &[
    fault(
        "memory.small",
        Info,
        |w, _| w.machine.memory.total_kib = Some(1799 * 1024),
        |w, _| {
            w.machine.memory.total_kib = Some(1800 * 1024);
        },
    ),
    fault(
        "memory.low",
        Warning,
        |w, _| w.machine.memory.available_kib = Some(838_860),
        |w, _| {
            w.machine.memory.available_kib = Some(838_861);
        },
    ),
    fault(
        "memory.low",
        Critical,
        |w, _| w.machine.memory.available_kib = Some(335_544),
        |w, _| {
            w.machine.memory.available_kib = Some(335_545);
        },
    ),
    fault(
        "memory.pressure",
        Warning,
        |w, _| w.machine.memory.pressure.some_percent = Some(10.01),
        |w, _| {
            w.machine.memory.pressure.some_percent = Some(10.0);
        },
    ),
    fault(
        "memory.stalled",
        Critical,
        |w, _| w.machine.memory.pressure.full_percent = Some(20.01),
        |w, _| {
            w.machine.memory.pressure.full_percent = Some(20.0);
        },
    ),
    fault("memory.killed", Warning, |w, _| w.machine.memory.oom_kills = Some(1), nothing),
    fault(
        "memory.ecc-corrected",
        Warning,
        |w, _| w.machine.memory.ecc_corrected = Some(11),
        |w, _| {
            w.machine.memory.ecc_corrected = Some(10);
        },
    ),
    fault("memory.ecc-uncorrected", Critical, |w, _| w.machine.memory.ecc_uncorrected = Some(1), nothing),
    fault("cpu.features-missing", Info, |w, _| w.machine.cpu.missing_features = Some(vec!["adx"]), nothing),
    fault(
        "cpu.hot",
        Warning,
        |w, _| w.machine.cpu.temperature_mc = Some(85_001),
        |w, _| {
            w.machine.cpu.temperature_mc = Some(85_000);
        },
    ),
    fault(
        "cpu.hot",
        Critical,
        |w, _| w.machine.cpu.temperature_mc = Some(93_001),
        |w, _| {
            w.machine.cpu.temperature_mc = Some(93_000);
        },
    ),
    fault(
        "cpu.throttled",
        Warning,
        |w, _| w.machine.cpu.throttles = Some(61),
        |w, _| {
            w.machine.cpu.throttles = Some(60);
        },
    ),
    fault(
        "cpu.capped",
        Warning,
        |w, _| w.machine.cpu.frequency_allowed_khz = Some(2_039_999),
        |w, _| {
            w.machine.cpu.frequency_allowed_khz = Some(2_040_000);
        },
    ),
    fault(
        "cpu.pressure",
        Warning,
        |w, _| w.machine.cpu.pressure.some_percent = Some(25.1),
        |w, _| {
            w.machine.cpu.pressure.some_percent = Some(25.0);
        },
    ),
    // The fault begins when 600 s of CPU time are on the account, and takes a tenth of what comes, or half of that.
    fault(
        "cpu.stolen",
        Warning,
        |w, s| w.machine.cpu.steal_ms = Some(s * 400),
        |w, s| {
            w.machine.cpu.steal_ms = Some(s * 190);
        },
    )
    .after(600),
    fault("power.under-voltage", Warning, |w, _| w.machine.power.under_voltage = Some(true), nothing),
    fault("power.lost", Warning, |w, _| w.machine.power.resets.power = Some(1), nothing),
    fault(
        "power.lost",
        Critical,
        |w, _| w.machine.power.resets.power = Some(3),
        |w, _| {
            w.machine.power.resets.power = Some(2);
        },
    ),
    fault("power.on-battery", Warning, |w, _| ups(w).on_battery = Some(true), nothing),
    fault("power.battery-low", Critical, |w, _| ups(w).low = Some(true), |w, _| ups(w).on_battery = Some(true)),
    fault("power.battery-old", Warning, |w, _| ups(w).replace = Some(true), nothing),
    fault(
        "power.ups-silent",
        Warning,
        |w, _| w.machine.power.ups = Some(Default::default()),
        |w, _| {
            w.machine.power.ups = None;
        },
    ),
    fault("system.watchdog-reset", Warning, |w, _| w.machine.power.resets.watchdog = Some(1), nothing),
    fault(
        "system.watchdog-reset",
        Critical,
        |w, _| w.machine.power.resets.watchdog = Some(3),
        |w, _| {
            w.machine.power.resets.watchdog = Some(2);
        },
    ),
    fault("system.panicked", Warning, |w, _| w.machine.power.resets.panic = Some(1), nothing),
    fault(
        "system.unclean-shutdown",
        Info,
        |w, _| w.machine.system.shutdown_clean = Some(false),
        |w, _| {
            w.machine.system.shutdown_clean = Some(false);
            w.machine.system.uptime_s = Some(24 * HOURS);
        },
    ),
    // A kernel warning; the twin has loaded a module of another's and one without a signature.
    fault(
        "system.kernel-fault",
        Warning,
        |w, _| w.machine.system.taint = Some(1 << 9),
        |w, _| {
            w.machine.system.taint = Some(1 << 12 | 1 << 13);
        },
    ),
    fault("system.machine-checks", Warning, |w, _| w.machine.system.machine_checks = Some(1), nothing),
    fault("system.watchdog-off", Warning, |w, _| w.machine.system.watchdog_armed = Some(false), nothing),
    fault("system.other-boot-slot", Warning, |w, _| w.machine.system.booted_as_meant = Some(false), nothing),
    fault(
        "system.update-old",
        Info,
        |w, _| w.machine.system.days_since_update = Some(121),
        |w, _| {
            w.machine.system.days_since_update = Some(120);
        },
    ),
    fault(
        "system.unread",
        Warning,
        |w, _| w.unread = Some(Part::Memory),
        |w, s| {
            w.unread = Some(Part::Memory).filter(|_| s < 590);
        },
    )
    .after(590),
];

const TIME: &[Fault] = &[
    fault(
        "clock.off-quorum",
        Critical,
        |w, _| offsets(w, [-6001, -6001, -7200]),
        |w, _| {
            offsets(w, [-6000, -9000, -9000]);
        },
    ),
    fault(
        "clock.unsynchronised",
        Warning,
        |w, _| w.machine.clock.stratum = Some(16),
        |w, _| {
            w.machine.clock.stratum = Some(5);
        },
    ),
    fault(
        "clock.offset",
        Warning,
        |w, _| w.machine.clock.offset_us = Some(-100_001),
        |w, _| {
            w.machine.clock.offset_us = Some(-100_000);
        },
    ),
    fault(
        "clock.offset",
        Critical,
        |w, _| w.machine.clock.offset_us = Some(500_001),
        |w, _| {
            w.machine.clock.offset_us = Some(500_000);
        },
    ),
    fault(
        "clock.inaccurate",
        Warning,
        |w, _| w.machine.clock.root_dispersion_us = Some(240_001),
        |w, _| {
            w.machine.clock.root_dispersion_us = Some(240_000);
        },
    ),
    fault("clock.far", Info, |w, _| w.machine.clock.stratum = Some(6), |w, _| w.machine.clock.stratum = Some(5)),
    fault("clock.unauthenticated", Info, |w, _| w.machine.clock.authenticated = Some(false), nothing),
    fault(
        "clock.jumped",
        Warning,
        |w, _| w.machine.clock.jump_ms = Some(501),
        |w, _| {
            w.machine.clock.jump_ms = Some(500);
        },
    ),
];

const TPM: &[Fault] = &[
    fault("tpm.gone", Critical, |w, _| w.machine.tpm.present = Some(false), nothing),
    fault(
        "tpm.known-bad",
        Warning,
        |w, _| w.machine.tpm.firmware = Some((7, 61)),
        |w, _| {
            w.machine.tpm.firmware = Some((7, 62));
        },
    ),
    fault("tpm.self-test-failed", Critical, |w, _| w.machine.tpm.self_test_passed = Some(false), nothing),
    fault(
        "tpm.lockout-near",
        Warning,
        |w, _| w.machine.tpm.lockout_count = Some(17),
        |w, _| {
            w.machine.tpm.lockout_count = Some(16);
        },
    ),
    fault(
        "tpm.lockout-near",
        Critical,
        |w, _| w.machine.tpm.lockout_count = Some(32),
        |w, _| {
            w.machine.tpm.lockout_count = Some(31);
        },
    ),
    fault(
        "tpm.slow",
        Warning,
        |w, _| w.machine.tpm.latency_ms = Some(2001),
        |w, _| {
            w.machine.tpm.latency_ms = Some(2000);
        },
    ),
    fault(
        "tpm.worn",
        Warning,
        |w, _| w.machine.tpm.nv_writes_left = Some(29_199),
        |w, _| {
            w.machine.tpm.nv_writes_left = Some(29_200);
        },
    ),
    fault(
        "tpm.worn",
        Critical,
        |w, _| w.machine.tpm.nv_writes_left = Some(2_399),
        |w, _| {
            w.machine.tpm.nv_writes_left = Some(2_400);
        },
    ),
    fault("tpm.tier", Info, |w, _| w.machine.tpm.tier = Some(Tier::B), |w, _| w.machine.tpm.tier = Some(Tier::A)),
    fault("tpm.tier", Warning, |w, _| w.machine.tpm.tier = Some(Tier::C), |w, _| w.machine.tpm.tier = Some(Tier::B)),
];

const NET: &[Fault] = &[
    // The twin is a port that nobody uses and that has no carrier, in every script.
    fault("link.down", Critical, |w, _| port(w).carrier = Some(false), nothing),
    fault("link.slow", Warning, |w, _| port(w).speed_mbps = Some(10), |w, _| port(w).speed_mbps = Some(100)),
    fault(
        "link.below-best",
        Warning,
        |w, _| port(w).speed_mbps = Some(100),
        |w, _| {
            port(w).speed_mbps = Some(110);
            port(w).speed_best_mbps = Some(1000);
        },
    ),
    fault("link.half-duplex", Warning, |w, _| port(w).full_duplex = Some(false), nothing),
    // A thousand packets come each second; the hour before the fault has 600,000.
    fault("link.errors", Warning, |w, _| port(w).errors = Some(75), |w, _| port(w).errors = Some(50)),
    fault("link.drops", Warning, |w, _| port(w).drops = Some(750), |w, _| port(w).drops = Some(500)),
    fault("link.flapping", Warning, |w, _| port(w).carrier_changes = Some(7), |w, _| port(w).carrier_changes = Some(6)),
    fault("link.mtu-low", Warning, |w, _| port(w).mtu = Some(1279), |w, _| port(w).mtu = Some(1280)),
    fault("link.no-address", Critical, |w, _| w.machine.net.has_address = Some(false), nothing),
    fault("link.no-route", Critical, |w, _| w.machine.net.has_default_route = Some(false), nothing),
    fault("link.dns-fails", Warning, |w, _| w.machine.net.dns_answers = Some(false), nothing),
    fault("link.dns-slow", Info, |w, _| w.machine.net.dns_ms = Some(501), |w, _| w.machine.net.dns_ms = Some(500)),
];

const CLUSTER: &[Fault] = &[
    fault("peers.too-few", Warning, |w, _| present(w, 2), |w, _| present(w, 3)),
    fault("peers.too-few", Critical, |w, _| present(w, 1), |w, _| present(w, 2)),
    fault("peer.gone", Warning, |w, _| north(w).connected = false, nothing),
    fault("peer.slow", Info, |w, _| north(w).rtt_p50_ms = Some(50.1), |w, _| north(w).rtt_p50_ms = Some(50.0)),
    fault("peer.slow", Warning, |w, _| north(w).rtt_p50_ms = Some(240.1), |w, _| north(w).rtt_p50_ms = Some(240.0)),
    fault("peer.loss", Warning, |w, _| north(w).loss_percent = Some(5.1), |w, _| north(w).loss_percent = Some(5.0)),
    fault("peer.relayed-only", Warning, |w, _| north(w).path = Some(PeerPath::Relayed { over: "r1".into() }), nothing),
    fault("peer.version", Warning, |w, _| north(w).version_supported = Some(false), nothing),
    fault("peer.clock-off", Warning, |w, _| offsets(w, [501, 0, 0]), |w, _| offsets(w, [500, 0, 0])),
    fault(
        "peer.late",
        Warning,
        |w, _| _ = north(w).late_p99_ms.insert(DutyKind::SyncMessage, 2001),
        |w, _| {
            north(w).late_p99_ms.insert(DutyKind::SyncMessage, 2000);
        },
    ),
    fault(
        "beacon.none",
        Critical,
        |w, _| w.beacons.nodes.iter_mut().for_each(|node| node.answers = false),
        |w, _| {
            local(w).answers = false;
        },
    ),
    fault("beacon.gone", Warning, |w, _| local(w).answers = false, nothing),
    fault("beacon.slow", Info, |w, _| local(w).rtt_p50_ms = Some(40.1), |w, _| local(w).rtt_p50_ms = Some(40.0)),
    fault("beacon.slow", Warning, |w, _| local(w).rtt_p50_ms = Some(100.1), |w, _| local(w).rtt_p50_ms = Some(100.0)),
    fault("beacon.syncing", Warning, |w, _| local(w).sync_distance = Some(3), |w, _| local(w).sync_distance = Some(2)),
    fault("beacon.behind", Warning, |w, _| local(w).head = Some(Slot(998)), |w, _| local(w).head = Some(Slot(999))),
    fault("beacon.few-peers", Info, |w, _| local(w).peers = Some(49), |w, _| local(w).peers = Some(50)),
    fault("beacon.few-peers", Warning, |w, _| local(w).peers = Some(19), |w, _| local(w).peers = Some(20)),
    fault(
        "beacon.events-late",
        Warning,
        |w, _| local(w).event_lag_ms = Some(1001.0),
        |w, _| {
            local(w).event_lag_ms = Some(1000.0);
        },
    ),
    fault(
        "beacon.errors",
        Warning,
        |w, _| local(w).error_percent = Some(5.1),
        |w, _| local(w).error_percent = Some(5.0),
    ),
    fault("beacon.version", Warning, |w, _| local(w).version_supported = Some(false), nothing),
    fault(
        "beacon.clock-off",
        Warning,
        |w, _| local(w).clock_offset_ms = Some(-2001),
        |w, _| {
            local(w).clock_offset_ms = Some(-2000);
        },
    ),
];
