//! The real machine below a root folder.

#![forbid(unsafe_code)]
