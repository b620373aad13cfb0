//! Tests of the cluster files against captured and golden vectors. One binary, so that it is linked once.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests to us, and not to clippy")]

mod common;

mod any_bytes;
mod changes;
mod create;
mod definitions;
mod eip3076;
mod golden;
mod keystores;
mod live;
mod resealed;
