//! Pairing, enrolment, the operator's authority, and the client of the management API.
//!
//! Both sides of each are here, so that one test runs both: the box's half is used by the daemon, the operator's by the
//! command. Nothing here decides what an owner may do; that is the vault's.

#![forbid(unsafe_code)]

pub mod access;
pub mod authority;
pub mod certificate;
pub mod client;
pub mod code;
pub mod context;
pub mod desk;
pub mod files;
pub mod pake;
pub mod tls;
pub mod words;
