//! Pictures of the live view at the sizes that must work, and that no size and no text breaks it.

use holdfast_api::{Condition, DutyRecord, PeerStatus, Severity, Status, Timestamp};
use holdfast_types::{Millis, Mode, Slot};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::*;

/// When it all happens: 2026-11-27 11:40:17.
pub(super) const NOW: Millis = Millis(1_795_779_617_000);

const TERMINAL: Look = Look { unicode: true, colour: true };
const PLAIN: Look = Look { unicode: true, colour: false };
const ASCII: Look = Look { unicode: false, colour: false };

/// A duty that went well.
pub(super) fn attested(slot: u64) -> DutyRecord {
    DutyRecord {
        slot: Slot(slot),
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
    }
}

/// A box that does well.
pub(super) fn status(name: &str) -> Status {
    let peer = |operator| PeerStatus {
        operator,
        peer_id: format!("16Uiu2HAm{operator}"),
        own: operator == 0,
        connected: operator != 0,
        version: None,
    };
    Status {
        name: name.to_owned(),
        version: "0.3.0".to_owned(),
        mode: Mode::Ready,
        reason: "doing its duties".to_owned(),
        cluster: "Four Friends".to_owned(),
        validators: 8,
        peers: (0..4).map(peer).collect(),
        vault: None,
        bls_path: "adx".to_owned(),
        now: Timestamp(NOW),
        clock_synchronised: true,
        conditions: Vec::new(),
    }
}

/// Something that has been wrong for some time.
pub(super) fn condition(severity: Severity, id: &str, since_ms: u64) -> Condition {
    Condition {
        id: id.to_owned(),
        severity,
        since: Timestamp(Millis(NOW.0 - since_ms)),
        summary: "p99 of fsync is 840 ms, the limit is 200 ms".to_owned(),
        remedy: "Replace the disk soon: holdfast health shows which".to_owned(),
    }
}

/// One box does well, one does not, one is lost, one has never been heard.
fn four_boxes() -> View {
    let mut view =
        View::new(["box-7f3a", "box-c41b", "box-e902", "a-box-with-a-rather-long-name"].map(str::to_owned).to_vec());
    view.tick(NOW);
    let well = (10_182_400..10_182_540).filter(|slot| slot % 4 == 3).map(attested);
    view.apply("box-7f3a", Update::Duties(well.collect()));
    view.apply("box-7f3a", Update::Status(Box::new(status("box-7f3a"))));

    let mut troubled = status("box-c41b");
    troubled.mode = Mode::Syncing;
    troubled.reason = "too few peers: 2 of 4 are connected, 3 are needed".to_owned();
    troubled.peers[2].connected = false;
    troubled.clock_synchronised = false;
    troubled.conditions = vec![
        condition(Severity::Warning, "disk.fsync-slow", 3 * 3_600_000),
        condition(Severity::Critical, "peers.too-few", 40_000),
    ];
    view.apply("box-c41b", Update::Status(Box::new(troubled)));
    let missed = DutyRecord {
        broadcast: 0,
        broadcast_ms: None,
        combined: 3,
        missed: Some("not decided in time: leader “north” was offline".to_owned()),
        refused: vec!["the vault is closed".to_owned(); 8],
        ..attested(10_182_531)
    };
    let late = DutyRecord {
        decided_round: Some(2),
        decided_ms: Some(2_300),
        broadcast_ms: Some(7_900),
        ..attested(10_182_523)
    };
    let waiting = DutyRecord {
        signed: 0,
        partials_from: Vec::new(),
        combined: 0,
        broadcast: 0,
        broadcast_ms: None,
        ..attested(10_182_539)
    };
    view.apply("box-c41b", Update::Duties(vec![attested(10_182_515), late, missed, waiting]));

    view.apply("box-e902", Update::Status(Box::new(status("box-e902"))));
    view.tick(Millis(NOW.0 - 42_000));
    view.apply("box-e902", Update::Lost("connection refused".to_owned()));
    view.tick(NOW);
    view
}

fn press(view: &mut View, codes: &[KeyCode]) {
    for code in codes {
        view.key(KeyEvent::new(*code, KeyModifiers::NONE));
    }
}

fn drawn(view: &View, look: Look, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(view, look, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..buffer.area.height).map(row).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_pictures() {
    for (name, codes) in [
        ("well", &[][..]),
        ("troubled", &[KeyCode::Down]),
        ("missed", &[KeyCode::Down, KeyCode::Left]),
        ("late", &[KeyCode::Down, KeyCode::Left, KeyCode::Left]),
        ("lost", &[KeyCode::Down, KeyCode::Down]),
        ("connecting", &[KeyCode::Down, KeyCode::Down, KeyCode::Down]),
        ("oldest", &[KeyCode::Home]),
        ("help", &[KeyCode::Char('?')]),
    ] {
        let mut view = four_boxes();
        press(&mut view, codes);
        for (width, height, kind, look) in
            [(80, 24, "terminal", TERMINAL), (80, 24, "ascii", ASCII), (200, 50, "terminal", TERMINAL)]
        {
            insta::assert_snapshot!(
                format!("{name}-{width}x{height}-{kind}"),
                text(&drawn(&view, look, width, height))
            );
        }
    }
    let one = View::new(vec!["box-7f3a".to_owned()]);
    insta::assert_snapshot!("nothing-80x24", text(&drawn(&one, TERMINAL, 80, 24)));
}

#[test]
fn colour_repeats_what_the_marks_say() {
    let mut view = four_boxes();
    press(&mut view, &[KeyCode::Down, KeyCode::Left]);
    let (coloured, plain) = (drawn(&view, TERMINAL, 80, 24), drawn(&view, PLAIN, 80, 24));
    assert_eq!(text(&coloured), text(&plain), "without colour nothing is missing");
    assert!(plain.content().iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    let colour_of = |mark| coloured.content().iter().find(|cell| cell.symbol() == mark).map(|cell| cell.fg);
    let colours = ["✓", "!", "✗", "○"].map(colour_of);
    assert_eq!(colours, [Color::Green, Color::Yellow, Color::Red, Color::Cyan].map(Some));
    let looked_at = plain.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
    assert_eq!(looked_at, 1, "the slot that is looked at is marked without colour too");
}

#[test]
fn ascii_is_ascii() {
    let mut view = four_boxes();
    for codes in [&[][..], &[KeyCode::Down], &[KeyCode::Left], &[KeyCode::Char('?')]] {
        press(&mut view, codes);
        let picture = text(&drawn(&view, ASCII, 120, 40));
        assert!(picture.is_ascii(), "{picture}");
    }
}

#[test]
fn no_size_breaks_it() {
    let mut view = four_boxes();
    for codes in [&[][..], &[KeyCode::Down], &[KeyCode::Left], &[KeyCode::Home], &[KeyCode::Char('?')]] {
        press(&mut view, codes);
        for width in (0..40).chain([79, 119, 300]) {
            for height in (0..24).chain([60]) {
                drawn(&view, TERMINAL, width, height);
            }
        }
    }
    drawn(&View::new(Vec::new()), TERMINAL, 80, 24);
}

#[test]
fn the_box_that_is_looked_at_is_always_shown() {
    let names: Vec<String> = (0..60).map(|n| format!("box-{n:04}")).collect();
    let mut view = View::new(names.clone());
    for name in &names {
        let picture = text(&drawn(&view, TERMINAL, 80, 24));
        assert!(picture.contains(&format!("> {name}")), "{name} is not in\n{picture}");
        press(&mut view, &[KeyCode::Down]);
    }
}

#[test]
fn no_text_and_no_figure_breaks_it() {
    let evil = "\u{1b}[2J\r\n\u{202e}日本語\u{200d}\u{0301}\0".repeat(50);
    let mut view = View::new(vec![evil.clone()]);
    let duty = DutyRecord {
        slot: Slot(u64::MAX),
        kind: evil.clone(),
        decided_ms: Some(i64::MIN),
        broadcast_ms: Some(i64::MAX),
        missed: Some(evil.clone()),
        withheld: Some(evil.clone()),
        ..attested(0)
    };
    view.apply(&evil, Update::Duties(vec![attested(0), duty]));
    let condition = Condition { id: evil.clone(), summary: evil.clone(), ..condition(Severity::Info, "x", 0) };
    let status = Status {
        cluster: evil.clone(),
        reason: evil.clone(),
        mode: Mode::Halted,
        conditions: vec![condition],
        ..status("x")
    };
    view.apply(&evil, Update::Status(Box::new(status)));
    for codes in [&[][..], &[KeyCode::Home]] {
        press(&mut view, codes);
        for width in [3, 80, 200] {
            let picture = text(&drawn(&view, TERMINAL, width, 24));
            assert!(!picture.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{picture:?}");
        }
    }
}
