//! The TPM, by ESYS (tpm2-tss): one connection for as long as it holds.
//!
//! Every secret crosses the bus under a session that is salted to the storage root key, and every answer that a
//! decision rests on (a counter, a register) carries that session's HMAC, so that who sits on the bus can neither read
//! nor change it. An unsalted "encrypted" session would hide nothing: its key is derived from what is on the bus. A
//! refusal carries no HMAC: who sits on the bus can always make the box refuse.
//!
//! Not here: policy (which registers, when to seal), retries longer than one call, parsing of evidence.
//!
//! tpm2-tss prints every error that it expects to stderr unless `TSS2_LOG=all+none` is in the environment. The program
//! sets that as the first thing it does: a process cannot soundly change its environment once threads may run.

#![deny(unsafe_code)]

mod address;
mod connection;
mod counter;
mod endorsement;
mod esapi;
mod failure;
mod keys;
#[cfg(feature = "danger_emulated_tpm")]
mod left_over;
mod pcr;
#[expect(unsafe_code, reason = "tss-esapi lacks PolicyNV, so the C library is called here")]
mod raw;
mod seal;
mod template;

pub use esapi::EsapiTpm;
