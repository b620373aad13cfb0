//! What each command does.

pub(crate) mod access;
pub(crate) mod cluster;
pub(crate) mod contexts;
pub(crate) mod enrol;
pub(crate) mod operate;
pub(crate) mod settings;
pub(crate) mod vault;
pub(crate) mod watch;

mod words;
