//! What comes out: conditions, their changes, grades, and the verdict on signing.

use std::collections::BTreeSet;
use std::fmt;

use holdfast_types::DutyKind;

use crate::Now;
use crate::measure::Unit;

/// A part of the box or of its network that is graded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Beacon nodes.
    Beacon,
    /// Clock.
    Clock,
    /// Processors.
    Cpu,
    /// Disks, filesystems, the store of the signing history.
    Disk,
    /// Network ports.
    Link,
    /// Main memory.
    Memory,
    /// Peers.
    Peers,
    /// Power.
    Power,
    /// Kernel, boot and watchdog.
    System,
    /// TPM.
    Tpm,
}

impl Part {
    /// Every part, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::Beacon,
        Self::Clock,
        Self::Cpu,
        Self::Disk,
        Self::Link,
        Self::Memory,
        Self::Peers,
        Self::Power,
        Self::System,
        Self::Tpm,
    ];

    /// The name in text and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Beacon => "beacon",
            Self::Clock => "clock",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::Link => "link",
            Self::Memory => "memory",
            Self::Peers => "peers",
            Self::Power => "power",
            Self::System => "system",
            Self::Tpm => "tpm",
        }
    }
}

/// How bad a condition is, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; no reason to do anything today.
    Info,
    /// Costs rewards, or will unless something is done.
    Warning,
    /// Stops the box or its duties, or is about to.
    Critical,
}

impl Severity {
    /// The name in text, the API and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// How well a part does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// No warning.
    Good,
    /// A warning.
    Fair,
    /// A critical condition.
    Poor,
}

impl Grade {
    /// The grade that a part with a condition of this severity has at best.
    #[must_use]
    pub const fn of(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Good,
            Severity::Warning => Self::Fair,
            Severity::Critical => Self::Poor,
        }
    }

    /// The name in text, the API and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Poor => "poor",
        }
    }
}

/// What a condition is about: a disk, a port, a peer's operator name; empty when the part has only one of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(String);

impl Subject {
    /// The only one of its part.
    pub const ONLY: Self = Self(String::new());

    /// A name as it may be shown. Names come from disks' firmware, locks and configurations, so they are cut to
    /// [`Subject::CHARS_MAX`], and what could move a cursor or turn text around is taken out.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let shown = |c: &char| {
            !c.is_control()
                && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        };
        Self(name.chars().filter(shown).take(Self::CHARS_MAX).collect())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Longer than any device name of the kernel, and long enough to tell two operators apart.
    pub const CHARS_MAX: usize = 64;
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which duties a condition costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touches {
    /// None.
    Nothing,
    /// These, as long as it holds.
    Now(&'static [DutyKind]),
    /// These, once it comes to what it warns of.
    Soon(&'static [DutyKind]),
}

/// One number that shows a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What was measured, as the API names it.
    pub name: &'static str,
    /// The last value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
    /// The limit that it crossed; `None` for what is told beside it.
    pub limit: Option<f64>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Its name, the same for ever: `disk.fsync-slow`.
    pub id: &'static str,
    /// What it is about.
    pub of: Subject,
    /// The part that it counts against.
    pub part: Part,
    /// How bad it is.
    pub severity: Severity,
    /// When it was first seen.
    pub since: Now,
    /// State and reason in a sentence.
    pub summary: String,
    /// The numbers; the first is the one that crossed its limit.
    pub evidence: Vec<Evidence>,
    /// Which duties it costs.
    pub touches: Touches,
    /// What to do, in a sentence.
    pub remedy: &'static str,
    /// Where the limit comes from.
    pub limit_from: &'static str,
}

/// What became of a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It came.
    Entered(Condition),
    /// It became better or worse, but is still there.
    Severity {
        /// What it was before.
        from: Severity,
        /// What it is now.
        to: Condition,
    },
    /// It went away; this is what it was last.
    Left(Condition),
}

/// Why nothing may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopReason {
    /// A quorum of peers say that our clock is off by more than half a slot.
    ClockOffQuorum,
    /// The signing history cannot be written.
    HistoryNotWritable,
}

/// Whether health lets the box sign. What only costs rewards never stops it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningVerdict {
    /// Nothing that health knows of endangers signing safety.
    MayGoOn,
    /// Something does: nothing may be signed while it holds.
    MustStop {
        /// What; never empty.
        reasons: BTreeSet<StopReason>,
    },
}
