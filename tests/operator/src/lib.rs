//! The operator and the release, as tests play them: keys from a seed, and every order that an authority can give.
//!
//! It talks to a vault behind a socket or to one in the same process alike, and trusts whatever that says: evidence is
//! not verified here. Never shipped.

#![forbid(unsafe_code)]

mod ask;
mod operator;
mod release;

pub use ask::{Ask, InProcess, OperatorError};
pub use operator::{Operator, Shares};
pub use release::{Release, ReleaseFiles};
