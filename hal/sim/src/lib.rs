//! A machine that plays scripts of faults, for tests.

#![forbid(unsafe_code)]
