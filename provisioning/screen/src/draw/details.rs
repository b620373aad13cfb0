//! The pages behind the first: all there is to know, in words.

use holdfast_api::{DutyRecord, Screen};
use holdfast_types::Millis;
use ratatui::text::Line;

use super::overview::{clock_judged, cluster, said, told, tone};
use super::sheet::clock;
use super::{Look, Sheet, Tone};

/// All lines of the details, to be cut into pages.
pub(super) fn lines(screen: &Screen, look: Look, now: Millis, width: u16) -> Vec<Line<'static>> {
    let mut sheet = Sheet::new(look, width);
    sheet.heading("box");
    sheet.field("name", if screen.name.is_empty() { "not known yet: the vault does not answer" } else { &screen.name });
    sheet.field("version", &screen.version);
    sheet.field("board", &screen.board);
    sheet.field("seal", &screen.tier);
    sheet.judged("mode", tone(screen.mode), &format!("{}: {}", screen.mode, screen.reason));
    sheet.field("time", &format!("{} UTC", clock(screen.now.0)));
    clock_judged(screen, &mut sheet);
    sheet.field("API", &format!("port {}", screen.port));
    match screen.addresses.is_empty() {
        true => sheet.judged("addresses", Tone::Warn, "none yet: connect a cable"),
        false => screen.addresses.iter().for_each(|address| sheet.field("address", address)),
    }
    sheet.blank();
    sheet.heading("cluster");
    cluster(screen, &mut sheet);
    if let Some(record) = &screen.last_duty {
        sheet.blank();
        sheet.heading("last duty");
        duty(record, &mut sheet);
    }
    sheet.blank();
    sheet.heading("conditions");
    if screen.conditions.is_empty() {
        sheet.text(2, "none");
    }
    for condition in &screen.conditions {
        told(condition, now, &mut sheet);
    }
    sheet.lines()
}

fn duty(record: &DutyRecord, sheet: &mut Sheet) {
    let (tone, text) = said(record);
    sheet.marked(tone, &text);
    if let (Some(round), Some(ms)) = (record.decided_round, record.decided_ms) {
        sheet.field("decided", &format!("in round {round}, {ms} ms after its start"));
    }
    if let Some(why) = &record.withheld {
        sheet.judged("held back", Tone::Warn, why);
    }
    sheet.field("signed", &format!("{} of {}", record.signed, record.validators));
    for why in &record.refused {
        sheet.judged("refused", Tone::Bad, why);
    }
    let operators: Vec<String> = record.partials_from.iter().map(|index| (u16::from(*index) + 1).to_string()).collect();
    sheet.field("combined", &format!("{} of {}", record.combined, record.validators));
    if !operators.is_empty() {
        sheet.field("partials", &format!("from operators {}", operators.join(", ")));
    }
}
