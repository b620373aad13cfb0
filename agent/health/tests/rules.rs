//! How the table is applied: hysteresis, severities, what is unknown, grades, the verdict on signing, bounds.

mod world;

use holdfast_hal::machine::MachineReading;
use holdfast_health::reading::PeerReading;
use holdfast_health::table::ROWS;
use holdfast_health::{Change, Condition, Grade, Health, Part, Reading, Severity, SigningVerdict, StopReason, Subject};
use proptest::prelude::*;

use world::{World, look, now};

/// What changed, as `+id`, `-id` or `id:severity`.
fn brief(changes: &[Change]) -> Vec<String> {
    let one = |change: &Change| match change {
        Change::Entered(condition) => format!("+{}", condition.id),
        Change::Severity { to, .. } => format!("{}:{}", to.id, to.severity.name()),
        Change::Left(condition) => format!("-{}", condition.id),
    };
    changes.iter().map(one).collect()
}

/// Looks at a world with one thing changed.
fn see(health: &mut Health, now_s: u64, change: impl FnOnce(&mut World)) -> Vec<String> {
    let mut world = World::sound();
    change(&mut world);
    brief(&look(health, &world, now_s * 1000))
}

fn worn(percent: u32) -> impl FnOnce(&mut World) {
    move |world| world.machine.storage.disks[0].used_percent = Some(percent)
}

fn only(health: &Health) -> Condition {
    let conditions = health.conditions();
    assert_eq!(conditions.len(), 1, "{conditions:?}");
    conditions[0].clone()
}

#[test]
fn a_condition_that_gets_worse_changes_its_severity_and_keeps_its_subject() {
    let mut health = Health::new();
    assert!(see(&mut health, 0, worn(90)).is_empty(), "it must hold for a minute");
    assert_eq!(see(&mut health, 60, worn(90)), ["+disk.worn"]);
    assert_eq!(see(&mut health, 120, worn(100)), [""; 0]);
    assert_eq!(see(&mut health, 180, worn(100)), ["disk.worn:critical"]);
    let condition = only(&health);
    assert_eq!((condition.of.as_str(), condition.severity), ("nvme0n1", Severity::Critical));
    assert_eq!(condition.since, now(120_000), "since the worse began");
    see(&mut health, 200, worn(90));
    assert_eq!(see(&mut health, 4000, worn(90)), ["disk.worn:warning"]);
    assert_eq!(only(&health).since, now(0));
    see(&mut health, 4100, worn(4));
    assert_eq!(see(&mut health, 8000, worn(4)), ["-disk.worn"]);
}

#[test]
fn between_its_edges_a_value_changes_nothing() {
    let free = |percent: u64| {
        move |world: &mut World| {
            world.machine.storage.filesystems[0].bytes = Some(1000);
            world.machine.storage.filesystems[0].free_bytes = Some(percent * 10);
        }
    };
    let mut health = Health::new();
    for now_s in (0..600).step_by(10) {
        assert!(see(&mut health, now_s, free(11)).is_empty(), "above the edge outwards");
    }
    see(&mut health, 600, free(9));
    assert_eq!(see(&mut health, 660, free(9)), ["+disk.space-low"]);
    for now_s in (670..2000).step_by(10) {
        assert!(see(&mut health, now_s, free(11)).is_empty(), "not yet at the edge back");
    }
    see(&mut health, 2000, free(12));
    assert!(see(&mut health, 2030, free(11)).is_empty(), "the way back begins anew");
    assert!(see(&mut health, 2070, free(12)).is_empty());
    assert_eq!(see(&mut health, 2130, free(12)), ["-disk.space-low"]);
}

#[test]
fn what_nobody_can_tell_neither_comes_nor_goes() {
    let quiet = |world: &mut World| world.machine.storage.disks[0].used_percent = None;
    let mut health = Health::new();
    see(&mut health, 0, worn(90));
    assert!(see(&mut health, 30, quiet).is_empty());
    assert!(see(&mut health, 61, worn(90)).is_empty(), "the minute begins anew");
    assert_eq!(see(&mut health, 121, worn(90)), ["+disk.worn"]);
    for now_s in (200..20_000).step_by(500) {
        assert!(see(&mut health, now_s, quiet).is_empty(), "a sensor that is gone is no recovery");
    }
    assert_eq!(see(&mut health, 20_000, |world| drop(world.machine.storage.disks.remove(0))), ["-disk.worn"]);
}

#[test]
fn a_machine_without_sensors_has_no_condition_and_is_still_read() {
    let mut health = Health::new();
    for now_s in (0..20_000).step_by(100) {
        assert!(see(&mut health, now_s, |world| world.machine = MachineReading::default()).is_empty());
    }
    assert_eq!(health.grade(Part::Disk), Some(Grade::Good));
}

#[test]
fn the_box_is_graded_by_its_worst_part_and_no_average_hides_it() {
    let mut health = Health::new();
    assert_eq!((health.box_grade(), health.grade(Part::Tpm)), (None, None), "nothing was read yet");
    see(&mut health, 0, |_| ());
    assert_eq!(health.box_grade(), Some(Grade::Good));
    see(&mut health, 10, |world| world.machine.clock.jump_ms = Some(900));
    assert_eq!((health.box_grade(), health.grade(Part::Clock)), (Some(Grade::Fair), Some(Grade::Fair)));
    see(&mut health, 20, |world| world.machine.tpm.present = Some(false));
    assert_eq!((health.box_grade(), health.grade(Part::Tpm)), (Some(Grade::Poor), Some(Grade::Poor)));
    assert_eq!(health.grade(Part::Memory), Some(Grade::Good));
    assert_eq!(health.conditions()[0].id, "tpm.gone", "the worst is first");
    see(&mut health, 40, |world| world.machine.cpu.missing_features = Some(vec!["adx"]));
    see(&mut health, 60, |world| world.machine.cpu.missing_features = Some(vec!["adx"]));
    assert_eq!(only(&health).severity, Severity::Info);
    assert_eq!(health.box_grade(), Some(Grade::Good), "an info is no reason for a worse grade");
}

#[test]
fn only_the_history_and_a_quorum_of_clocks_stop_signing() {
    let off = |world: &mut World| world.peers.peers.iter_mut().for_each(|peer| peer.clock_offset_ms = Some(7000));
    let mut health = Health::new();
    assert_eq!(see(&mut health, 0, off), ["+clock.off-quorum"], "at once");
    let stopped = |reasons: &[StopReason]| SigningVerdict::MustStop { reasons: reasons.iter().copied().collect() };
    assert_eq!(health.signing(), stopped(&[StopReason::ClockOffQuorum]));
    see(&mut health, 10, |world| {
        off(world);
        world.machine.storage.history.writable = Some(false);
    });
    assert_eq!(health.signing(), stopped(&[StopReason::ClockOffQuorum, StopReason::HistoryNotWritable]));
    // A peer that goes leaves no quorum that says anything, and that is no recovery.
    for now_s in [100, 200, 300] {
        see(&mut health, now_s, |world| world.peers.peers[0].connected = false);
    }
    assert_eq!(health.signing(), stopped(&[StopReason::ClockOffQuorum]));
    see(&mut health, 310, |_| ());
    see(&mut health, 340, |_| ());
    assert_eq!(health.signing(), SigningVerdict::MayGoOn);
}

#[test]
fn whatever_costs_only_rewards_lets_signing_go_on() {
    let mut health = Health::new();
    for now_s in 0..100 {
        see(&mut health, now_s * 10, |world| {
            world.machine.tpm.present = Some(false);
            world.machine.clock.synchronised = Some(false);
            world.machine.storage.filesystems[0].read_only = Some(true);
            world.machine.storage.history.fsync_p99_us = Some(9_000_000);
            // Two of three peers lie about the clock.
            world.peers.peers[0].clock_offset_ms = Some(i64::MAX);
            world.peers.peers[1].clock_offset_ms = Some(i64::MAX);
            world.beacons.nodes.clear();
        });
    }
    assert!(health.conditions().len() >= 6, "{:?}", health.conditions());
    assert_eq!((health.signing(), health.box_grade()), (SigningVerdict::MayGoOn, Some(Grade::Poor)));
}

#[test]
fn a_part_that_nobody_reads_any_more_is_told_without_a_reading() {
    let mut health = Health::new();
    assert!(health.tick(now(0)).is_empty(), "what was never read is not missed");
    see(&mut health, 0, |_| ());
    assert!(health.tick(now(600_000)).is_empty());
    let changes = health.tick(now(601_000));
    assert_eq!(changes.len(), Part::ALL.len());
    assert!(brief(&changes).iter().all(|change| change == "+system.unread"), "{changes:?}");
    assert_eq!(see(&mut health, 602, |_| ()).len(), Part::ALL.len());
    assert!(health.conditions().is_empty());
}

#[test]
fn more_peers_than_a_cluster_has_and_names_that_would_draw_are_cut() {
    let peer = |name: String| PeerReading { name, ..PeerReading::default() };
    let mut world = World::sound();
    world.peers.peers = (0..10_000).map(|at| peer(format!("{at:05}"))).collect();
    let mut health = Health::new();
    look(&mut health, &world, 0);
    look(&mut health, &world, 60_000);
    let gone = |health: &Health| health.conditions().iter().filter(|condition| condition.id == "peer.gone").count();
    assert_eq!(gone(&health), 32);
    world.peers.peers = vec![peer(format!("\u{1b}[2J\u{202e}{}", "x".repeat(5000)))];
    look(&mut health, &world, 120_000);
    look(&mut health, &world, 180_000);
    assert_eq!(gone(&health), 1);
    let named = health.conditions().into_iter().find(|condition| condition.id == "peer.gone").unwrap();
    assert_eq!(named.of.as_str(), format!("[2J{}", "x".repeat(Subject::CHARS_MAX - 3)));
    assert!(!named.summary.contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn two_operators_of_one_name_are_two() {
    let mut health = Health::new();
    for now_s in [0, 60, 120] {
        let changes = see(&mut health, now_s, |world| {
            world.peers.peers.iter_mut().for_each(|peer| peer.name = "same".to_owned());
        });
        assert!(changes.is_empty(), "three of three are there: {changes:?}");
    }
}

#[test]
fn the_same_readings_in_another_order_give_the_same_changes() {
    let mut world = World::sound();
    for peer in &mut world.peers.peers {
        peer.connected = false;
    }
    let mut turned = world.clone();
    turned.peers.peers.reverse();
    turned.machine.storage.disks.reverse();
    let play = |world: &World| {
        let mut health = Health::new();
        (0..20).flat_map(|step| look(&mut health, world, step * 10_000)).collect::<Vec<_>>()
    };
    let changes = play(&world);
    assert!(changes.len() >= 4, "{changes:?}");
    assert_eq!(changes, play(&turned));
}

proptest! {
    /// Whatever numbers come, at whatever times, health neither panics nor shows what the table does not have.
    #[test]
    fn no_reading_breaks_it(steps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<f64>(), any::<i64>()), 1..12)) {
        let mut health = Health::new();
        for (time, number, real, offset) in steps {
            let mut world = World::sound();
            let machine = &mut world.machine;
            machine.memory.oom_kills = Some(number);
            machine.memory.available_kib = Some(number);
            machine.memory.pressure.some_percent = Some(real);
            machine.cpu.temperature_mc = Some(offset);
            machine.cpu.steal_ms = Some(number);
            machine.cpu.total_ms = Some(time);
            machine.clock.offset_us = Some(offset);
            machine.clock.root_delay_us = Some(number);
            machine.clock.root_dispersion_us = Some(time);
            machine.storage.filesystems[0].free_bytes = Some(number);
            machine.storage.disks[0].media_errors = Some(time);
            machine.tpm.nv_writes_left = Some(number);
            machine.tpm.nv_writes_day = Some(time);
            machine.net.links[0].packets = Some(number);
            machine.net.links[0].errors = Some(time);
            world.peers.slot_ms = number;
            world.peers.quorum = u32::try_from(time % 5).unwrap();
            world.peers.peers.iter_mut().for_each(|peer| peer.clock_offset_ms = Some(offset));
            world.peers.peers[0].rtt_p50_ms = Some(real);
            world.beacons.nodes[0].event_lag_ms = Some(real);
            look(&mut health, &world, time);
            for condition in health.conditions() {
                prop_assert!(ROWS.iter().any(|row| row.id == condition.id && row.severity == condition.severity));
                prop_assert!(condition.evidence.iter().all(|evidence| evidence.value.is_finite()));
            }
        }
    }
}

#[test]
fn every_reading_names_its_part() {
    let parts: Vec<Part> = World::sound().readings().iter().map(Reading::part).collect();
    assert_eq!(parts, Part::ALL);
}
