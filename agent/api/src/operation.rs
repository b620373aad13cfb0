//! Work that belongs to the box: who asked only watches.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// What the box can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Ends the duties under way and begins no new ones.
    Drain,
    /// Drains, then restarts the box.
    Reboot,
    /// Takes duties up again after a drain.
    Resume,
}

/// One piece of work; answers `POST /v1/actions/{action}` and `GET /v1/operations/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its id.
    pub id: String,
    /// What is done.
    pub action: Action,
    /// Who asked: the subject of the certificate.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How far it is.
    pub state: OperationState,
    /// The step under way or the result, in words.
    pub summary: String,
    /// How far, from 0 to 100; absent when that is not known.
    pub percent: Option<u8>,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// It is under way.
    Running,
    /// It is done.
    Done,
    /// It could not be done.
    Failed,
}

/// Answers `GET /v1/operations`: newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationList {
    /// At most 100.
    pub operations: Vec<Operation>,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Drain, Self::Reboot, Self::Resume];

    /// Its name in a path.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Reboot => "reboot",
            Self::Resume => "resume",
        }
    }
}
