//! Pictures of the display at the sizes that must work, and that no size and no text breaks it.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::play::NOW;
use super::*;
use crate::ask::AskError;

const CONSOLE: Look = Look { glyphs: Glyphs::Blocks, colour: true };
const PLAIN: Look = Look { glyphs: Glyphs::Blocks, colour: false };
const SERIAL: Look = Look { glyphs: Glyphs::Ascii, colour: false };

fn showing(screen: Screen) -> Display {
    let mut display = Display::new(NOW, false);
    display.answered(NOW, Ok(Box::new(screen)));
    display
}

fn drawn(display: &Display, look: Look, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(display, look, NOW, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..buffer.area.height).map(row).collect::<Vec<_>>().join("\n")
}

/// Where each style begins, in words: what the text alone does not show.
fn styles(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut last = Style::reset();
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            let style = cell.style();
            if style != last && cell.symbol() != " " {
                let bold = if cell.modifier.contains(Modifier::BOLD) { " bold" } else { "" };
                out.push_str(&format!("{y}:{x} {} {}{bold}\n", cell.symbol(), cell.fg));
                last = style;
            }
        }
    }
    out
}

#[test]
fn the_pictures() {
    let mut silent = showing(play::owned());
    silent.answered(Millis(NOW.0 - 42_000), Err(AskError::Malformed("cut off")));
    let mut refused = showing(play::unpaired());
    refused.code_made(NOW, Err(AskError::Refused("the vault does not answer yet".to_owned())));
    let mut details = showing(play::troubled());
    details.page = 1;
    let mut last = showing(play::troubled());
    last.page = 9;
    let displays = [
        ("unpaired", showing(play::unpaired())),
        ("medium", showing(play::medium())),
        ("words", showing(play::words())),
        ("owned", showing(play::owned())),
        ("troubled", showing(play::troubled())),
        ("details", details),
        ("details-last", last),
        ("silent", silent),
        ("refused", refused),
    ];
    for (name, display) in &displays {
        for (width, height, kind, look) in
            [(80, 24, "console", CONSOLE), (80, 24, "serial", SERIAL), (200, 50, "console", CONSOLE)]
        {
            let picture = text(&drawn(display, look, width, height));
            insta::assert_snapshot!(format!("{name}-{width}x{height}-{kind}"), picture);
        }
    }
}

#[test]
fn a_large_serial_line_has_room_for_the_code_too() {
    let buffer = drawn(&showing(play::unpaired()), SERIAL, 200, 50);
    assert!(buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count() > 1_000);
}

#[test]
fn colour_repeats_what_the_marks_say() {
    let coloured = drawn(&showing(play::troubled()), CONSOLE, 80, 24);
    insta::assert_snapshot!("styles-troubled", styles(&coloured));
    for screen in [play::troubled(), play::owned(), play::words(), play::unpaired()] {
        let (coloured, plain) =
            (drawn(&showing(screen.clone()), CONSOLE, 80, 24), drawn(&showing(screen), PLAIN, 80, 24));
        assert_eq!(text(&coloured), text(&plain), "without colour nothing is missing");
        for cell in plain.content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
    }
}

#[test]
fn a_serial_line_gets_ascii_only() {
    for screen in [play::troubled(), play::owned(), play::medium(), play::unpaired()] {
        let mut display = showing(screen);
        for page in 0..3 {
            display.page = page;
            let picture = text(&drawn(&display, SERIAL, 200, 60));
            assert!(picture.is_ascii(), "{picture}");
        }
    }
}

#[test]
fn a_console_gets_only_what_its_font_has() {
    for screen in [play::troubled(), play::owned(), play::medium(), play::unpaired()] {
        let picture = text(&drawn(&showing(screen), CONSOLE, 200, 60));
        let foreign: String = picture.chars().filter(|c| !c.is_ascii() && !"─█▀▄√•".contains(*c)).collect();
        assert_eq!(foreign, "");
    }
}

#[test]
fn no_size_breaks_it() {
    let displays = [play::unpaired(), play::words(), play::troubled()].map(showing);
    for width in (0..12).chain([39, 40, 73, 77, 79, 300]) {
        for height in (0..14).chain([23, 60]) {
            for display in displays.iter().chain([&Display::new(NOW, false)]) {
                for look in [CONSOLE, SERIAL] {
                    drawn(display, look, width, height);
                }
            }
        }
    }
}

#[test]
fn no_text_breaks_it() {
    let evil = "\u{1b}[2J\r\n\u{202e}日本語\u{200d}\u{0301}\0".repeat(50);
    let screen = Screen {
        name: evil.clone(),
        tier: evil.clone(),
        reason: evil.clone(),
        cluster: evil.clone(),
        addresses: vec![evil.clone(); 40],
        words: Some(evil.clone()),
        ..play::owned()
    };
    let without_words = Screen { words: None, ..screen.clone() };
    let with_code = Screen { pairing: play::unpaired().pairing, ..without_words.clone() };
    for screen in [screen, without_words, with_code] {
        let mut display = showing(screen);
        for (page, width) in [(0, 80), (1, 80), (7, 80), (0, 3), (1, 1)] {
            display.page = page;
            let picture = text(&drawn(&display, CONSOLE, width, 24));
            assert!(!picture.chars().any(|c| c.is_control() && c != '\n'), "{picture:?}");
        }
    }
}

#[test]
fn a_code_that_runs_out_says_what_comes() {
    let mut screen = play::unpaired();
    if let Some(pairing) = &mut screen.pairing {
        pairing.expires.0 = NOW;
    }
    assert!(text(&drawn(&showing(screen), CONSOLE, 80, 24)).contains("expired: a new one comes by itself"));
}

#[test]
fn each_line_of_the_details_is_on_one_page() {
    let mut display = showing(play::troubled());
    let area = Rect::new(0, 0, 80, 24);
    let pages = pages(&display.seen, CONSOLE, NOW, area);
    assert!(pages > 2, "the details of a troubled box fill more than a page");
    let mut all = String::new();
    for page in 1..pages {
        display.page = page;
        all.push_str(&text(&drawn(&display, CONSOLE, 80, 24)));
    }
    for says in ["seal", "fe80::5a47", "operators 1, 2, 4", "UDP 123", "update.waits", "page 2 of", "page 3 of"] {
        assert!(all.contains(says), "{says} is missing");
    }
}
