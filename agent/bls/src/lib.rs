//! Threshold BLS on blst: sign, verify one or many, combine, split.
//!
//! Keys and signatures are the plain byte types of `holdfast-types`; points are decoded, with subgroup checks, where they are
//! used. A public key or signature at infinity never verifies. Randomness is passed in. No I/O and no threads: callers put
//! the work on a pool of their own.
//!
//! A group signature comes out of a check only: [`combine`] gives an [`Unproven`], and [`Unproven::prove`] or
//! [`prove_batch`] makes it a signature.

#![deny(unsafe_code)]

mod batch;
mod combine;
mod fixed;
mod path;
mod raw;
mod secret;
mod verify;
mod weights;

pub use batch::{BatchItem, verify_batch};
pub use combine::{AggregateError, CombineError, Unproven, aggregate, combine, interpolate_public, prove_batch};
pub use path::path;
pub use secret::{
    HashedRoot, InvalidSecret, ShareSecret, SplitError, ValidatorSecret, public_of, sign_many, sign_with,
};
pub use verify::{VerifyError, fast_aggregate_verify, verify_group, verify_partial};
