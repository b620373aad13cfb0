//! What is proved between an operator, a box and a release: TPM policy digests and the approvals of them, orders, and
//! the envelope in which shares travel.
//!
//! Pure: no clock, no I/O, no TPM, and randomness is passed in. So an approval is made offline, and an order is checked
//! alike by the command that makes it and by the vault that carries it out.

#![forbid(unsafe_code)]

pub mod approval;
pub mod envelope;
pub mod order;
pub mod policy;

mod key;

pub use approval::{Approval, ApprovalError};
pub use envelope::{Envelope, EnvelopeError, ImportSecret};
pub use key::{SigningKey, UnusableKey, verify};
pub use order::{
    HistoryClaim, IdentityOrder, ImportOrder, NetworkPins, ORDER_LEN_MAX, Order, OrderError, OrderText, SignedOrder,
    box_name,
};
