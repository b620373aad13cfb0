//! Pairing, enrolment, the operator's authority, and the client of the management API.

#![forbid(unsafe_code)]
