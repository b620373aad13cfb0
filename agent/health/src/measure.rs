//! What is measured: one number with a unit, of one subject, made from a reading.

mod machine;
mod network;

use crate::condition::Subject;
use crate::memory::Memory;
use crate::reading::Reading;

/// The unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// °C.
    Celsius,
    /// Pieces.
    Count,
    /// Days.
    Days,
    /// No or yes: 0 or 1.
    Flag,
    /// Mb/s.
    MbitPerSecond,
    /// MiB.
    Mib,
    /// Milliseconds.
    Ms,
    /// Pieces in the last 24 hours.
    PerDay,
    /// Pieces in the last hour.
    PerHour,
    /// Parts in a million, over the last hour.
    PerMillion,
    /// Percent.
    Percent,
    /// Seconds.
    Seconds,
    /// Slots of the chain.
    Slots,
}

impl Unit {
    /// The value with its unit, for a human.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        let rounded = if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
        let number = rounded.strip_suffix(".0").unwrap_or(&rounded).to_owned();
        let plural = if number == "1" { "" } else { "s" };
        match self {
            Self::Celsius => format!("{number} °C"),
            Self::Count => number,
            Self::Days => format!("{number} day{plural}"),
            Self::Flag => (if value > 0.0 { "yes" } else { "no" }).to_owned(),
            Self::MbitPerSecond => format!("{number} Mb/s"),
            Self::Mib => format!("{number} MiB"),
            Self::Ms => format!("{number} ms"),
            Self::PerDay => format!("{number} in 24 h"),
            Self::PerHour => format!("{number} in the last hour"),
            Self::PerMillion => format!("{number} in a million"),
            Self::Percent => format!("{number} %"),
            Self::Seconds => format!("{number} s"),
            Self::Slots => format!("{number} slot{plural}"),
        }
    }

    /// The name in the API and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Celsius => "celsius",
            Self::Count => "count",
            Self::Days => "days",
            Self::Flag => "flag",
            Self::MbitPerSecond => "mbitPerSecond",
            Self::Mib => "mib",
            Self::Ms => "ms",
            Self::PerDay => "perDay",
            Self::PerHour => "perHour",
            Self::PerMillion => "perMillion",
            Self::Percent => "percent",
            Self::Seconds => "seconds",
            Self::Slots => "slots",
        }
    }
}

macro_rules! measures {
    ($($(#[$doc:meta])* $name:ident: $text:literal $unit:ident,)*) => {
        /// Everything that is measured.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Measure {
            $($(#[$doc])* $name,)*
        }

        impl Measure {
            /// The name in the API.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The unit of its values.
            #[must_use]
            pub const fn unit(self) -> Unit {
                match self { $(Self::$name => Unit::$unit,)* }
            }
        }
    };
}

measures! {
    /// A beacon node's clock against ours.
    BeaconClock: "clockOffsetMs" Ms,
    /// Requests to a beacon node that failed.
    BeaconErrors: "errorPercent" Percent,
    /// How much later than the first node it tells of a head.
    BeaconEventLag: "eventLagMs" Ms,
    /// Whether it does not answer.
    BeaconGone: "gone" Flag,
    /// Slots that its head is behind the best node's.
    BeaconHeadBehind: "headBehindSlots" Slots,
    /// Its own peers.
    BeaconPeers: "peers" Count,
    /// Half of the requests took at most this.
    BeaconRtt: "rttP50Ms" Ms,
    /// 99 of 100 requests took at most this.
    BeaconRttTail: "rttP99Ms" Ms,
    /// Slots that it is behind by its own word.
    BeaconSyncDistance: "syncDistanceSlots" Slots,
    /// Beacon nodes that answer and are synced.
    BeaconUsable: "usable" Count,
    /// Whether its version is not known to work.
    BeaconVersion: "versionUnsupported" Flag,
    /// Whether the clock's source does not prove itself.
    ClockBare: "unauthenticated" Flag,
    /// The farthest that the clock was set at once.
    ClockJump: "jumpMs" Ms,
    /// Distance of the clock from its source, either way.
    ClockOffset: "offsetMs" Ms,
    /// What a quorum of peers say at least, in slots.
    ClockQuorum: "offQuorumSlots" Slots,
    /// What a quorum of peers say at least, in ms.
    ClockQuorumMs: "offQuorumMs" Ms,
    /// How wrong the source itself may be.
    ClockRoot: "rootDistanceMs" Ms,
    /// Steps to a clock of reference.
    ClockStratum: "stratum" Count,
    /// Whether nothing keeps the clock right.
    ClockUnsynchronised: "unsynchronised" Flag,
    /// Highest frequency that is allowed, of the hardware's.
    CpuCap: "frequencyAllowedPercent" Percent,
    /// Degrees up to the trip point.
    CpuHeadroom: "headroomCelsius" Celsius,
    /// Features that the fast path of BLS wants and that are missing.
    CpuMissing: "missingFeatures" Count,
    /// Time that work waited for a processor.
    CpuPressure: "pressurePercent" Percent,
    /// CPU time that the host took away.
    CpuSteal: "stealPercent" Percent,
    /// Temperature.
    CpuTemperature: "temperatureCelsius" Celsius,
    /// Times that the hardware slowed down for heat.
    CpuThrottles: "throttles" PerHour,
    /// Days until the filesystem is full.
    DiskDaysLeft: "daysLeft" Days,
    /// Days until the filesystem has no more files to give.
    DiskFilesDaysLeft: "filesDaysLeft" Days,
    /// Whether the disk itself says that it is failing.
    DiskFailing: "failing" Flag,
    /// Files that the filesystem can still make.
    DiskFiles: "freeFilesPercent" Percent,
    /// Errors that the filesystem recorded about itself.
    DiskFilesystem: "filesystemErrors" Count,
    /// Space that is left.
    DiskFree: "freePercent" Percent,
    /// 99 of 100 syncs of the history took at most this.
    DiskFsync: "fsyncP99Ms" Ms,
    /// Half of the syncs of the history took at most this.
    DiskFsyncMedian: "fsyncP50Ms" Ms,
    /// Degrees up to what the maker allows.
    DiskHeadroom: "headroomCelsius" Celsius,
    /// Whether the history cannot be written.
    DiskHistory: "historyNotWritable" Flag,
    /// I/O errors.
    DiskIo: "ioErrors" PerDay,
    /// Data that the disk lost or had to move.
    DiskMedia: "mediaErrors" PerDay,
    /// eMMC: state of its reserve, 1 to 3.
    DiskReserve: "preEol" Count,
    /// Whether a filesystem that the box writes to is read-only.
    DiskReadOnly: "readOnly" Flag,
    /// Spare blocks above the maker's limit.
    DiskSpare: "spareAboveLimitPercent" Percent,
    /// Temperature.
    DiskTemperature: "temperatureCelsius" Celsius,
    /// Rated life that is used up.
    DiskUsed: "usedPercent" Percent,
    /// Whether no address is good beyond the cable.
    LinkAddress: "noAddress" Flag,
    /// Speed, of the port's best.
    LinkBest: "speedOfBestPercent" Percent,
    /// Whether names get no answer.
    LinkDns: "dnsFails" Flag,
    /// How long a name takes.
    LinkDnsTime: "dnsMs" Ms,
    /// Whether a port that is used has no carrier.
    LinkDown: "noCarrier" Flag,
    /// Packets that were thrown away.
    LinkDrops: "drops" PerMillion,
    /// Packets that were damaged.
    LinkErrors: "errors" PerMillion,
    /// Times that the carrier came or went.
    LinkFlaps: "carrierChanges" PerHour,
    /// Whether only one end may talk at once.
    LinkHalf: "halfDuplex" Flag,
    /// The largest packet, in bytes.
    LinkMtu: "mtuBytes" Count,
    /// Whether packets for the world have no way.
    LinkRoute: "noDefaultRoute" Flag,
    /// Speed.
    LinkSpeed: "speedMbitPerSecond" MbitPerSecond,
    /// Memory that programs could get.
    MemoryAvailable: "availablePercent" Percent,
    /// Errors that ECC corrected.
    MemoryCorrected: "eccCorrected" PerDay,
    /// Time in which all work waited for memory.
    MemoryFull: "pressureFullPercent" Percent,
    /// Processes that were killed for want of memory.
    MemoryKills: "oomKills" PerDay,
    /// Time in which some work waited for memory.
    MemorySome: "pressureSomePercent" Percent,
    /// All memory.
    MemoryTotal: "totalMib" Mib,
    /// Errors that ECC could not correct.
    MemoryUncorrected: "eccUncorrected" Count,
    /// Our clock against a peer's, either way.
    PeerClock: "clockOffsetMs" Ms,
    /// Whether there is no connection to it.
    PeerGone: "gone" Flag,
    /// Its latest kind of partials: how late.
    PeerLate: "lateP99Ms" Ms,
    /// Pings without an answer.
    PeerLoss: "lossPercent" Percent,
    /// Whether it is reached over a relay only.
    PeerRelayed: "relayedOnly" Flag,
    /// Half of the round trips took at most this.
    PeerRtt: "rttP50Ms" Ms,
    /// 99 of 100 round trips took at most this.
    PeerRttTail: "rttP99Ms" Ms,
    /// Time since anything came from it.
    PeerSeen: "seenAgoSeconds" Seconds,
    /// Whether its version and ours do not work together.
    PeerVersion: "versionUnsupported" Flag,
    /// Boxes that are there, ourselves included, beyond the threshold.
    PeersSpare: "spare" Count,
    /// Charge of the UPS.
    PowerCharge: "chargePercent" Percent,
    /// Power that went away.
    PowerLost: "powerLosses" PerDay,
    /// Whether the box runs on the UPS' battery.
    PowerOnBattery: "onBattery" Flag,
    /// Whether the UPS wants a new battery.
    PowerReplace: "replaceBattery" Flag,
    /// How long the UPS lasts.
    PowerRuntime: "runtimeSeconds" Seconds,
    /// Whether the UPS says that its battery is low.
    PowerUpsLow: "batteryLow" Flag,
    /// Whether a UPS is configured and does not answer.
    PowerUpsSilent: "upsSilent" Flag,
    /// Whether the supply is below the board's lowest voltage.
    PowerVoltage: "underVoltage" Flag,
    /// Time since a part was last read.
    SystemBlind: "unreadSeconds" Seconds,
    /// Whether another boot slot than the meant one was booted.
    SystemFallback: "otherBootSlot" Flag,
    /// Machine check exceptions.
    SystemMce: "machineChecks" PerDay,
    /// Kernel panics.
    SystemPanics: "panics" PerDay,
    /// Bits of the taint that say that the kernel met a fault.
    SystemTaint: "taintFaults" Count,
    /// Whether the shutdown before this boot was not clean and nothing says why.
    SystemUnclean: "uncleanShutdown" Flag,
    /// Days since the last update.
    SystemUpdate: "sinceUpdateDays" Days,
    /// Whether no watchdog runs.
    SystemUnwatched: "watchdogOff" Flag,
    /// Resets by the watchdog.
    SystemWatchdog: "watchdogResets" PerDay,
    /// Whether its firmware is known to be bad.
    TpmBad: "knownBadFirmware" Flag,
    /// Whether it is gone.
    TpmGone: "gone" Flag,
    /// Time of a counter command.
    TpmLatency: "latencyMs" Ms,
    /// Failed authorisations, of those that lock it.
    TpmLockout: "lockoutPercent" Percent,
    /// Days until its NV memory is worn out.
    TpmNv: "nvDaysLeft" Days,
    /// Whether its self test failed.
    TpmSelfTest: "selfTestFailed" Flag,
    /// Tier: 1 for A to 3 for C.
    TpmTier: "tier" Count,
}

/// What is known of a measure now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Seen {
    /// The question does not arise; a condition about it goes at once.
    Moot,
    /// Nobody can tell; a condition about it neither comes nor goes.
    Unknown,
    /// This.
    Value(f64),
}

/// One measure of one subject.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) measure: Measure,
    pub(crate) of: Subject,
    pub(crate) seen: Seen,
}

/// Where samples are put, with what earlier readings left for counters and trends.
pub(crate) struct Samples<'a> {
    pub(crate) now_ms: u64,
    pub(crate) memory: &'a mut Memory,
    pub(crate) list: Vec<Sample>,
}

impl Samples<'_> {
    /// A number, if it is there and one.
    fn number(&mut self, measure: Measure, of: &Subject, value: Option<f64>) {
        let seen = value.filter(|value| value.is_finite()).map_or(Seen::Unknown, Seen::Value);
        self.seen(measure, of, seen);
    }

    /// Whether something bad is so.
    fn flag(&mut self, measure: Measure, of: &Subject, bad: Option<bool>) {
        self.number(measure, of, bad.map(f64::from));
    }

    /// A number of pieces that a counter grew by within the span of its unit.
    fn growth(&mut self, measure: Measure, of: &Subject, counter: Option<u64>) {
        let span_ms = if measure.unit() == Unit::PerDay { DAY_MS } else { HOUR_MS };
        let grown = counter.map(|counter| self.memory.growth((measure, of), self.now_ms, span_ms, counter));
        self.number(measure, of, grown.map(float));
    }

    /// Days until something that gets less is used up.
    fn days_left(&mut self, measure: Measure, of: &Subject, left: Option<u64>) {
        let days = left.and_then(|left| self.memory.days_left((measure, of), self.now_ms, left));
        self.number(measure, of, days);
    }

    fn seen(&mut self, measure: Measure, of: &Subject, seen: Seen) {
        self.list.push(Sample { measure, of: of.clone(), seen });
    }
}

/// Puts every measure of a reading into the samples.
pub(crate) fn measure(reading: &Reading, samples: &mut Samples<'_>) {
    match reading {
        Reading::Beacon(nodes) => network::beacon(nodes, samples),
        Reading::Clock(clock) => machine::clock(clock, samples),
        Reading::Cpu(cpu) => machine::cpu(cpu, samples),
        Reading::Disk(storage) => machine::disk(storage, samples),
        Reading::Link(net) => machine::link(net, samples),
        Reading::Memory(memory) => machine::memory(memory, samples),
        Reading::Peers(peers) => network::peers(peers, samples),
        Reading::Power(power) => machine::power(power, samples),
        Reading::System(system) => machine::system(system, samples),
        Reading::Tpm(tpm) => machine::tpm(tpm, samples),
    }
}

/// How many percent `part` is of `whole`; `None` of nothing.
fn percent(part: Option<u64>, whole: Option<u64>) -> Option<f64> {
    let whole = whole.filter(|whole| *whole > 0)?;
    Some(float(part?) * 100.0 / float(whole))
}

/// Good to 53 bits, which is more than any limit is written with.
#[expect(clippy::cast_precision_loss, reason = "limits are far coarser")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// The first subjects by name, so that what is looked at never depends on the order of a listing.
fn bounded<T>(items: &[T], name: impl Fn(&T) -> &str) -> Vec<(Subject, &T)> {
    let mut named: Vec<(Subject, &T)> = items.iter().map(|item| (Subject::named(name(item)), item)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named.dedup_by(|a, b| a.0 == b.0);
    named.truncate(SUBJECTS_MAX);
    named
}

/// As many as a cluster has operators; no small server has as many disks, ports or beacon nodes.
const SUBJECTS_MAX: usize = holdfast_types::OPERATORS_MAX;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
