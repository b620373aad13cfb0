//! Draws one picture of the display: a function of what is known, the page, the time and the size, and of nothing else.

mod details;
mod overview;
mod qr;
mod sheet;

#[cfg(test)]
pub(crate) mod play;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use holdfast_api::{Screen, printable};
use holdfast_types::Millis;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;

use crate::display::{Display, Seen, takes_a_new_code};
use sheet::{Sheet, clock};

/// Which characters the terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glyphs {
    /// ASCII only: a serial line.
    Ascii,
    /// Those of code page 437 as well, which the font of a Linux console has.
    Blocks,
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

/// What the terminal can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Its characters.
    pub(crate) glyphs: Glyphs,
    /// Whether it has colours, sixteen of them.
    pub(crate) colour: bool,
}

impl Look {
    /// The text in characters that this terminal has.
    fn clean(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for c in printable(text).chars() {
            let plain: Cow<'_, str> = match c {
                '…' => "...".into(),
                '–' | '—' => "-".into(),
                '‘' | '’' => "'".into(),
                '“' | '”' => "\"".into(),
                c if self.glyphs == Glyphs::Ascii && !c.is_ascii() => "?".into(),
                c => c.to_string().into(),
            };
            out.push_str(&plain);
        }
        out
    }

    fn mark(self, tone: Tone) -> &'static str {
        match (tone, self.glyphs) {
            (Tone::Bad, _) => "X",
            (Tone::Good, Glyphs::Ascii) => "+",
            (Tone::Good, Glyphs::Blocks) => "√",
            (Tone::Plain, _) => "-",
            (Tone::Wait, Glyphs::Ascii) => "*",
            (Tone::Wait, Glyphs::Blocks) => "•",
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
}

/// Draws `display`.
pub(crate) fn draw(display: &Display, look: Look, now: Millis, frame: &mut Frame<'_>) {
    let places = Places::within(frame.area());
    let pages = pages(&display.seen, look, now, frame.area());
    let page = display.page.min(pages - 1);
    header(&display.seen, look, now, places, frame);
    match (&display.seen, page) {
        (Seen::Silent { since, why, .. }, _) => {
            let sheet = overview::silent(*since, why, now, look, places.body.width);
            print(sheet.cut(places.body.height), places.body, frame);
        }
        (Seen::Screen(screen), 0) => overview::draw(screen, look, now, places.body, frame),
        (Seen::Screen(screen), page) => {
            let lines = details::lines(screen, look, now, places.body.width);
            let height = usize::from(places.body.height).max(1);
            print(lines.into_iter().skip((page - 1) * height).take(height).collect(), places.body, frame);
        }
    }
    footer(display, look, (page, pages), places.footer, frame);
}

/// How many pages there are on a terminal of this size, the overview included.
pub(crate) fn pages(seen: &Seen, look: Look, now: Millis, area: Rect) -> usize {
    let Seen::Screen(screen) = seen else { return 1 };
    let body = Places::within(area).body;
    if body.is_empty() {
        return 1;
    }
    1 + details::lines(screen, look, now, body.width).len().div_ceil(usize::from(body.height))
}

/// Where things stand. On a terminal of a few lines the body comes before everything but the title.
#[derive(Clone, Copy)]
struct Places {
    title: Rect,
    tier: Rect,
    rule: Rect,
    body: Rect,
    footer: Rect,
}

impl Places {
    fn within(area: Rect) -> Self {
        let roomy = area.height >= 10;
        let row = |y: u16, shown: bool| Rect { y, height: u16::from(shown), ..area }.intersection(area);
        let top = if roomy { 3 } else { area.height.min(1) };
        let bottom = u16::from(area.height >= 4);
        let margin = u16::from(area.width >= 40) * 2;
        let body = Rect {
            x: area.x + margin,
            y: area.y + top,
            width: area.width.saturating_sub(2 * margin),
            height: area.height.saturating_sub(top + bottom),
        };
        Self {
            title: row(area.y, true),
            tier: row(area.y + 1, roomy),
            rule: row(area.y + 2, roomy),
            body,
            footer: row(area.bottom().saturating_sub(1), bottom == 1),
        }
    }
}

fn header(seen: &Seen, look: Look, now: Millis, places: Places, frame: &mut Frame<'_>) {
    let (title, tier) = match seen {
        Seen::Screen(screen) => (identity(screen), screen.tier.clone()),
        Seen::Silent { name, .. } => (format!("Holdfast   {name}"), String::new()),
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let width = places.title.width;
    both_ends(&look.clean(&title), &format!("{} UTC", &clock(now)[11..]), bold, places.title, frame);
    let tier = sheet::fit(&look.clean(&tier), usize::from(width).saturating_sub(2));
    print(vec![Line::raw(format!("  {tier}"))], places.tier, frame);
    let rule = if look.glyphs == Glyphs::Ascii { "-" } else { "─" };
    print(vec![Line::raw(rule.repeat(usize::from(width)))], places.rule, frame);
}

fn identity(screen: &Screen) -> String {
    let name = if screen.name.is_empty() { "no name yet" } else { &screen.name };
    format!("Holdfast {}   {}   {name}", screen.version, screen.board)
}

fn footer(display: &Display, look: Look, (page, pages): (usize, usize), area: Rect, frame: &mut Frame<'_>) {
    let keys = match (&display.notice, &display.seen) {
        (Some((notice, _)), _) => look.clean(notice),
        (None, Seen::Silent { .. }) => String::new(),
        (None, Seen::Screen(screen)) if takes_a_new_code(screen) => "p new code   F2 details".to_owned(),
        (None, Seen::Screen(_)) => "F2 details".to_owned(),
    };
    let place = if pages > 1 { format!("page {} of {pages}", page + 1) } else { String::new() };
    let style = if display.notice.is_some() { look.style(Tone::Warn) } else { Style::new() };
    both_ends(&keys, &place, style, area, frame);
}

/// One text at the left and, when there is room for it, another at the right.
fn both_ends(left: &str, right: &str, style: Style, area: Rect, frame: &mut Frame<'_>) {
    let margin = u16::from(area.width >= 40) * 2;
    let area = Rect { x: area.x + margin, width: area.width.saturating_sub(2 * margin), ..area };
    let room = usize::from(area.width);
    let taken = Line::raw(left).width() + 2 + Line::raw(right).width();
    print(vec![Line::styled(sheet::fit(left, room), style)], area, frame);
    if taken <= room {
        frame.render_widget(Line::raw(right).right_aligned(), area);
    }
}

fn print(lines: Vec<Line<'static>>, area: Rect, frame: &mut Frame<'_>) {
    for (line, row) in lines.into_iter().zip(area.rows()) {
        // Without the check a line would clear what another place has drawn in this row.
        if !row.is_empty() {
            frame.buffer_mut().set_line(row.x, row.y, &line, row.width);
        }
    }
}
