//! The daemon: beacon, peer, vault and API edges around one loop.
//!
//! It faces the network and holds no share: what is to be signed goes to the vault, and what comes back is a partial
//! signature.

#![forbid(unsafe_code)]

pub mod check;
pub mod cli;
pub mod log;
pub mod logs;

pub mod clock;
pub mod control;
pub mod events;
pub mod folder;
pub mod settings;

pub mod daemon;
pub mod run;

pub mod board;
pub mod edge;
pub mod host;
pub mod metrics;
pub mod pairing;
pub mod surfaces;
pub mod volatile;
