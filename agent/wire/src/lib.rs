//! Messages of the cluster wire protocol: protobuf, hashes, node signatures, payload codecs; bounded decoding.
//!
//! Every decoder takes bytes that a peer may have made up, and says in a typed error which rule they break. Nothing
//! here reads a stream, a clock or the lock.

#![forbid(unsafe_code)]

pub mod attester;
pub mod frame;
pub mod gate;
pub mod hash;
mod json;
pub mod k1;
pub mod parsigex;
pub mod peerinfo;
pub mod priority;
mod proto;
pub mod protocol;
pub mod qbft;

pub use proto::NotProtobuf;
