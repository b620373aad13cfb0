//! The typed requests to the vault and their client.
//!
//! The list is closed: no request carries a finished signing root, a domain or 32 bytes to sign. The encoding is
//! postcard in length-prefixed frames over one unix socket.

#![forbid(unsafe_code)]

mod client;
pub mod codec;
mod message;

pub use client::{Client, ClientError};
pub use message::{
    AttestationRefusal, AttestationToSign, IdentityKey, Rejection, Request, Response, SigningRefused, VaultStatus,
};
#[cfg(feature = "danger_emulated_tpm")]
pub use message::{DangerImport, DangerShare};
