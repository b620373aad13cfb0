//! The vault: seals shares, keeps the slashing history, signs.

#![forbid(unsafe_code)]
