//! A box in its network, by a script; and who lets health look at it in steps of time.

use holdfast_hal::machine::MachineReading;
use holdfast_hal_sim::sound;
use holdfast_health::reading::{BeaconReading, BeaconsReading, PeerPath, PeerReading, PeersReading};
use holdfast_health::{Change, Health, Now, Part, Reading};
use holdfast_types::{DutyKind, Millis, Slot};

/// Everything that can be read.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) machine: MachineReading,
    pub(crate) peers: PeersReading,
    pub(crate) beacons: BeaconsReading,
    /// A part that nobody reads.
    pub(crate) unread: Option<Part>,
}

impl World {
    /// A sound box with three sound peers and two sound beacon nodes.
    pub(crate) fn sound() -> Self {
        let peer = |name: &str| PeerReading {
            name: name.to_owned(),
            connected: true,
            seen_ago_s: Some(2),
            path: Some(PeerPath::Direct),
            rtt_p50_ms: Some(21.0),
            rtt_p99_ms: Some(35.0),
            loss_percent: Some(0.0),
            version_supported: Some(true),
            clock_offset_ms: Some(-8),
            late_p99_ms: [(DutyKind::Attester, 600)].into(),
        };
        let node = |name: &str| BeaconReading {
            name: name.to_owned(),
            answers: true,
            rtt_p50_ms: Some(4.0),
            rtt_p99_ms: Some(22.0),
            sync_distance: Some(0),
            peers: Some(90),
            head: Some(Slot(1000)),
            event_lag_ms: Some(30.0),
            error_percent: Some(0.0),
            version_supported: Some(true),
            clock_offset_ms: Some(300),
        };
        Self {
            machine: sound(),
            peers: PeersReading {
                slot_ms: 12_000,
                threshold: 3,
                quorum: 3,
                peers: ["north", "south", "west"].map(peer).to_vec(),
            },
            beacons: BeaconsReading { nodes: ["local", "spare"].map(node).to_vec() },
            unread: None,
        }
    }

    /// The readings of all parts that are read, in the order of the parts.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        let machine = self.machine.clone();
        let all = [
            Reading::Beacon(self.beacons.clone()),
            Reading::Clock(machine.clock),
            Reading::Cpu(machine.cpu),
            Reading::Disk(machine.storage),
            Reading::Link(machine.net),
            Reading::Memory(machine.memory),
            Reading::Peers(self.peers.clone()),
            Reading::Power(machine.power),
            Reading::System(machine.system),
            Reading::Tpm(machine.tpm),
        ];
        all.into_iter().filter(|reading| Some(reading.part()) != self.unread).collect()
    }
}

/// A time of the script, by both clocks.
pub(crate) fn now(now_ms: u64) -> Now {
    Now { monotonic_ms: now_ms, unix: Millis(1_800_000_000_000 + now_ms) }
}

/// Lets health look at all parts, then at the time; answers all changes.
pub(crate) fn look(health: &mut Health, world: &World, now_ms: u64) -> Vec<Change> {
    let mut changes: Vec<Change> =
        world.readings().iter().flat_map(|reading| health.observe(now(now_ms), reading)).collect();
    changes.extend(health.tick(now(now_ms)));
    changes
}
