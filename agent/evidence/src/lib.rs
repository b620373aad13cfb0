//! What is proved between an operator, a box and a release: TPM policy digests and the approvals of them, orders and the
//! log of them, evidence and what it proves, and the envelope in which shares travel.
//!
//! Pure: no clock, no I/O, no TPM, and randomness is passed in. So an approval is made offline, and an order is checked
//! alike by the command that makes it and by the vault that carries it out.
//!
//! The feature `verifier` adds what reads certificates and evidence of others ([`verifier`]). The vault is built without it.

#![forbid(unsafe_code)]

pub mod approval;
pub mod areas;
pub mod envelope;
pub mod log;
pub mod names;
pub mod order;
pub mod policy;

mod codec;
mod credential;
mod evidence;
mod key;
#[cfg(test)]
mod samples;
#[cfg(feature = "verifier")]
mod statement;
#[cfg(feature = "verifier")]
mod vendor;
#[cfg(feature = "verifier")]
pub mod verifier;

pub use approval::{Approval, ApprovalError};
pub use codec::{BytesError, EVIDENCE_LEN_MAX};
pub use credential::{Credential, CredentialError, EndorsementSecret};
pub use envelope::{Envelope, EnvelopeError, ImportSecret};
pub use evidence::{
    CertifiedCounter, Custody, Endorsement, Evidence, EvidenceBody, EvidenceKind, HeldShares, LEASE_COUNTER_INDEX,
    Origin, QUOTED_REGISTERS, Tier,
};
pub use key::{SigningKey, UnusableKey, verify};
pub use log::{LogError, LoggedOrder};
pub use names::box_name;
pub use order::{
    HistoryClaim, IdentityOrder, ImportOrder, NetworkPins, ORDER_LEN_MAX, Order, OrderError, OrderText, SignedOrder,
};
#[cfg(feature = "verifier")]
pub use vendor::{Emulated, Model, Unproven, UnusableRoot, VendorRoots};
#[cfg(feature = "verifier")]
pub use verifier::EvidenceError;
