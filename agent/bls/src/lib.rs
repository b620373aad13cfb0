//! Threshold BLS on blst: sign, verify in batches, combine, split.

#![forbid(unsafe_code)]
