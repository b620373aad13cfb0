//! The vault: seals shares, keeps the slashing history, signs.
//!
//! A process without network, without async runtime and with one thread. Reading order: [`boot`] lays out the process,
//! [`server`] takes requests from the daemon's user, [`vault`] answers them, [`history`] decides what may be signed.
//!
//! **Architecture Invariant:** no byte is signed before the record of it is on disk: only `History::check_and_record`
//! makes the proof that signing wants.
//!
//! **Architecture Invariant:** no request carries a signing root; each is computed here, from the network pinned at the
//! import.
//!
//! **Architecture Invariant:** keys in the clear lie in locked memory only; on the disk they are under a key that only
//! this machine's TPM opens.
//!
//! **Architecture Invariant:** once it serves, the process makes no socket, thread or program.

#![deny(unsafe_code)]

pub mod boot;
mod bounds;
mod certificate;
pub mod clock;
pub mod confine;
mod connection;
mod history;
mod image;
mod keys;
mod lease;
#[expect(unsafe_code, reason = "maps memory that the kernel keeps out of swap, dumps and other processes")]
pub mod memory;
mod orders;
mod requests;
mod sealed;
pub mod server;
pub mod state;
#[cfg(test)]
mod testing;
pub mod tier;
pub mod vault;
