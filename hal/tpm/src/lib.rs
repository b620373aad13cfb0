//! The TPM, by tss-esapi.

#![forbid(unsafe_code)]
