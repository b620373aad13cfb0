//! Duties, as far as the tracker follows them.

use holdfast_types::Slot;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The query of `GET /v1/duties`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DutyQuery {
    /// Only those that changed after this number, which the list before gave as `next`.
    #[serde(default)]
    pub after: u64,
    /// Only those that were missed.
    #[serde(default)]
    pub missed: bool,
    /// At most so many, 1 to 500; 100 when absent.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
}

/// Answers `GET /v1/duties`: the duties that changed since, oldest change first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DutyList {
    /// The duties.
    pub duties: Vec<DutyRecord>,
    /// Give this as `after` next time.
    pub next: u64,
}

/// What became of one duty on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DutyRecord {
    /// The slot.
    #[schema(value_type = u64)]
    pub slot: Slot,
    /// The kind of duty, by its name in the wire protocol.
    pub kind: String,
    /// The cluster's validators with this duty.
    pub validators: usize,
    /// The round in which the cluster decided.
    pub decided_round: Option<u64>,
    /// When it was decided, in ms after the duty's start.
    pub decided_ms: Option<i64>,
    /// Why our vault was not asked yet, or never, after it was decided what to sign.
    pub withheld: Option<String>,
    /// How many partial signatures our vault made.
    pub signed: usize,
    /// Why the vault refused others.
    pub refused: Vec<String>,
    /// Whose partial signatures were verified here, by operator.
    pub partials_from: Vec<u8>,
    /// For how many validators there is a group signature.
    pub combined: usize,
    /// How many attestations a beacon node took from us.
    pub broadcast: usize,
    /// When the first of them was taken, in ms after the duty's start.
    pub broadcast_ms: Option<i64>,
    /// Why validators were missed, if any.
    pub missed: Option<String>,
}
