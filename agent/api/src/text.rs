//! What every surface does to words and figures before a human reads them.

use std::borrow::Cow;

/// The text without what moves a cursor, hides letters or turns them round: a space stands for each control character and
/// a `?` for each mark of direction. Whatever a box, a peer or a lock names may hold such.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let turns =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if !text.chars().any(|c| c.is_control() || turns(c)) {
        return Cow::Borrowed(text);
    }
    let plain = |c: char| match c {
        c if c.is_control() => ' ',
        c if turns(c) => '?',
        c => c,
    };
    Cow::Owned(text.chars().map(plain).collect())
}

/// A span of time in its largest unit: `12 s`, `4 min`, `3 h`, `2 days`.
#[must_use]
pub fn span(ms: u64) -> String {
    match ms / 1_000 {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_the_unit_that_matters() {
        let said = [0, 119_999, 120_000, 7_199_999, 7_200_000, 172_799_999, 172_800_000].map(span);
        assert_eq!(said, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert!(matches!(printable("Vier Freunde – 四"), Cow::Borrowed("Vier Freunde – 四")));
        assert_eq!(printable("a\u{1b}[2J\nb\u{202e}c\u{9b}d\0"), "a [2J b?c d ");
    }
}
