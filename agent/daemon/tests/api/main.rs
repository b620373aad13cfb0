//! The management API over real TLS connections: who is let in, what is answered, and what no stranger can do to it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod kit;

mod access;
mod changes;
mod events;
mod floods;
mod garbage;
mod metrics;
mod owner;
mod pairing;
mod screen;
mod stalled;
mod surfaces;
