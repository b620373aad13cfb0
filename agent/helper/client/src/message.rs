//! The closed list. What else needs root gets a variant of its own here, with plain numbers in it at most: the readings of
//! disks (SMART), a burn-in, an update of the image.

use serde::{Deserialize, Serialize};

/// What the helper can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Whether [`Request::Reboot`] would be carried out. Nothing happens.
    CanReboot,
    /// Has every service stopped in order and the machine restarted.
    Reboot,
}

impl Request {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::CanReboot, Self::Reboot];

    /// Its name in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CanReboot => "can-reboot",
            Self::Reboot => "reboot",
        }
    }
}

/// What the helper answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// It is done, or has begun; to [`Request::CanReboot`]: it would be.
    Done,
    /// It is not done.
    Refused(Refusal),
}

/// Why the helper does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The system refused it.
    #[error("the system refused it (errno {errno}): see the log of holdfast-helper")]
    Failed {
        /// The system's number for the reason; 0 when there is none.
        errno: i32,
    },
    /// Nobody is there who would stop the services in order.
    #[error("process 1 of the box is not systemd, which would stop every service in order")]
    NoServiceManager,
    /// Too many requests came.
    #[error("it was asked too often: ask again in {wait_ms} ms")]
    TooMany {
        /// When the next one is taken.
        wait_ms: u32,
    },
    /// The bytes are no request of this version.
    #[error("it does not know the request: are agent and helper of the same release?")]
    Unknown,
}
