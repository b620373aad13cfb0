//! What `chronyc -c` printed, by chronyc(1).

use holdfast_hal::clock::{ClockReading, Leap};

/// The clock by the one line of `chronyc -c tracking`; `None` when it is none of that form.
///
/// Whether the kernel takes the clock for right is not in it, nor whether the source proves itself.
#[must_use]
pub fn parse_tracking(line: &str) -> Option<ClockReading> {
    let line = line.lines().next().filter(|line| line.len() <= LINE_BYTES_MAX)?;
    let fields: Vec<&str> = line.split(',').collect();
    let [_, source, stratum, _, correction, _, _, _, _, _, delay, dispersion, _, leap] = fields.as_slice() else {
        return None;
    };
    let leap = match *leap {
        "Normal" => Leap::Normal,
        "Insert second" => Leap::Insert,
        "Delete second" => Leap::Delete,
        "Not synchronised" => Leap::Unsynchronised,
        _ => return None,
    };
    let span = |text: &str| us(text).and_then(|us| u64::try_from(us).ok());
    Some(ClockReading {
        source: Some((*source).to_owned()).filter(|source| !source.is_empty()),
        // chronyc writes what is still to be added to the clock: positive when the clock is slow.
        offset_us: us(correction).and_then(i64::checked_neg),
        root_delay_us: span(delay),
        root_dispersion_us: span(dispersion),
        stratum: stratum.parse().ok(),
        leap: Some(leap),
        ..ClockReading::default()
    })
}

/// Whether a source proves itself, by the lines of `chronyc -c authdata`; `None` when it is not among them.
#[must_use]
pub fn parse_authdata(text: &str, source: &str) -> Option<bool> {
    text.lines().take(SOURCES_MAX).find_map(|line| {
        let mut fields = line.split(',');
        (fields.next() == Some(source)).then_some(())?;
        Some(fields.next()? == "NTS")
    })
}

/// Seconds with a fraction, as µs.
fn us(seconds: &str) -> Option<i64> {
    let us = seconds.parse::<f64>().ok()? * 1e6;
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds of the filter")]
    (us.abs() < US_MAX).then_some(us.round() as i64)
}

const LINE_BYTES_MAX: usize = 1024;
/// chronyd's own bound is far above what anybody configures.
const SOURCES_MAX: usize = 1000;
/// Some 30 years, which no clock is off and no way takes; well within 63 bits.
const US_MAX: f64 = 1e15;
