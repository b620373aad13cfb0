//! Draws the live view: a function of what is known and of the terminal's size.

use holdfast_api::{Condition, DutyRecord, Outcome, Severity, Status, Timestamp, printable, span};
use holdfast_types::{Mode, Slot};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::view::{BoxView, View};

/// What the terminal can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether it has more than ASCII.
    pub(crate) unicode: bool,
    /// Whether it has colours.
    pub(crate) colour: bool,
}

/// How a state looks beside its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Bad,
    Good,
    Plain,
    Wait,
    Warn,
}

impl Look {
    fn mark(self, tone: Tone) -> &'static str {
        match (tone, self.unicode) {
            (Tone::Bad, true) => "✗",
            (Tone::Bad, false) => "x",
            (Tone::Good, true) => "✓",
            (Tone::Good, false) => "+",
            (Tone::Plain, true) => "·",
            (Tone::Plain, false) => ".",
            (Tone::Wait, true) => "○",
            (Tone::Wait, false) => "o",
            (Tone::Warn, _) => "!",
        }
    }

    fn style(self, tone: Tone) -> Style {
        let colour = match tone {
            Tone::Bad => Color::Red,
            Tone::Good => Color::Green,
            Tone::Plain => return Style::new(),
            Tone::Wait => Color::Cyan,
            Tone::Warn => Color::Yellow,
        };
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// A state: its mark and its word.
    fn state(self, tone: Tone, word: &str) -> Span<'static> {
        Span::styled(format!("{} {word}", self.mark(tone)), self.style(tone))
    }

    fn clean(self, text: &str) -> String {
        let text = printable(text);
        if self.unicode { text.into_owned() } else { text.replace(|c: char| !c.is_ascii(), "?") }
    }
}

/// Draws `view`.
pub(crate) fn draw(view: &View, look: Look, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.is_empty() {
        return;
    }
    let (body, footer) = (Rect { height: area.height - 1, ..area }, Rect { y: area.bottom() - 1, height: 1, ..area });
    frame.render_widget(Line::raw("q quit   up/down box   left/right duty   end newest   ? help"), footer);
    let shown = visible(view, body.height);
    let mut lines = vec![title(view, shown, body.width)];
    if view.help {
        lines.extend(help(look));
        return frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), body);
    }
    lines.extend(table(view, shown, look, body.width));
    lines.push(Line::default());
    lines.extend(strips(view, shown, look, usize::from(body.width)));
    lines.push(Line::default());
    lines.extend(duty(view, look, usize::from(body.width)));
    lines.push(Line::default());
    let of = view.current().map(|seen| format!("CONDITIONS of {}", seen.name)).unwrap_or_default();
    lines.push(Line::styled(look.clean(&of), bold()));
    let top = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(body.height);
    frame.render_widget(Paragraph::new(lines), body);
    let rest = Rect { y: body.y + top, height: body.height - top, ..body };
    let indent = u16::from(rest.width > 10) * 2;
    let rest = Rect { x: rest.x + indent, width: rest.width - indent, ..rest };
    frame.render_widget(Paragraph::new(conditions(view, look)).wrap(Wrap { trim: false }), rest);
}

/// The boxes that there is room for, around the one that is looked at: from which on, and how many.
fn visible(view: &View, height: u16) -> (usize, usize) {
    let room = usize::from(height.saturating_sub(ROWS_OF_THE_REST) / 2).max(1);
    let count = room.min(view.boxes.len());
    let first = (view.selected + 1).saturating_sub(count);
    (first, count)
}

fn title(view: &View, (first, count): (usize, usize), width: u16) -> Line<'static> {
    let boxes = match view.boxes.len() {
        1 => "1 box".to_owned(),
        all if all > count => format!("boxes {} to {} of {all}", first + 1, first + count),
        all => format!("{all} boxes"),
    };
    let time = Timestamp(view.now).to_string();
    let time = format!("{} UTC", time.get(11..19).unwrap_or(&time));
    let left = Span::styled(format!("holdfast top   {boxes}"), bold());
    let gap = usize::from(width).saturating_sub(left.width() + time.len());
    if gap < 2 {
        return Line::from(left);
    }
    Line::from(vec![left, Span::raw(" ".repeat(gap)), Span::raw(time)])
}

fn help(look: Look) -> Vec<Line<'static>> {
    let mut lines = vec![Line::default()];
    lines.extend(
        [
            ("up, down", "look at another box"),
            ("left, right", "look at another duty of it"),
            ("home, end", "the oldest duty that is known; the newest, and follow it"),
            ("q", "quit: nothing in the boxes changes"),
        ]
        .map(|(key, says)| Line::raw(format!("  {key:<13}{says}"))),
    );
    lines.extend([
        Line::default(),
        Line::styled("marks of a slot", bold()),
        about(look, Outcome::Attested, "a beacon node took every attestation in time"),
        about(look, Outcome::Late, "it took them, but after a second round or later than 4 s"),
        about(look, Outcome::Missed, "not all validators attested; the duty says why"),
        about(look, Outcome::Waiting, "under way"),
        Line::raw(format!("  {}            no duty in this slot", look.mark(Tone::Plain))),
        Line::default(),
        Line::raw("DUTIES counts those that are over and known here: done of all."),
        Line::raw("A duty's times count from its start: for an attestation a third into its slot."),
        Line::raw("On the line below it D is decided, S submitted."),
        Line::default(),
        Line::raw("any key closes this"),
    ]);
    lines
}

fn about(look: Look, outcome: Outcome, says: &str) -> Line<'static> {
    let state = look.state(tone(outcome), outcome.name());
    let pad = " ".repeat(13_usize.saturating_sub(state.width()));
    Line::from(vec![Span::raw("  "), state, Span::raw(format!("{pad}{says}"))])
}

fn table(view: &View, (first, count): (usize, usize), look: Look, width: u16) -> Vec<Line<'static>> {
    let columns = Columns::of(view, usize::from(width));
    let heads = ["BOX", "MODE", "CLUSTER", "PEERS", "DUTIES", "WORST CONDITION"].map(|head| Span::styled(head, bold()));
    let mut lines = vec![columns.row(" ", heads)];
    for (index, seen) in view.boxes.iter().enumerate().skip(first).take(count) {
        let here = if index == view.selected { ">" } else { " " };
        let mut row = columns.row(here, cells(seen, view, look, usize::from(width) >= WIDE));
        if index == view.selected {
            row = row.patch_style(bold());
        }
        lines.push(row);
    }
    lines
}

struct Columns([usize; 6]);

impl Columns {
    fn of(view: &View, width: usize) -> Self {
        let name = view
            .boxes
            .iter()
            .map(|seen| Span::raw(&*seen.name).width())
            .max()
            .unwrap_or(0)
            .clamp(8, if width < WIDE { 12 } else { 30 });
        let cluster = if width < WIDE { 12 } else { 32 };
        let fixed = [name, 13, cluster, 5, 9];
        let rest = width.saturating_sub(2 + fixed.iter().sum::<usize>() + fixed.len());
        let [name, mode, cluster, peers, duties] = fixed;
        Self([name, mode, cluster, peers, duties, rest])
    }

    fn row(&self, here: &'static str, cells: [Span<'static>; 6]) -> Line<'static> {
        let mut spans = vec![Span::raw(here), Span::raw(" ")];
        for (cell, width) in cells.into_iter().zip(self.0) {
            let text = fit(&cell.content, width);
            let pad = " ".repeat((width + 1).saturating_sub(Span::raw(&*text).width()));
            spans.extend([Span::styled(text, cell.style), Span::raw(pad)]);
        }
        Line::from(spans)
    }
}

fn cells(seen: &BoxView, view: &View, look: Look, wide: bool) -> [Span<'static>; 6] {
    let name = Span::raw(look.clean(&seen.name));
    let none = || Span::raw(if look.unicode { "–" } else { "-" });
    if let Some((since, why)) = &seen.lost {
        let cluster = seen.status.as_ref().map_or_else(none, |status| Span::raw(look.clean(&status.cluster)));
        let why = look.clean(&format!("{}: {why}", span(view.now.since(*since))));
        let why = Span::styled(why, look.style(Tone::Bad));
        return [name, look.state(Tone::Bad, "lost"), cluster, none(), none(), why];
    }
    let Some(status) = &seen.status else {
        return [name, look.state(Tone::Wait, "connecting"), none(), none(), none(), none()];
    };
    let (done, over) = seen.done();
    let duties = if over == 0 { none() } else { judged(look, done == over, format!("{done}/{over}")) };
    let worst = status.conditions.first().map(|condition| worst(condition, look, wide));
    let cluster = if status.cluster.is_empty() { none() } else { Span::raw(look.clean(&status.cluster)) };
    let mode = look.state(mode(status.mode), status.mode.name());
    [name, mode, cluster, peers(status, look).unwrap_or_else(none), duties, worst.unwrap_or_else(none)]
}

fn peers(status: &Status, look: Look) -> Option<Span<'static>> {
    let all = status.peers.len();
    let there = status.peers.iter().filter(|peer| peer.connected || peer.own).count();
    (all > 0).then(|| judged(look, there == all, format!("{there}/{all}")))
}

/// A figure that is well or is not: what is not has the mark behind it, as in the tables of `status`.
fn judged(look: Look, well: bool, figure: String) -> Span<'static> {
    if well { Span::raw(figure) } else { Span::styled(format!("{figure} !"), look.style(Tone::Warn)) }
}

fn worst(condition: &Condition, look: Look, wide: bool) -> Span<'static> {
    let (tone, _) = severity(condition.severity);
    let summary = if wide { format!(": {}", condition.summary) } else { String::new() };
    look.state(tone, &look.clean(&format!("{}{summary}", condition.id)))
}

fn strips(view: &View, (first, count): (usize, usize), look: Look, width: usize) -> Vec<Line<'static>> {
    let mut legend = vec![Span::styled("SLOTS   ", bold())];
    for outcome in [Outcome::Attested, Outcome::Late, Outcome::Missed, Outcome::Waiting] {
        legend.extend([look.state(tone(outcome), outcome.name()), Span::raw("   ")]);
    }
    legend.push(Span::raw(format!("{} no duty", look.mark(Tone::Plain))));
    let mut lines = vec![Line::from(legend)];
    let name_len = Columns::of(view, width).0[0];
    let room = width.saturating_sub(name_len + 3);
    for (index, seen) in view.boxes.iter().enumerate().skip(first).take(count) {
        let here = if index == view.selected { "> " } else { "  " };
        let name = fit(&look.clean(&seen.name), name_len);
        let pad = " ".repeat((name_len + 1).saturating_sub(Span::raw(&*name).width()));
        let mut spans = vec![Span::raw(here), Span::raw(name), Span::raw(pad)];
        let looked_at = view.duty().filter(|_| index == view.selected).map(|duty| duty.slot);
        spans.extend(strip(seen, looked_at, look, room));
        lines.push(Line::from(spans));
    }
    lines
}

/// The last slots that fit, the newest at the right; or those that end at the one that is looked at, if it is older.
fn strip(seen: &BoxView, looked_at: Option<Slot>, look: Look, room: usize) -> Vec<Span<'static>> {
    let (Some(newest), Some(before)) = (seen.newest(), (room as u64).checked_sub(1)) else {
        return vec![Span::raw(if seen.duties.is_empty() { "no duty yet" } else { "" })];
    };
    let last = match looked_at {
        Some(slot) if slot.0.saturating_add(before) < newest.0 => slot.0.saturating_add(before / 2).min(newest.0),
        _ => newest.0,
    };
    let oldest = seen.oldest().unwrap_or(newest).0;
    let mark = |slot| {
        if slot < oldest {
            return Span::raw(" ");
        }
        let tone = seen.outcome(Slot(slot)).map_or(Tone::Plain, tone);
        let style = look.style(tone);
        let reversed = looked_at == Some(Slot(slot));
        Span::styled(look.mark(tone), if reversed { style.add_modifier(Modifier::REVERSED) } else { style })
    };
    (last.saturating_sub(before)..=last).map(mark).collect()
}

fn duty(view: &View, look: Look, width: usize) -> Vec<Line<'static>> {
    let Some(duty) = view.duty() else { return vec![Line::styled("DUTY   none yet", bold())] };
    let outcome = duty.outcome();
    let about = format!("DUTY   slot {}, {}, {}   ", duty.slot, look.clean(&duty.kind), validators(duty.validators));
    let mut lines = vec![Line::from(vec![Span::styled(about, bold()), look.state(tone(outcome), outcome.name())])];
    let of = |n: usize| format!("{n} of {}", duty.validators);
    let ms = |ms: Option<i64>| ms.map(|ms| format!("{ms} ms")).unwrap_or_default();
    let round = duty.decided_round.map(|round| format!("in round {round}")).unwrap_or_default();
    let operators: Vec<_> = duty.partials_from.iter().map(|index| (u16::from(*index) + 1).to_string()).collect();
    let partials =
        if operators.is_empty() { String::new() } else { format!(", partials of operators {}", operators.join(", ")) };
    let steps = [
        ("decided", duty.decided_round.is_some(), ms(duty.decided_ms), round),
        ("signed", enough(duty.signed, duty), String::new(), of(duty.signed)),
        ("combined", enough(duty.combined, duty), String::new(), format!("{}{partials}", of(duty.combined))),
        ("submitted", enough(duty.broadcast, duty), ms(duty.broadcast_ms), of(duty.broadcast)),
    ];
    for (step, done, at, says) in steps {
        let tone = match (done, outcome) {
            (true, _) => Tone::Good,
            (false, Outcome::Missed) => Tone::Bad,
            (false, _) => Tone::Wait,
        };
        let state = look.state(tone, step);
        let pad = " ".repeat(12_usize.saturating_sub(state.width()));
        lines.push(Line::from(vec![Span::raw("  "), state, Span::raw(format!("{pad}{at:>9}   {says}"))]));
    }
    lines.push(timeline(duty, look, width));
    let refused = duty.refused.first().map(|why| (Tone::Bad, format!("refused {}: {why}", duty.refused.len())));
    let missed = duty.missed.iter().map(|why| (Tone::Bad, format!("missed: {why}")));
    let held_back = duty.withheld.iter().map(|why| (Tone::Warn, format!("held back: {why}")));
    for (tone, why) in missed.chain(held_back).chain(refused) {
        let text = fit(&look.clean(&why), width.saturating_sub(4));
        lines.push(Line::from(vec![Span::raw("  "), look.state(tone, &text)]));
    }
    lines
}

fn enough(count: usize, duty: &DutyRecord) -> bool {
    count > 0 && count >= duty.validators
}

fn validators(count: usize) -> String {
    if count == 1 { "1 validator".to_owned() } else { format!("{count} validators") }
}

/// The steps whose time is known, to scale.
fn timeline(duty: &DutyRecord, look: Look, width: usize) -> Line<'static> {
    let room = width.saturating_sub(22).min(TIMELINE_LEN_MAX);
    let known = [(duty.decided_ms, 'D'), (duty.broadcast_ms, 'S')].into_iter();
    let known: Vec<_> =
        known.filter_map(|(ms, letter)| ms.map(|ms| (u64::try_from(ms).unwrap_or(0), letter))).collect();
    let whole_ms = known.iter().map(|(ms, _)| *ms).max().unwrap_or(0).max(TIMELINE_MS_MIN);
    let mut bar = vec![if look.unicode { '─' } else { '-' }; room];
    for (ms, letter) in known {
        let last = room.saturating_sub(1);
        let at = usize::try_from(u128::from(ms) * last as u128 / u128::from(whole_ms)).unwrap_or(last);
        if let Some(place) = bar.get_mut(at) {
            *place = letter;
        }
    }
    Line::raw(format!("  0 ms {} {whole_ms} ms", bar.into_iter().collect::<String>()))
}

fn conditions(view: &View, look: Look) -> Vec<Line<'static>> {
    let Some(seen) = view.current() else { return Vec::new() };
    let mut lines = Vec::new();
    let mut say = |tone, head: &str, text: &str| {
        let head = look.state(tone, &look.clean(head));
        lines.push(Line::from(vec![head, Span::raw(look.clean(text))]));
    };
    if let Some((since, why)) = &seen.lost {
        let passed = span(view.now.since(*since));
        let before = if seen.status.is_some() { "; what follows is from before" } else { "" };
        say(Tone::Bad, &format!("not reached for {passed}: {why}"), before);
    }
    let Some(status) = &seen.status else {
        lines.push(Line::raw("not known yet"));
        return lines;
    };
    if status.mode != Mode::Ready {
        say(mode(status.mode), &format!("{}: {}", status.mode, status.reason), "");
    }
    for condition in &status.conditions {
        let (tone, word) = severity(condition.severity);
        let passed = span(view.now.since(condition.since.0));
        let head = format!("{}, {word} for {passed}: ", condition.id);
        say(tone, &head, &format!("{}. {}", condition.summary, condition.remedy));
    }
    if !status.clock_synchronised {
        say(Tone::Warn, "its clock is not synchronised yet", "");
    }
    if status.conditions.is_empty() {
        lines.push(Line::raw("none"));
    }
    lines
}

fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Attested => Tone::Good,
        Outcome::Late => Tone::Warn,
        Outcome::Missed => Tone::Bad,
        Outcome::Waiting => Tone::Wait,
    }
}

fn mode(mode: Mode) -> Tone {
    match mode {
        Mode::Ready => Tone::Good,
        Mode::Halted => Tone::Bad,
        Mode::Maintenance | Mode::Paired | Mode::Enrolled | Mode::Syncing | Mode::Draining => Tone::Wait,
    }
}

fn severity(severity: Severity) -> (Tone, &'static str) {
    match severity {
        Severity::Critical => (Tone::Bad, "critical"),
        Severity::Info => (Tone::Plain, "info"),
        Severity::Warning => (Tone::Warn, "warning"),
    }
}

/// The text, or as much of it as fits and the sign that it goes on.
fn fit(text: &str, width: usize) -> String {
    if Span::raw(text).width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut left = width.saturating_sub(MORE.len());
    for c in text.chars() {
        let Some(less) = left.checked_sub(Span::raw(c.to_string()).width()) else { break };
        left = less;
        cut.push(c);
    }
    cut.push_str(&MORE[..MORE.len().min(width)]);
    cut
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Title, headings, gaps and keys, a duty with its timeline, and three conditions. Boxes share what is left.
const ROWS_OF_THE_REST: u16 = 17;
const MORE: &str = "..";
/// From here on there is room for whole names and sentences in a row.
const WIDE: usize = 120;
/// A longer bar says no more.
const TIMELINE_LEN_MAX: usize = 100;
/// What comes within this is in time.
const TIMELINE_MS_MIN: u64 = 4_000;
