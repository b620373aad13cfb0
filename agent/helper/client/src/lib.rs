//! What `holdfast-helper` can be asked, as a closed list, and who asks it.
//!
//! The helper runs as root, so nothing here carries a path, a name or any other text into it.

#![forbid(unsafe_code)]

mod client;
pub mod codec;
mod message;

pub use client::{Client, ClientError};
pub use message::{Refusal, Request, Response};
