//! Cluster definition and lock files, ENRs, keystores: parse, verify, write, create.

#![forbid(unsafe_code)]
