//! The real machine below a root folder: sysfs, watchdog, storage, thermals, power.
//!
//! Nothing is read yet: the daemon starts without readings of its machine.

#![forbid(unsafe_code)]
