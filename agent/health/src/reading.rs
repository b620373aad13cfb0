//! What is put in: the machine's readings, and those of the network that the node makes on the traffic it has anyway.
//!
//! As in `hal`, `None` says "not present" and is never a zero.

use std::collections::BTreeMap;

use holdfast_hal::chip::TpmReading;
use holdfast_hal::clock::ClockReading;
use holdfast_hal::cpu::CpuReading;
use holdfast_hal::link::NetReading;
use holdfast_hal::memory::MemoryReading;
use holdfast_hal::power::PowerReading;
use holdfast_hal::storage::StorageReading;
use holdfast_hal::system::SystemReading;
use holdfast_types::{DutyKind, Slot};

use crate::Part;

/// One part's reading, whole: what it does not name any more is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// The beacon nodes.
    Beacon(BeaconsReading),
    /// The clock.
    Clock(ClockReading),
    /// The processors.
    Cpu(CpuReading),
    /// Disks, filesystems and the store of the signing history.
    Disk(StorageReading),
    /// The network ports.
    Link(NetReading),
    /// Main memory.
    Memory(MemoryReading),
    /// The peers.
    Peers(PeersReading),
    /// Power.
    Power(PowerReading),
    /// Kernel, boot and watchdog.
    System(SystemReading),
    /// The TPM.
    Tpm(TpmReading),
}

impl Reading {
    /// The part that was read.
    #[must_use]
    pub const fn part(&self) -> Part {
        match self {
            Self::Beacon(_) => Part::Beacon,
            Self::Clock(_) => Part::Clock,
            Self::Cpu(_) => Part::Cpu,
            Self::Disk(_) => Part::Disk,
            Self::Link(_) => Part::Link,
            Self::Memory(_) => Part::Memory,
            Self::Peers(_) => Part::Peers,
            Self::Power(_) => Part::Power,
            Self::System(_) => Part::System,
            Self::Tpm(_) => Part::Tpm,
        }
    }
}

/// The cluster as this box sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeersReading {
    /// Length of a slot in ms; zero when it is not known.
    pub slot_ms: u64,
    /// Partials that make a signature, our own included.
    pub threshold: u32,
    /// Votes that decide.
    pub quorum: u32,
    /// Every other operator of the lock.
    pub peers: Vec<PeerReading>,
}

/// One peer, over the last few minutes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeerReading {
    /// The operator's name in the lock.
    pub name: String,
    /// Whether there is a connection.
    pub connected: bool,
    /// Time since anything came from it, in s.
    pub seen_ago_s: Option<u64>,
    /// By which way it is reached.
    pub path: Option<PeerPath>,
    /// Half of the round trips took at most this, in ms.
    pub rtt_p50_ms: Option<f64>,
    /// 99 of 100 round trips took at most this, in ms.
    pub rtt_p99_ms: Option<f64>,
    /// Share of pings without an answer, in percent.
    pub loss_percent: Option<f64>,
    /// Whether its version and ours can work together.
    pub version_supported: Option<bool>,
    /// Our clock less its clock, in ms: positive when ours is ahead.
    pub clock_offset_ms: Option<i64>,
    /// How long after the moment that the duty was due 99 of 100 of its partials came, in ms.
    pub late_p99_ms: BTreeMap<DutyKind, u64>,
}

/// By which way a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerPath {
    /// From address to address.
    Direct,
    /// Over a circuit relay only.
    Relayed {
        /// The relay.
        over: String,
    },
}

/// The beacon nodes that are configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BeaconsReading {
    /// Every one of them.
    pub nodes: Vec<BeaconReading>,
}

/// One beacon node, over the last few minutes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BeaconReading {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it answers.
    pub answers: bool,
    /// Half of the requests took at most this, in ms.
    pub rtt_p50_ms: Option<f64>,
    /// 99 of 100 requests took at most this, in ms.
    pub rtt_p99_ms: Option<f64>,
    /// Slots that it is behind by its own word.
    pub sync_distance: Option<u64>,
    /// Its own peers.
    pub peers: Option<u64>,
    /// Slot of its head.
    pub head: Option<Slot>,
    /// How much later than from the first node its head events come, in ms.
    pub event_lag_ms: Option<f64>,
    /// Share of requests that failed, in percent.
    pub error_percent: Option<f64>,
    /// Whether its version is one that is known to work.
    pub version_supported: Option<bool>,
    /// Our clock less the `Date` of its answers, in ms; good to a second, which is all that HTTP says.
    pub clock_offset_ms: Option<i64>,
}
