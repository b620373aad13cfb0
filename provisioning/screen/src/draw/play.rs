//! Boxes to be drawn, for tests and for the example.

use holdfast_api::{Condition, DutyRecord, PairingCode, Screen, Severity, Timestamp};
use holdfast_types::{Millis, Mode, Slot};

/// When it all happens: 2026-11-27 11:40:17.
pub(crate) const NOW: Millis = Millis(1_795_779_617_000);

/// Nobody owns it; it made the code itself.
pub(crate) fn unpaired() -> Screen {
    Screen {
        version: "0.3.0".to_owned(),
        board: "x86-64-uefi".to_owned(),
        name: "box-7f3a".to_owned(),
        tier: "tier A: TPM 2.0, Secure Boot, measured boot".to_owned(),
        mode: Mode::Maintenance,
        reason: "waiting to be paired".to_owned(),
        addresses: vec!["192.168.1.57".to_owned(), "fe80::5a47:caff:fe70:1234".to_owned()],
        port: 4443,
        owned: false,
        pairing: Some(PairingCode {
            code: Some("7KQ4-M2XD-9".to_owned()),
            expires: Timestamp(NOW.plus(872_000)),
            tries_left: 5,
        }),
        words: None,
        cluster: String::new(),
        peers: (0, 0),
        last_duty: None,
        conditions: Vec::new(),
        now: Timestamp(NOW),
        clock_synchronised: true,
    }
}

/// The code is that of the boot medium.
pub(crate) fn medium() -> Screen {
    let pairing = PairingCode { code: None, expires: Timestamp(NOW.plus(6 * 86_400_000)), tries_left: 1 };
    Screen { pairing: Some(pairing), clock_synchronised: false, ..unpaired() }
}

/// Somebody has just used the code.
pub(crate) fn words() -> Screen {
    let words = Some("otter velvet anchor prism".to_owned());
    Screen {
        pairing: None,
        words,
        reason: "paired with a code; waiting for its owner's order".to_owned(),
        ..unpaired()
    }
}

/// It does its duties.
pub(crate) fn owned() -> Screen {
    let last_duty = DutyRecord {
        slot: Slot(10_182_539),
        kind: "attester".to_owned(),
        validators: 8,
        decided_round: Some(1),
        decided_ms: Some(412),
        signed: 8,
        partials_from: vec![0, 1, 3],
        combined: 8,
        broadcast: 8,
        broadcast_ms: Some(731),
        ..DutyRecord::default()
    };
    Screen {
        mode: Mode::Ready,
        reason: "doing its duties".to_owned(),
        owned: true,
        pairing: None,
        cluster: "Four Friends".to_owned(),
        peers: (4, 4),
        last_duty: Some(last_duty),
        ..unpaired()
    }
}

/// It does not do well.
pub(crate) fn troubled() -> Screen {
    let mut screen = owned();
    screen.peers = (2, 4);
    screen.mode = Mode::Syncing;
    screen.reason =
        "too few peers: 2 of 4 are connected, 3 are needed. It goes on by itself when another comes".to_owned();
    screen.clock_synchronised = false;
    screen.last_duty = screen.last_duty.map(|duty| DutyRecord {
        missed: Some("not decided in time: leader “north” was offline".to_owned()),
        refused: vec!["the vault is closed: waits for the lease".to_owned()],
        withheld: Some("draining".to_owned()),
        ..duty
    });
    screen.conditions = vec![
        condition(
            Severity::Critical,
            "clock.unsynchronised",
            40 * 60_000,
            "signing stopped: the clock is 7.2 s behind 3 peers",
            "Check that UDP 123 leaves your network, then it goes on by itself",
        ),
        condition(
            Severity::Warning,
            "disk.fsync-slow",
            3 * 3_600_000,
            "p99 of fsync is 840 ms, the limit is 200 ms",
            "Replace the disk soon: holdfast health shows which",
        ),
        condition(Severity::Info, "update.waits", 5_000, "0.3.1 waits for its turn – box-a77d is updating", "Nothing"),
    ];
    screen
}

fn condition(severity: Severity, id: &str, since_ms: u64, summary: &str, remedy: &str) -> Condition {
    Condition {
        id: id.to_owned(),
        severity,
        since: Timestamp(Millis(NOW.0 - since_ms)),
        summary: summary.to_owned(),
        remedy: remedy.to_owned(),
    }
}
