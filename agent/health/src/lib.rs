//! What is wrong with this box and its network, in words: readings in, conditions out.
//!
//! No clock, no I/O, no randomness: the same readings at the same times give the same changes in the same order. What is
//! looked for stands in [`table`], which is meant to be read; [`Health`] only applies it. What a condition leads to, other
//! than the verdict on signing, is decided elsewhere.

#![forbid(unsafe_code)]

mod condition;
mod health;
mod measure;
mod memory;
pub mod reading;
pub mod table;

pub use condition::{Change, Condition, Evidence, Grade, Part, Severity, SigningVerdict, StopReason, Subject, Touches};
pub use health::{Health, Now};
pub use measure::{Measure, Unit};
pub use reading::Reading;
