//! The last lines of the log, for whoever may read them over the API: numbered, bounded, and without secrets.
//!
//! A URL of a beacon node may carry a token anywhere behind its host, so that of every URL only the host is kept.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_api::{LogLine, Timestamp};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock;

/// The lines. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Logs(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    last: u64,
}

impl Logs {
    /// Those after a number, oldest first, at most `limit`.
    #[must_use]
    pub fn after(&self, number: u64, limit: usize) -> Vec<LogLine> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.lines.iter().filter(|line| line.number > number).take(limit).cloned().collect()
    }

    fn push(&self, level: &str, target: &str, text: &str) {
        let mut text = without_secrets(text);
        if let Some((end, _)) = text.char_indices().nth(TEXT_LEN_MAX) {
            text.truncate(end);
        }
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.lines.len() == LINES_MAX {
            ring.lines.pop_front();
        }
        ring.last += 1;
        let number = ring.last;
        let (level, target) = (level.to_owned(), target.to_owned());
        ring.lines.push_back(LogLine { number, at: Timestamp(clock::now()), level, target, text });
    }
}

impl<S: Subscriber> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let about = event.metadata();
        self.push(about.level().as_str(), about.target(), &format!("{}{}", line.message, line.fields));
    }
}

/// The text with of each URL no more than scheme, host and port.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(place) = rest.find("://") {
        let (before, url) = rest.split_at(place + "://".len());
        clean.push_str(before);
        let end = url.find(ends_url).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        let (authority, path) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
        // What stands before the last @ are a name and a password.
        let host = authority.rsplit('@').next().unwrap_or_default();
        clean.push_str(host);
        if !matches!(path, "" | "/") {
            clean.push_str("/…");
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

/// Where a URL ends in a text that people read.
fn ends_url(character: char) -> bool {
    // A backslash is how JSON begins a quotation mark.
    character.is_whitespace() || matches!(character, '"' | '\'' | '<' | '>' | '`' | ',' | ';' | ')' | '\\')
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Lines kept: an hour or so, and less than a MiB.
const LINES_MAX: usize = 2_000;

/// Characters of one line: an error with its causes has a few hundred.
const TEXT_LEN_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn lines_are_numbered_and_only_the_last_are_kept() {
        let logs = Logs::default();
        let subscriber = tracing_subscriber::registry().with(logs.clone());
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..2_001 {
                tracing::info!(number, name = "x", "told");
            }
            tracing::warn!(url = "http://ada:secret@192.0.2.1/eth", "the last");
        });
        let lines = logs.after(0, 10);
        assert_eq!((lines.len(), lines[0].number), (10, 3));
        let last = &logs.after(2_001, 10)[0];
        assert_eq!((last.level.as_str(), last.text.as_str()), ("WARN", "the last url=\"http://192.0.2.1/…\""));
        assert_eq!(logs.after(0, 1)[0].text, "told number=2 name=\"x\"");
        assert_eq!(logs.after(2_002, 10), []);
    }

    #[test]
    fn of_a_url_only_its_host_is_kept() {
        for (text, clean) in [
            ("no URL at all: a://", "no URL at all: a://"),
            ("http://127.0.0.1:5052", "http://127.0.0.1:5052"),
            ("https://node.example/", "https://node.example"),
            ("(https://node.example/v1/0123456789abcdef)", "(https://node.example/…)"),
            ("https://ada:p@ss@node.example?key=1", "https://node.example/…"),
            ("GET http://[::1]:1/a?b=c#d failed, http://x/y too", "GET http://[::1]:1/… failed, http://x/… too"),
            ("url: \"wss://u@h/t\"", "url: \"wss://h/…\""),
            (r#"{"url":"\"http://u@h/t\""}"#, r#"{"url":"\"http://h/…\""}"#),
        ] {
            assert_eq!(without_secrets(text), clean);
        }
    }

    #[test]
    fn a_line_is_no_longer_than_its_bound() {
        let logs = Logs::default();
        logs.push("INFO", "test", &"ä".repeat(10_000));
        assert_eq!(logs.after(0, 1)[0].text.chars().count(), TEXT_LEN_MAX);
    }
}
