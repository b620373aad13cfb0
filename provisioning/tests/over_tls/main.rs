//! Both sides over real TLS connections on loopback: pairing, who judges whom, and the client.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic")]

mod client;
mod pairing;
mod support;
mod tls;
