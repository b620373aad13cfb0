//! Every row of the table comes and goes by a scripted fault, and stays away at the fault's twin just within the limit.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod faults;
mod world;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use holdfast_hal_sim::Script;
use holdfast_health::table::{ROWS, Row};
use holdfast_health::{Change, Condition, Health, Part, Unit};

use faults::{FAULTS, Fault};
use world::{World, look};

/// The fault begins here, so that ten minutes are known before it.
const BEGIN_S: u64 = 600;

#[test]
fn every_row_has_a_fault_and_every_fault_a_row() {
    let rows: BTreeSet<_> = ROWS.iter().map(|row| (row.id, row.severity)).collect();
    let faults: Vec<_> = FAULTS.iter().copied().flatten().map(|fault| (fault.id, fault.severity)).collect();
    assert_eq!(faults.iter().copied().collect::<BTreeSet<_>>(), rows);
    assert_eq!(faults.len(), rows.len(), "a row has two faults");
}

#[test]
fn a_sound_box_has_no_condition_for_two_days() {
    let (script, mut health) = (script(), Health::new());
    for now_s in (0..2 * 86_400).step_by(300) {
        assert_eq!(look(&mut health, &script.at(now_s * 1000), now_s * 1000), []);
    }
}

#[test]
fn conditions_of_the_disk() {
    check(Part::Disk);
}

#[test]
fn conditions_of_memory() {
    check(Part::Memory);
}

#[test]
fn conditions_of_the_processors() {
    check(Part::Cpu);
}

#[test]
fn conditions_of_power() {
    check(Part::Power);
}

#[test]
fn conditions_of_the_system() {
    check(Part::System);
}

#[test]
fn conditions_of_the_clock() {
    check(Part::Clock);
}

#[test]
fn conditions_of_the_tpm() {
    check(Part::Tpm);
}

#[test]
fn conditions_of_the_link() {
    check(Part::Link);
}

#[test]
fn conditions_of_the_peers() {
    check(Part::Peers);
}

#[test]
fn conditions_of_the_beacon_nodes() {
    check(Part::Beacon);
}

/// Plays the faults of a part and holds the texts against the snapshot.
fn check(part: Part) {
    let mut texts = String::new();
    for row in ROWS.iter().filter(|row| row.part == part) {
        let fault = FAULTS.iter().copied().flatten().find(|fault| (fault.id, fault.severity) == (row.id, row.severity));
        let fault = fault.unwrap_or_else(|| panic!("{} {} has no fault", row.id, row.severity.name()));
        texts += &shown(&comes_and_goes(row, fault));
        stays_away(row, fault);
    }
    assert!(!texts.is_empty(), "no row counts against {}", part.name());
    insta::assert_snapshot!(part.name(), texts);
}

/// A script in which traffic and CPU time go on as they do.
fn script() -> Script<World> {
    Script::sound(World::sound()).between(0, u64::MAX, |world, since_ms| {
        world.machine.cpu.total_ms = Some(since_ms * 4);
        world.machine.net.links[0].packets = Some(since_ms);
    })
}

/// The fault comes no sooner than its row says and not much later, and goes likewise. Answers what it was at first.
fn comes_and_goes(row: &Row, fault: &Fault) -> Condition {
    let name = format!("{} {}", row.id, row.severity.name());
    let step_s = step_s(row, fault);
    let until_s = BEGIN_S + fault.lead_s + row.enter_s + 4 * step_s;
    let beyond = fault.beyond;
    let script = script().between(BEGIN_S * 1000, until_s * 1000, move |world, since| beyond(world, since / 1000));
    let mut health = Health::new();
    let (mut came, mut gone) = (None, None);
    let end_s = until_s + row.leave_s + linger_s(row) + 2 * step_s;
    for now_s in (0..end_s).step_by(usize::try_from(step_s).unwrap()) {
        look(&mut health, &script.at(now_s * 1000), now_s * 1000);
        let now = health.conditions().into_iter().find(|now| (now.id, now.severity) == (row.id, row.severity));
        match (now, &came) {
            (Some(now), None) => came = Some((now_s, now.clone())),
            (None, Some(_)) => gone = gone.or(Some(now_s)),
            _ => {}
        }
    }
    let (came_s, condition) = came.unwrap_or_else(|| panic!("{name} never came"));
    let earliest_s = BEGIN_S + fault.lead_s + row.enter_s;
    assert!(came_s >= earliest_s, "{name} came after {} s", came_s - BEGIN_S);
    assert!(came_s <= earliest_s + 3 * step_s, "{name} came only after {} s", came_s - BEGIN_S);
    let gone_s = gone.unwrap_or_else(|| panic!("{name} never went"));
    assert!(gone_s >= until_s + row.leave_s, "{name} went {gone_s} s after the beginning, the fault at {until_s} s");
    condition
}

/// The twin stays away for thrice the time.
fn stays_away(row: &Row, fault: &Fault) {
    let step_s = step_s(row, fault);
    let within = fault.within;
    let script = script().between(BEGIN_S * 1000, u64::MAX, move |world, since| within(world, since / 1000));
    let mut health = Health::new();
    let end_s = BEGIN_S + fault.lead_s + 3 * row.enter_s + 10 * step_s;
    for now_s in (0..end_s).step_by(usize::try_from(step_s).unwrap()) {
        for change in look(&mut health, &script.at(now_s * 1000), now_s * 1000) {
            let (Change::Entered(now) | Change::Severity { to: now, .. } | Change::Left(now)) = change;
            let it = (now.id, now.severity) == (row.id, row.severity);
            assert!(!it, "{} {} came within its limit: {}", row.id, row.severity.name(), now.summary);
        }
    }
}

/// Ten seconds, or more where days must go by.
fn step_s(row: &Row, fault: &Fault) -> u64 {
    let all_s = fault.lead_s + row.enter_s + row.leave_s + linger_s(row);
    [10, 30, 100, 300].into_iter().find(|step_s| all_s <= step_s * 500).unwrap_or(600)
}

/// How long the measure itself remembers.
fn linger_s(row: &Row) -> u64 {
    match row.measure.unit() {
        Unit::PerDay => 26 * 3600,
        Unit::Days => 26 * 3600,
        Unit::PerHour | Unit::PerMillion => 66 * 60,
        Unit::Percent => 66 * 60,
        _ => 0,
    }
}

fn shown(condition: &Condition) -> String {
    let mut text = format!("{} {} [{}]\n", condition.severity.name(), condition.id, condition.of);
    writeln!(text, "  {}", condition.summary).unwrap();
    for evidence in &condition.evidence {
        let limit = evidence.limit.map(|limit| format!(", limit {}", evidence.unit.show(limit))).unwrap_or_default();
        writeln!(text, "  {} {}{limit}", evidence.name, evidence.unit.show(evidence.value)).unwrap();
    }
    writeln!(text, "  remedy: {}", condition.remedy).unwrap();
    writeln!(text, "  limit: {}\n", condition.limit_from).unwrap();
    text
}
