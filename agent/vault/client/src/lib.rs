//! The typed requests to the vault and their client.
//!
//! The list is closed: no request carries a finished signing root, a domain or 32 bytes to sign. The encoding is
//! postcard in length-prefixed frames over one unix socket.

#![forbid(unsafe_code)]

mod client;
pub mod codec;
mod message;
#[cfg(test)]
mod samples;

pub use client::{Client, ClientError, Signatures};
pub use holdfast_evidence::{Evidence, EvidenceBody, EvidenceKind, LoggedOrder, Tier};
pub use message::{
    AttestationToSign, BlockToSign, Closed, ClosedId, IdentityKey, LeaseStatus, OrderOutcome, Rejection, Request,
    Response, RootToSign, SigningRefused, SlashingRefusal, VaultStatus,
};
