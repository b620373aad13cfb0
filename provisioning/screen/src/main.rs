//! Holdfast: the box's own display.

#![forbid(unsafe_code)]

fn main() {}
