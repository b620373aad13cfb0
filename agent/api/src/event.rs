//! What happens, as it happens: server-sent events that resume by id, the log, and the audit log.

use holdfast_types::Mode;
use serde::{Deserialize, Serialize};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::{Condition, DutyRecord, Operation, PeerStatus, Timestamp};

/// One event: `id` is the event's id, `event` its kind, `data` this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its number. Numbers only rise, over restarts of the daemon too. They are the same for all readers, so those of events
    /// that a role does not see (`audit`, for all but admins) are passed over; that is no loss, for a loss is always told
    /// as a `gap`.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: EventKind,
}

/// One message of the stream, for the document: all of its fields are text, and `data` holds an [`Event`].
#[derive(Clone, Copy, Debug)]
pub struct EventMessage;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", content = "data", rename_all = "lowercase")]
pub enum EventKind {
    /// An entry of the audit log.
    Audit(AuditEntry),
    /// A condition came, changed or went.
    Condition(ConditionChange),
    /// A duty changed.
    Duty(DutyRecord),
    /// Events were evicted before this reader came back.
    Gap(Gap),
    /// The mode changed.
    Mode(ModeChange),
    /// An operation moved on.
    Operation(Operation),
    /// A peer came or went.
    Peer(PeerStatus),
}

/// Events that are not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// The first that is missing.
    pub from: u64,
    /// The last that is missing.
    pub to: u64,
}

/// A new mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModeChange {
    /// The mode.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// State, reason and remedy in one sentence.
    pub reason: String,
}

/// A condition that came, changed or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionChange {
    /// The condition.
    pub condition: Condition,
    /// Whether it is over.
    pub over: bool,
}

/// Who asked for what, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number, from 1 on.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who: the subject and serial number of the certificate; `nobody` without one.
    pub by: String,
    /// From where.
    pub from: String,
    /// The request: method and path.
    pub request: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// The id of the problem, if there was one.
    pub problem: Option<String>,
}

/// The query of lists that go by number: `GET /v1/audit`, `GET /v1/logs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AfterQuery {
    /// Those after this number.
    #[serde(default)]
    pub after: u64,
    /// At most so many, 1 to 500; 100 when absent.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
}

/// Answers `GET /v1/audit`: oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditList {
    /// The entries.
    pub entries: Vec<AuditEntry>,
}

/// Answers `GET /v1/logs`: oldest first. To follow, ask again with the last number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogList {
    /// The lines.
    pub lines: Vec<LogLine>,
}

/// One line of the daemon's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// Its number.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// How grave: `ERROR`, `WARN`, `INFO`, `DEBUG`.
    pub level: String,
    /// What wrote it.
    pub target: String,
    /// The text with its fields.
    pub text: String,
}

impl PartialSchema for EventMessage {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        // utoipa has no field for this word of JSON Schema 2020-12.
        let event = serde_json::to_value(Ref::from_schema_name("Event")).unwrap_or_default();
        let data = text()
            .content_media_type("application/json")
            .extensions(Some(Extensions::from_iter([("contentSchema", event)])));
        ObjectBuilder::new()
            .description(Some("One message of the stream; messages without data only show that the box is there."))
            .property("id", text())
            .property("event", text())
            .property("data", data)
            .required("id")
            .required("event")
            .required("data")
            .into()
    }
}

impl ToSchema for EventMessage {}
