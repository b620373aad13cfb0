//! What keeps the machine's clock right.

/// The clock, as the one who keeps it sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClockReading {
    /// Whether something keeps the clock right now.
    pub synchronised: Option<bool>,
    /// Who it follows: a name or an address.
    pub source: Option<String>,
    /// How far the clock is from that source, in µs; positive is ahead.
    pub offset_us: Option<i64>,
    /// Time to the root of that source and back, in µs.
    pub root_delay_us: Option<u64>,
    /// What the root's own error may have grown to, in µs.
    pub root_dispersion_us: Option<u64>,
    /// Steps to a clock of reference; 16 is none.
    pub stratum: Option<u8>,
    /// What the source says of the next leap second.
    pub leap: Option<Leap>,
    /// Whether the source proves itself (NTS).
    pub authenticated: Option<bool>,
    /// The farthest that the clock was set at once within the last 24 h, in ms; zero for not at all.
    pub jump_ms: Option<u64>,
}

/// What a source says of the next leap second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leap {
    /// A second is taken away at the end of the day.
    Delete,
    /// A second is put in at the end of the day.
    Insert,
    /// None is near.
    Normal,
    /// The source itself is not synchronised.
    Unsynchronised,
}
