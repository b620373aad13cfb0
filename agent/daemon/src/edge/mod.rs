//! One module for each outside thing that the daemon talks to.

pub mod api;
pub mod beacon;
pub mod bls;
pub mod helper;
pub mod http;
pub mod mdns;
pub mod peers;
pub mod screen;
pub mod vault;
