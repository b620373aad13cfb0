//! Requests, responses and errors of the management API, its routes, and the OpenAPI document made from them.
//!
//! Plain data: who serves it and who asks share these types and nothing else.

#![forbid(unsafe_code)]

pub mod openapi;
pub mod routes;

mod certificate;
mod cluster;
mod configuration;
mod duty;
mod event;
mod operation;
mod outcome;
mod pairing;
mod paths;
mod problem;
mod role;
mod screen;
mod status;
mod text;
mod time;
mod vault;

pub use certificate::{Revocation, RevocationList, RevocationRequest};
pub use cluster::{Cluster, Identity, LockAccepted, LockSummary, PageQuery, Validator, ValidatorList};
pub use configuration::{
    ApiSettings, BeaconNode, BeaconTest, BeaconTested, Configuration, ConfigurationChange, ConfigurationEntry,
    ConfigurationHistory, CustomNetwork, DryRunQuery, FieldChange, MetricsSettings, PeerAddress, PeerSettings,
};
pub use duty::{DutyList, DutyQuery, DutyRecord};
pub use event::{
    AfterQuery, AuditEntry, AuditList, ConditionChange, Event, EventKind, EventMessage, Gap, LogLine, LogList,
    ModeChange,
};
pub use operation::{Action, Operation, OperationList, OperationState};
pub use outcome::Outcome;
pub use pairing::{PairingFinish, PairingFinished, PairingOwn, PairingStart, PairingStarted};
pub use problem::{DOCS_URL, Problem, ProblemId};
pub use role::{Role, UnknownRole};
pub use screen::{PairingCode, Screen};
pub use status::{Condition, Lease, PeerList, PeerStatus, Severity, Status, VaultClosed, VaultSummary, Version};
pub use text::{printable, span};
pub use time::Timestamp;
pub use vault::{
    ApprovalRequest, AuthorityChange, ChallengeAnswer, CredentialAnswer, CredentialRequest, EvidenceAnswer,
    EvidenceKind, EvidenceRequest, LoggedOrder, OrderAnswer, OrderLog, OrderLogQuery, OrderRequest, VaultLease,
    VaultState,
};
