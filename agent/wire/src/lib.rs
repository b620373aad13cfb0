//! Messages of the cluster wire protocol: protobuf, hashes, node signatures, payload codecs; bounded decoding.

#![forbid(unsafe_code)]

pub mod k1;
pub mod parsigex;
pub mod qbft;
