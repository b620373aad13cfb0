//! The daemon: beacon, peer, vault and API edges around one loop.

#![forbid(unsafe_code)]
