//! What was done in a run and what came of it, short enough to be kept for every run, and read only when one fails.

use std::fmt;

use holdfast_hal_sim::{Fault as TpmFault, Operation};
use holdfast_types::{Epoch, Millis, SigningRoot, Slot};
use holdfast_vault_client::ClosedId;

use crate::checker::Finding;
use crate::disk::Fault;

/// An action and what came of it.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Asked { what: Asked, came: Came },
    BoxMoved,
    ClockSet { to: Epoch, shown_at: Millis },
    Copied { number: usize, running: bool },
    Corrupted { found: bool },
    DiskFault { after: u64, fault: Fault },
    Ended,
    Forged { number: usize },
    Killed,
    Mixed { of: usize, with: usize, files: &'static str },
    Ordered { kind: &'static str, done: bool },
    PowerCut,
    PowerCycledTpm,
    Rebooted { seed: u64 },
    Restored { number: usize },
    Settling,
    Stalled { on: bool },
    Started { closed: Option<ClosedId> },
    StartFailed,
    Stopped,
    Swapped { number: usize, files: &'static str },
    TimePassed { slots: u64 },
    TpmFault { operation: Operation, fault: TpmFault },
}

/// One thing that was asked to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Attestation { validator: usize, source: Epoch, target: Epoch, root: SigningRoot },
    Block { validator: usize, slot: Slot, root: SigningRoot },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Refused(&'static str),
    Rejected(&'static str),
    Signed,
    /// The power went before the answer was out.
    Unheard,
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The vault does not sign again, and has no good reason.
    NotAlive {
        /// What it says.
        says: String,
    },
    /// What was released is no signature over what was asked.
    NotASignature,
    /// It panicked.
    Panicked(String),
    /// It signed with the TPM of another machine.
    SignedElsewhere,
    /// A signature over a vote was released that the history knows nothing of.
    Smuggled,
    /// Two signatures that must not both exist were released.
    Slashable(Box<Finding>),
    /// An answer is to another question.
    WrongAnswer(&'static str),
}

/// A run that failed, with all that is needed to play it again.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// Why.
    pub failure: Failure,
    pub(super) events: Vec<Event>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAlive { says } => write!(f, "does not sign again: {says}"),
            Self::NotASignature => f.write_str("released something that is no signature over what was asked"),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Smuggled => f.write_str("a signature over a vote was released as something harmless"),
            Self::SignedElsewhere => f.write_str("signed with the TPM of another machine"),
            Self::Slashable(finding) => write!(f, "slashable: {finding}"),
            Self::WrongAnswer(what) => write!(f, "wrong answer: {what}"),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.failure)?;
        writeln!(f, "play it again with HOLDFAST_ADVERSARY_SEED={}; what was done:", self.seed)?;
        self.events.iter().enumerate().try_for_each(|(number, event)| writeln!(f, "{number:3} {event}"))
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { what, came } => write!(f, "asked {what}: {came:?}"),
            Self::BoxMoved => f.write_str("the disk in another machine"),
            Self::ClockSet { to, shown_at } => write!(f, "clock set to epoch {to} at {shown_at} ms"),
            Self::Copied { number, running: false } => write!(f, "copy {number} of what is durable"),
            Self::Copied { number, running: true } => write!(f, "copy {number} of what programs see"),
            Self::Corrupted { found } => write!(f, "bits flipped: {found}"),
            Self::DiskFault { after, fault } => write!(f, "disk: {fault:?} after {after} operations"),
            Self::Ended => f.write_str("the program ended by itself"),
            Self::Killed => f.write_str("killed"),
            Self::Mixed { of, with, files } => {
                write!(f, "disk of copy {of} or the present one, {files} of copy {with}")
            }
            Self::Ordered { kind, done } => write!(f, "order {kind}: done {done}"),
            Self::PowerCut => f.write_str("the power went"),
            Self::PowerCycledTpm => f.write_str("TPM reset under the program"),
            Self::Rebooted { seed } => write!(f, "rebooted, losses by {seed}"),
            Self::Restored { number } => write!(f, "disk of copy {number}"),
            Self::Settling => f.write_str("settling"),
            Self::Stalled { on } => write!(f, "finality stalls: {on}"),
            Self::Started { closed: None } => f.write_str("started, open"),
            Self::Started { closed: Some(id) } => write!(f, "started, {id}"),
            Self::StartFailed => f.write_str("started, ended at once"),
            Self::Stopped => f.write_str("stopped in order"),
            Self::Forged { number } => write!(f, "copy {number} is put back, its record made to fit the counter"),
            Self::Swapped { number, files } => write!(f, "under the program, {files} of copy {number}"),
            Self::TimePassed { slots } => write!(f, "{slots} slots passed"),
            Self::TpmFault { operation, fault } => write!(f, "TPM: the next {operation:?} is {fault:?}"),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (validator, root) = match self {
            Self::Attestation { validator, source, target, root } => {
                write!(f, "attestation {source} -> {target}")?;
                (validator, root)
            }
            Self::Block { validator, slot, root } => {
                write!(f, "block {slot}")?;
                (validator, root)
            }
        };
        write!(f, " of validator {validator} ({})", &root.to_string()[..10])
    }
}
