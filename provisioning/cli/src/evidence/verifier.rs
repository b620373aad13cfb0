//! The judge of this build. It knows no evidence, and what it does not know it refuses: nothing is sent to a box that proves
//! nothing.

use std::path::PathBuf;

use holdfast_types::Millis;

use super::{Judge, Judged, Question};
use crate::exit::Failure;

/// Refuses all evidence.
pub(crate) struct Verifier;

impl Verifier {
    /// Whatever makers of TPMs this folder names.
    pub(crate) fn at(_vendors: PathBuf) -> Self {
        Self
    }
}

impl Judge for Verifier {
    fn judge(&self, _bytes: &[u8], _question: &Question, _now: Millis) -> Result<Judged, Failure> {
        Err(Failure::refused(
            "this build cannot verify the evidence of a box, so nothing is sent to one: use a later one",
        ))
    }
}
