//! Plays boxes for whoever wants to look at the live view: `cargo run -p holdfast-cli --example top`.

#![forbid(unsafe_code)]

#[path = "../src/top/mod.rs"]
mod top;

use std::error::Error;
use std::thread;
use std::time::{Duration, SystemTime};

use holdfast_api::{Condition, DutyRecord, Event, EventKind, PeerStatus, Severity, Status, Timestamp};
use holdfast_types::{Millis, Mode, Slot};
use tokio::sync::mpsc;

use top::{Look, Update};

fn main() -> Result<(), Box<dyn Error>> {
    let names = ["box-7f3a", "box-c41b", "box-e902"].map(str::to_owned).to_vec();
    let (send, updates) = mpsc::channel(100);
    let feed = names.clone();
    thread::spawn(move || play(&feed, &send));
    let look = Look { unicode: !std::env::args().any(|argument| argument == "--ascii"), colour: true };
    Ok(top::run(names, updates, look)?)
}

/// The first box does well, the second misses and is late now and then, the third is lost after some slots.
fn play(names: &[String], send: &mpsc::Sender<(String, Update)>) -> Option<()> {
    for (index, name) in names.iter().enumerate() {
        send.blocking_send((name.clone(), Update::Status(Box::new(status(name, index))))).ok()?;
        let past = (10_182_400..10_182_500).map(|slot| duty(slot, index, 4)).collect();
        send.blocking_send((name.clone(), Update::Duties(past))).ok()?;
    }
    for slot in 10_182_500.. {
        for step in 0..=4 {
            for (index, name) in names.iter().enumerate() {
                let what = EventKind::Duty(duty(slot, index, step));
                let event = Event { id: slot, at: Timestamp(now()), what };
                let lost = index == 2 && slot > 10_182_503;
                let update =
                    if lost { Update::Lost("connection refused".to_owned()) } else { Update::Event(Box::new(event)) };
                send.blocking_send((name.clone(), update)).ok()?;
            }
            thread::sleep(Duration::from_millis(400));
        }
    }
    Some(())
}

/// A duty after so many of its steps.
fn duty(slot: u64, index: usize, step: usize) -> DutyRecord {
    let second = index == 1;
    let round = if second && slot.is_multiple_of(7) { 2 } else { 1 };
    let missed = second && slot.is_multiple_of(11) && step == 4;
    let after_ms = 300 + i64::try_from(slot % 5).unwrap_or(0) * 90 + (round - 1) * 4_000;
    DutyRecord {
        slot: Slot(slot),
        kind: "attester".to_owned(),
        validators: 8,
        decided_round: (step >= 1).then_some(round.unsigned_abs()),
        decided_ms: (step >= 1).then_some(after_ms),
        signed: if step >= 2 { 8 } else { 0 },
        partials_from: if step >= 2 { vec![0, 1, 3] } else { Vec::new() },
        combined: if step >= 3 && !missed { 8 } else { 0 },
        broadcast: if step >= 4 && !missed { 8 } else { 0 },
        broadcast_ms: (step >= 4 && !missed).then_some(after_ms + 240),
        missed: missed.then(|| "partials of 2 operators only, 3 are needed".to_owned()),
        ..DutyRecord::default()
    }
}

fn status(name: &str, index: usize) -> Status {
    let peer = |operator| PeerStatus {
        operator,
        peer_id: String::new(),
        own: operator == 0,
        connected: index != 1 || operator != 2,
        version: None,
    };
    let slow = Condition {
        id: "disk.fsync-slow".to_owned(),
        severity: Severity::Warning,
        since: Timestamp(Millis(now().0.saturating_sub(3 * 3_600_000))),
        summary: "p99 of fsync is 840 ms, the limit is 200 ms".to_owned(),
        remedy: "Replace the disk soon: holdfast health shows which".to_owned(),
    };
    Status {
        name: name.to_owned(),
        version: "0.3.0".to_owned(),
        mode: if index == 1 { Mode::Draining } else { Mode::Ready },
        reason: "update 0.3.1 waits for its turn".to_owned(),
        cluster: "Four Friends".to_owned(),
        validators: 8,
        peers: (0..4).map(peer).collect(),
        vault: None,
        bls_path: String::new(),
        now: Timestamp(now()),
        clock_synchronised: true,
        conditions: if index == 1 { vec![slow] } else { Vec::new() },
    }
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
