//! Holdfast: the operator's command.

#![forbid(unsafe_code)]

#[expect(dead_code, reason = "the command line calls it as soon as it exists")]
mod top;

fn main() {}
