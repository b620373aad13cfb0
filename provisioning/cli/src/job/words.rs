//! How times, keys and records are said in tables.

use holdfast_api::{Condition, DutyRecord, Severity, Timestamp, span};
use holdfast_types::{Millis, Mode};

use crate::output::Tone;

/// An age in its largest unit: `4 min ago`.
pub(crate) fn ago(at: Timestamp, now: Millis) -> String {
    format!("{} ago", span(now.since(at.0)))
}

/// The ends of a long hex text: `0x93a1…7fce`.
pub(crate) fn short(hex: &str) -> String {
    let chars: Vec<char> = hex.chars().collect();
    if chars.len() <= 14 {
        return hex.to_owned();
    }
    let [start, end] = [&chars[..6], &chars[chars.len() - 4..]].map(|part| part.iter().collect::<String>());
    format!("{start}…{end}")
}

/// How good a mode is.
pub(crate) const fn mode_tone(mode: Mode) -> Tone {
    match mode {
        Mode::Ready => Tone::Good,
        Mode::Maintenance | Mode::Paired | Mode::Enrolled | Mode::Syncing | Mode::Draining => Tone::Warn,
        Mode::Halted => Tone::Bad,
    }
}

/// A condition's mark, which says in every terminal what its colour says in some.
pub(crate) const fn mark(severity: Severity) -> (&'static str, Tone) {
    match severity {
        Severity::Info => ("-", Tone::Plain),
        Severity::Warning => ("!", Tone::Warn),
        Severity::Critical => ("!!", Tone::Bad),
    }
}

/// A condition in one line, with its mark and age.
pub(crate) fn condition(condition: &Condition, now: Millis) -> String {
    let (mark, _) = mark(condition.severity);
    format!(
        "{mark} {}: {} ({}). {}",
        condition.id,
        condition.summary,
        span(now.since(condition.since.0)),
        condition.remedy
    )
}

/// Why a duty came to what it did, as far as the box knows.
pub(crate) fn why(duty: &DutyRecord) -> String {
    let mut parts = Vec::new();
    parts.extend(duty.missed.clone());
    parts.extend(duty.withheld.clone());
    parts.extend(duty.refused.iter().map(|reason| format!("vault: {reason}")));
    if let Some(round) = duty.decided_round.filter(|round| *round > 1) {
        parts.push(format!("decided in round {round}"));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_keep_their_ends() {
        assert_eq!(short("0x93a1f0d9e3b0a7d6c5b47fce"), "0x93a1…7fce");
        assert_eq!(short("0x93a1f0d9"), "0x93a1f0d9");
        assert_eq!(short(&"é".repeat(20)), format!("{}…{}", "é".repeat(6), "é".repeat(4)));
    }
}
