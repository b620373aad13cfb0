//! The helper's edge: what needs root is asked of `holdfast-helper`, one request at a time.

use std::path::Path;

use holdfast_helper_client::{Client, Request};

use crate::control::{Privileged, PrivilegedError};

/// The helper behind a socket.
#[derive(Clone, Debug)]
pub struct Helper(Client);

impl Helper {
    /// Asks at this socket. Whether somebody is there shows with the first request.
    #[must_use]
    pub fn at(socket: &Path) -> Self {
        Self(Client::new(socket))
    }
}

impl Privileged for Helper {
    fn can_reboot(&self) -> Result<(), PrivilegedError> {
        Ok(self.0.call(Request::CanReboot)?)
    }

    fn reboot(&self) -> Result<(), PrivilegedError> {
        Ok(self.0.call(Request::Reboot)?)
    }
}
