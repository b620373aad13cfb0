//! The first page: what the box waits for, or how it does.

use holdfast_api::{Condition, DutyRecord, Outcome, PairingCode, Screen, Severity, span};
use holdfast_types::{Millis, Mode};
use ratatui::Frame;
use ratatui::layout::Rect;

use super::qr::{self, Qr};
use super::sheet::clock;
use super::{Look, Sheet, Tone, print};

/// Draws the first page of a box that answers.
pub(super) fn draw(screen: &Screen, look: Look, now: Millis, area: Rect, frame: &mut Frame<'_>) {
    if let Some(words) = &screen.words {
        let mut sheet = headed(screen, look, area.width);
        same_words(words, &mut sheet);
        return print(sheet.cut(area.height), area, frame);
    }
    let Some(pairing) = &screen.pairing else {
        return print(owned(screen, look, now, area.width).cut(area.height), area, frame);
    };
    let code = Qr::of(screen, look).filter(|qr| {
        let (width, height) = qr.size();
        area.width >= width + GAP + TEXT_WIDTH_MIN && area.height >= height
    });
    let taken = code.as_ref().map_or(0, |qr| qr.size().0 + GAP);
    let text = Rect { width: (area.width - taken).min(TEXT_WIDTH_MAX), ..area };
    print(unpaired(screen, pairing, look, now, text.width).cut(text.height), text, frame);
    if let Some(qr) = code {
        let (width, height) = qr.size();
        qr.draw(Rect { x: text.right() + GAP, y: area.y, width, height }, frame);
    }
}

/// A daemon that does not answer.
pub(super) fn silent(since: Millis, why: &str, now: Millis, look: Look, width: u16) -> Sheet {
    let mut sheet = Sheet::new(look, width);
    sheet.blank();
    let passed = span(now.since(since));
    sheet.marked(Tone::Warn, &format!("no answer from the agent for {passed}, since {} UTC: {why}", clock(since)));
    sheet.blank();
    sheet.text(
        2,
        "It is started again by itself. If this stays for more than five minutes, switch the box off and on. \
         Nothing is signed while the agent is away.",
    );
    sheet
}

fn headed(screen: &Screen, look: Look, width: u16) -> Sheet {
    let mut sheet = Sheet::new(look, width);
    sheet.blank();
    let reason = if screen.reason.is_empty() { "" } else { ": " };
    sheet.marked(tone(screen.mode), &format!("{}{reason}{}", screen.mode, screen.reason));
    sheet.blank();
    sheet
}

fn same_words(words: &str, sheet: &mut Sheet) {
    sheet.text(2, "both sides show");
    sheet.blank();
    sheet.strong(6, words);
    sheet.blank();
    sheet.text(
        2,
        "Does your computer show the same four words? Answer y there. If it shows others, answer n: somebody is \
         between you and this box.",
    );
}

fn unpaired(screen: &Screen, pairing: &PairingCode, look: Look, now: Millis, width: u16) -> Sheet {
    let mut sheet = headed(screen, look, width);
    sheet.text(0, "on your computer");
    match qr::host(screen) {
        Some(host) => sheet.strong(2, &format!("holdfast pair {host}")),
        None => sheet.marked(Tone::Warn, "no network yet: connect a cable"),
    }
    for address in screen.addresses.iter().take(if screen.name.is_empty() { 0 } else { ADDRESSES_SHOWN }) {
        sheet.text(2, &format!("or {address}"));
    }
    sheet.blank();
    match &pairing.code {
        Some(code) => {
            sheet.text(0, "code");
            sheet.strong(2, code);
        }
        None => sheet.text(0, "code: the one shown when the boot medium was written; p makes another"),
    }
    let left_ms = pairing.expires.0.since(now);
    let tries = if pairing.tries_left == 1 { "1 try".to_owned() } else { format!("{} tries", pairing.tries_left) };
    let valid = match (&pairing.code, left_ms) {
        (_, 0) => "expired: a new one comes by itself".to_owned(),
        (_, ms @ 1..3_600_000) => format!("valid {}:{:02}, {tries}", ms / 60_000, ms / 1_000 % 60),
        (_, ms) => format!("valid {}, {tries}", span(ms)),
    };
    sheet.text(2, &valid);
    sheet.blank();
    time_and_conditions(screen, now, &mut sheet);
    sheet
}

fn owned(screen: &Screen, look: Look, now: Millis, width: u16) -> Sheet {
    let mut sheet = headed(screen, look, width);
    cluster(screen, &mut sheet);
    if let Some(duty) = &screen.last_duty {
        let (tone, text) = said(duty);
        sheet.judged("last duty", tone, &text);
    }
    let host = qr::host(screen).unwrap_or_else(|| "no network yet".to_owned());
    sheet.field("address", &[&[host][..], &screen.addresses].concat().join(", "));
    sheet.field("API", &format!("port {}", screen.port));
    sheet.blank();
    time_and_conditions(screen, now, &mut sheet);
    sheet
}

/// The cluster and who of it is there.
pub(super) fn cluster(screen: &Screen, sheet: &mut Sheet) {
    if screen.cluster.is_empty() {
        return sheet.field("cluster", "none yet");
    }
    sheet.field("cluster", &screen.cluster);
    let (connected, all) = screen.peers;
    let tone = if connected == all { Tone::Good } else { Tone::Warn };
    sheet.judged("peers", tone, &format!("{connected} of {all} connected"));
}

/// What became of a duty, in a sentence.
pub(super) fn said(duty: &DutyRecord) -> (Tone, String) {
    let outcome = duty.outcome();
    let about = format!("slot {}, {}: {outcome}", duty.slot, duty.kind);
    let at = duty.broadcast_ms.map(|ms| format!(", {ms} ms after its start")).unwrap_or_default();
    let done = format!("{about}, {} of {} submitted{at}", duty.broadcast, duty.validators);
    match outcome {
        Outcome::Attested => (Tone::Good, done),
        Outcome::Late => (Tone::Warn, done),
        Outcome::Missed => (Tone::Bad, format!("{about}: {}", duty.missed.as_deref().unwrap_or("no reason known"))),
        Outcome::Waiting => (Tone::Wait, about),
    }
}

fn time_and_conditions(screen: &Screen, now: Millis, sheet: &mut Sheet) {
    clock_judged(screen, sheet);
    if screen.conditions.is_empty() {
        return sheet.judged("conditions", Tone::Good, "none");
    }
    sheet.blank();
    for condition in &screen.conditions {
        told(condition, now, sheet);
    }
}

/// Whether the box knows the time.
pub(super) fn clock_judged(screen: &Screen, sheet: &mut Sheet) {
    match screen.clock_synchronised {
        true => sheet.judged("clock", Tone::Good, "synchronised"),
        false => sheet.judged("clock", Tone::Warn, "not synchronised yet"),
    }
}

/// A condition with its reason and its remedy.
pub(super) fn told(condition: &Condition, now: Millis, sheet: &mut Sheet) {
    let (tone, word) = match condition.severity {
        Severity::Critical => (Tone::Bad, "critical"),
        Severity::Info => (Tone::Plain, "info"),
        Severity::Warning => (Tone::Warn, "warning"),
    };
    let passed = span(now.since(condition.since.0));
    sheet.marked(tone, &format!("{word}, for {passed}: {}", condition.id));
    sheet.text(2, &condition.summary);
    sheet.text(2, &condition.remedy);
}

/// How a mode looks.
pub(super) fn tone(mode: Mode) -> Tone {
    match mode {
        Mode::Ready => Tone::Good,
        Mode::Halted => Tone::Bad,
        Mode::Maintenance | Mode::Paired | Mode::Enrolled | Mode::Syncing | Mode::Draining => Tone::Wait,
    }
}

/// Between the text and the QR code.
const GAP: u16 = 2;
/// `holdfast pair box-7f3a.local` and a little; with less the QR code goes.
const TEXT_WIDTH_MIN: u16 = 34;
/// A longer line is hard to read, and would put the QR code far away.
const TEXT_WIDTH_MAX: u16 = 76;
/// On the first page; the details show all.
const ADDRESSES_SHOWN: usize = 3;
