//! What the box's own screen shows, over a unix socket of its own: `GET /screen`, and `POST /screen/code` while nobody owns
//! the box. No other place gives a pairing code away.

use serde::{Deserialize, Serialize};

use crate::{Condition, DutyRecord, Timestamp};
use holdfast_types::Mode;

/// Answers `GET /screen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Screen {
    /// The agent's version.
    pub version: String,
    /// The kind of board.
    pub board: String,
    /// The box's short name, `box-7f3a`; empty while the vault does not answer.
    pub name: String,
    /// What the seal means on this machine, and why: `tier A: TPM 2.0, Secure Boot, measured boot`.
    pub tier: String,
    /// What the box is doing.
    pub mode: Mode,
    /// State, reason and remedy in one sentence.
    pub reason: String,
    /// The addresses at which the API is reached.
    pub addresses: Vec<String>,
    /// The port of the API.
    pub port: u16,
    /// Whether somebody owns the box, or may: while the vault does not answer, nobody can pair. Otherwise a new code can be
    /// asked for.
    pub owned: bool,
    /// The pairing code, while there is one.
    pub pairing: Option<PairingCode>,
    /// The four words, after the code was used and until the box is owned or a minute is over.
    pub words: Option<String>,
    /// The cluster's name; empty while there is none.
    pub cluster: String,
    /// How many of the operators are connected, ourselves included, and how many there are.
    pub peers: (usize, usize),
    /// The duty that changed last.
    pub last_duty: Option<DutyRecord>,
    /// What is wrong, worst first.
    pub conditions: Vec<Condition>,
    /// The box's clock.
    pub now: Timestamp,
    /// Whether the clock is synchronised.
    pub clock_synchronised: bool,
}

/// A pairing code as the screen shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairingCode {
    /// The code in groups; absent when the verifier came from the boot medium, whose code the box does not know.
    pub code: Option<String>,
    /// Until when it counts.
    pub expires: Timestamp,
    /// How many tries are left.
    pub tries_left: u8,
}

impl std::fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PairingCode({} tries left)", self.tries_left)
    }
}
