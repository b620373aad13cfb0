//! Lines of text that fit a width: wrapped at words, with marks, labels and hanging indents. Also how a time is said.

use holdfast_api::Timestamp;
use holdfast_types::Millis;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Look, Tone};

/// Lines in the making.
pub(super) struct Sheet {
    look: Look,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Sheet {
    pub(super) fn new(look: Look, width: u16) -> Self {
        Self { look, width: usize::from(width), lines: Vec::new() }
    }

    pub(super) fn blank(&mut self) {
        self.lines.push(Line::default());
    }

    /// A heading in bold.
    pub(super) fn heading(&mut self, text: &str) {
        self.hang(Span::default(), 0, text, bold());
    }

    /// A paragraph.
    pub(super) fn text(&mut self, indent: usize, text: &str) {
        self.hang(Span::default(), indent, text, Style::new());
    }

    /// A paragraph to be read from some way off.
    pub(super) fn strong(&mut self, indent: usize, text: &str) {
        self.hang(Span::default(), indent, text, bold());
    }

    /// A paragraph behind the mark of its tone.
    pub(super) fn marked(&mut self, tone: Tone, text: &str) {
        let style = self.look.style(tone).add_modifier(Modifier::BOLD);
        self.hang(Span::styled(self.look.mark(tone), style), 2, text, style);
    }

    /// What stands behind a label.
    pub(super) fn field(&mut self, label: &'static str, text: &str) {
        self.hang(Span::raw(label), LABEL_LEN, text, Style::new());
    }

    /// What stands behind a label, with a mark.
    pub(super) fn judged(&mut self, label: &'static str, tone: Tone, text: &str) {
        let text = format!("{} {text}", self.look.mark(tone));
        self.hang(Span::raw(label), LABEL_LEN, &text, self.look.style(tone));
    }

    pub(super) fn lines(self) -> Vec<Line<'static>> {
        self.lines
    }

    /// The lines that fit, the last of which says when there are more.
    pub(super) fn cut(mut self, height: u16) -> Vec<Line<'static>> {
        let height = usize::from(height);
        if self.lines.len() > height {
            self.lines.truncate(height.saturating_sub(1));
            self.heading("more: press F2");
        }
        self.lines
    }

    fn hang(&mut self, first: Span<'static>, indent: usize, text: &str, style: Style) {
        // Where even one word would not stand behind the indent, the indent goes.
        let narrow = self.width < indent + 8;
        let room = if narrow { self.width } else { self.width - indent };
        if narrow && !first.content.is_empty() {
            self.lines.push(Line::from(first.clone()));
        }
        for (index, part) in wrap(&self.look.clean(text), room).into_iter().enumerate() {
            let lead = if index == 0 && !narrow { first.clone() } else { Span::default() };
            let pad = if narrow { 0 } else { indent.saturating_sub(lead.width()) };
            self.lines.push(Line::from(vec![lead, Span::raw(" ".repeat(pad)), Span::styled(part, style)]));
        }
    }
}

/// Breaks at spaces; a word that is too long is broken where it must. Never empty.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut filled = 0;
    for word in text.split_whitespace() {
        let len = Span::raw(word).width();
        if filled > 0 && filled + 1 + len > width {
            lines.push(String::new());
            filled = 0;
        }
        if filled > 0 {
            push(&mut lines, " ");
            filled += 1;
        }
        for c in word.chars() {
            let len = Span::raw(c.to_string()).width();
            if filled + len > width {
                lines.push(String::new());
                filled = 0;
            }
            push(&mut lines, c.encode_utf8(&mut [0; 4]));
            filled += len;
        }
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(text);
    }
}

/// The text, or as much of it as fits and the sign that it goes on.
pub(super) fn fit(text: &str, width: usize) -> String {
    if Span::raw(text).width() <= width {
        return text.to_owned();
    }
    let mut cut = wrap_hard(text, width.saturating_sub(MORE.len()));
    cut.push_str(&MORE[..MORE.len().min(width)]);
    cut
}

fn wrap_hard(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut filled = 0;
    for c in text.chars() {
        filled += Span::raw(c.to_string()).width();
        if filled > width {
            break;
        }
        out.push(c);
    }
    out
}

/// A moment without its fraction: `2026-11-27 11:40:17`.
pub(super) fn clock(at: Millis) -> String {
    let text = Timestamp(at).to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

const LABEL_LEN: usize = 11;
const MORE: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_words_and_long_words_where_they_must() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a abcdefgh", 4), ["a", "abcd", "efgh"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("ab", 0), ["a", "b"]);
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdef", 5), "ab...");
        assert_eq!(fit("abcdef", 2), "..");
        assert_eq!(fit("abcdef", 0), "");
    }

    #[test]
    fn a_moment_has_no_fraction() {
        assert_eq!(clock(Millis(1_795_779_617_123)), "2026-11-27 11:40:17");
    }
}
