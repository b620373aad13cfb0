//! Every route of the API once: its method, its path, the role that it needs. The server is built from
//! [`ROUTES`], the document from `paths`, and a test holds the two together.

use crate::Role;

/// One path with one method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method, in capitals.
    pub method: &'static str,
    /// The path, its parameters in braces.
    pub path: &'static str,
    /// Who may ask; `None` for the steps of pairing, which need no certificate.
    pub role: Option<Role>,
    /// The HTTP statuses of its problems, beside 400 and 429, which every route has.
    pub problems: &'static [u16],
}

/// Every route.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/v1/version", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/openapi.json", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/status", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/peers", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/duties", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/validators", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/cluster", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/cluster/lock", role: Some(Role::Reader), problems: &[401, 403, 404] },
    Route {
        method: "PUT",
        path: "/v1/cluster/lock",
        role: Some(Role::Admin),
        problems: &[401, 403, 409, 413, 415, 422, 503],
    },
    Route { method: "GET", path: "/v1/identity", role: Some(Role::Reader), problems: &[401, 403, 503] },
    Route { method: "GET", path: "/v1/configuration", role: Some(Role::Admin), problems: &[401, 403] },
    Route {
        method: "PUT",
        path: "/v1/configuration",
        role: Some(Role::Admin),
        problems: &[401, 403, 412, 413, 415, 422, 428],
    },
    Route {
        method: "POST",
        path: "/v1/configuration/confirmation",
        role: Some(Role::Admin),
        problems: &[401, 403, 409],
    },
    Route { method: "GET", path: "/v1/configuration/schema", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/configuration/history", role: Some(Role::Admin), problems: &[401, 403] },
    Route {
        method: "POST",
        path: "/v1/beacon-nodes/tests",
        role: Some(Role::Operator),
        problems: &[401, 403, 409, 413, 415, 422],
    },
    Route { method: "GET", path: "/v1/vault", role: Some(Role::Reader), problems: &[401, 403, 503] },
    Route {
        method: "POST",
        path: "/v1/vault/evidence",
        role: Some(Role::Operator),
        problems: &[401, 403, 409, 413, 415, 422, 503],
    },
    Route {
        method: "POST",
        path: "/v1/vault/credential",
        role: Some(Role::Operator),
        problems: &[401, 403, 409, 413, 415, 422, 503],
    },
    Route { method: "POST", path: "/v1/vault/challenges", role: Some(Role::Admin), problems: &[401, 403, 409, 503] },
    Route { method: "GET", path: "/v1/vault/orders", role: Some(Role::Reader), problems: &[401, 403, 503] },
    Route {
        method: "POST",
        path: "/v1/vault/orders",
        role: Some(Role::Admin),
        problems: &[401, 403, 409, 413, 415, 422, 503],
    },
    Route { method: "GET", path: "/v1/vault/history", role: Some(Role::Operator), problems: &[401, 403, 503] },
    Route {
        method: "POST",
        path: "/v1/vault/firmware-approvals",
        role: Some(Role::Admin),
        problems: &[401, 403, 409, 413, 415, 422, 503],
    },
    Route {
        method: "POST",
        path: "/v1/vault/authority",
        role: Some(Role::Admin),
        problems: &[401, 403, 409, 413, 415, 422, 503],
    },
    Route { method: "POST", path: "/v1/vault/level", role: Some(Role::Admin), problems: &[401, 403, 409, 422, 503] },
    Route { method: "POST", path: "/v1/actions/{action}", role: Some(Role::Operator), problems: &[401, 403, 404, 409] },
    Route { method: "GET", path: "/v1/operations", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/operations/{id}", role: Some(Role::Reader), problems: &[401, 403, 404] },
    Route { method: "GET", path: "/v1/events", role: Some(Role::Reader), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/logs", role: Some(Role::Operator), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/audit", role: Some(Role::Admin), problems: &[401, 403] },
    Route { method: "GET", path: "/v1/support-bundle", role: Some(Role::Operator), problems: &[401, 403, 503] },
    Route { method: "GET", path: "/v1/certificates/revocations", role: Some(Role::Admin), problems: &[401, 403] },
    Route {
        method: "POST",
        path: "/v1/certificates/revocations",
        role: Some(Role::Admin),
        problems: &[401, 403, 409, 413, 415, 422],
    },
    Route { method: "POST", path: "/v1/pairing/start", role: None, problems: &[403, 409, 410, 413, 415, 422, 503] },
    Route { method: "POST", path: "/v1/pairing/finish", role: None, problems: &[403, 409, 410, 413, 415, 422, 503] },
    Route { method: "POST", path: "/v1/pairing/evidence", role: None, problems: &[403, 409, 413, 415, 422, 503] },
    Route { method: "POST", path: "/v1/pairing/credential", role: None, problems: &[403, 409, 413, 415, 422, 503] },
    Route { method: "POST", path: "/v1/pairing/own", role: None, problems: &[403, 409, 413, 415, 422, 503] },
];
