//! TPM policy digests, orders, evidence and its verifier; pure.

#![forbid(unsafe_code)]
