//! Local chain, cluster kit, end-to-end suites and conformance.

#![forbid(unsafe_code)]
