//! What each route does. `serve.rs` has looked at everything that is the same for all.

mod act;
mod cluster;
mod configuration;
mod events;
mod look;
mod owner;
mod pairing;
mod support;
mod vault;

use std::sync::Arc;

use holdfast_api::ProblemId;
use holdfast_api::routes::Route;

use super::Api;
use super::answer::{Answer, Fail};
use super::asked::Asked;

/// Answers a request whose caller has the role for it.
pub(super) async fn answer(api: &Arc<Api>, route: &Route, asked: &Asked) -> Result<Answer, Fail> {
    if !WITH_QUERY.contains(&(route.method, route.path)) {
        asked.no_query()?;
    }
    match (route.method, route.path) {
        ("GET", "/v1/version") => look::version(api),
        ("GET", "/v1/openapi.json") => look::openapi(),
        ("GET", "/v1/status") => look::status(api),
        ("GET", "/v1/peers") => look::peers(api),
        ("GET", "/v1/duties") => look::duties(api, asked),
        ("GET", "/v1/validators") => look::validators(api, asked),
        ("GET", "/v1/logs") => look::logs(api, asked),
        ("GET", "/v1/audit") => look::audit(api, asked).await,
        ("GET", "/v1/support-bundle") => support::bundle(api).await,
        ("GET", "/v1/events") => events::follow(api, asked),
        ("GET", "/v1/cluster") => cluster::show(api).await,
        ("GET", "/v1/cluster/lock") => cluster::lock(api).await,
        ("PUT", "/v1/cluster/lock") => cluster::put_lock(api, asked).await,
        ("GET", "/v1/identity") => cluster::identity(api).await,
        ("GET", "/v1/configuration") => configuration::show(api),
        ("PUT", "/v1/configuration") => configuration::put(api, asked).await,
        ("POST", "/v1/configuration/confirmation") => configuration::confirm(api).await,
        ("GET", "/v1/configuration/schema") => configuration::schema(),
        ("GET", "/v1/configuration/history") => configuration::history(api).await,
        ("POST", "/v1/beacon-nodes/tests") => act::test_beacon(api, asked).await,
        ("GET", "/v1/vault") => vault::state(api).await,
        ("POST", "/v1/vault/evidence") => vault::evidence(api, asked).await,
        ("POST", "/v1/vault/credential") => vault::credential(api, asked).await,
        ("POST", "/v1/vault/challenges") => vault::challenge(api).await,
        ("GET", "/v1/vault/orders") => vault::log(api, asked).await,
        ("POST", "/v1/vault/orders") => vault::order(api, asked).await,
        ("GET", "/v1/vault/history") => vault::history(api).await,
        ("POST", "/v1/vault/firmware-approvals") => vault::approve(api, asked).await,
        ("POST", "/v1/vault/authority") => owner::change(api, asked).await,
        ("POST", "/v1/vault/level") => vault::raise_level(api).await,
        ("POST", "/v1/actions/{action}") => act::begin(api, asked).await,
        ("GET", "/v1/operations") => act::operations(api),
        ("GET", "/v1/operations/{id}") => act::operation(api, asked),
        ("GET", "/v1/certificates/revocations") => act::revocations(api).await,
        ("POST", "/v1/certificates/revocations") => act::revoke(api, asked).await,
        ("POST", "/v1/pairing/start") => pairing::start(api, asked).await,
        ("POST", "/v1/pairing/finish") => pairing::finish(api, asked).await,
        ("POST", "/v1/pairing/evidence") => pairing::evidence(api, asked).await,
        ("POST", "/v1/pairing/credential") => pairing::credential(api, asked).await,
        ("POST", "/v1/pairing/own") => pairing::own(api, asked).await,
        // A test asks for every route.
        _ => Err(Fail::new(ProblemId::NotFound, "this box does not have this resource")),
    }
}

/// Runs what writes or computes on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fail> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fail::internal(&error))
}

const WITH_QUERY: &[(&str, &str)] = &[
    ("GET", "/v1/duties"),
    ("GET", "/v1/validators"),
    ("GET", "/v1/logs"),
    ("GET", "/v1/audit"),
    ("PUT", "/v1/cluster/lock"),
    ("PUT", "/v1/configuration"),
    ("GET", "/v1/vault/orders"),
];
